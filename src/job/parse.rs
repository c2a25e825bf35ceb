//! Reads one record against the job contract, version 1.
//!
//! Why: whatever passes here is safe to hand to any vendor; whatever does not gets one reason and one field
//! that upstream can act on. Reading never panics, and what it allocates is bounded by the length of the record.
//! Must not know: policy (who may be written to), vendors.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::Channel;
use super::field;
use super::headers;
use super::invalid::{Invalid, Reason};
use super::member::{Member, Names, read, well_formed};
use super::spec::{Consent, Content, Spec, Unsubscribe};

/// The largest record that is read as a job.
pub const MAX_JOB_BYTES: usize = 256 * 1024;

/// Reads and checks one record.
///
/// # Errors
/// The first fault found, with its field; before all others that it is not one JSON object.
pub fn parse(bytes: &[u8]) -> Result<Spec<'_>, Invalid> {
    if bytes.len() > MAX_JOB_BYTES {
        return Err(Invalid::new(Reason::TooLarge, "", format!("{} bytes; at most {MAX_JOB_BYTES}", bytes.len())));
    }
    if bytes.is_empty() {
        return Err(Invalid::new(Reason::NoValue, "", "the record has no value"));
    }
    // Looked at once here, so that nobody below has to.
    let text = std::str::from_utf8(bytes).map_err(|e| Invalid::new(Reason::NotJson, "", e.to_string()))?;
    // What is no JSON is called that, whatever else is wrong with it; nobody above has read all of it.
    job(text).map_err(|fault| no_object(text).unwrap_or(fault))
}

/// What is wrong with a text that is not one JSON object.
fn no_object(text: &str) -> Option<Invalid> {
    let error = serde_json::from_str::<HashMap<String, &RawValue>>(text).err()?;
    Some(match error.is_data() {
        true => Invalid::new(Reason::NotAnObject, "", "the record is not one JSON object"),
        false => Invalid::new(Reason::NotJson, "", error.to_string()),
    })
}

/// The contract's top-level fields.
pub const TOP: Names<14> = [
    "id",
    "tenant",
    "campaign",
    "channel",
    "to",
    "from",
    "reply_to",
    "content",
    "unsubscribe",
    "ordering_key",
    "send_at",
    "expires_at",
    "consent",
    "headers",
];

/// The members of an email's `content`: rendered, or a vendor's template.
pub const MAIL: Names<5> = ["subject", "text", "html", "template_id", "data"];

/// The members of a text message's `content`.
pub const SMS: Names<1> = ["body"];

/// The members of a push notification's `content`.
pub const PUSH: Names<3> = ["title", "body", "data"];

/// The members of `unsubscribe`.
pub const UNSUBSCRIBE: Names<2> = ["url", "group"];

/// The members of `consent`.
pub const CONSENT: Names<2> = ["at", "source"];

fn job(text: &str) -> Result<Spec<'_>, Invalid> {
    let [
        id,
        tenant,
        campaign,
        channel,
        to,
        from,
        reply_to,
        content,
        unsubscribe,
        ordering_key,
        send_at,
        expires_at,
        consent,
        headers,
    ] = read(text, "", &TOP)?;
    let named = channel.text(|s| {
        let known = Channel::ALL.iter().any(|c| c.as_str() == s);
        known.then_some(()).ok_or_else(|| (Reason::BadChannel, "one of email, sms, push, webhook".to_owned()))
    })?;
    let channel = Channel::ALL.into_iter().find(|c| c.as_str() == &*named).unwrap_or(Channel::Webhook);
    let nothing: &[Member<'_>] = match channel {
        Channel::Email => &[],
        Channel::Sms => &[reply_to, unsubscribe, headers],
        Channel::Push => &[reply_to, unsubscribe, from, headers],
        Channel::Webhook => &[reply_to, unsubscribe, from],
    };
    if let Some(given) = nothing.iter().find(|member| member.is_given()) {
        return Err(given.wrong(Reason::NotForChannel, format!("means nothing for {channel}")));
    }
    let recipient = match channel {
        Channel::Email => field::mailbox,
        Channel::Sms => field::phone,
        Channel::Push => |s: &str| field::token(s, 4096),
        Channel::Webhook => field::http_url,
    };
    let sender = if channel == Channel::Sms { field::sms_sender } else { field::mailbox };
    Ok(Spec {
        id: id.text(|s| field::header_safe(s, 128))?,
        tenant: tenant.text(|s| field::label(s, 64))?,
        campaign: campaign.opt_text(|s| field::header_safe(s, 128))?,
        channel,
        to: to.text(recipient)?,
        from: from.opt_text(sender)?,
        reply_to: reply_to.opt_text(field::mailbox)?,
        content: said(&content, channel)?,
        written: content.written()?,
        unsubscribe: unsubscribe.object()?.map(way_out).transpose()?,
        ordering_key: ordering_key.opt_text(|s| field::header_safe(s, 256))?,
        send_at: send_at.time()?,
        expires_at: expires_at.time()?,
        consent: consent.object()?.map(agreement).transpose()?,
        headers: headers::headers(&headers)?,
    })
}

fn said<'a>(content: &Member<'a>, channel: Channel) -> Result<Content<'a>, Invalid> {
    let written = content.written()?;
    let object = || content.object().map(|_| written);
    match channel {
        Channel::Webhook => Ok(Content::Webhook(well_formed(written)?)),
        Channel::Sms => {
            let [body] = read(object()?, "content", &SMS)?;
            Ok(Content::Sms { body: body.text(|s| field::body(s, 1600))? })
        }
        Channel::Push => {
            let [title, body, data] = read(object()?, "content", &PUSH)?;
            Ok(Content::Push {
                title: title.text(|s| field::header_safe(s, 256))?,
                body: body.text(|s| field::body(s, 2048))?,
                data: data.object()?.map(well_formed).transpose()?,
            })
        }
        Channel::Email => mail(object()?),
    }
}

fn mail(json: &str) -> Result<Content<'_>, Invalid> {
    let [subject, text, html, template_id, data] = read(json, "content", &MAIL)?;
    if let Some(id) = template_id.opt_text(|s| field::token(s, 128))? {
        return match [subject, text, html].into_iter().find(Member::is_given) {
            Some(extra) => Err(extra.wrong(Reason::NotForChannel, "a template has its own")),
            None => Ok(Content::Template { id, data: data.object()?.map(well_formed).transpose()? }),
        };
    }
    if data.is_given() {
        return Err(data.wrong(Reason::NotForChannel, "fills a template; give `template_id`"));
    }
    let mail = Content::Mail {
        subject: subject.text(|s| field::header_safe(s, 998))?,
        text: text.opt_text(|s| field::body(s, MAX_JOB_BYTES))?,
        html: html.opt_text(|s| field::body(s, MAX_JOB_BYTES))?,
    };
    match text.is_given() || html.is_given() {
        true => Ok(mail),
        false => Err(text.wrong(Reason::MissingField, "give `text`, `html` or both")),
    }
}

fn way_out(json: &str) -> Result<Unsubscribe<'_>, Invalid> {
    let [url, group] = read(json, "unsubscribe", &UNSUBSCRIBE)?;
    Ok(Unsubscribe { url: url.text(field::https_url)?, group: group.number()? })
}

fn agreement(json: &str) -> Result<Consent<'_>, Invalid> {
    let [at, source] = read(json, "consent", &CONSENT)?;
    Ok(Consent { at: at.time()?.ok_or_else(|| at.missing())?, source: source.text(|s| field::header_safe(s, 256))? })
}
