//! What we were asked to send: the send job, its lane and channel, where it came from, and the receipt that
//! says what we owe for it.
//!
//! Why a room of its own: every other room speaks of jobs, so these words must lean on nothing.
//! Must not know: any other room, I/O, clocks, Kafka clients, vendors.

pub mod digest;
pub mod field;
pub mod headers;
pub mod invalid;
pub mod json;
mod member;
pub mod parse;
pub mod receipt;
mod scan;
pub mod schema;
pub mod source;
pub mod spec;
pub mod topic;
pub mod trip;

use std::fmt;

use self_cell::self_cell;

pub use invalid::Invalid;
pub use parse::MAX_JOB_BYTES;
pub use receipt::{Abandoned, Receipt};
pub use source::Source;
pub use spec::{Content, Spec, Text, Unsubscribe};
pub use trip::JobKey;

/// How a message travels. The contract's `channel` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Electronic mail; `to` is a mailbox.
    Email,
    /// Text message; `to` is an E.164 number.
    Sms,
    /// Mobile push; `to` is a device token.
    Push,
    /// HTTP callback; `to` is an http(s) URL.
    Webhook,
}

impl Channel {
    /// Every channel, in the contract's order.
    pub const ALL: [Self; 4] = [Self::Email, Self::Sms, Self::Push, Self::Webhook];

    /// The word used in jobs, configuration, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Push => "push",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A priority class with a topic of its own. A job's lane is its topic's; the job cannot choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// What a person waits for: password resets, receipts, codes.
    Transactional,
    /// What a campaign sends.
    Marketing,
}

impl Lane {
    /// Every lane, the more urgent first.
    pub const ALL: [Self; 2] = [Self::Transactional, Self::Marketing];

    /// Position in [`Lane::ALL`], for tables indexed by lane.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word used in topics, configuration, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Marketing => "marketing",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Lane {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == s)
            .ok_or_else(|| format!("unknown lane `{s}`; hint: the lanes are `transactional` and `marketing`"))
    }
}

/// A point in wall time: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A partition that one instance owns as a whole, across every topic of the line.
pub type Home = u16;

/// Where a record lies: its topic, partition (its home) and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinates {
    /// The topic.
    pub from: Source,
    /// The partition.
    pub home: Home,
    /// The record's offset.
    pub offset: i64,
}

self_cell!(
    /// The record's bytes together with the fields that borrow from them.
    struct Parsed {
        owner: Box<[u8]>,

        #[covariant]
        dependent: Spec,
    }
);

/// A record's Kafka headers, kept for its dead letter.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// One record as it was read, with what we owe for it.
#[derive(Debug)]
pub struct Incoming {
    /// Its value.
    pub bytes: Box<[u8]>,
    /// Its Kafka headers.
    pub headers: Headers,
    /// Its broker timestamp; for a deferred job that of its origin.
    pub enqueued: Wall,
    /// The job's lane.
    pub lane: Lane,
    /// How it came here.
    pub way: Way,
    /// What we owe.
    pub receipt: Receipt,
}

/// What the line remembers of a job beyond its record. A job that comes from its lane has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The record that asked for the send, if it is not the one that was read.
    pub origin: Option<(Home, i64)>,
    /// How often it was deferred.
    pub hop: u16,
    /// How often it was redriven.
    pub generation: u16,
    /// Requests made on its behalf so far.
    pub attempts: u16,
    /// Those of them that count against the limit of attempts.
    pub failures: u16,
    /// Whether its last attempt may have been sent.
    pub unsure: bool,
    /// What the last attempt said: our code.
    pub last_error: Option<Box<str>>,
    /// The provider that it was sent to, by its number, where its route has several.
    pub provider: Option<u16>,
}

/// A record that is no job. It is owed an outcome like any other.
#[derive(Debug)]
pub struct Malformed {
    /// The record.
    pub incoming: Incoming,
    /// Why it is none.
    pub invalid: Invalid,
}

/// One valid send job with what the line must remember about it. Owns its receipt: whoever owns the job owes
/// its outcome.
pub struct Job {
    parsed: Parsed,
    /// The lane it arrived in.
    pub lane: Lane,
    /// Broker timestamp of its record.
    pub enqueued: Wall,
    /// Its record's Kafka headers.
    pub headers: Headers,
    /// How it came here, and what was tried.
    pub way: Way,
    /// What we owe.
    pub receipt: Receipt,
    /// The keyed hash of its recipient, once somebody has reckoned it; opaque here.
    pub recipient: Option<[u8; 16]>,
}

impl Job {
    /// Checks one record against the job contract.
    ///
    /// # Errors
    /// The record comes back with the reason, so that it can become a dead letter.
    pub fn parse(record: Incoming) -> Result<Self, Box<Malformed>> {
        let Incoming { bytes, headers, enqueued, lane, way, receipt } = record;
        match Parsed::try_new_or_recover(bytes, |bytes| parse::parse(bytes)) {
            Ok(parsed) => Ok(Self { parsed, lane, enqueued, headers, way, receipt, recipient: None }),
            Err((bytes, invalid)) => Err(Box::new(Malformed {
                incoming: Incoming { bytes, headers, enqueued, lane, way, receipt },
                invalid,
            })),
        }
    }

    /// What upstream asked for.
    #[must_use]
    pub fn spec(&self) -> &Spec<'_> {
        self.parsed.borrow_dependent()
    }

    /// What stands for it: tenant, id and generation.
    #[must_use]
    pub fn key(&self) -> JobKey {
        JobKey::new(&self.spec().tenant, &self.spec().id, self.way.generation)
    }

    /// The record as it was read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.parsed.borrow_owner()
    }

    /// Gives up the job and keeps what it owes.
    pub fn into_receipt(self) -> Receipt {
        self.receipt
    }
}

impl fmt::Debug for Job {
    /// Says which job, never to whom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = self.spec();
        write!(f, "Job({}/{} {} {:?})", &*spec.tenant, &*spec.id, spec.channel, self.receipt)
    }
}
