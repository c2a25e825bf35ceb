//! What is known of a recipient: who must not be written to.
//!
//! Why: an address is looked up for every message, and must not lie about in topics and logs; so it is known here by a
//! keyed hash alone. Who cannot say that the table is whole says so, and nothing is sent: one message too many to
//! somebody who has left costs more than a minute's wait of all others.
//! Must not know: what a message says, when it goes, providers.

pub mod address;
pub mod feed;
pub mod follow;
pub mod mailbox;
pub mod reader;
pub mod suppression;
pub mod table;
pub mod writer;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::job::{Channel, Lane};
use crate::outcome::Cause;

use address::{Hashed, Keyer};
use table::Table;

/// Where suppressions lie, and how they are read.
#[derive(Clone)]
pub struct Config {
    /// librdkafka properties common to every client (brokers, TLS, SASL). Never printed: passwords are in them.
    pub client: Vec<(String, String)>,
    /// Consumer group, which brokers' access rules may name; nothing is joined or committed.
    pub group: String,
    /// The suppressions topic.
    pub topic: String,
    /// The secret of the hashes, or why there is none: only who hashes needs it.
    pub keyer: Result<Keyer, String>,
    /// Nothing is sent when what was in the topic so long ago may not all be known.
    pub max_stale: Duration,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("topic", &self.topic).field("max_stale", &self.max_stale).finish_non_exhaustive()
    }
}

/// What is known of recipients, and since when. Shared by who reads the topic and all who ask.
#[derive(Debug)]
pub struct Recipients {
    keyer: Keyer,
    table: Table,
    max_stale: Duration,
    origin: Instant,
    /// In nanoseconds since `origin`: the last moment whose suppressions are all known. 0: there was none.
    fresh: AtomicU64,
}

impl Recipients {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(keyer: Keyer, max_stale: Duration, now: Instant) -> Self {
        Self { keyer, table: Table::default(), max_stale, origin: now, fresh: AtomicU64::new(0) }
    }

    /// Who is suppressed.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The keyed hash of a recipient.
    #[must_use]
    pub fn hash(&self, channel: Channel, to: &str) -> Hashed {
        self.keyer.hash(channel, to)
    }

    /// Why this must not be sent, if so. Means something only while the table [is open](Self::open).
    #[must_use]
    pub fn suppressed(&self, recipient: Hashed, tenant: &str, lane: Lane) -> Option<Cause> {
        self.table.find(recipient, tenant, lane)
    }

    /// Everything that was in the topic at `since` is in the table.
    pub fn fresh(&self, since: Instant) {
        self.fresh.fetch_max(self.nanos(since).max(1), Ordering::AcqRel);
    }

    /// For how long what was said may have been missed. `None`: not all of it has been read even once.
    #[must_use]
    pub fn stale(&self, now: Instant) -> Option<Duration> {
        match self.fresh.load(Ordering::Acquire) {
            0 => None,
            fresh => Some(Duration::from_nanos(self.nanos(now).saturating_sub(fresh))),
        }
    }

    /// Whether the table is whole and fresh, so that anything may be sent.
    #[must_use]
    pub fn open(&self, now: Instant) -> bool {
        self.stale(now).is_some_and(|stale| stale <= self.max_stale)
    }

    /// Why nothing is sent now, for people.
    #[must_use]
    pub fn fault(&self, now: Instant) -> Option<String> {
        match self.stale(now) {
            None => Some(format!(
                "suppressions are being read, {} so far: nothing is sent before all are known; is Kafka reachable?",
                self.table.len()
            )),
            Some(stale) if stale > self.max_stale => Some(format!(
                "suppressions were last heard {} s ago: nothing is sent; is every partition of the suppressions topic \
                 reachable?",
                stale.as_secs()
            )),
            Some(_) => None,
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}
