//! What a vendor keeps of a message that it took: to whom, its id, and what it was asked to tell again.
//!
//! Why: read from the request alone, once more and by other code than that which judges it, so that feedback carries what
//! really was sent.
//! Must not know: when anything is told.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use url::form_urlencoded;

use super::model::Message;
use crate::job::Channel;
use crate::sim::arrivals::Vendor;
use crate::sim::vendor::answer::Answer;

/// The messages of a request that `vendor` took with `answer`.
pub(in crate::sim::vendor) fn messages(vendor: Vendor, body: &[u8], answer: &Answer) -> Vec<Message> {
    match vendor {
        Vendor::SendGrid => sendgrid(body, answer),
        Vendor::Twilio => twilio(body, answer),
        Vendor::Webhook => gateway(body),
    }
}

fn sendgrid(body: &[u8], answer: &Answer) -> Vec<Message> {
    type Args<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;
    #[derive(Deserialize)]
    struct To<'a> {
        #[serde(borrow)]
        email: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Personalization<'a> {
        #[serde(borrow)]
        to: Vec<To<'a>>,
        #[serde(borrow, default)]
        custom_args: Args<'a>,
    }
    #[derive(Deserialize)]
    struct Mail<'a> {
        #[serde(borrow)]
        personalizations: Vec<Personalization<'a>>,
        #[serde(borrow, default)]
        custom_args: Args<'a>,
    }
    let Ok(mail) = serde_json::from_slice::<Mail<'_>>(body) else { return Vec::new() };
    let id = answer.headers.iter().find(|(name, _)| *name == "x-message-id").map_or("", |(_, id)| id);
    let mut out = Vec::new();
    for p in &mail.personalizations {
        for to in &p.to {
            // What a personalization says goes before what is said for all.
            let mut echo: Args<'_> = mail.custom_args.clone();
            echo.extend(p.custom_args.iter().map(|(k, v)| (k.clone(), v.clone())));
            out.push(Message {
                vendor: Vendor::SendGrid,
                channel: Channel::Email,
                to: (&*to.email).into(),
                id: format!("{id}.recvd-sim-{}", out.len()).into(),
                echo: echo.into_iter().map(|(k, v)| (k.into_owned(), v.into_owned())).collect(),
                callback: None,
            });
        }
    }
    out
}

fn twilio(body: &[u8], answer: &Answer) -> Vec<Message> {
    #[derive(Deserialize)]
    struct Created {
        sid: Box<str>,
    }
    let Ok(created) = serde_json::from_slice::<Created>(&answer.body) else { return Vec::new() };
    let form: BTreeMap<_, _> = form_urlencoded::parse(body).collect();
    let callback = form.get("StatusCallback").map(|url| Box::from(&**url));
    let query = callback.as_deref().and_then(|url: &str| Some(url.split_once('?')?.1)).unwrap_or("");
    vec![Message {
        vendor: Vendor::Twilio,
        channel: Channel::Sms,
        to: form.get("To").map_or("", |to| &**to).into(),
        id: created.sid,
        // Of use to the simulator alone: the vendor does not look into the query that it calls back.
        echo: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        callback,
    }]
}

/// A gateway's envelope; a webhook that is none has nothing to tell.
fn gateway(body: &[u8]) -> Vec<Message> {
    #[derive(Deserialize)]
    struct Envelope {
        id: String,
        tenant: String,
        campaign: Option<String>,
        channel: Channel,
        lane: String,
        to: Box<str>,
        sent: Option<i64>,
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else { return Vec::new() };
    let Envelope { id, tenant, campaign, channel, lane, to, sent } = envelope;
    let vendor_id = format!("gw-{tenant}-{id}").into();
    let mut echo = vec![("peakpost_id".to_owned(), id), ("peakpost_tenant".to_owned(), tenant)];
    echo.push(("peakpost_lane".to_owned(), lane));
    echo.extend(campaign.map(|campaign| ("peakpost_campaign".to_owned(), campaign)));
    echo.extend(sent.map(|sent| ("peakpost_sent".to_owned(), sent.to_string())));
    vec![Message { vendor: Vendor::Webhook, channel, to, id: vendor_id, echo, callback: None }]
}
