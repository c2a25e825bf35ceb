//! One home's obligations: what is in flight, what may be committed, what was done before.
//!
//! Why: the committed offset of a source is that of its oldest job without a durable outcome. Nothing else may
//! feed it: not the highest offset seen, not what was sent. Entries are tracked by delivery sequence, so gaps
//! in offsets (compaction, transaction markers) do not exist for it.
//! Must not know: Kafka clients, time, what a job says.

pub mod known;
pub mod ownership;
pub mod usage;

use std::collections::{BTreeMap, VecDeque};

use crate::job::receipt::{Abandoned, Settled};
use crate::job::source::Layout;
use crate::job::{Coordinates, Home, JobKey, Lane, Receipt, Source};
use known::{Judgement, Known};

/// Marks an entry whose outcome is not durable yet.
const PENDING: i64 = -1;

/// What one home owes, for one ownership period.
#[derive(Debug)]
pub struct Ledger {
    home: Home,
    epoch: u32,
    layout: Layout,
    /// By the sources' numbers.
    books: Vec<Book>,
    known: Known,
    /// Offset after the last outcome acknowledged to this owner in this home; at assignment, the end of the
    /// outcomes partition.
    outcomes_end: i64,
}

/// One source partition: its undurable and not yet committable deliveries, oldest first.
#[derive(Debug)]
struct Book {
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
    /// Which.
    pub source: Source,
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
    /// A fresh ownership period. `next` is where each source starts to be read, by its number; `outcomes_end` the
    /// end of the home's outcomes partition; `depth` how many jobs are remembered once they are through.
    #[must_use]
    pub fn new(home: Home, epoch: u32, layout: Layout, next: &[i64], outcomes_end: i64, depth: usize) -> Self {
        let book = |next: &i64| Book {
            entries: VecDeque::new(),
            base_seq: 0,
            next: *next,
            done_before: BTreeMap::new(),
            out: 0,
            out_bytes: 0,
        };
        let books = next.iter().map(book).collect();
        Self { home, epoch, layout, books, known: Known::new(depth), outcomes_end }
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

    fn book(&mut self, source: Source) -> &mut Book {
        &mut self.books[self.layout.index(source)]
    }

    /// An earlier owner made this record's outcome durable. Said before the record is read; what lies below the
    /// start is committed and of no interest.
    pub fn done_before(&mut self, source: Source, offset: i64, outcome_offset: i64) {
        let book = self.book(source);
        if offset >= book.next {
            book.done_before.insert(offset, outcome_offset);
        }
    }

    /// The jobs that are known here.
    pub fn known(&mut self) -> &mut Known {
        &mut self.known
    }

    /// Judges a record before or after it is delivered; one that goes is in flight from now on.
    pub fn judge(&mut self, job: JobKey, hop: u16, source: Source, offset: i64) -> Judgement {
        let judgement = self.known.judge(job, hop, source, offset);
        if judgement == Judgement::Goes {
            self.known.taken(job, hop, source, offset);
        }
        judgement
    }

    /// Whether an earlier owner made the outcome of this record durable.
    #[must_use]
    pub fn is_done(&self, source: Source, offset: i64) -> bool {
        self.books[self.layout.index(source)].done_before.contains_key(&offset)
    }

    /// A record was read: from now on it is owed. `None` when an earlier owner has met that obligation.
    pub fn deliver(&mut self, source: Source, offset: i64, bytes: u32) -> Option<Receipt> {
        let (home, epoch) = (self.home, self.epoch);
        let book = self.book(source);
        debug_assert!(offset >= book.next, "records arrive in log order");
        let seq = book.base_seq + book.entries.len() as u64;
        book.next = offset + 1;
        // What is gone from the log (retention, compaction) will not be read again.
        while book.done_before.first_key_value().is_some_and(|(&gone, _)| gone < offset) {
            book.done_before.pop_first();
        }
        if let Some(outcome) = book.done_before.remove(&offset) {
            book.entries.push_back(Entry { offset, outcome });
            book.pop_done();
            return None;
        }
        book.entries.push_back(Entry { offset, outcome: PENDING });
        book.out += 1;
        book.out_bytes += bytes as usize;
        Some(Receipt::new(Coordinates { from: source, home, offset }, epoch, seq, bytes))
    }

    /// A job's outcome is durable.
    pub fn settle(&mut self, settled: &Settled) -> Returned {
        if settled.epoch != self.epoch || settled.source.home != self.home {
            return Returned::Stale;
        }
        let book = self.book(settled.source.from);
        let Some(index) = settled.seq.checked_sub(book.base_seq).and_then(|i| usize::try_from(i).ok()) else {
            return Returned::Stale;
        };
        match book.entries.get_mut(index) {
            Some(entry) if entry.outcome == PENDING => entry.outcome = settled.outcome_offset,
            _ => return Returned::Stale,
        }
        book.out -= 1;
        book.out_bytes -= settled.bytes as usize;
        book.pop_done();
        self.outcomes_end = self.outcomes_end.max(settled.outcome_offset + 1);
        if let Some((job, hop)) = settled.job {
            self.known.settled(job, hop, settled.end);
        }
        Returned::Counted
    }

    /// A job was given back unmet: it stays owed to the next owner, but nobody here works on it.
    pub fn abandon(&mut self, abandoned: &Abandoned) -> Returned {
        if abandoned.epoch != self.epoch || abandoned.source.home != self.home {
            return Returned::Stale;
        }
        let book = self.book(abandoned.source.from);
        book.out -= 1;
        book.out_bytes -= abandoned.bytes as usize;
        Returned::Counted
    }

    /// Receipts that are out, over all sources. 0 means that the home has drained.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.books.iter().map(|book| book.out).sum()
    }

    /// Receipts of one source that are out.
    #[must_use]
    pub fn outstanding_in(&self, source: Source) -> usize {
        self.books[self.layout.index(source)].out
    }

    /// Size of a source's records whose receipts are out, in bytes.
    #[must_use]
    pub fn outstanding_bytes(&self, source: Source) -> usize {
        self.books[self.layout.index(source)].out_bytes
    }

    /// The same over all delay tiers of a lane.
    #[must_use]
    pub fn outstanding_bytes_of_tiers(&self, lane: Lane) -> usize {
        (0..self.layout.tiers).map(|tier| self.outstanding_bytes(Source::Delay(lane, tier))).sum()
    }

    /// Deliveries of a source that are not yet committable, done or not: what bounds its memory.
    #[must_use]
    pub fn span(&self, source: Source) -> usize {
        self.books[self.layout.index(source)].entries.len()
    }

    /// The next offset to read of a source.
    #[must_use]
    pub fn next(&self, source: Source) -> i64 {
        self.books[self.layout.index(source)].next
    }

    /// What may be committed now: one consistent picture, by the sources' numbers.
    #[must_use]
    pub fn commits(&self) -> Vec<Commit> {
        let commit = |(source, book): (Source, &Book)| {
            let done_above = book.entries.iter().map(|entry| entry.outcome).filter(|outcome| *outcome != PENDING);
            let done_above = done_above.chain(book.done_before.values().copied());
            Commit {
                source,
                next: book.entries.front().map_or(book.next, |entry| entry.offset),
                outcomes_from: done_above.min().unwrap_or(self.outcomes_end),
            }
        };
        self.layout.all().zip(&self.books).map(commit).collect()
    }
}

impl Book {
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
