//! A reply of `CreateMessage` into a verdict.
//!
//! Why a file of its own: the table of the vendor's error codes, which is the vendor's to change, in one place.
//! Must not know: how requests are built, what is done about a verdict.
//!
//! Codes: the vendor's error dictionary (`twilio.com/docs/api/errors`); those marked so are from memory.

use std::sync::Arc;

use serde_json::Value;

use super::Twilio;
use crate::job::Wall;
use crate::outcome::{Code, Said, Scope, Verdict};
use crate::provider::{Reply, generic_verdict, throttle, vendor_id};

/// What the vendor says, in any of its forms: a message (201), `{"code","message","more_info","status"}`, or an
/// RFC 9457 problem `{"type","title","status","code","detail"}`.
#[derive(Default)]
struct Answer {
    sid: Option<Arc<str>>,
    /// Whether the message was made and has already failed.
    failed: bool,
    code: Option<u64>,
    words: String,
}

impl Answer {
    /// Reads what can be read: a cut body, a page of HTML or a member of another type is as good as none.
    fn read(body: &[u8]) -> Self {
        let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let text = |name| object.get(name).and_then(Value::as_str);
        let number = |name| match object.get(name)? {
            Value::String(s) => s.parse().ok(),
            value => value.as_u64(),
        };
        Self {
            sid: text("sid").and_then(vendor_id),
            failed: matches!(text("status"), Some("failed" | "undelivered")),
            code: number("code").or_else(|| number("error_code")),
            words: ["message", "error_message", "detail", "title"]
                .into_iter()
                .find_map(text)
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

impl Twilio {
    /// Reads a reply.
    #[must_use]
    pub fn decode(&self, reply: &Reply, now: Wall) -> Verdict {
        let answer = Answer::read(&reply.body);
        if reply.status == 201 && !answer.failed {
            return Verdict::Accepted { vendor_id: answer.sid };
        }
        let text = match (answer.code, answer.words.as_str()) {
            (Some(code), words) => format!("HTTP {}: {code} {words}", reply.status),
            (None, "") => format!("HTTP {}: {}", reply.status, reply.words()),
            (None, words) => format!("HTTP {}: {words}", reply.status),
        };
        // A server error stays ambiguous, whatever its body says.
        let known = answer.code.filter(|_| reply.status < 500).and_then(|code| verdict(code, reply, &text, now));
        match known {
            Some(verdict) => verdict,
            None if reply.status == 201 => Verdict::Refused(Said::new(Code::Invalid, &text)),
            None => generic_verdict(reply, &text, now),
        }
    }
}

/// Whom an error code that means "too fast" binds, and its word here.
pub(in crate::provider) fn throttled(code: u64) -> Option<(Scope, Code)> {
    match code {
        // Too many requests at a time; never processed, so sending again is safe. The account's messages per second,
        // over all its senders.
        20429 | 63017 => Some((Scope::Provider, Code::RateLimit)),
        // More than ten hours' worth of segments wait for this number, or for this service.
        21611 | 30001 => Some((Scope::Sender, Code::QueueFull)),
        // 10DLC messages per second, and T-Mobile's daily cap (from memory, unverified).
        30022 | 30023 => Some((Scope::Sender, Code::RateLimit)),
        _ => None,
    }
}

/// What an error code means, where it says more than the status.
fn verdict(code: u64, reply: &Reply, text: &str, now: Wall) -> Option<Verdict> {
    let refused = |code| Some(Verdict::Refused(Said::new(code, text)));
    let down = |code| Some(Verdict::ProviderDown(Said::new(code, text)));
    if let Some((scope, code)) = throttled(code) {
        let wait = throttle::retry_after(reply, now);
        return Some(Verdict::Throttled { wait, scope, said: Said::new(code, text) });
    }
    match code {
        20003 => down(Code::Credentials),
        30002 => down(Code::Account),
        // Not a number, not mobile: so it will stay.
        21211 | 21614 => refused(Code::RecipientGone),
        // Not reachable, perhaps not valid; off, blocked by its carrier, unknown, landline.
        21214 | 21217 | 30003..=30006 => refused(Code::BadRecipient),
        21610 => refused(Code::OptedOut),
        // Region not enabled; trial account and unverified number.
        21408 | 21608 => refused(Code::NotEnabled),
        // Cannot send text, not ours (both from memory, unverified), no way from this sender to that number; a US
        // number without its A2P registration.
        21601 | 21606 | 21612 | 30034 => refused(Code::BadSender),
        // No body, body over 1,600 characters.
        21602 | 21617 => refused(Code::Invalid),
        _ => None,
    }
}
