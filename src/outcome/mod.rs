//! What an attempt said (verdict) and what became of a job (outcome), with closed reason codes.
//!
//! Why: everything downstream of a vendor's reply, and everything upstream reads, speaks these words.
//! Must not know: vendors, Kafka, how an outcome is made durable.

pub mod cause;
pub mod letter;
pub mod record;
pub mod schema;
mod scrub;
pub mod selection;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::job::invalid;

pub use cause::Cause;
pub use scrub::scrub;

/// What one attempt said, for one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider took it. Not the same as delivered.
    Accepted {
        /// The vendor's name for the message, or for the request with all that are in it, where it gave one.
        vendor_id: Option<Arc<str>>,
    },
    /// The provider will never take this job.
    Refused(Said),
    /// Too fast. Nothing was sent.
    Throttled {
        /// How long the vendor asked us to wait, if it said.
        wait: Option<Duration>,
        /// Whom the wait binds.
        scope: Scope,
        /// What it said.
        said: Said,
    },
    /// No byte of the request reached the provider. Nothing was sent.
    FailedBeforeWrite(Said),
    /// The request was written, and then silence or a server error: it may or may not have been sent.
    Ambiguous(Said),
    /// The provider turns everything away: credentials, account, configuration. Nothing was sent.
    ProviderDown(Said),
}

impl Verdict {
    /// The label in metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused(_) => "refused",
            Self::Throttled { .. } => "throttled",
            Self::FailedBeforeWrite(_) => "failed_before_write",
            Self::Ambiguous(_) => "ambiguous",
            Self::ProviderDown(_) => "provider_down",
        }
    }

    /// Every label, for the metric catalogue.
    pub const LABELS: [&'static str; 6] =
        ["accepted", "refused", "throttled", "failed_before_write", "ambiguous", "provider_down"];

    /// What the vendor or the wire said, where it was not a plain yes.
    #[must_use]
    pub fn said(&self) -> Option<&Said> {
        match self {
            Self::Accepted { .. } => None,
            Self::Refused(said)
            | Self::Throttled { said, .. }
            | Self::FailedBeforeWrite(said)
            | Self::Ambiguous(said)
            | Self::ProviderDown(said) => Some(said),
        }
    }
}

/// Whom a throttled reply binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything sent through this provider account.
    Provider,
    /// One sender (number, service) of it.
    Sender,
    /// One recipient.
    Recipient,
}

/// A vendor's answer in our words (`code`, closed) and its own (`text`, bounded; for logs and outcomes, never
/// for decisions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Our code.
    pub code: Code,
    /// The vendor's or the system's words: at most 200 characters, no control characters, no mailbox and no phone
    /// number.
    pub text: Box<str>,
    /// Stands for the words as they came: two answers may differ only in whom they name.
    words: u64,
}

/// What is kept of a vendor's words, in characters.
const WORDS_MAX: usize = 200;

impl Said {
    /// Keeps the first 200 characters of the vendor's words, without what could forge a log line and without whom
    /// they name.
    #[must_use]
    pub fn new(code: Code, text: &str) -> Self {
        let mut words = DefaultHasher::new();
        text.hash(&mut words);
        Self { code, text: scrub(text, WORDS_MAX).into_boxed_str(), words: words.finish() }
    }

    /// Whether the vendor said the same both times, word for word.
    #[must_use]
    pub fn same_words(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

/// What a reply that is not a plain yes means, across vendors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The vendor's validation turned the job down.
    Invalid,
    /// The address, number or URL does not exist or cannot be reached.
    BadRecipient,
    /// The number or device is gone for good, whoever writes to it.
    RecipientGone,
    /// The vendor holds this recipient as unsubscribed.
    OptedOut,
    /// The sender is not allowed or not able.
    BadSender,
    /// Too large for the vendor.
    TooLarge,
    /// Too many requests or messages.
    RateLimit,
    /// The vendor's queue for this sender is full.
    QueueFull,
    /// Credentials refused.
    Credentials,
    /// The account is blocked, suspended or out of credit.
    Account,
    /// The route is not enabled for this account (region, trial).
    NotEnabled,
    /// The endpoint is not what we take it for.
    Endpoint,
    /// The server failed.
    ServerError,
    /// No answer in time.
    Timeout,
    /// The connection could not be made or broke.
    Connection,
    /// The address is not one we may connect to.
    ForbiddenAddress,
    /// An answer that makes no sense.
    Nonsense,
    /// Our own code failed on this job.
    Panicked,
}

impl Code {
    /// The code in outcomes, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "vendor_invalid",
            Self::BadRecipient => "bad_recipient",
            Self::RecipientGone => "recipient_gone",
            Self::OptedOut => "opted_out",
            Self::BadSender => "bad_sender",
            Self::TooLarge => "vendor_too_large",
            Self::RateLimit => "rate_limit",
            Self::QueueFull => "queue_full",
            Self::Credentials => "credentials",
            Self::Account => "account",
            Self::NotEnabled => "not_enabled",
            Self::Endpoint => "endpoint",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::ForbiddenAddress => "forbidden_address",
            Self::Nonsense => "nonsense",
            Self::Panicked => "panicked",
        }
    }
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The provider took it.
    Accepted,
    /// It may not or cannot be sent: our rules or the provider's.
    Refused,
    /// The recipient must not be written to.
    Suppressed,
    /// It was worthless before it could be sent.
    Expired,
    /// It could not be sent; the bytes are in the dead topic.
    Dead,
    /// It may have been sent and must not be sent again.
    Quarantined,
    /// Not the end: it goes on from another record, later.
    Deferred,
    /// The record was one too many: its id has, or gets, an outcome by another record.
    Duplicate,
    /// After the end: its vendor has told what became of a job that was quarantined.
    Resolved,
}

