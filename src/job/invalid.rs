//! Why a record is no job: closed reasons, the field at fault, one sentence.
//!
//! Why: these words reach upstream in outcomes and dead letters, so they change only with the contract.
//! Must not know: how the faults are found (`parse`, `field`).

use std::fmt;

/// Why a record is no job. Closed; the words are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The record is larger than 256 KiB.
    TooLarge,
    /// The record has no value.
    NoValue,
    /// Not JSON (RFC 8259), or not UTF-8.
    NotJson,
    /// JSON, but not one object.
    NotAnObject,
    /// A field the contract does not have.
    UnknownField,
    /// A field given twice.
    DuplicateField,
    /// A field that must be there is not.
    MissingField,
    /// A field has another JSON type than the contract's.
    WrongType,
    /// An empty text where there must be one.
    Empty,
    /// A text is over its limit.
    TooLong,
    /// More entries than allowed.
    TooMany,
    /// Control or bidi characters where a header could be forged.
    UnsafeText,
    /// Not a label or token.
    BadToken,
    /// Not a mailbox.
    BadMailbox,
    /// Not a phone number or SMS sender.
    BadPhone,
    /// Not an allowed URL.
    BadUrl,
    /// Not an RFC 3339 time.
    BadTime,
    /// Not a known channel.
    BadChannel,
    /// A header that may not be set.
    BadHeader,
    /// A field that means nothing for this channel.
    NotForChannel,
    /// A record in a tier or hold that peakpost did not write.
    BadTrip,
}

impl Reason {
    /// The code in dead letters, outcomes and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NoValue => "no_value",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::UnknownField => "unknown_field",
            Self::DuplicateField => "duplicate_field",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::UnsafeText => "unsafe_text",
            Self::BadToken => "bad_token",
            Self::BadMailbox => "bad_mailbox",
            Self::BadPhone => "bad_phone",
            Self::BadUrl => "bad_url",
            Self::BadTime => "bad_time",
            Self::BadChannel => "bad_channel",
            Self::BadHeader => "bad_header",
            Self::NotForChannel => "not_for_channel",
            Self::BadTrip => "bad_trip",
        }
    }
}

/// Why a record is no job, in which field, and what was seen (never the recipient's address).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The closed code.
    pub reason: Reason,
    /// The field, in dotted form; empty when it is the record as a whole.
    pub field: String,
    /// One sentence for a person.
    pub detail: String,
}

impl Invalid {
    /// Names one fault. An empty `field` is the record as a whole.
    pub fn new(reason: Reason, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason, field: field.into(), detail: detail.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "{}: {}", self.reason.as_str(), self.detail),
            field => write!(f, "{} in `{field}`: {}", self.reason.as_str(), self.detail),
        }
    }
}
