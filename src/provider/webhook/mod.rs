//! Generic webhook: one signed JSON POST per job, to the job's URL or to a fixed gateway.
//!
//! Why: the in-house push gateway, the partner's endpoint, the vendor without a folder of its own. Signed by
//! Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,…`), so receivers have
//! libraries for it; the id is the same on every attempt, so receivers can turn repeats away.
//! Must not know: where it may connect to (`wire::guard` decides).

pub(super) mod feedback;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use url::Url;

use super::throttle::{self, Throttle};
use super::{Reply, Request, generic_verdict};
use crate::job::json::Json;
use crate::job::{Content, Job, Wall};
use crate::outcome::{Code, Said, Scope, Verdict};

/// Bytes of an envelope beside what its record holds, roughly; only sizes the buffer.
const FRAME: usize = 64;

/// One webhook account: a signing key, and a fixed URL if it is a gateway.
pub struct Webhook {
    key: hmac::Key,
    gateway: Option<Url>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("gateway", &self.gateway.as_ref().map(Url::as_str)).finish_non_exhaustive()
    }
}

impl Webhook {
    /// An account that signs with `secret`: `whsec_` and base64 of 24 to 64 bytes (Standard Webhooks), and
    /// posts to `gateway` if given, else to each job's own URL.
    ///
    /// # Errors
    /// When the secret has another form, or the gateway is no URL.
    pub fn new(secret: &str, gateway: Option<String>) -> Result<Self, String> {
        let parsed = |text: String| {
            Url::parse(&text).map_err(|e| format!("`{text}` is no URL: {e}; hint: `https://` and a host"))
        };
        Ok(Self { key: key(secret)?, gateway: gateway.map(parsed).transpose()? })
    }

    /// `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body` (Standard Webhooks 1.0).
    #[must_use]
    pub fn signature(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        // Of 32 bytes: 44 characters.
        let mut signature = String::with_capacity(47);
        signature.push_str("v1,");
        STANDARD.encode_string(context.sign(), &mut signature);
        signature
    }

    /// Puts one job into a request.
    ///
    /// # Errors
    /// When a value cannot stand in an HTTP header, or the job's URL is none.
    pub fn encode(&self, job: &Job, now: Wall) -> Result<Request, Said> {
        let spec = job.spec();
        let seconds = now.0.div_euclid(1000);
        let body = match (&self.gateway, &spec.content) {
            (None, Content::Webhook(raw)) => Bytes::copy_from_slice(raw.as_bytes()),
            _ => Bytes::from(envelope(job, seconds)),
        };
        let id = message_id(job);
        let mut timestamp = itoa::Buffer::new();
        let timestamp = timestamp.format(seconds);
        let mut headers = HeaderMap::with_capacity(6 + spec.headers.len());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            const { HeaderName::from_static("webhook-signature") },
            value(self.signature(&id, timestamp, &body))?,
        );
        headers.insert(const { HeaderName::from_static("webhook-id") }, value(id)?);
        headers.insert(const { HeaderName::from_static("webhook-timestamp") }, value(timestamp.to_owned())?);
        for (name, text) in &spec.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| Said::new(Code::Invalid, &e.to_string()))?;
            headers.insert(name, value((**text).to_owned())?);
        }
        let url = match &self.gateway {
            Some(url) => url.clone(),
            None => Url::parse(&spec.to).map_err(|e| Said::new(Code::Invalid, &e.to_string()))?,
        };
        Ok(Request { url, headers, body })
    }

    /// Reads a reply: any 2xx is a yes; 404 and 410 say that this endpoint is gone.
    #[must_use]
    pub fn decode(&self, reply: &Reply, now: Wall) -> Verdict {
        if (200..300).contains(&reply.status) {
            return Verdict::Accepted { vendor_id: None };
        }
        let text = format!("HTTP {}: {}", reply.status, reply.words());
        let refused = |code| Verdict::Refused(Said::new(code, &text));
        // A gateway passes on what its vendor says. An endpoint of a job speaks plain HTTP, and for itself alone.
        let throttle = match self.gateway {
            Some(_) => throttle::any_vendor(reply, now),
            None => throttle::by_status(reply, now).map(|t| Throttle { scope: Scope::Recipient, ..t }),
        };
        if let Some(throttle) = throttle {
            return throttle.verdict(&text);
        }
        match (reply.status, &self.gateway) {
            // Without a gateway every job has its own endpoint: what one says is not the provider's word.
            (404 | 410, None) => refused(Code::BadRecipient),
            (300..=399 | 401 | 403 | 405 | 406 | 415, None) => refused(Code::Endpoint),
            (400..=499, Some(_)) => device(&reply.body).map_or_else(|| generic_verdict(reply, &text, now), refused),
            _ => generic_verdict(reply, &text, now),
        }
    }

    /// Whether each job names its own URL.
    #[must_use]
    pub fn job_names_endpoint(&self) -> bool {
        self.gateway.is_none()
    }
}

