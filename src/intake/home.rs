//! One owned home: its ledger, its queues, and where it stands between assignment and letting go.
//!
//! Why: a home moves as a whole; nothing of it is sent before the group has acknowledged our ownership, and
//! nothing is read once it is going.
//! Must not know: other homes, shards.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers as _};

use super::data::Queue;
use super::restore::Reading;
use crate::job::{Headers, Incoming, Job, Lane, Malformed, Wall};
use crate::ledger::Ledger;
use crate::observe::kafka;

/// Where a home stands.
pub(super) enum Phase {
    /// Learning what earlier owners have done.
    Restoring { reading: Reading },
    /// Waiting for the first acknowledged commit, of this number.
    Fencing { commit: u64 },
    /// Ours and read.
    Live { queues: [Queue; 2] },
    /// Given up: nothing is read or sent, receipts come back.
    Closing,
    /// Stopped by an error that does not heal; it stays assigned so that nobody repeats the error.
    Stopped,
}

pub(super) struct Owned {
    pub(super) ledger: Ledger,
    pub(super) phase: Phase,
    /// Where reading starts.
    pub(super) start: [i64; 2],
}

/// What one poll of a partition gave.
pub(super) enum Read {
    Job(Job),
    /// A record that is no job.
    Malformed(Box<Malformed>),
    /// A record whose outcome an earlier owner made durable.
    DoneBefore,
    /// Nothing there now.
    Empty,
    /// The partition cannot be read.
    Failed(String),
}

impl Owned {
    /// Reads the next record of a lane.
    pub(super) fn read(&mut self, lane: Lane) -> Read {
        let Phase::Live { queues } = &self.phase else { return Read::Empty };
        match queues[lane.index()].poll(std::time::Duration::ZERO) {
            None => Read::Empty,
            Some(Ok(message)) => Self::make(&mut self.ledger, lane, &message),
            Some(Err(error)) => match error.rdkafka_error_code() {
                // Nothing of these is about the partition's content; the client tries again by itself.
                Some(code) if kafka::is_passing(code) => {
                    tracing::warn!(target: "peakpost::intake", %lane, %error, "reading");
                    Read::Empty
                }
                _ => Read::Failed(error.to_string()),
            },
        }
    }

    fn make(ledger: &mut Ledger, lane: Lane, message: &BorrowedMessage<'_>) -> Read {
        let payload = message.payload().unwrap_or_default();
        let headers = headers(message);
        let of_headers: usize = headers.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let size = u32::try_from(payload.len() + of_headers).unwrap_or(u32::MAX);
        let Some(receipt) = ledger.deliver(lane, message.offset(), size) else { return Read::DoneBefore };
        let bytes: Box<[u8]> = payload.into();
        let enqueued = Wall(message.timestamp().to_millis().unwrap_or(0));
        match Job::parse(Incoming { bytes, headers, enqueued, receipt }) {
            Ok(job) => Read::Job(job),
            Err(malformed) => Read::Malformed(malformed),
        }
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let Some(headers) = message.headers() else { return Headers::new() };
    let read = |i| headers.try_get(i).map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)));
    // The client panics at a key that is not UTF-8. It must not take the thread with it: its key is lost, no more.
    let one = |i| catch_unwind(AssertUnwindSafe(|| read(i))).ok().flatten();
    (0..headers.count()).map(|i| one(i).unwrap_or_else(|| (UNREADABLE.to_owned(), None))).collect()
}

/// Stands for a header whose key cannot be read.
const UNREADABLE: &str = "peakpost-unreadable-header";
