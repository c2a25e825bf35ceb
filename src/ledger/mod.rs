//! One home's obligations: what is in flight, and what may be committed.
//!
//! Why: the committed offset of a source is that of its oldest job without a durable outcome. Nothing else may
//! feed it: not the highest offset seen, not what was sent. Entries are tracked by delivery sequence, so gaps
//! in offsets (compaction, transaction markers) do not exist for it.
//! Must not know: Kafka clients, time, what a job says.

pub mod ownership;

use std::collections::{BTreeMap, VecDeque};

use crate::job::receipt::{Abandoned, Settled};
use crate::job::{Coordinates, Home, Lane, Receipt};

/// Marks an entry whose outcome is not durable yet.
const PENDING: i64 = -1;

/// What one home owes, for one ownership period.
#[derive(Debug)]
pub struct Ledger {
    home: Home,
    epoch: u32,
    sources: [Source; 2],
    /// Offset after the last outcome acknowledged to this owner in this home; at assignment, the end of the
    /// outcomes partition.
    outcomes_end: i64,
}

/// One source partition: its undurable and not yet committable deliveries, oldest first.
#[derive(Debug)]
struct Source {
    entries: VecDeque<Entry>,
    /// Delivery sequence of the front entry.
    base_seq: u64,
    /// Offset to commit when nothing is outstanding: one past the last delivered record.
    next: i64,
    /// Records not read again yet whose outcome an earlier owner made durable: offset to outcome offset.
    done_before: BTreeMap<i64, i64>,
    /// Receipts that are out and will come back.
    out: usize,
    /// The size of their records, in bytes.
    out_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    /// Offset of its outcome, or [`PENDING`].
    outcome: i64,
}

/// What may be committed for one source partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The lane whose jobs topic it is.
    pub lane: Lane,
    /// The next offset to read.
    pub next: i64,
    /// The smallest outcome offset among the jobs settled above `next`; if there are none, the offset after
    /// the last outcome acknowledged. A restart reads outcomes from here on.
    pub outcomes_from: i64,
}

/// What a returned receipt did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// It was counted.
    Counted,
    /// It belongs to an earlier ownership period, or is not outstanding: no effect.
    Stale,
}

impl Ledger {
    /// A fresh ownership period. `next` is where each lane starts reading; `outcomes_end` the end of the home's
    /// outcomes partition.
    #[must_use]
    pub fn new(home: Home, epoch: u32, next: [i64; 2], outcomes_end: i64) -> Self {
        let sources = next.map(|next| Source {
            entries: VecDeque::new(),
            base_seq: 0,
            next,
            done_before: BTreeMap::new(),
            out: 0,
            out_bytes: 0,
        });
        Self { home, epoch, sources, outcomes_end }
    }

    /// Whose obligations these are.
    #[must_use]
    pub fn home(&self) -> Home {
        self.home
    }

    /// The ownership period.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// An earlier owner made this record's outcome durable. Said before the record is read; what lies below the
    /// start is committed and of no interest.
    pub fn done_before(&mut self, lane: Lane, offset: i64, outcome_offset: i64) {
        let source = &mut self.sources[lane.index()];
        if offset >= source.next {
            source.done_before.insert(offset, outcome_offset);
        }
    }

    /// A record was read: from now on it is owed. `None` when an earlier owner has met that obligation.
    pub fn deliver(&mut self, lane: Lane, offset: i64, bytes: u32) -> Option<Receipt> {
        let source = &mut self.sources[lane.index()];
        debug_assert!(offset >= source.next, "records arrive in log order");
        let seq = source.base_seq + source.entries.len() as u64;
        source.next = offset + 1;
        // What is gone from the log (retention, compaction) will not be read again.
        while source.done_before.first_key_value().is_some_and(|(&gone, _)| gone < offset) {
            source.done_before.pop_first();
        }
        if let Some(outcome) = source.done_before.remove(&offset) {
            source.entries.push_back(Entry { offset, outcome });
            source.pop_done();
            return None;
        }
        source.entries.push_back(Entry { offset, outcome: PENDING });
        source.out += 1;
        source.out_bytes += bytes as usize;
        Some(Receipt::new(Coordinates { lane, home: self.home, offset }, self.epoch, seq, bytes))
    }

    /// A job's outcome is durable.
    pub fn settle(&mut self, settled: &Settled) -> Returned {
        if settled.epoch != self.epoch || settled.source.home != self.home {
            return Returned::Stale;
        }
        let source = &mut self.sources[settled.source.lane.index()];
        let Some(index) = settled.seq.checked_sub(source.base_seq).and_then(|i| usize::try_from(i).ok()) else {
            return Returned::Stale;
        };
        match source.entries.get_mut(index) {
            Some(entry) if entry.outcome == PENDING => entry.outcome = settled.outcome_offset,
            _ => return Returned::Stale,
        }
        source.out -= 1;
        source.out_bytes -= settled.bytes as usize;
        source.pop_done();
        self.outcomes_end = self.outcomes_end.max(settled.outcome_offset + 1);
        Returned::Counted
    }

    /// A job was given back unmet: it stays owed to the next owner, but nobody here works on it.
    pub fn abandon(&mut self, abandoned: &Abandoned) -> Returned {
        if abandoned.epoch != self.epoch || abandoned.source.home != self.home {
            return Returned::Stale;
        }
        let source = &mut self.sources[abandoned.source.lane.index()];
        source.out -= 1;
        source.out_bytes -= abandoned.bytes as usize;
        Returned::Counted
    }

    /// Receipts that are out, over all lanes. 0 means that the home has drained.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.sources.iter().map(|source| source.out).sum()
    }

    /// Receipts of one lane that are out.
    #[must_use]
    pub fn outstanding_in(&self, lane: Lane) -> usize {
        self.sources[lane.index()].out
    }

    /// Size of a lane's records whose receipts are out, in bytes.
    #[must_use]
    pub fn outstanding_bytes(&self, lane: Lane) -> usize {
        self.sources[lane.index()].out_bytes
    }

    /// Deliveries of a lane that are not yet committable, done or not: what bounds its memory.
    #[must_use]
    pub fn span(&self, lane: Lane) -> usize {
        self.sources[lane.index()].entries.len()
    }

    /// What may be committed now: one consistent picture.
    #[must_use]
    pub fn commits(&self) -> [Commit; 2] {
        Lane::ALL.map(|lane| {
            let source = &self.sources[lane.index()];
            let done_above = source.entries.iter().map(|entry| entry.outcome).filter(|outcome| *outcome != PENDING);
            let done_above = done_above.chain(source.done_before.values().copied());
            Commit {
                lane,
                next: source.entries.front().map_or(source.next, |entry| entry.offset),
                outcomes_from: done_above.min().unwrap_or(self.outcomes_end),
            }
        })
    }
}

impl Source {
    /// Forgets the finished prefix: it may be committed.
    fn pop_done(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.outcome != PENDING) {
            self.entries.pop_front();
            self.base_seq += 1;
        }
    }
}

/// The commit metadata of one source partition: a version and the number.
#[must_use]
pub fn encode_metadata(outcomes_from: i64) -> String {
    format!("1:{outcomes_from}")
}

/// Reads commit metadata; `None` on any doubt (then a restart reads back to the depth of the duplicate window).
#[must_use]
pub fn decode_metadata(metadata: &str) -> Option<i64> {
    let digits = metadata.strip_prefix("1:")?;
    let plain = (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}
