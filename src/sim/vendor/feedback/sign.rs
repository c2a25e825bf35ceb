//! Feedback as each vendor writes and signs it.
//!
//! Why: what a listener verifies must have been signed by code that shares no line with it; tests forge with the same
//! hands, by signing one thing and sending another.
//! Must not know: when anything is told, to whom.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use ring::{digest, hmac};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::model::{Event, What};
use crate::event::Happened;
use crate::sim::vendor::webhook;

/// What stands before the point of a P-256 key in DER.
const SPKI_P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

/// A request that is ready to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Headers, without those of the framing.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The vendors' keys. `SendGrid`'s is made anew each time.
pub struct Signer {
    sendgrid: EcdsaKeyPair,
    twilio: hmac::Key,
    webhook: hmac::Key,
    random: SystemRandom,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(***)")
    }
}

impl Signer {
    /// With Twilio's auth token and the secret (`whsec_` and base64) of everybody else.
    ///
    /// # Errors
    /// When the secret has another form or there is no randomness.
    pub fn new(twilio_token: &str, webhook_secret: &str) -> Result<Self, String> {
        let random = SystemRandom::new();
        let none = |_| "no key for signing feedback can be made".to_owned();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(none)?;
        let sendgrid = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random);
        Ok(Self {
            sendgrid: sendgrid.map_err(|e| e.to_string())?,
            twilio: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, twilio_token.as_bytes()),
            webhook: webhook::key(webhook_secret)?,
            random,
        })
    }

    /// `SendGrid`'s verification key, as its settings show it.
    #[must_use]
    pub fn public_key(&self) -> String {
        // 27 bytes before the coordinates are 36 digits of base64 without a rest.
        SPKI_P256.to_owned() + &STANDARD.encode(&self.sendgrid.public_key().as_ref()[1..])
    }

    /// As `SendGrid` signs: ECDSA over timestamp and body.
    #[must_use]
    pub fn sendgrid(&self, now_s: i64, body: Vec<u8>) -> Signed {
        let stamp = now_s.to_string();
        let signed = [stamp.as_bytes(), &body].concat();
        let tag = self.sendgrid.sign(&self.random, &signed).map_or_else(|_| String::new(), |tag| STANDARD.encode(tag));
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("x-twilio-email-event-webhook-signature", tag),
            ("x-twilio-email-event-webhook-timestamp", stamp),
        ];
        Signed { headers, body }
    }

    /// As Twilio signs: HMAC-SHA1 over the whole URL and the sorted fields of the form.
    #[must_use]
    pub fn twilio(&self, url: &str, body: Vec<u8>) -> Signed {
        let mut fields: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(&body) {
            fields.entry(name).or_default().insert(value);
        }
        let mut context = hmac::Context::with_key(&self.twilio);
        context.update(url.as_bytes());
        for (name, value) in fields.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
            context.update(name.as_bytes());
            context.update(value.as_bytes());
        }
        let headers = vec![
            ("content-type", "application/x-www-form-urlencoded; charset=UTF-8".to_owned()),
            ("x-twilio-signature", STANDARD.encode(context.sign())),
        ];
        Signed { headers, body }
    }

    /// As Standard Webhooks signs: HMAC-SHA256 over id, timestamp and body.
    #[must_use]
    pub fn webhook(&self, now_s: i64, body: Vec<u8>) -> Signed {
        let hash = digest::digest(&digest::SHA256, &body);
        let id = STANDARD.encode(&hash.as_ref()[..9]);
        let stamp = now_s.to_string();
        let tag = hmac::sign(&self.webhook, &[id.as_bytes(), b".", stamp.as_bytes(), b".", &body].concat());
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", stamp),
            ("webhook-signature", format!("v1,{}", STANDARD.encode(tag))),
        ];
        Signed { headers, body }
    }
}

/// `SendGrid`'s array of events, custom arguments beside the vendor's own fields.
pub(super) fn sendgrid_body(events: &[Event]) -> Vec<u8> {
    Value::from(events.iter().map(sendgrid_event).collect::<Vec<_>>()).to_string().into_bytes()
}

