//! What intake hands to a shard, and which shard gets which job.
//!
//! Why: jobs of one ordering key, or else of one recipient, meet in one place, so order and per-recipient
//! rules need no lock.
//! Must not know: what a shard does with it.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::job::receipt::Why;
use crate::job::{Home, Job, Malformed, Receipt, Source, Spec};

/// A message to a shard.
#[derive(Debug)]
pub enum ToShard {
    /// New jobs.
    Jobs(Vec<Job>),
    /// Records from which nothing is sent now, to be settled as such.
    Turned(Vec<Turned>),
    /// As much of this source is in memory as may be, so jobs behind it wait: put aside what cannot go soon.
    Crowded {
        /// The home.
        home: Home,
        /// Its source.
        source: Source,
    },
    /// Give back every job of this home that is not at a provider now.
    Purge {
        /// The home.
        home: Home,
        /// The last ownership period that is meant; later jobs stay.
        epoch: u32,
        /// Why.
        why: Why,
    },
}

/// A record from which nothing is sent now.
#[derive(Debug)]
pub enum Turned {
    /// It is no job.
    Malformed(Box<Malformed>),
    /// Its id came before.
    Repeat(Job),
    /// Another record of the same job is in flight: this one comes back later.
    NotYet(Job),
}

impl Turned {
    /// What it owes.
    pub fn receipt(&self) -> &Receipt {
        match self {
            Self::Malformed(malformed) => &malformed.incoming.receipt,
            Self::Repeat(job) | Self::NotYet(job) => &job.receipt,
        }
    }

    /// Gives up the record and keeps what it owes.
    pub fn into_receipt(self) -> Receipt {
        match self {
            Self::Malformed(malformed) => malformed.incoming.receipt,
            Self::Repeat(job) | Self::NotYet(job) => job.into_receipt(),
        }
    }
}

/// The shard of a job, of `shards`. The same in every run.
#[must_use]
pub fn shard_of(spec: &Spec<'_>, shards: usize) -> usize {
    // Asked for every job.
    if shards < 2 {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    match &spec.ordering_key {
        Some(key) => key.hash(&mut hasher),
        None => spec.to.hash(&mut hasher),
    }
    let shards = u64::try_from(shards).unwrap_or(u64::MAX);
    usize::try_from(hasher.finish() % shards).unwrap_or(0)
}
