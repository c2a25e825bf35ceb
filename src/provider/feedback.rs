//! What vendors tell of messages later: one request in, verified and then read, events out.
//!
//! Why: the listener stands open to the world, and a forged complaint stops a campaign. So nothing of a body is read
//! before its signature holds, over the bytes as they came; the dialects stand in `<vendor>/feedback.rs`.
//! Must not know: who listens, what becomes of an event, configuration.
//!
//! | dialect | signed by | replays |
//! |---|---|---|
//! | `SendGrid` | ECDSA P-256 over timestamp and body | stale after `max_age`, else the same event ids |
//! | Twilio | HMAC-SHA1 over URL and parameters, without a time | never stale: the same event ids, no-ops as long as these are remembered |
//! | signed | HMAC-SHA256 over id, timestamp and body (Standard Webhooks 1.0) | stale after `max_age`, else the same event ids |

use std::time::Duration;

use reqwest::header::HeaderMap;

use super::secret::Secret;
use super::{sendgrid, twilio, vendor_id, webhook};
use crate::event::{Echo, Happened, Heard};
use crate::job::{Channel, Wall};
use crate::outcome::scrub;

/// Most events in one request. Vendors stay far below: SendGrid posts at most 768 KB.
pub const MAX_EVENTS: usize = 10_000;

/// How far a sender's clock may be ahead of ours.
pub const MAX_AHEAD: Duration = Duration::from_secs(300);

/// What is kept of a vendor's words, in characters.
const DETAIL_MAX: usize = 200;

/// The longest recipient that a job may have, in bytes (a device token).
const TO_MAX: usize = 4096;

/// One request to the feedback listener, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What stands behind `?`, as it was written.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The body, as it was written.
    pub body: &'a [u8],
}

/// Why a request is turned away. For our own eyes: its sender is told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// No signature of the provider holds.
    Forged,
    /// Signed by the provider, but too long ago, or too far ahead of our clock.
    Stale,
    /// Signed by the provider, and nothing that we understand.
    Malformed(&'static str),
}

impl Turned {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Stale => "stale",
            Self::Malformed(_) => "malformed",
        }
    }
}

/// Who may speak for a provider. Prints no secret.
#[derive(Debug)]
pub enum Ear {
    /// SendGrid's event webhook.
    SendGrid(sendgrid::feedback::Feedback),
    /// Twilio's status callbacks and incoming messages.
    Twilio(twilio::feedback::Feedback),
    /// Everything else: ARF processors, push gateways, in-house mailers.
    Signed(webhook::feedback::Feedback),
}

impl Ear {
    /// SendGrid's, by the key that its settings show (base64 of a P-256 SPKI). SendGrid tries again for 24 hours and
    /// does not say whether it signs anew: with a `max_age` below that, events of an outage may be lost.
    ///
    /// # Errors
    /// When the key is none.
    pub fn sendgrid(public_key_base64: &str, max_age: Duration) -> Result<Self, String> {
        sendgrid::feedback::Feedback::new(public_key_base64, max_age).map(Self::SendGrid)
    }

    /// Twilio's, by the account's auth token (not an API key's secret) and the URL as Twilio knows it, without query:
    /// it is part of what is signed, and what the request says of its host is worth nothing.
    ///
    /// # Errors
    /// When the token is empty or the URL is not written as it travels.
    pub fn twilio(auth_token: &Secret, public_url: &str) -> Result<Self, String> {
        twilio::feedback::Feedback::new(auth_token, public_url).map(Self::Twilio)
    }

    /// Anybody's who holds `secret`: `whsec_` and base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// When the secret has another form.
    pub fn signed(secret: &Secret, max_age: Duration) -> Result<Self, String> {
        webhook::feedback::Feedback::new(secret, max_age).map(Self::Signed)
    }

    /// Verifies a request and reads its events, in their order and at most [`MAX_EVENTS`]. An event that cannot be read,
    /// or that means nothing here, is passed over.
    ///
    /// # Errors
    /// Why the whole request is turned away.
    pub fn hear(&self, call: &Call<'_>, now: Wall) -> Result<Vec<Heard>, Turned> {
        match self {
            Self::SendGrid(v) => v.hear(call, now),
            Self::Twilio(v) => v.hear(call, now),
            Self::Signed(v) => v.hear(call, now),
        }
    }
}

/// The value of a header that stands there exactly once and is text. Of two, a proxy may have read the other.
pub(super) fn header<'a>(call: &Call<'a>, name: &str) -> Result<&'a str, Turned> {
    let mut values = call.headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Turned::Forged),
    }
}

/// A time in whole seconds since 1970: exactly ten digits (2001 to 2286). With a fixed length, what stands behind a time
/// can be neither moved into it nor out of it.
pub(super) fn stamp(text: &str) -> Option<Wall> {
    let digits = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().map(|seconds: i64| Wall(seconds * 1000))
}

/// Whether a signature made at `at` still counts.
pub(super) fn fresh(at: Wall, now: Wall, max_age: Duration) -> Result<(), Turned> {
    let age = i128::from(now.0) - i128::from(at.0);
    let milliseconds = |span: Duration| i128::try_from(span.as_millis()).unwrap_or(i128::MAX);
    match age <= milliseconds(max_age) && -age <= milliseconds(MAX_AHEAD) {
        true => Ok(()),
        false => Err(Turned::Stale),
    }
}

/// An event as it was read, before anything is kept of it.
pub(super) struct Read<'a> {
    pub(super) id: &'a str,
    pub(super) happened: Happened,
    pub(super) to: &'a str,
    pub(super) channel: Channel,
    pub(super) echo: Echo,
    pub(super) at: Wall,
    pub(super) vendor_id: &'a str,
    pub(super) detail: &'a str,
}

impl Read<'_> {
    /// The event within its bounds; `None` where it has no id that can be kept, or its recipient is longer than any.
    pub(super) fn heard(self) -> Option<Heard> {
        let id = vendor_id(self.id)?;
        // Cut far behind what is kept, so that no address is cut before it is hidden.
        let words = self.detail.char_indices().nth(10 * DETAIL_MAX).map_or(self.detail, |(end, _)| &self.detail[..end]);
        (self.to.len() <= TO_MAX).then(|| Heard {
            id,
            happened: self.happened,
            to: self.to.into(),
            channel: self.channel,
            echo: self.echo,
            at: self.at,
            vendor_id: vendor_id(self.vendor_id).unwrap_or_default(),
            detail: scrub(words, DETAIL_MAX).into_boxed_str(),
        })
    }
}
