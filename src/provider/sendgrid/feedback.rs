//! SendGrid's event webhook: a signed JSON list, posted every 30 seconds or at 768 KB.
//!
//! Why a file of its own: another key, another format and another clock than mail/send has.
//! Must not know: what is done about an event.
//!
//! Signed: SHA-256 over the timestamp header and the raw body, with nothing between them (sendgrid-go
//! `helpers/eventwebhook`). Events and their members: the vendor's event reference. Duplicates are normal (up to 46 times
//! over 29 hours were seen) and have the same `sg_event_id`; no order is promised.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::value::RawValue;

use crate::event::{Happened, Heard};
use crate::job::{Channel, Wall};
use crate::provider::feedback::{Call, MAX_EVENTS, Read, Turned, fresh, header, stamp};
use crate::provider::{echo, json};

/// The DER that stands before the point of every P-256 key (`SubjectPublicKeyInfo`, RFC 5480): id-ecPublicKey, prime256v1,
/// a bit string of 65 whole bytes.
const SPKI_P256: [u8; 26] =
    *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// The members that are read.
const MEMBERS: [&str; 14] = [
    "event",
    "sg_event_id",
    "email",
    "timestamp",
    "sg_message_id",
    "type",
    "bounce_classification",
    "status",
    "reason",
    echo::NAMES[0],
    echo::NAMES[1],
    echo::NAMES[2],
    echo::NAMES[3],
    echo::NAMES[4],
];

/// Who may speak for a SendGrid account.
#[derive(Debug)]
pub struct Feedback {
    key: UnparsedPublicKey<Box<[u8]>>,
    max_age: Duration,
}

impl Feedback {
    pub(in crate::provider) fn new(public_key_base64: &str, max_age: Duration) -> Result<Self, String> {
        let der = STANDARD.decode(public_key_base64.trim()).unwrap_or_default();
        // An uncompressed point begins with 4.
        match der.strip_prefix(&SPKI_P256) {
            Some(point) if point.len() == 65 && point[0] == 4 => {
                Ok(Self { key: UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.into()), max_age })
            }
            _ => Err(
                "the public key is no P-256 key; hint: copy the verification key of SendGrid's signed event webhook, `MFkw…`"
                    .to_owned(),
            ),
        }
    }

    pub(in crate::provider) fn hear(&self, call: &Call<'_>, now: Wall) -> Result<Vec<Heard>, Turned> {
        let time = header(call, "x-twilio-email-event-webhook-timestamp")?;
        let signature = header(call, "x-twilio-email-event-webhook-signature")?;
        let at = stamp(time).ok_or(Turned::Forged)?;
        let signature = STANDARD.decode(signature).map_err(|_| Turned::Forged)?;
        let signed = [time.as_bytes(), call.body].concat();
        self.key.verify(&signed, &signature).map_err(|_| Turned::Forged)?;
        fresh(at, now, self.max_age)?;
        events(call.body)
    }
}

fn events(body: &[u8]) -> Result<Vec<Heard>, Turned> {
    let read = |one: &RawValue| event(&json::pick(one, &MEMBERS)?.each_ref().map(|text| &**text));
    json::each(body, MAX_EVENTS, read).ok_or(Turned::Malformed("no JSON list of at most 10,000 events"))
}

fn event(members: &[&str; 14]) -> Option<Heard> {
    let [event, id, to, time, message, kind, class, status, reason, echo @ ..] = *members;
    let happened = happened(event, kind, class, reason)?;
    let detail = match event {
        "bounce" | "dropped" => format!("{status} {reason}"),
        _ => String::new(),
    };
    let (at, echo) = (stamp(time)?, echo::read(echo));
    Read { id, happened, to, channel: Channel::Email, echo, at, vendor_id: message, detail: detail.trim() }.heard()
}

/// What an event means. `processed`, `deferred` (it tries on for 72 hours), `group_resubscribe` and what is new mean
/// nothing here.
fn happened(event: &str, kind: &str, class: &str, reason: &str) -> Option<Happened> {
    match event {
        "delivered" => Some(Happened::Delivered),
        "bounce" => Some(bounced(kind, class)),
        "dropped" => Some(dropped(reason)),
        "spamreport" => Some(Happened::Complained),
        "unsubscribe" | "group_unsubscribe" => Some(Happened::Unsubscribed),
        "open" => Some(Happened::Opened),
        "click" => Some(Happened::Clicked),
        _ => None,
    }
}

/// `type` says whether it was for good, the classification whose fault it was.
fn bounced(kind: &str, class: &str) -> Happened {
    let ours = matches!(class, "Content" | "Reputation" | "Frequency or Volume Too High");
    let passing = matches!(class, "Mailbox Unavailable" | "Technical Failure");
    match kind {
        "bounce" | "" if !ours => Happened::BouncedHard,
        "bounce" | "" => Happened::BouncedBlocked,
        "blocked" if !passing => Happened::BouncedBlocked,
        // `expired`, too: three days were not enough.
        _ => Happened::BouncedSoft,
    }
}

/// Not sent. Only where the recipient is on one of the vendor's lists is it about the recipient; spam content, a bad
/// header or a spent quota are ours.
fn dropped(reason: &str) -> Happened {
    let reason = reason.to_ascii_lowercase();
    let listed = ["bounced address", "unsubscribed", "spam reporting address"].iter().any(|list| reason.contains(list));
    match listed || reason == "invalid" {
        true => Happened::VendorSuppressed,
        false => Happened::BouncedBlocked,
    }
}
