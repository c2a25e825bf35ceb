//! The generic feedback endpoint: a signed JSON list of events, for whoever speaks no dialect of its own.
//!
//! Why: ARF processors, push gateways and in-house mailers tell the same things; here is the one form for them.
//! Must not know: what is done about an event.
//!
//! Signed by Standard Webhooks 1.0, as what we send is. The body is a list of events, or one event:
//!
//! | member | what |
//! |---|---|
//! | `id` | the same when the event is told again: 1 to 128 printable ASCII characters |
//! | `event` | `delivered`, `bounced_hard`, `bounced_soft`, `bounced_blocked`, `complained`, `unsubscribed`, `vendor_suppressed`, `opened` or `clicked`; others are passed over |
//! | `channel` | `email`, `sms`, `push` or `webhook` |
//! | `at` | when it happened: RFC 3339, or whole seconds since 1970 |
//! | `to` | the recipient, as the job had it |
//! | `feedback_type` | the ARF word, if there was a report; `not-spam` is no complaint and passed over |
//! | `vendor_id`, `detail` | optional |
//! | `peakpost_id`, `peakpost_tenant`, `peakpost_campaign`, `peakpost_lane`, `peakpost_sent` | the echo |

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::value::RawValue;

use crate::event::{Happened, Heard};
use crate::job::{Channel, Wall};
use crate::provider::feedback::{Call, MAX_EVENTS, Read, Turned, fresh, header, stamp};
use crate::provider::secret::Secret;
use crate::provider::{echo, json};

/// Most signatures looked at: two keys while one replaces the other, and some room.
const MAX_SIGNATURES: usize = 4;

/// The members that are read.
const MEMBERS: [&str; 13] = [
    "id",
    "event",
    "channel",
    "at",
    "to",
    "feedback_type",
    "vendor_id",
    "detail",
    echo::NAMES[0],
    echo::NAMES[1],
    echo::NAMES[2],
    echo::NAMES[3],
    echo::NAMES[4],
];

/// Who may speak by a shared secret. Prints no key.
#[derive(Debug)]
pub struct Feedback {
    key: hmac::Key,
    max_age: Duration,
}

impl Feedback {
    pub(in crate::provider) fn new(secret: &Secret, max_age: Duration) -> Result<Self, String> {
        super::key(secret.expose()).map(|key| Self { key, max_age })
    }

    pub(in crate::provider) fn hear(&self, call: &Call<'_>, now: Wall) -> Result<Vec<Heard>, Turned> {
        let (id, time) = (header(call, "webhook-id")?, header(call, "webhook-timestamp")?);
        let given = header(call, "webhook-signature")?;
        let at = stamp(time).ok_or(Turned::Forged)?;
        // Dots divide what is signed: an id with a dot could take the time or the body's beginning into itself.
        if id.is_empty() || id.contains('.') {
            return Err(Turned::Forged);
        }
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", call.body].concat();
        let holds = |one: &str| {
            let tag = one.strip_prefix("v1,").and_then(|b64| STANDARD.decode(b64).ok());
            tag.is_some_and(|tag| hmac::verify(&self.key, &signed, &tag).is_ok())
        };
        if !given.split(' ').take(MAX_SIGNATURES).any(holds) {
            return Err(Turned::Forged);
        }
        fresh(at, now, self.max_age)?;
        events(call.body)
    }
}

fn events(body: &[u8]) -> Result<Vec<Heard>, Turned> {
    let read = |one: &RawValue| event(&json::pick(one, &MEMBERS)?.each_ref().map(|text| &**text));
    json::each(body, MAX_EVENTS, read).ok_or(Turned::Malformed("no JSON list of at most 10,000 events"))
}

fn event(members: &[&str; 13]) -> Option<Heard> {
    let [id, event, channel, at, to, feedback_type, vendor_id, detail, echo @ ..] = *members;
    let happened = Happened::ALL.into_iter().find(|known| known.as_str() == event)?;
    let channel = Channel::ALL.into_iter().find(|known| known.as_str() == channel)?;
    let at = stamp(at).or_else(|| at.parse().ok().map(|at: jiff::Timestamp| Wall(at.as_millisecond())))?;
    let complaint_withdrawn = feedback_type.eq_ignore_ascii_case("not-spam");
    let read = Read { id, happened, to, channel, echo: echo::read(echo), at, vendor_id, detail };
    if complaint_withdrawn { None } else { read.heard() }
}
