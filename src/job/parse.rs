//! Reads one record against the job contract, version 1.
//!
//! Why: whatever passes here is safe to hand to any vendor; whatever does not gets one reason and one field
//! that upstream can act on. Reading never panics and never allocates more than the record is long.
//! Must not know: policy (who may be written to), vendors.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::field;
use super::headers;
use super::invalid::{Invalid, Reason};
use super::spec::{Consent, Content, Spec, Text, Unsubscribe};
use super::{Channel, Wall};

/// The largest record that is read as a job.
pub const MAX_JOB_BYTES: usize = 256 * 1024;

/// Reads and checks one record.
///
/// # Errors
/// The first fault found, with its field.
pub fn parse(bytes: &[u8]) -> Result<Spec<'_>, Invalid> {
    if bytes.len() > MAX_JOB_BYTES {
        return Err(Invalid::new(Reason::TooLarge, "", format!("{} bytes; at most {MAX_JOB_BYTES}", bytes.len())));
    }
    if bytes.is_empty() {
        return Err(Invalid::new(Reason::NoValue, "", "the record has no value"));
    }
    // Looked at once here, so that nobody below has to.
    let text = std::str::from_utf8(bytes).map_err(|e| Invalid::new(Reason::NotJson, "", e.to_string()))?;
    check(&read(text, "", TOP)?)
}

/// The names of one object's members, in the order of the slots they fill.
pub type Names = &'static [&'static str];

/// The contract's top-level fields.
pub const TOP: Names = &[
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
pub const MAIL: Names = &["subject", "text", "html", "template_id", "data"];

/// The members of a text message's `content`.
pub const SMS: Names = &["body"];

/// The members of a push notification's `content`.
pub const PUSH: Names = &["title", "body", "data"];

/// The members of `unsubscribe`.
pub const UNSUBSCRIBE: Names = &["url", "group"];

/// The members of `consent`.
pub const CONSENT: Names = &["at", "source"];

/// An object's members, each still raw JSON, by slot.
struct Members<'a> {
    parent: &'static str,
    names: Names,
    slots: [Option<&'a RawValue>; 14],
}

/// Reads one JSON object with exactly known members. `null` counts as absent.
fn read<'a>(text: &'a str, parent: &'static str, names: Names) -> Result<Members<'a>, Invalid> {
    let fault = RefCell::new(None);
    let mut de = serde_json::Deserializer::from_str(text);
    let seed = MembersSeed { parent, names, fault: &fault };
    match seed.deserialize(&mut de).and_then(|members| de.end().map(|()| members)) {
        Ok(members) => Ok(members),
        Err(e) => Err(fault.take().unwrap_or_else(|| match (e.is_data(), parent) {
            (true, "") => Invalid::new(Reason::NotAnObject, "", "the record is not one JSON object"),
            (true, parent) => Invalid::new(Reason::WrongType, parent, "must be an object"),
            (false, parent) => Invalid::new(Reason::NotJson, parent, e.to_string()),
        })),
    }
}

struct MembersSeed<'f> {
    parent: &'static str,
    names: Names,
    /// Where the visitor leaves a typed fault: `serde_json`'s own errors are text.
    fault: &'f RefCell<Option<Invalid>>,
}

impl<'de> DeserializeSeed<'de> for MembersSeed<'_> {
    type Value = Members<'de>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MembersSeed<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members { parent: self.parent, names: self.names, slots: [None; 14] };
        let stop = |invalid: Invalid| {
            *self.fault.borrow_mut() = Some(invalid);
            A::Error::custom("not the contract")
        };
        let mut next = 0;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            // Most are written in the order of the contract: the one after the last is looked at first.
            let names = self.names;
            let Some(slot) = (next..names.len()).chain(0..next).find(|slot| names[*slot] == &*name) else {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                let known = self.names.join(", ");
                return Err(stop(Invalid::new(
                    Reason::UnknownField,
                    dotted(self.parent, &shown),
                    format!("known: {known}"),
                )));
            };
            let value: &'de RawValue = map.next_value()?;
            if members.slots[slot].is_some() {
                let field = dotted(self.parent, self.names[slot]);
                return Err(stop(Invalid::new(Reason::DuplicateField, field, "given twice")));
            }
            members.slots[slot] = Some(value);
            next = slot + 1;
        }
        Ok(members)
    }
}

