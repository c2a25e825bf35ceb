//! "Too fast" in the words of the simulated vendors, byte for byte as they document it.
//!
//! Why: a decoder is only as good as what it was read to; the webhook vendor stands for a gateway that passes on
//! whatever its own vendor says, so it speaks every dialect. Texts marked `ours` are not documented.
//! Must not know: when a vendor throttles, how requests are read.

use std::time::Duration;

use super::answer::Answer;
use super::behaviour::RetryAfter;
use super::twilio;
use crate::sim::arrivals::Vendor;

/// `X-RateLimit-Limit` where no limit is set: "up to 10,000 requests per second" (vendor's mail send FAQ).
const SENDGRID_DEFAULT_LIMIT: u32 = 10_000;

/// What FCM's page asks for where the reply names no time.
const FCM_WAIT: Duration = Duration::from_secs(60);

const MAILGUN: &str = "Domain shop.example is not allowed to send: request limit exceeded, try again after ";
/// `google.rpc.QuotaFailure` and the error code are documented; the message is ours.
const FCM: &str = concat!(
    r#"{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":["#,
    r#"{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"QUOTA_EXCEEDED"},"#,
    r#"{"@type":"type.googleapis.com/google.rpc.QuotaFailure"}]}}"#
);

/// The vendor's answer to what came too fast: the next try makes sense after `wait` nanoseconds; `now` since 1970;
/// `limit`, where one is set. With it the nanoseconds that the client was told to wait (0: none it can believe).
pub(super) fn answer(vendor: Vendor, wait: u64, form: RetryAfter, limit: Option<u32>, now: Duration) -> (Answer, u64) {
    match vendor {
        Vendor::SendGrid => {
            let then = whole_seconds(now, wait);
            let answer = json(429, r#"{"errors":[{"field":null,"message":"too many requests"}]}"#.to_owned());
            (rate_headers(answer, limit, 0, then), until(then, now))
        }
        Vendor::Twilio => (twilio::error(429, 20429, "Too Many Requests"), 0),
        Vendor::Webhook => gateway(form, wait, now),
    }
}

fn gateway(form: RetryAfter, wait: u64, now: Duration) -> (Answer, u64) {
    let then = whole_seconds(now, wait);
    let until_then = until(then, now);
    let (seconds, for_seconds) = (wait.div_ceil(1_000_000_000), wait.div_ceil(1_000_000_000) * 1_000_000_000);
    let plain = || Answer::text(429, "too many requests");
    let after = |value: &str| plain().with("retry-after", value);
    let amazon = |status, name: &str, words: &str| {
        json(status, format!(r#"{{"message":"{words}"}}"#)).with("x-amzn-errortype", name)
    };
    match form {
        RetryAfter::Seconds => (after(&seconds.to_string()), for_seconds),
        RetryAfter::HttpDate => (after(&date(then, IMF_FIXDATE)), until_then),
        RetryAfter::Rfc850 => (after(&date(then, "%A, %d-%b-%y %H:%M:%S GMT")), until_then),
        RetryAfter::Asctime => (after(&date(then, "%a %b %e %H:%M:%S %Y")), until_then),
        RetryAfter::Missing => (plain(), 0),
        RetryAfter::Negative => (after("-1"), 0),
        RetryAfter::Past => (after(&date(now.as_secs().saturating_sub(3600), IMF_FIXDATE)), 0),
        RetryAfter::Absurd => (after("1000000000"), 0),
        RetryAfter::Overflow => (after("99999999999999999999"), 0),
        RetryAfter::NotText => (after("zw\u{f6}lf"), 0),
        RetryAfter::Twice => (after("0").with("retry-after", seconds.to_string()), for_seconds),
        RetryAfter::ResetUnix => (plain().with("x-ratelimit-reset", then.to_string()), until_then),
        RetryAfter::ResetMs => (plain().with("x-ratelimit-reset", format!("{then}000")), until_then),
        RetryAfter::ResetDelta => (plain().with("ratelimit-reset", seconds.to_string()), for_seconds),
        RetryAfter::Mailgun => {
            let utc = date(then, "%a, %d %b %Y %H:%M:%S UTC");
            (json(429, format!(r#"{{"message":"{MAILGUN}{utc}"}}"#)), until_then)
        }
        RetryAfter::SesRate => (amazon(429, "TooManyRequestsException", "Maximum sending rate exceeded."), 0),
        RetryAfter::SesQuota => (amazon(429, "TooManyRequestsException", "Daily message quota exceeded."), 0),
        RetryAfter::SesThrottling => (amazon(400, "ThrottlingException", "Maximum sending rate exceeded."), 0),
        RetryAfter::Fcm => (json(429, FCM.to_owned()), nanos(FCM_WAIT)),
        RetryAfter::Apns => (json(429, r#"{"reason":"TooManyRequests"}"#.to_owned()), 0),
        RetryAfter::TwilioQueue => (twilio::error(400, 21611, twilio::QUEUE_FULL), 0),
    }
}

/// The three headers; `left` until the Unix second `reset`.
pub(super) fn rate_headers(answer: Answer, limit: Option<u32>, left: u32, reset: u64) -> Answer {
    let limit = limit.unwrap_or(SENDGRID_DEFAULT_LIMIT).to_string();
    let answer = answer.with("x-ratelimit-limit", limit).with("x-ratelimit-remaining", left.to_string());
    answer.with("x-ratelimit-reset", reset.to_string())
}

/// The first whole second since 1970 that is not before `now` plus `wait` nanoseconds.
pub(super) fn whole_seconds(now: Duration, wait: u64) -> u64 {
    let then = now + Duration::from_nanos(wait);
    then.as_secs() + u64::from(then.subsec_nanos() > 0)
}

fn until(then: u64, now: Duration) -> u64 {
    nanos(Duration::from_secs(then).saturating_sub(now))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn json(status: u16, body: String) -> Answer {
    Answer { status, headers: Vec::new(), body: body.into() }.with("content-type", "application/json")
}

/// RFC 9110 §5.6.7; the two obsolete forms stand where they are used.
const IMF_FIXDATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

fn date(seconds: u64, format: &str) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    at.strftime(format).to_string()
}
