//! Vendors: for each, pure `encode` (jobs to a request), `decode` (a reply to verdicts) and `feedback` (what is told later
//! to events).
//!
//! Why: everything a vendor demands or says is known in its folder and nowhere else; retryability is decided
//! here, where the reply is read. A new provider is one folder, one arm below, one folder of golden tests.
//! Must not know: lanes, limits, retries, Kafka. `wire` moves the bytes.

mod echo;
mod feedback;
mod json;
pub mod secret;
pub mod sendgrid;
mod throttle;
pub mod twilio;
pub mod webhook;
pub mod wire;

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use url::Url;

use crate::job::{Job, Wall};
use crate::outcome::{Code, Said, Verdict};

pub use feedback::{Call, Ear, MAX_AHEAD, MAX_EVENTS, Turned};
pub use throttle::MAX_VENDOR_WAIT;

/// Most bytes of job records ([`Job::bytes`]) that the caller puts into one batch. A job's own part of a request
/// is never longer than its record plus a few hundred bytes of frame, and shared content is written once, so at
/// most 1,000 jobs within this stay below the tightest vendor limit known here (SendGrid: 30 MB a request).
pub const MAX_BATCH_BYTES: usize = 20 * 1024 * 1024;

/// One request to a vendor, ready for the wire. Always a POST.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to; of an account's own, parsed once.
    pub url: Url,
    /// All headers but those of the framing.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What came back: status, headers and the first 64 KiB of the body.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, cut at [`wire::MAX_REPLY_BYTES`].
    pub body: Bytes,
}

impl Reply {
    /// A header's value, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The beginning of the body as words for a person. Longer than what is kept of it (`Said`), so that it is not
    /// cut within a recipient's address before that is taken out.
    fn words(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body[..self.body.len().min(2048)])
    }
}

/// What a reply means for the jobs of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// The same for all of them.
    All(Verdict),
    /// Nothing was sent; these (by position, ascending) are at fault, the others may be sent again without them.
    Blame(Vec<(usize, Said)>),
    /// Nothing was sent; the request was turned down and the reply does not say which job is at fault.
    Unblamed(Said),
}

/// A job that cannot be put into this vendor's words at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unencodable {
    /// Position of the job at fault.
    pub index: usize,
    /// Why.
    pub said: Said,
}

/// One account at a vendor.
#[derive(Debug)]
pub enum Kind {
    /// Signed HTTP callbacks.
    Webhook(webhook::Webhook),
    /// SendGrid v3 mail/send.
    SendGrid(sendgrid::SendGrid),
    /// Twilio Messages.
    Twilio(twilio::Twilio),
}

impl Kind {
    /// Most jobs one request may carry.
    #[must_use]
    pub fn batch_max(&self) -> usize {
        match self {
            Self::Webhook(_) | Self::Twilio(_) => 1,
            Self::SendGrid(v) => v.batch_max(),
        }
    }

    /// Jobs with the same key may share a request. Meaningless where `batch_max` is 1.
    #[must_use]
    pub fn batch_key(&self, job: &Job) -> u64 {
        match self {
            Self::Webhook(_) | Self::Twilio(_) => 0,
            Self::SendGrid(v) => v.batch_key(job),
        }
    }

    /// Whether the request goes to an address that the job names, not the configuration.
    #[must_use]
    pub fn job_names_endpoint(&self) -> bool {
        matches!(self, Self::Webhook(v) if v.job_names_endpoint())
    }

    /// Whether a throttled reply may bind one sender alone, so that jobs of different senders must not wait for each
    /// other: at Twilio, and at a gateway, which may stand before it.
    #[must_use]
    pub fn throttles_senders(&self) -> bool {
        match self {
            Self::Webhook(v) => !v.job_names_endpoint(),
            Self::SendGrid(_) => false,
            Self::Twilio(_) => true,
        }
    }

    /// Puts jobs (1 to `batch_max`, one batch key, no address twice) into one request.
    ///
    /// # Errors
    /// The first job that cannot be said in this vendor's words.
    pub fn encode(&self, jobs: &[&Job], now: Wall) -> Result<Request, Unencodable> {
        match self {
            Self::Webhook(v) => v.encode(jobs[0], now).map_err(|said| Unencodable { index: 0, said }),
            Self::SendGrid(v) => v.encode(jobs, now),
            Self::Twilio(v) => v.encode(jobs[0], now).map_err(|said| Unencodable { index: 0, said }),
        }
    }

    /// Reads a reply to a request that carried `count` jobs.
    #[must_use]
    pub fn decode(&self, count: usize, reply: &Reply, now: Wall) -> Decoded {
        match self {
            Self::Webhook(v) => Decoded::All(v.decode(reply, now)),
            Self::SendGrid(v) => v.decode(count, reply, now),
            Self::Twilio(v) => Decoded::All(v.decode(reply, now)),
        }
    }
}

/// The absolute URL of `path` below a configured base.
fn endpoint(base_url: &str, path: &str) -> Result<Url, String> {
    let base = base_url.trim_end_matches('/');
    match crate::job::field::http_url(base) {
        Ok(()) if !base.contains(['?', '#']) => Url::parse(&format!("{base}{path}")).map_err(|e| e.to_string()),
        Ok(()) => Err(format!("base_url `{base_url}` has a query or fragment; hint: scheme, host and path only")),
        Err((_, detail)) => Err(format!("base_url is not usable: {detail}; hint: `https://` and a host")),
    }
}

/// A vendor's id as it may be kept: 1 to 128 printable ASCII characters.
fn vendor_id<T: for<'a> From<&'a str>>(id: &str) -> Option<T> {
    ((1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())).then(|| id.into())
}

/// A verdict for statuses that mean the same at every vendor, when the vendor's folder has no better reading.
#[must_use]
pub fn generic_verdict(reply: &Reply, text: &str, now: Wall) -> Verdict {
    let said = |code| Said::new(code, text);
    match reply.status {
        429 => Verdict::Throttled {
            wait: throttle::retry_after(reply, now),
            scope: crate::outcome::Scope::Provider,
            said: said(Code::RateLimit),
        },
        401 | 403 => Verdict::ProviderDown(said(Code::Credentials)),
        404 | 405 | 406 | 415 | 300..=399 => Verdict::ProviderDown(said(Code::Endpoint)),
        413 => Verdict::Refused(said(Code::TooLarge)),
        408 => Verdict::Ambiguous(said(Code::Timeout)),
        400..=499 => Verdict::Refused(said(Code::Invalid)),
        500..=599 => Verdict::Ambiguous(said(Code::ServerError)),
        _ => Verdict::Ambiguous(said(Code::Nonsense)),
    }
}