/// A member's name with its object's.
pub(super) fn dotted(parent: &str, name: &str) -> String {
    match parent {
        "" => name.to_owned(),
        parent => format!("{parent}.{name}"),
    }
}

impl<'a> Members<'a> {
    fn field(&self, name: &str) -> String {
        dotted(self.parent, name)
    }

    /// The raw value of a member; `None` when absent or `null`.
    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let slot = self.names.iter().position(|known| *known == name)?;
        self.slots[slot].filter(|raw| raw.get() != "null")
    }

    fn required(&self, name: &str) -> Result<&'a RawValue, Invalid> {
        self.raw(name).ok_or_else(|| Invalid::new(Reason::MissingField, self.field(name), "must be given"))
    }

    fn opt_text(
        &self,
        name: &str,
        check: impl Fn(&str) -> Result<(), field::Fault>,
    ) -> Result<Option<Text<'a>>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let inner = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let inner = inner.ok_or_else(|| Invalid::new(Reason::WrongType, self.field(name), "must be a string"))?;
        let text = match inner.contains('\\') {
            // The reader of raw values has seen that it is a string; without escapes it stands there as it is.
            false => Text(Cow::Borrowed(inner)),
            // The only thing a raw value leaves unread in a string.
            true => serde_json::from_str(raw.get())
                .map_err(|_| Invalid::new(Reason::NotJson, self.field(name), "half of a surrogate pair"))?,
        };
        check(&text).map_err(|(reason, detail)| Invalid::new(reason, self.field(name), detail))?;
        Ok(Some(text))
    }

    fn text(&self, name: &str, check: impl Fn(&str) -> Result<(), field::Fault>) -> Result<Text<'a>, Invalid> {
        self.opt_text(name, check)?.ok_or_else(|| Invalid::new(Reason::MissingField, self.field(name), "must be given"))
    }

    fn time(&self, name: &str) -> Result<Option<Wall>, Invalid> {
        let Some(text) = self.opt_text(name, |s| field::header_safe(s, 64))? else { return Ok(None) };
        let hint = "not an RFC 3339 time; hint: `2026-11-27T09:00:00Z`";
        // jiff reads more forms than RFC 3339 has, so the form is judged first.
        match text.parse::<jiff::Timestamp>().ok().filter(|_| field::is_rfc3339(&text)) {
            Some(t) => Ok(Some(Wall(t.as_millisecond()))),
            None => Err(Invalid::new(Reason::BadTime, self.field(name), hint)),
        }
    }

    /// A JSON object that passes through unread.
    fn object(&self, name: &str) -> Result<Option<&'a RawValue>, Invalid> {
        match self.raw(name) {
            Some(raw) if !raw.get().starts_with('{') => {
                Err(Invalid::new(Reason::WrongType, self.field(name), "must be an object"))
            }
            raw => Ok(raw),
        }
    }

    fn absent(&self, name: &str, channel: Channel) -> Result<(), Invalid> {
        match self.raw(name) {
            Some(_) => {
                Err(Invalid::new(Reason::NotForChannel, self.field(name), format!("means nothing for {channel}")))
            }
            None => Ok(()),
        }
    }
}