fn sendgrid_event(event: &Event) -> Value {
    let message = &event.message;
    let (word, more) = match event.what {
        What::Passing => ("processed", json!({})),
        What::Heard(Happened::Delivered) => ("delivered", json!({"response": "250 OK"})),
        What::Heard(Happened::BouncedHard) => (
            "bounce",
            json!({"type": "bounce", "status": "5.1.1", "bounce_classification": "Invalid Address",
                   "reason": "550 5.1.1 The email account that you tried to reach does not exist"}),
        ),
        What::Heard(Happened::BouncedSoft | Happened::BouncedBlocked) => (
            "bounce",
            json!({"type": "blocked", "status": "5.7.1", "bounce_classification": "Reputation",
                   "reason": "550 5.7.1 Our system has detected that this message is likely unsolicited mail"}),
        ),
        What::Heard(Happened::VendorSuppressed) => ("dropped", json!({"reason": "Bounced Address"})),
        What::Heard(Happened::Complained) => ("spamreport", json!({})),
        What::Heard(Happened::Unsubscribed) => ("unsubscribe", json!({})),
        What::Heard(Happened::Opened) => ("open", json!({"useragent": "Mozilla/5.0", "ip": "192.0.2.1"})),
        What::Heard(Happened::Clicked) => {
            ("click", json!({"useragent": "Mozilla/5.0", "ip": "192.0.2.1", "url": "https://shop.example/"}))
        }
    };
    let mut fields: Map<String, Value> = message.echo.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    fields.extend([
        ("email".to_owned(), (&*message.to).into()),
        ("timestamp".to_owned(), event.at_s.into()),
        ("event".to_owned(), word.into()),
        ("sg_event_id".to_owned(), (&*event.id).into()),
        ("sg_message_id".to_owned(), (&*message.id).into()),
    ]);
    Value::Object(fields)
}

/// One of Twilio's callbacks, or the reply of somebody who wants no more.
pub(super) fn twilio_body(event: &Event) -> Vec<u8> {
    let message = &event.message;
    let (status, code) = twilio_status(event.what);
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("ApiVersion", "2010-04-01");
    if event.what == What::Heard(Happened::Unsubscribed) {
        let sid = event.id.split('-').next().unwrap_or("");
        form.extend_pairs([("MessageSid", sid), ("SmsSid", sid), ("SmsStatus", "received"), ("Body", "STOP")]);
        form.extend_pairs([("OptOutType", "STOP"), ("From", &*message.to), ("To", "+14155550100")]);
        return form.finish().into_bytes();
    }
    form.extend_pairs([("MessageSid", &*message.id), ("SmsSid", &*message.id)]);
    form.extend_pairs([("MessageStatus", status), ("SmsStatus", status), ("To", &*message.to)]);
    form.append_pair("From", "+14155550100");
    if !code.is_empty() {
        form.append_pair("ErrorCode", code);
    }
    form.finish().into_bytes()
}

/// Twilio's status and error code.
pub(super) fn twilio_status(what: What) -> (&'static str, &'static str) {
    match what {
        What::Passing => ("sent", ""),
        What::Heard(Happened::Opened | Happened::Clicked) => ("read", ""),
        What::Heard(Happened::BouncedHard) => ("undelivered", "30005"),
        What::Heard(Happened::BouncedSoft) => ("undelivered", "30003"),
        What::Heard(Happened::BouncedBlocked) => ("undelivered", "30007"),
        What::Heard(Happened::VendorSuppressed) => ("failed", "21610"),
        What::Heard(Happened::Delivered | Happened::Complained | Happened::Unsubscribed) => ("delivered", ""),
    }
}

/// The array that everybody else sends.
pub(super) fn webhook_body(events: &[Event]) -> Vec<u8> {
    let entry = |event: &Event| {
        let message = &event.message;
        let mut fields: Map<String, Value> = message.echo.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
        let word = match event.what {
            What::Passing => "queued",
            What::Heard(happened) => happened.as_str(),
        };
        fields.extend([
            ("id".to_owned(), (&*event.id).into()),
            ("event".to_owned(), word.into()),
            ("to".to_owned(), (&*message.to).into()),
            ("channel".to_owned(), message.channel.as_str().into()),
            ("at".to_owned(), event.at_s.into()),
            ("vendor_id".to_owned(), (&*message.id).into()),
        ]);
        Value::Object(fields)
    };
    Value::from(events.iter().map(entry).collect::<Vec<_>>()).to_string().into_bytes()
}
