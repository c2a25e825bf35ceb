//! The outcome record: what became of one job, as it stands in the outcomes topic.
//!
//! Why: upstream reads it, and a restart reads it too; it carries both the record that asked for the send
//! (origin) and the record whose obligation it settles (source).
//! Must not know: how it is produced.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The version written into every record.
pub const VERSION: u8 = 1;

pub use crate::job::trip::Place;

/// One outcome. Absent fields are left out, never `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record<'a> {
    /// Contract version: 1.
    pub v: u8,
    /// The word of its [`Kind`](super::Kind).
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    /// Why, from a closed list.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// The field at fault, for records that are no jobs.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub field: Cow<'a, str>,
    /// Words for a person.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'a, str>,
    /// The job's id; absent for records that are no jobs.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub id: Cow<'a, str>,
    /// The job's tenant.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub tenant: Cow<'a, str>,
    /// The job's campaign.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub campaign: Cow<'a, str>,
    /// The job's channel.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub channel: Cow<'a, str>,
    /// The lane.
    #[serde(borrow)]
    pub lane: Cow<'a, str>,
    /// The provider that had the last word; absent when none was asked.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub provider: Cow<'a, str>,
    /// The vendor's id for the message or the request.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub vendor_id: Cow<'a, str>,
    /// What its vendor told of it: a word of the events' `happened`.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub happened: Cow<'a, str>,
    /// The event that told it.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub event: Cow<'a, str>,
    /// Requests made on the job's behalf.
    pub attempts: u16,
    /// When it was decided: milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// When the job was enqueued (broker timestamp), in the same unit.
    pub enqueued_ms: i64,
    /// The record that asked for the send.
    #[serde(borrow)]
    pub origin: Place<'a>,
    /// The record whose obligation this settles.
    #[serde(borrow)]
    pub source: Place<'a>,
    /// How often the job was deferred before.
    pub hop: u16,
    /// How often it was redriven.
    pub generation: u16,
    /// It came after the home had gone to another owner: that owner's outcome counts, this one only tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}
