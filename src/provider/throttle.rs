//! "Too fast", in every vendor's words: whether a reply says so, whom it binds, and how long to wait.
//!
//! Why: a gateway passes on whatever its vendor says, and a time that is misread is a vendor that is asked too early
//! or stands idle. So the forms of a time are read here alone; what is negative, past or no time at all is none, what
//! is absurd is cut to [`MAX_VENDOR_WAIT`], and of several the longest holds: waiting too long costs less.
//! Must not know: which provider asks, what is done about the wait.
//!
//! | vendor | signal | time |
//! |---|---|---|
//! | any (RFC 9110 §15.6.4, RFC 6585) | 429; 503 with `Retry-After` | `Retry-After`: seconds or one of three dates |
//! | SendGrid | 429 | `X-RateLimit-Reset`, Unix seconds |
//! | IETF draft `ratelimit-headers` | 429 | `RateLimit-Reset`, seconds from now |
//! | Mailgun | 429 | in its words: `try again after Mon, 20 Dec 2021 20:33:21 UTC` |
//! | Amazon SES | exception by `x-amzn-ErrorType`, `__type` or `code`; 429 or 400 | none; a spent daily quota: the longest |
//! | FCM | 429 `QUOTA_EXCEEDED`, `RESOURCE_EXHAUSTED` | `Retry-After`, else a minute |
//! | APNs | 429 `TooManyRequests` (one device), `TooManyProviderTokenUpdates` | none |
//! | Twilio | error code; 429 or 400 | none |
//! | Postmark | 429 | none |
//! | SparkPost | 429; 420 (quota, from memory, unverified) | none |

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{Reply, twilio};
use crate::job::Wall;
use crate::outcome::{Code, Said, Scope, Verdict};

/// A wait named by a vendor, kept within reason: absurd values are cut to this.
pub const MAX_VENDOR_WAIT: Duration = Duration::from_secs(3600);

/// What FCM asks for where its reply names no time (`firebase.google.com/docs/cloud-messaging/scale-fcm`).
const FCM_WAIT: Duration = Duration::from_secs(60);

/// Too fast, as a reply says it.
pub(super) struct Throttle {
    /// How long to wait, if the reply says so.
    pub(super) wait: Option<Duration>,
    /// Whom it binds.
    pub(super) scope: Scope,
    /// Why, in our words.
    pub(super) code: Code,
}

impl Throttle {
    /// The account as a whole, for as long as nobody says.
    const ACCOUNT: Self = Self { wait: None, scope: Scope::Provider, code: Code::RateLimit };

    pub(super) fn verdict(self, text: &str) -> Verdict {
        Verdict::Throttled { wait: self.wait, scope: self.scope, said: Said::new(self.code, text) }
    }
}

/// "Too fast" by the status alone. A 503 with `Retry-After` was turned away at the door; one with a reset was not
/// for certain, because vendors tell their resets with every reply.
pub(super) fn by_status(reply: &Reply, now: Wall) -> Option<Throttle> {
    let turned_away = match reply.status {
        420 | 429 => true,
        503 => retry_after(reply, now).is_some(),
        _ => false,
    };
    turned_away.then(|| Throttle { wait: told(reply, now), ..Throttle::ACCOUNT })
}

/// "Too fast" by the status or by any vendor's name for it. A server error stays ambiguous whatever it is called, and
/// so does a request that timed out (408).
pub(super) fn any_vendor(reply: &Reply, now: Wall) -> Option<Throttle> {
    let named = match reply.status {
        400..=407 | 409..=499 => named(reply),
        _ => None,
    };
    match named {
        Some(throttle) => Some(Throttle { wait: told(reply, now).or(throttle.wait), ..throttle }),
        None => by_status(reply, now),
    }
}

/// A vendor's name for "too fast", with the wait that the name stands for.
fn named(reply: &Reply) -> Option<Throttle> {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    amazon(reply, &body).or_else(|| twilio_code(&body)).or_else(|| google(&body)).or_else(|| apple(&body))
}

/// The exceptions that Amazon's own client takes for throttling, as far as SES has them (`botocore`, `retries`).
fn amazon(reply: &Reply, body: &Value) -> Option<Throttle> {
    let names =
        texts(reply, "x-amzn-errortype").chain(["__type", "code"].into_iter().filter_map(|key| text(body, key)));
    // The name may stand in a namespace, `com.amazonaws.ses#…`, and before a colon and a link.
    let bare = |name: &str| name.split(':').next().and_then(|name| name.rsplit('#').next()).unwrap_or("").to_owned();
    let throttling = ["TooManyRequestsException", "ThrottlingException", "Throttling", "LimitExceededException"];
    if !names.map(bare).any(|name| throttling.contains(&&*name)) {
        return None;
    }
    // The rate has room again within a second; the quota only when a day has moved on.
    let words = text(body, "message").or_else(|| text(body, "Message")).unwrap_or("");
    let wait = words.contains("Daily message quota exceeded").then_some(MAX_VENDOR_WAIT);
    Some(Throttle { wait, ..Throttle::ACCOUNT })
}

