//! One owned home: its ledger, its queues, and where it stands between assignment and letting go.
//!
//! Why: a home moves as a whole; nothing of it is sent before the group has acknowledged our ownership, and
//! nothing is read once it is going.
//! Must not know: other homes, shards.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers as _};

use super::data::Queue;
use super::later::Later;
use super::rest::Rest;
use super::restore::Reading;
use crate::job::source::Layout;
use crate::job::{Headers, Incoming, Job, Lane, Source, Spec, Wall, Way};
use crate::lane::inbox::Turned;
use crate::ledger::Ledger;
use crate::ledger::known::Judgement;
use crate::ledger::usage::Latest;
use crate::observe::kafka;

/// Where a home stands.
pub(super) enum Phase {
    /// Learning what earlier owners have done.
    Restoring { readings: Vec<Reading> },
    /// Waiting for the first acknowledged commit, of this number.
    Fencing { commit: u64 },
    /// Ours and read: the lanes by their numbers, tiers and holds in the layout's order.
    Live { lanes: Vec<Queue>, later: Vec<Later> },
    /// Given up: nothing is read or sent, receipts come back.
    Closing,
    /// Stopped by an error that does not heal; it stays assigned so that nobody repeats the error.
    Stopped,
}

pub(super) struct Owned {
    pub(super) ledger: Ledger,
    /// What was spent of its share of long limits, until somebody is told.
    pub(super) usage: Latest,
    pub(super) phase: Phase,
    /// What was last committed of each source: next offset, and from where outcomes are read.
    pub(super) committed: Vec<Option<(i64, i64)>>,
    /// Below which offset records may be gone already, by source.
    pub(super) trimmed: Vec<i64>,
    /// Whether a lane that was full is left alone for now, by lane.
    pub(super) rests: [Rest; Lane::ALL.len()],
    /// How far tiers and holds reach, as far as we know: the offset after the last record, by the sources' numbers.
    pub(super) ends: Vec<i64>,
}

/// What one poll of a partition gave.
pub(super) enum Read {
    Job(Job),
    /// A record from which nothing is sent now.
    Turned(Turned),
    /// A record whose outcome an earlier owner made durable.
    DoneBefore,
    /// Nothing there now.
    Empty,
    /// The partition cannot be read.
    Failed(String),
}

impl Owned {
    /// Its tiers and holds while it is live, in the layout's order.
    pub(super) fn later(&self) -> &[Later] {
        match &self.phase {
            Phase::Live { later, .. } => later,
            _ => &[],
        }
    }

    /// One of them.
    pub(super) fn later_of(&mut self, layout: Layout, source: Source) -> Option<&mut Later> {
        // The lanes' numbers come first.
        let index = layout.index(source).checked_sub(Lane::ALL.len())?;
        match &mut self.phase {
            Phase::Live { later, .. } => later.get_mut(index),
            _ => None,
        }
    }

    /// Reads the next record of a lane.
    pub(super) fn read(&mut self, lane: Lane) -> Read {
        let Phase::Live { lanes, .. } = &self.phase else { return Read::Empty };
        match poll(&lanes[lane.index()]) {
            Ok(Some(message)) => Self::make(&mut self.ledger, lane, &message),
            Ok(None) => Read::Empty,
            Err(error) => Read::Failed(error),
        }
    }

    fn make(ledger: &mut Ledger, lane: Lane, message: &BorrowedMessage<'_>) -> Read {
        let source = Source::Jobs(lane);
        let payload = message.payload().unwrap_or_default();
        let headers = headers(message);
        let size = size(payload, &headers);
        let Some(receipt) = ledger.deliver(source, message.offset(), size) else { return Read::DoneBefore };
        let enqueued = Wall(message.timestamp().to_millis().unwrap_or(0));
        let way = Way::default();
        match Job::parse(Incoming { bytes: payload.into(), headers, enqueued, lane, way, receipt }) {
            Ok(job) => judged(ledger, job),
            Err(malformed) => Read::Turned(Turned::Malformed(malformed)),
        }
    }
}

/// What the ledger says of a job that was delivered.
pub(super) fn judged(ledger: &mut Ledger, mut job: Job) -> Read {
    let (key, hop, at) = (job.key(), job.way.hop, job.receipt.source());
    match ledger.judge(key, hop, at.from, at.offset) {
        Judgement::Goes => {
            job.receipt.name(key, hop);
            Read::Job(job)
        }
        Judgement::Repeat => Read::Turned(Turned::Repeat(job)),
        Judgement::NotYet => Read::Turned(Turned::NotYet(job)),
    }
}

/// The next record of a partition, if there is one. Errors that pass are none.
pub(super) fn poll(queue: &Queue) -> Result<Option<BorrowedMessage<'_>>, String> {
    match queue.poll(Duration::ZERO) {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(message)),
        Some(Err(error)) => match error.rdkafka_error_code() {
            // Nothing of these is about the partition's content; the client tries again by itself.
            Some(code) if kafka::is_passing(code) => {
                tracing::warn!(target: "peakpost::intake", %error, "reading");
                Ok(None)
            }
            _ => Err(error.to_string()),
        },
    }
}

/// What a job takes beside its record: its fields and their box, its place in a queue that has grown to twice what it
/// holds, its entries in ledger and duplicate window, and what the allocator adds to each.
const BESIDE: usize = size_of::<Spec<'_>>() + 2 * size_of::<Job>() + 256;
/// What a header takes beside its bytes.
const BESIDE_HEADER: usize = size_of::<(String, Option<Vec<u8>>)>() + 32;

/// What a record counts in memory, as a job.
pub(super) fn size(payload: &[u8], headers: &Headers) -> u32 {
    let header =
        |(key, value): &(String, Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len) + BESIDE_HEADER;
    let headers: usize = headers.iter().map(header).sum();
    u32::try_from(payload.len() + headers + BESIDE).unwrap_or(u32::MAX)
}

pub(super) fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let Some(headers) = message.headers() else { return Headers::new() };
    let read = |i| headers.try_get(i).map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)));
    // The client panics at a key that is not UTF-8. It must not take the thread with it: its key is lost, no more.
    let one = |i| catch_unwind(AssertUnwindSafe(|| read(i))).ok().flatten();
    (0..headers.count()).map(|i| one(i).unwrap_or_else(|| (UNREADABLE.to_owned(), None))).collect()
}

/// Stands for a header whose key cannot be read.
const UNREADABLE: &str = "peakpost-unreadable-header";
