//! What a run left behind, as plain values.
//!
//! Why: a check over values can be fed a wrong run, which no broker would make on demand.
//! Must not know: where the values came from.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use peakpost::sim::arrivals::Seen;
use peakpost::sim::load::{Expect, Generated};

/// Outcomes with which a job has ended. `deferred` goes on; `duplicate` ends a record, not a job.
pub const TERMINAL: [&str; 6] = ["accepted", "refused", "suppressed", "expired", "dead", "quarantined"];

/// A record's place.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub topic: Arc<str>,
    pub home: u16,
    pub offset: i64,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.home, self.offset)
    }
}

/// A record of a topic from which jobs are read: jobs, delay, hold.
#[derive(Clone, Debug)]
pub struct Asked {
    pub place: Place,
    /// `tenant/id` by its own words; empty when it has none.
    pub key: Box<str>,
}

/// A record of the outcomes topic.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Its own offset, in the partition of its source's home.
    pub offset: i64,
    pub home: u16,
    /// The broker's timestamp, or the producer's where the broker keeps that.
    pub stamped_ms: i64,
    pub kind: Box<str>,
    pub reason: Box<str>,
    /// `tenant/id`; empty for a record that is no job.
    pub key: Box<str>,
    pub generation: u16,
    pub late: bool,
    pub origin: Place,
    pub source: Place,
}

impl Ending {
    /// Whether it ends its job.
    pub fn is_terminal(&self) -> bool {
        TERMINAL.contains(&&*self.kind)
    }
}

/// A record of the dead topic.
#[derive(Clone, Debug)]
pub struct Letter {
    /// `topic/partition/offset` of the record that asked for the send.
    pub origin: String,
    pub reason: Box<str>,
}

/// What the group had committed when somebody looked.
#[derive(Clone, Debug)]
pub struct Commit {
    /// When it was seen: milliseconds since 1970.
    pub at_ms: i64,
    pub topic: Arc<str>,
    pub home: u16,
    pub next: i64,
    /// The end of this home's outcomes, asked for after the commit was seen: what had to be durable by then.
    pub outcomes_end: Option<i64>,
}

/// Everything that was read of a run.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    pub asked: Vec<Asked>,
    pub endings: Vec<Ending>,
    pub letters: Vec<Letter>,
    /// In the order in which they were seen.
    pub commits: Vec<Commit>,
    /// What was trimmed before it was read, or could not be read.
    pub unread: Vec<String>,
}

impl Dump {
    /// The outcomes that count: all that are not late; of a record that has only late ones, the first. The next owner
    /// has read it then, and let the record be.
    pub fn counting(&self) -> impl Iterator<Item = &Ending> {
        let mut settled: HashSet<&Place> = self.endings.iter().filter(|e| !e.late).map(|e| &e.source).collect();
        self.endings.iter().filter(move |e| !e.late || settled.insert(&e.source))
    }

    /// Records that are no jobs, by the reason of their outcome.
    pub fn invalid(&self) -> HashMap<Box<str>, u64> {
        let mut invalid = HashMap::new();
        for ending in self.counting().filter(|e| e.key.is_empty() && e.is_terminal()) {
            *invalid.entry(ending.reason.clone()).or_default() += 1;
        }
        invalid
    }
}

/// Jobs by `tenant/id` with the end they must come to.
#[derive(Clone, Debug, Default)]
pub struct Expected(pub HashMap<String, Expect>);

impl Expected {
    pub fn of<'j>(jobs: impl IntoIterator<Item = &'j Generated>) -> Self {
        let mut all = Self::default();
        all.add(jobs);
        all
    }

    /// Records that are no jobs have no name to be found by; they are left out.
    pub fn add<'j>(&mut self, jobs: impl IntoIterator<Item = &'j Generated>) {
        let good = |job: &&Generated| !matches!(job.expect, Expect::Dead { .. });
        let entry = |job: &Generated| (format!("{}/{}", job.tenant, job.id), job.expect);
        self.0.extend(jobs.into_iter().filter(good).map(entry));
    }
}

/// A run: what was asked for, what was written, what arrived.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub expected: Expected,
    pub dump: Dump,
    pub seen: Seen,
}
