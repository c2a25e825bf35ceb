//! The simulated webhook receiver: any path under `/hook/`, signed by Standard Webhooks 1.0.
//!
//! Why: the signature is checked by code that does not share a line with the code that makes it.
//! Must not know: limits, faults, how arrivals are kept.

use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::answer::{Answer, Judged, text};

/// Signatures older or newer than this are refused (Standard Webhooks leaves the figure open; its libraries use
/// five minutes).
const TOLERANCE_S: i64 = 300;

/// The key in `whsec_` and base64.
///
/// # Errors
/// When the secret has another form.
pub(super) fn key(secret: &str) -> Result<hmac::Key, String> {
    let bytes = secret.strip_prefix("whsec_").and_then(|b64| STANDARD.decode(b64).ok());
    let bytes = bytes.ok_or("the webhook secret is not `whsec_` and base64")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Applies the receiver's rules to one request; `now_s` in seconds since 1970. The magic path
/// `/hook/answer/{status}` answers with that status.
pub(super) fn judge(key: &hmac::Key, now_s: i64, head: &Parts, body: &[u8]) -> Judged {
    let id = text(head, "webhook-id").unwrap_or("");
    let keys = vec![decoded(id).into_boxed_str()];
    if let Err(why) = verify(key, now_s, id, head, body) {
        return Judged { keys, answer: Answer::text(401, why), taken: false };
    }
    let asked = head.uri.path().strip_prefix("/hook/answer/").and_then(|status| status.parse().ok());
    let status: u16 = asked.filter(|status| (200..=599).contains(status)).unwrap_or(200);
    Judged { keys, answer: Answer { status, ..Answer::empty() }, taken: (200..300).contains(&status) }
}

fn verify(key: &hmac::Key, now_s: i64, id: &str, head: &Parts, body: &[u8]) -> Result<(), &'static str> {
    if id.is_empty() {
        return Err("webhook-id is missing");
    }
    let stamp = text(head, "webhook-timestamp").ok_or("webhook-timestamp is missing")?;
    let at: i64 = stamp.parse().map_err(|_| "webhook-timestamp is not in seconds")?;
    if now_s.abs_diff(at) > TOLERANCE_S.unsigned_abs() {
        return Err("webhook-timestamp is more than five minutes off");
    }
    let signed = [id.as_bytes(), b".", stamp.as_bytes(), b".", body].concat();
    // Several signatures may stand side by side while a key is rotated.
    let given = text(head, "webhook-signature").ok_or("webhook-signature is missing")?;
    let good = |one: &str| {
        let tag = one.strip_prefix("v1,").and_then(|b64| STANDARD.decode(b64).ok());
        tag.is_some_and(|tag| hmac::verify(key, &signed, &tag).is_ok())
    };
    match given.split(' ').any(good) {
        true => Ok(()),
        false => Err("no signature matches"),
    }
}

/// The id with its percent-encoded bytes put back.
fn decoded(id: &str) -> String {
    let mut out = Vec::with_capacity(id.len());
    let mut rest = id.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}
