//! What a deferred job remembers of its way: where it began, how often it was deferred, what was tried.
//!
//! Why: the record in a delay tier or a hold is the job's own bytes, so all that the line has learnt about it
//! travels beside them, in one header.
//! Must not know: who defers, or why.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The header that carries the trip. Headers with [`OURS`] in front are ours: upstream's are passed over.
pub const HEADER: &str = "peakpost-trip";

/// What the names of our own headers begin with.
pub const OURS: &str = "peakpost-";

/// A record's place in Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place<'a> {
    /// Full topic name.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Partition.
    pub partition: u16,
    /// Offset.
    pub offset: i64,
}

/// One deferred job's way so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip<'a> {
    /// The job's tenant and id: known before the record is parsed.
    #[serde(borrow)]
    pub tenant: Cow<'a, str>,
    /// See `tenant`.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The record in a jobs topic that asked for the send.
    #[serde(borrow)]
    pub origin: Place<'a>,
    /// How often it was deferred, this time included.
    pub hop: u16,
    /// How often it was redriven.
    #[serde(default)]
    pub generation: u16,
    /// Requests made on its behalf.
    #[serde(default)]
    pub attempts: u16,
    /// Those of them that count against the limit of attempts.
    #[serde(default)]
    pub failures: u16,
    /// Whether its last attempt may have been sent: sending it again is a retry in the retry budget's sense.
    #[serde(default)]
    pub unsure: bool,
    /// Broker timestamp of the origin: milliseconds since 1970-01-01 UTC.
    pub first_seen_ms: i64,
    /// Not to be looked at before this, in the same unit. 0 in a hold.
    #[serde(default)]
    pub due_ms: i64,
    /// What the last attempt said: our code.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub last_error: Cow<'a, str>,
    /// The provider that it was sent to, where its route has several.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub provider: Cow<'a, str>,
}

/// Stands for (tenant, id, generation): one message that is sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobKey(Digest);

impl JobKey {
    /// The key of a job. Means nothing outside this process.
    #[must_use]
    pub fn new(tenant: &str, id: &str, generation: u16) -> Self {
        Self(Digest::of((tenant, id, generation)))
    }
}
