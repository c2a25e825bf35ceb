//! What a vendor says of a message later: the feedback event, and the echo by which it names the message.
//!
//! Why: vendors speak many dialects and repeat themselves; everything behind the listener speaks this one. An event
//! carries all that anybody asks of it, because there is no table of what was sent to look it up in.
//! Must not know: vendors' words (provider), who listens, Kafka clients.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::job::{Channel, Lane, Wall};

/// The version written into every record.
pub const VERSION: u8 = 1;

/// JSON Schema (draft 2020-12) of an event record.
pub const SCHEMA: &str = include_str!("event.schema.json");

/// The names under which a send carries its echo (custom arguments, tags, the query of a callback).
pub mod echo {
    /// The job's id.
    pub const ID: &str = "peakpost_id";
    /// The job's tenant.
    pub const TENANT: &str = "peakpost_tenant";
    /// The job's campaign; left out where it has none.
    pub const CAMPAIGN: &str = "peakpost_campaign";
    /// The lane's word.
    pub const LANE: &str = "peakpost_lane";
    /// When it was sent, in whole seconds since 1970: what its cohort is told by.
    pub const SENT: &str = "peakpost_sent";
}

/// Which send a vendor speaks of, as the send itself told the vendor. Absent parts were not echoed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The job's id; empty: unknown.
    pub id: Box<str>,
    /// The job's tenant; empty: unknown.
    pub tenant: Box<str>,
    /// The job's campaign; empty: none.
    pub campaign: Box<str>,
    /// The lane it was sent in.
    pub lane: Option<Lane>,
    /// When it was sent.
    pub sent: Option<Wall>,
}

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It arrived.
    Delivered,
    /// The address does not exist or takes nothing for good.
    BouncedHard,
    /// It did not arrive this time: mailbox full, device away.
    BouncedSoft,
    /// The receiving side turned it down for what it is or where it comes from; not the address's fault.
    BouncedBlocked,
    /// Its recipient called it spam.
    Complained,
    /// Its recipient wants no more of the kind.
    Unsubscribed,
    /// The vendor did not send it: the recipient is on the vendor's own list.
    VendorSuppressed,
    /// It was opened, or a machine opened it.
    Opened,
    /// A link in it was followed.
    Clicked,
}

impl Happened {
    /// Every kind, in the order of the docs.
    pub const ALL: [Self; 9] = [
        Self::Delivered,
        Self::BouncedHard,
        Self::BouncedSoft,
        Self::BouncedBlocked,
        Self::Complained,
        Self::Unsubscribed,
        Self::VendorSuppressed,
        Self::Opened,
        Self::Clicked,
    ];

    /// The word in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::BouncedHard => "bounced_hard",
            Self::BouncedSoft => "bounced_soft",
            Self::BouncedBlocked => "bounced_blocked",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
            Self::VendorSuppressed => "vendor_suppressed",
            Self::Opened => "opened",
            Self::Clicked => "clicked",
        }
    }
}

/// One event as a vendor's webhook told it, read and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The vendor's id of the event: the same when it is told again.
    pub id: Box<str>,
    /// What happened.
    pub happened: Happened,
    /// The recipient's address, number or token, as the vendor wrote it; empty: not told.
    pub to: Box<str>,
    /// How the message travelled.
    pub channel: Channel,
    /// Which send it was.
    pub echo: Echo,
    /// When it happened, by the vendor's clock.
    pub at: Wall,
    /// The vendor's id of the message; empty: not told.
    pub vendor_id: Box<str>,
    /// The vendor's code or first words, at most 200 characters, without addresses; empty: not told.
    pub detail: Box<str>,
}

/// The key of a record among the events: its recipient, so that all that is told of one lies in one partition; where the
/// recipient is not told, the event.
#[must_use]
pub fn key<'a>(recipient: &'a str, event: &'a str) -> &'a str {
    if recipient.is_empty() { event } else { recipient }
}

/// One event as it stands in the events topic. Absent fields are left out, never `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Contract version: 1. Fields that are not known here are a later version's and passed over.
    pub v: u8,
    /// The provider's name and the vendor's id of the event, the same when it is told again: `<provider>/<id>`.
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    /// What happened.
    pub happened: Happened,
    /// The provider's name in the configuration.
    #[serde(borrow)]
    pub provider: Cow<'a, str>,
    /// How the message travelled.
    pub channel: Channel,
    /// The keyed hash of the normalised recipient, in hex; never the address itself. The record's key; where there is none,
    /// `event` is.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub recipient: Cow<'a, str>,
    /// The mailbox provider's name in the configuration: `gmail`, …, `other`; empty for other channels than email.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub mailbox: Cow<'a, str>,
    /// The job's id.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub id: Cow<'a, str>,
    /// The job's tenant.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub tenant: Cow<'a, str>,
    /// The job's campaign.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub campaign: Cow<'a, str>,
    /// The lane it was sent in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    /// When it was sent: milliseconds since 1970-01-01 UTC, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<i64>,
    /// When it happened, by the vendor's clock, in the same unit.
    pub at_ms: i64,
    /// When it was heard, in the same unit.
    pub heard_ms: i64,
    /// The vendor's id of the message.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub vendor_id: Cow<'a, str>,
    /// The vendor's code or words.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'a, str>,
}
