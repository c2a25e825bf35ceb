//! The obligation that travels with a job: settled exactly once, or abandoned by name.
//!
//! Why: an obligation that can be dropped silently is a lost message. Dropping one unsettled is always
//! counted, and panics in strict test builds.
//! Must not know: what settling means (the rooms `settle` and `ledger` do).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Coordinates, Home, JobKey, Source};

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Receipts dropped without having been settled or abandoned since this process started. Anything but 0 is
/// a defect of this program.
#[must_use]
pub fn dropped_unsettled() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// What we owe for one record: its place, and the ownership period under which it was read.
#[must_use = "a receipt must be settled or abandoned by name"]
pub struct Receipt {
    source: Coordinates,
    epoch: u32,
    seq: u64,
    bytes: u32,
    /// The job it is for, once that is known: a record that is no job has none.
    job: Option<(JobKey, u16)>,
    live: bool,
}

/// What a durable outcome means for its job, beyond the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has its terminal outcome.
    Terminal,
    /// It goes on as a record of that source, at that offset; `None` where that is not known, no longer matters, or
    /// lies in another home.
    Deferred(Option<(Source, i64)>),
    /// The record was one too many: the job has or gets its outcome by another.
    Repeat,
}

/// A receipt whose outcome is durable, on its way back to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The record whose obligation is met.
    pub source: Coordinates,
    /// Ownership period it was read in.
    pub epoch: u32,
    /// Delivery sequence within its source.
    pub seq: u64,
    /// Size of its record.
    pub bytes: u32,
    /// Offset of its outcome in `outcomes[home]`.
    pub outcome_offset: i64,
    /// The job it was for, and how often that had been deferred.
    pub job: Option<(JobKey, u16)>,
    /// What it means for the job.
    pub end: End,
}

/// A receipt given back unmet: the record stays uncommitted and its next owner reads it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// The record that was not dealt with.
    pub source: Coordinates,
    /// Ownership period it was read in.
    pub epoch: u32,
    /// Size of its record.
    pub bytes: u32,
    /// Why.
    pub why: Why,
}

/// The only reasons to give a receipt back unmet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The home goes to, or already belongs to, another owner.
    Revoked,
    /// The daemon drains.
    Shutdown,
    /// The home was stopped because its outcomes cannot be written.
    HomeStopped,
}

impl Receipt {
    /// A new obligation. `seq` is the ledger's delivery sequence for that source, `bytes` the record's size.
    pub fn new(source: Coordinates, epoch: u32, seq: u64, bytes: u32) -> Self {
        Self { source, epoch, seq, bytes, job: None, live: true }
    }

    /// The record it stands for.
    #[must_use]
    pub fn source(&self) -> Coordinates {
        self.source
    }

    /// The ownership period it was issued in.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Says which job it is for, and how often that was deferred.
    pub fn name(&mut self, job: JobKey, hop: u16) {
        self.job = Some((job, hop));
    }

    /// Its outcome is durable at `outcome_offset`.
    #[must_use]
    pub fn settle(mut self, outcome_offset: i64, end: End) -> Settled {
        self.live = false;
        let Self { source, epoch, seq, bytes, job, .. } = self;
        Settled { source, epoch, seq, bytes, outcome_offset, job, end }
    }

    /// Gives it back unmet.
    #[must_use]
    pub fn abandon(mut self, why: Why) -> Abandoned {
        self.live = false;
        Abandoned { source: self.source, epoch: self.epoch, bytes: self.bytes, why }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Coordinates { from, home, offset } = self.source;
        write!(f, "{from}/{home}@{offset} epoch {}", self.epoch)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.live {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            assert!(
                !cfg!(feature = "strict") || std::thread::panicking(),
                "receipt dropped unsettled: {self:?}; settle it or abandon it by name"
            );
        }
    }
}

/// What goes back to the ledgers' owner.
#[derive(Debug)]
pub enum Back {
    /// Durable.
    Settled(Settled),
    /// Given back unmet.
    Abandoned(Abandoned),
    /// The broker refuses this home's records for good: it must stop.
    HomeRefused {
        /// The home.
        home: Home,
        /// The ownership period in which it was refused.
        epoch: u32,
        /// What the broker said, and what to do.
        error: String,
    },
}