/// `{"code":20429}`; some gateways write numbers as text.
fn twilio_code(body: &Value) -> Option<Throttle> {
    let code = match body.get("code")? {
        Value::String(code) => code.parse().ok()?,
        code => code.as_u64()?,
    };
    let (scope, code) = twilio::throttled(code)?;
    Some(Throttle { wait: None, scope, code })
}

/// `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"errorCode":"QUOTA_EXCEEDED"}]}}`: either is enough, copies of
/// the vendor's pages differ in the first.
fn google(body: &Value) -> Option<Throttle> {
    let error = body.get("error")?;
    let details = error.get("details").and_then(Value::as_array);
    let quota = details.into_iter().flatten().any(|detail| text(detail, "errorCode") == Some("QUOTA_EXCEEDED"));
    let exhausted = text(error, "status") == Some("RESOURCE_EXHAUSTED");
    // The same words are used for what one device or topic may get.
    let words = text(error, "message").unwrap_or("").to_ascii_lowercase();
    let own = words.contains("device") || words.contains("topic");
    let scope = if own { Scope::Recipient } else { Scope::Provider };
    (quota || exhausted).then_some(Throttle { wait: Some(FCM_WAIT), scope, ..Throttle::ACCOUNT })
}

/// `{"reason":"TooManyRequests"}`, which is about one device; about the account only that its tokens change too often.
fn apple(body: &Value) -> Option<Throttle> {
    match text(body, "reason")? {
        "TooManyRequests" => Some(Throttle { scope: Scope::Recipient, ..Throttle::ACCOUNT }),
        "TooManyProviderTokenUpdates" => Some(Throttle::ACCOUNT),
        _ => None,
    }
}

fn text<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object.get(key)?.as_str()
}

/// The time that a reply names in any form. `Retry-After` is meant for this reply and goes before a reset, which may
/// be that of another window; both go before what is written for a person.
fn told(reply: &Reply, now: Wall) -> Option<Duration> {
    retry_after(reply, now).or_else(|| reset(reply, now)).or_else(|| in_words(reply, now))
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds or an HTTP date.
pub(super) fn retry_after(reply: &Reply, now: Wall) -> Option<Duration> {
    let read = |value: &str| match number(value) {
        Some(seconds) => Some(Duration::from_secs(seconds).min(MAX_VENDOR_WAIT)),
        None => wait_until(date(value)?, now),
    };
    texts(reply, "retry-after").filter_map(read).max()
}

/// `X-RateLimit-Reset`, `RateLimit-Reset`. Vendors do not agree on what they count, but their numbers lie far apart:
/// below 10⁹ seconds from now, below 10¹² Unix seconds, below 10¹⁵ Unix milliseconds. Nothing (0) is no time.
pub(super) fn reset(reply: &Reply, now: Wall) -> Option<Duration> {
    let read = |value: &str| match number(value)? {
        0 | 1_000_000_000_000_000.. => None,
        delta @ ..1_000_000_000 => Some(Duration::from_secs(delta).min(MAX_VENDOR_WAIT)),
        seconds @ ..1_000_000_000_000 => wait_until(Wall(seconds.cast_signed() * 1000), now),
        ms => wait_until(Wall(ms.cast_signed()), now),
    };
    ["x-ratelimit-reset", "ratelimit-reset"].into_iter().flat_map(|name| texts(reply, name)).filter_map(read).max()
}

/// Mailgun's date, after the words that it puts before it. An HTTP date with `UTC` or `GMT` has 29 characters.
fn in_words(reply: &Reply, now: Wall) -> Option<Duration> {
    const BEFORE: &str = "try again after ";
    let words = reply.words();
    let read = |(at, _): (usize, &str)| {
        let from = at + BEFORE.len();
        wait_until(date(words.get(from..from + 29)?)?, now)
    };
    words.to_ascii_lowercase().match_indices(BEFORE).filter_map(read).max()
}

/// All values of a header that are text.
fn texts<'r>(reply: &'r Reply, name: &str) -> impl Iterator<Item = &'r str> {
    reply.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).map(str::trim)
}

/// Digits, with a fraction or without; rounded up, so that nothing is waited too short. More than 64 bits hold is as
/// much as they hold.
fn number(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(whole.parse().unwrap_or(u64::MAX).saturating_add(more))
}

/// The three forms of RFC 9110 §5.6.7; the first also with another name of its zone, as mail and Mailgun write it.
fn date(text: &str) -> Option<Wall> {
    let old = |format| -> Option<Timestamp> {
        let civil = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let fixed = rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    let at = fixed.or_else(|| old("%A, %d-%b-%y %H:%M:%S GMT")).or_else(|| old("%a %b %d %H:%M:%S %Y"))?;
    Some(Wall(at.as_millisecond()))
}

/// The time from `now` to `then`; `None` when it has passed.
fn wait_until(then: Wall, now: Wall) -> Option<Duration> {
    let ms = u64::try_from(then.0.checked_sub(now.0)?).ok().filter(|ms| *ms > 0)?;
    Some(Duration::from_millis(ms).min(MAX_VENDOR_WAIT))
}