impl Kind {
    /// Every kind, in the order of the reports.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Refused,
        Self::Suppressed,
        Self::Expired,
        Self::Dead,
        Self::Quarantined,
        Self::Deferred,
        Self::Duplicate,
        Self::Resolved,
    ];

    /// Whether it is the end of the job.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Deferred | Self::Duplicate | Self::Resolved)
    }

    /// The word in outcomes, metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Suppressed => "suppressed",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Quarantined => "quarantined",
            Self::Deferred => "deferred",
            Self::Duplicate => "duplicate",
            Self::Resolved => "resolved",
        }
    }
}

/// Why a job's outcome is what it is. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The provider said yes.
    Accepted,
    /// The record is no job.
    Contract(invalid::Reason),
    /// `expires_at` passed.
    Expired,
    /// It has no `expires_at`, and became older than its lane allows.
    TooOld,
    /// Consent is required here and the job has none.
    NoConsent,
    /// Marketing mail without a way to leave.
    NoUnsubscribe,
    /// The sender is not allowed for the tenant.
    SenderNotAllowed,
    /// The recipient is suppressed, for this cause.
    Suppressed(Cause),
    /// No route carries this channel, tenant and lane.
    NoRoute,
    /// `send_at` is further off than anything is planned.
    SendAtTooFar,
    /// `send_at` has not come.
    SendAt,
    /// The provider that carries it has no room for it, and others wait behind it.
    ProviderBusy,
    /// Another home has all of a limit that is too small to be split, and sends it.
    Carried,
    /// What was heard of its stream's messages is too bad for now.
    Reputation,
    /// Jobs of its ordering key fill the way for others.
    KeyBusy,
    /// Another record of the same job is in flight.
    InFlight,
    /// The id came before.
    Duplicate,
    /// It is tried again later: what the last attempt said.
    Again(Code),
    /// The last permitted attempt failed: the verdict's code.
    AttemptsExhausted(Code),
    /// The provider turned it down.
    Vendor(Code),
    /// It may have been sent, and the rule for its lane and channel is never to send twice.
    MaybeSent(Code),
    /// Its vendor has told what became of it.
    Told,
}

impl Reason {
    /// The code in outcomes, dead letters and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Contract(reason) => reason.as_str(),
            Self::Expired => "expired",
            Self::TooOld => "too_old",
            Self::NoConsent => "no_consent",
            Self::NoUnsubscribe => "no_unsubscribe",
            Self::SenderNotAllowed => "sender_not_allowed",
            Self::Suppressed(cause) => cause.as_str(),
            Self::NoRoute => "no_route",
            Self::SendAtTooFar => "send_at_too_far",
            Self::SendAt => "send_at",
            Self::ProviderBusy => "provider_busy",
            Self::Carried => "carried",
            Self::Reputation => "reputation",
            Self::KeyBusy => "key_busy",
            Self::InFlight => "in_flight",
            Self::Duplicate => "duplicate",
            Self::Told => "told",
            Self::AttemptsExhausted(code) | Self::Vendor(code) | Self::MaybeSent(code) | Self::Again(code) => {
                code.as_str()
            }
        }
    }
}

/// What became of one job, before it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// The field of a record that is no job; empty otherwise.
    pub field: Box<str>,
    /// Words for a person; empty where the reason says it all.
    pub detail: Box<str>,
    /// The vendor's id, where it gave one.
    pub vendor_id: Option<Arc<str>>,
}

impl Outcome {
    /// An outcome that its kind and reason explain.
    #[must_use]
    pub fn plain(kind: Kind, reason: Reason) -> Self {
        Self { kind, reason, field: "".into(), detail: "".into(), vendor_id: None }
    }

    /// An outcome in a vendor's words.
    #[must_use]
    pub fn said(kind: Kind, reason: Reason, said: &Said) -> Self {
        Self { detail: said.text.clone(), ..Self::plain(kind, reason) }
    }

    /// The outcome of a record that is no job.
    #[must_use]
    pub fn invalid(invalid: &invalid::Invalid) -> Self {
        Self {
            field: invalid.field.as_str().into(),
            detail: invalid.detail.as_str().into(),
            ..Self::plain(Kind::Dead, Reason::Contract(invalid.reason))
        }
    }
}