/// What a gateway receives: the job's message without the line's own fields, its content as upstream wrote it. A plain
/// webhook receives the content alone. `sent` is in whole seconds since 1970; like id, tenant, campaign and lane it comes
/// back in feedback events.
fn envelope(job: &Job, sent: i64) -> Vec<u8> {
    let spec = job.spec();
    let mut body = Vec::with_capacity(job.bytes().len() + FRAME);
    let mut json = Json(&mut body);
    json.raw(r#"{"id":"#).text(&spec.id).raw(r#","tenant":"#).text(&spec.tenant);
    if let Some(campaign) = &spec.campaign {
        json.raw(r#","campaign":"#).text(campaign);
    }
    json.raw(r#","channel":"#).text(spec.channel.as_str()).raw(r#","lane":"#).text(job.lane.as_str());
    json.raw(r#","sent":"#).number(sent).raw(r#","to":"#).text(&spec.to);
    if let Some(from) = &spec.from {
        json.raw(r#","from":"#).text(from);
    }
    json.raw(r#","content":"#).raw(spec.written).raw("}");
    body
}

/// The key in `whsec_` and base64 of 24 to 64 bytes.
fn key(secret: &str) -> Result<hmac::Key, String> {
    let bytes = secret
        .strip_prefix("whsec_")
        .and_then(|b64| STANDARD.decode(b64).ok())
        .filter(|bytes| (24..=64).contains(&bytes.len()))
        .ok_or("the signing secret is not `whsec_` and base64 of 24 to 64 bytes; hint: `echo whsec_$(openssl rand -base64 32)`")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// What a push vendor behind a gateway says of a device that takes nothing, whatever the status: it is the job's end and
/// no word about the account. FCM: `error.details[].errorCode`; APNs: `reason`. Words that a wrong project, topic or
/// environment of ours would bring for every device do not mean that this one is gone.
fn device(body: &[u8]) -> Option<Code> {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let details = body.pointer("/error/details").and_then(serde_json::Value::as_array);
    let codes = details.into_iter().flatten().filter_map(|detail| detail.get("errorCode")?.as_str());
    codes.chain(body.get("reason").and_then(serde_json::Value::as_str)).find_map(|word| match word {
        "UNREGISTERED" | "Unregistered" | "ExpiredToken" => Some(Code::RecipientGone),
        "SENDER_ID_MISMATCH" | "BadDeviceToken" | "DeviceTokenNotForTopic" => Some(Code::BadRecipient),
        _ => None,
    })
}

/// Digits of percent-encoding (RFC 3986 §2.1 recommends upper case).
const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

/// `tenant/id`, the same on every attempt; what is not printable ASCII is percent-encoded, and so are dots: the
/// signed text is divided by dots, and upstream writes the id (Standard Webhooks 1.0, signature scheme).
#[must_use]
pub fn message_id(job: &Job) -> String {
    let spec = job.spec();
    let mut out = String::with_capacity(spec.tenant.len() + 1 + spec.id.len());
    for b in spec.tenant.bytes().chain(*b"/").chain(spec.id.bytes()) {
        match b {
            b'%' | b'.' | 0..=0x20 | 0x7f.. => out.extend(['%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]),
            _ => out.push(char::from(b)),
        }
    }
    out
}

fn value(text: String) -> Result<HeaderValue, Said> {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .map_err(|_| Said::new(Code::Invalid, "a header value is not allowed in HTTP"))
}
