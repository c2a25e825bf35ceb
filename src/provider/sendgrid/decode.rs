//! A reply of mail/send into what it means for the jobs of its request.
//!
//! Why a file of its own: the vendor's word is read here and nowhere else. A turned-down request sent nothing,
//! so the jobs that the reply does not blame may go again.
//! Must not know: how requests are built, what is done about a verdict.
//!
//! Statuses and the body `{"errors":[{"message","field","help"}]}`: `ErrorResponse` in `tsg_mail_v3.yaml`.

use std::collections::BTreeMap;

use super::SendGrid;
use crate::job::Wall;
use crate::outcome::{Code, Said, Scope, Verdict};
use crate::provider::{Decoded, Reply, generic_verdict, throttle, vendor_id};

/// One entry of the vendor's error list.
#[derive(serde::Deserialize)]
struct Fault {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    field: Option<String>,
}

impl Fault {
    fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    fn field(&self) -> &str {
        self.field.as_deref().unwrap_or_default()
    }

    fn text(&self, status: u16) -> String {
        match self.field() {
            "" => format!("HTTP {status}: {}", self.message()),
            field => format!("HTTP {status}: {field}: {}", self.message()),
        }
    }

    /// Whether the message holds these words (lower case).
    fn says(&self, words: &str) -> bool {
        self.message().to_ascii_lowercase().contains(words)
    }
}

impl SendGrid {
    /// Reads a reply to a request that carried `count` jobs.
    #[must_use]
    pub fn decode(&self, count: usize, reply: &Reply, now: Wall) -> Decoded {
        let status = reply.status;
        // 200 is what the vendor answers in sandbox mode: checked, and nothing sent.
        if matches!(status, 200 | 202) {
            return Decoded::All(Verdict::Accepted { vendor_id: reply.header("x-message-id").and_then(vendor_id) });
        }
        let faults = faults(&reply.body);
        let text = match faults.first() {
            Some(fault) => fault.text(status),
            None => format!("HTTP {status}: {}", reply.words()),
        };
        let said = |code| Said::new(code, &text);
        let turned_down = |code| match count {
            0 | 1 => Decoded::All(Verdict::Refused(said(code))),
            _ => Decoded::Unblamed(said(code)),
        };
        match status {
            // 403 also says that the key may not send, or that the account is blocked for a while. How the vendor words
            // an unknown sender is from memory, unverified.
            401 | 403 if any_says(&faults, "sender identity") => Decoded::All(Verdict::Refused(said(Code::BadSender))),
            // From memory, unverified: an empty account is told as 401 "Maximum credits exceeded".
            401 | 403 if any_says(&faults, "credits exceeded") => {
                Decoded::All(Verdict::ProviderDown(said(Code::Account)))
            }
            401 | 403 => Decoded::All(Verdict::ProviderDown(said(Code::Credentials))),
            // 451: the account lives in the other region; no job is at fault and none will pass.
            404 | 405 | 406 | 415 | 451 => Decoded::All(Verdict::ProviderDown(said(Code::Endpoint))),
            413 => turned_down(Code::TooLarge),
            429 => Decoded::All(Verdict::Throttled {
                // The vendor documents its reset and no Retry-After, so the latter is what a proxy between us says.
                wait: throttle::reset(reply, now).or_else(|| throttle::retry_after(reply, now)),
                scope: Scope::Provider,
                said: said(Code::RateLimit),
            }),
            400 => blame(&faults, count).unwrap_or_else(|| turned_down(Code::Invalid)),
            // A 4xx nobody documented may be one job's fault: look for it before all are refused.
            402 | 407 | 409..=499 => turned_down(Code::Invalid),
            _ => Decoded::All(generic_verdict(reply, &text, now)),
        }
    }
}

/// The vendor's error list; empty when the body is cut, is not JSON, or is another's page.
fn faults(body: &[u8]) -> Vec<Fault> {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<Fault>,
    }
    serde_json::from_slice::<Body>(body).map(|body| body.errors).unwrap_or_default()
}

fn any_says(faults: &[Fault], words: &str) -> bool {
    faults.iter().any(|fault| fault.says(words))
}

/// Who is at fault in a 400: named jobs, or a field that all of them share. `None` when the reply does not say.
fn blame(faults: &[Fault], count: usize) -> Option<Decoded> {
    // The message names the address, not which of its two jobs must go.
    if any_says(faults, "more than once") {
        return None;
    }
    let mut at_fault = BTreeMap::new();
    for fault in faults {
        if let Some((index, code)) = personalization(fault.field()).filter(|(index, _)| *index < count) {
            at_fault.entry(index).or_insert_with(|| Said::new(code, &fault.text(400)));
        }
    }
    if !at_fault.is_empty() {
        return Some(Decoded::Blame(at_fault.into_iter().collect()));
    }
    let (fault, code) = faults.iter().find_map(|fault| Some((fault, shared_code(fault)?)))?;
    Some(Decoded::All(Verdict::Refused(Said::new(code, &fault.text(400)))))
}

/// The position and the code in `personalizations.3.to.0.email`.
fn personalization(field: &str) -> Option<(usize, Code)> {
    let path = field.strip_prefix("personalizations.")?;
    let (index, rest) = path.split_once('.').unwrap_or((path, ""));
    let mut steps = rest.split('.');
    let code = match (steps.next(), steps.next_back()) {
        (Some("to"), Some("email")) => Code::BadRecipient,
        _ => Code::Invalid,
    };
    Some((index.parse().ok()?, code))
}

/// The code for a fault in what stands at a request's top level, and so is the same for every job in it.
fn shared_code(fault: &Fault) -> Option<Code> {
    let field = fault.field();
    match field.split('.').next().unwrap_or(field) {
        "from" => Some(Code::BadSender),
        _ if fault.says("sender identity") => Some(Code::BadSender),
        "reply_to" | "subject" | "content" | "template_id" | "asm" => Some(Code::Invalid),
        _ => None,
    }
}