fn check<'a>(m: &Members<'a>) -> Result<Spec<'a>, Invalid> {
    let channel = m.text("channel", |s| {
        let known = Channel::ALL.iter().any(|c| c.as_str() == s);
        known.then_some(()).ok_or_else(|| (Reason::BadChannel, "one of email, sms, push, webhook".to_owned()))
    })?;
    let channel = Channel::ALL.into_iter().find(|c| c.as_str() == &*channel).unwrap_or(Channel::Webhook);
    let recipient = match channel {
        Channel::Email => field::mailbox,
        Channel::Sms => field::phone,
        Channel::Push => |s: &str| field::token(s, 4096),
        Channel::Webhook => field::http_url,
    };
    if channel != Channel::Email {
        m.absent("reply_to", channel)?;
        m.absent("unsubscribe", channel)?;
    }
    if matches!(channel, Channel::Push | Channel::Webhook) {
        m.absent("from", channel)?;
    }
    if matches!(channel, Channel::Push | Channel::Sms) {
        m.absent("headers", channel)?;
    }
    let sender = if channel == Channel::Sms { field::sms_sender } else { field::mailbox };
    Ok(Spec {
        id: m.text("id", |s| field::header_safe(s, 128))?,
        tenant: m.text("tenant", |s| field::label(s, 64))?,
        campaign: m.opt_text("campaign", |s| field::header_safe(s, 128))?,
        channel,
        to: m.text("to", recipient)?,
        from: m.opt_text("from", sender)?,
        reply_to: m.opt_text("reply_to", field::mailbox)?,
        content: content(m.required("content")?, channel)?,
        written: m.required("content")?,
        unsubscribe: m.raw("unsubscribe").map(unsubscribe).transpose()?,
        ordering_key: m.opt_text("ordering_key", |s| field::header_safe(s, 256))?,
        send_at: m.time("send_at")?,
        expires_at: m.time("expires_at")?,
        consent: m.raw("consent").map(consent).transpose()?,
        headers: m.raw("headers").map_or(Ok(Vec::new()), headers::headers)?,
    })
}

fn content(raw: &RawValue, channel: Channel) -> Result<Content<'_>, Invalid> {
    let parts = |names: Names| read(raw.get(), "content", names);
    match channel {
        Channel::Webhook => Ok(Content::Webhook(raw)),
        Channel::Sms => Ok(Content::Sms { body: parts(SMS)?.text("body", |s| field::body(s, 1600))? }),
        Channel::Push => {
            let m = parts(PUSH)?;
            Ok(Content::Push {
                title: m.text("title", |s| field::header_safe(s, 256))?,
                body: m.text("body", |s| field::body(s, 2048))?,
                data: m.object("data")?,
            })
        }
        Channel::Email => mail(&parts(MAIL)?),
    }
}

fn mail<'a>(m: &Members<'a>) -> Result<Content<'a>, Invalid> {
    if let Some(id) = m.opt_text("template_id", |s| field::token(s, 128))? {
        if let Some(extra) = ["subject", "text", "html"].into_iter().find(|name| m.raw(name).is_some()) {
            return Err(Invalid::new(Reason::NotForChannel, m.field(extra), "a template has its own"));
        }
        return Ok(Content::Template { id, data: m.object("data")? });
    }
    if m.raw("data").is_some() {
        return Err(Invalid::new(Reason::NotForChannel, m.field("data"), "fills a template; give `template_id`"));
    }
    let subject = m.text("subject", |s| field::header_safe(s, 998))?;
    let text = m.opt_text("text", |s| field::body(s, MAX_JOB_BYTES))?;
    let html = m.opt_text("html", |s| field::body(s, MAX_JOB_BYTES))?;
    match (&text, &html) {
        (None, None) => Err(Invalid::new(Reason::MissingField, m.field("text"), "give `text`, `html` or both")),
        _ => Ok(Content::Mail { subject, text, html }),
    }
}

fn unsubscribe(raw: &RawValue) -> Result<Unsubscribe<'_>, Invalid> {
    let m = read(raw.get(), "unsubscribe", UNSUBSCRIBE)?;
    let group = m.raw("group").map(|raw| {
        let detail = "must be a positive whole number";
        raw.get()
            .parse::<u32>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| Invalid::new(Reason::WrongType, m.field("group"), detail))
    });
    Ok(Unsubscribe { url: m.text("url", field::https_url)?, group: group.transpose()? })
}

fn consent(raw: &RawValue) -> Result<Consent<'_>, Invalid> {
    let m = read(raw.get(), "consent", CONSENT)?;
    m.required("at")?;
    let at = m.time("at")?.ok_or_else(|| Invalid::new(Reason::MissingField, m.field("at"), "must be given"))?;
    Ok(Consent { at, source: m.text("source", |s| field::header_safe(s, 256))? })
}
