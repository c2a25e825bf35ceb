//! Makes outcomes durable, then returns the receipt.
//!
//! Why: a job is done when its outcome is acknowledged by all in-sync replicas, and not a moment earlier. One
//! thread owns the producer; sending is never repeated because recording failed. What cannot be sent is
//! written to the dead topic first and gets its outcome second, so a crash between the two leaves a second
//! dead letter, never none. What is deferred is written to its tier or hold first: a crash then leaves the job
//! twice in Kafka, and the second is turned away when it is read. That a recipient is gone is written first as well: who
//! reads the job again after a crash knows it then; and so is what is quarantined, among the events, for those who hear
//! what becomes of it. What is to be spent of a long limit is written ahead on the same way, and so goes what other
//! instances are told.
//! Must not know: why an outcome is what it is, ledgers, offsets of jobs topics beyond the receipt.

pub mod dead;
mod letter;
mod producer;
pub mod redrive;
mod stage;
mod tally;
mod written;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, SendError, Sender, bounded};

use crate::job::receipt::{Abandoned, Back};
use crate::job::topic::Topics;
use crate::job::{Headers, Home, Incoming, Job, Lane, Malformed, Receipt, Source, Spec, Wall, Way};
use crate::observe::{Clock, Metrics};
use crate::outcome::Outcome;
use written::{Batch, Names};

/// Batches on their way to the settle thread. It always takes them in, so this is passing room, not a store.
const INBOX: usize = 1024;

/// How the producer is set up.
#[derive(Clone)]
pub struct Config {
    /// librdkafka properties common to every client (brokers, TLS, SASL). Never printed: passwords are in them.
    pub client: Vec<(String, String)>,
    /// Topic names.
    pub topics: Topics,
    /// Longest gathering of outcomes into one produce request.
    pub linger: Duration,
    /// Most records in the producer's queue: at least the jobs that can be in memory.
    pub queue_max: usize,
    /// Most bytes of them.
    pub queue_bytes: usize,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("topics", &self.topics)
            .field("linger", &self.linger)
            .field("queue_max", &self.queue_max)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}

/// One job that is through.
#[derive(Debug)]
pub struct Settlement {
    /// What is settled.
    pub subject: Subject,
    /// What became of it.
    pub outcome: Outcome,
    /// Where it goes on, if it is deferred.
    pub deferral: Option<Deferral>,
    /// Its home has gone to another owner meanwhile.
    pub late: bool,
    /// The provider that had the last word.
    pub provider: Option<Arc<str>>,
    /// When it was decided.
    pub at: Wall,
    /// The same on the monotonic clock.
    pub decided: Instant,
    /// It was sent, and only this process knows.
    pub unrecorded: Option<Unrecorded>,
    /// What follows for its recipient: a record of the suppressions topic, durable before all others of this settlement.
    pub suppression: Option<Box<Telling>>,
    /// For a job that may have been sent: under what key its vendor's words of it will stand among the events. Its outcome is
    /// written there as well, and first, for those who wait for the words.
    pub told_under: Option<Box<str>>,
}

/// Counts jobs that were accepted by a provider and whose outcome is not durable yet: those that a crash would send
/// again. Counts one for as long as it lives.
#[derive(Debug)]
pub struct Unrecorded(Arc<AtomicU32>);

impl Unrecorded {
    /// One more.
    #[must_use]
    pub fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where and when a deferred job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// A tier or a hold.
    pub to: Source,
    /// Not to be looked at before this; in a hold, at any time.
    pub due: Option<Wall>,
    /// The partition of its record: the job's own home, or the one that carries a limit too small to be shared.
    pub home: Home,
}

/// A part of a long limit, to be durable before it is spent: a record for the usage topic.
#[derive(Debug)]
pub struct WriteAhead {
    /// The home out of whose share it is, and its partition.
    pub home: Home,
    /// Later records of this key stand for earlier ones. At most one of a home's key may be on its way: of two, the
    /// one that has to be produced again comes last.
    pub key: Vec<u8>,
    /// What it says; opaque here.
    pub value: Vec<u8>,
    /// Comes back through `done` when all in-sync replicas hold the record; never, if the broker will not take it.
    pub tag: u64,
    /// Needs room for every tag that is on its way: one that finds it full is lost.
    pub done: tokio::sync::mpsc::Sender<u64>,
}

/// A job, or a record that is none.
#[derive(Debug)]
pub enum Subject {
    /// A job.
    Job(Job),
    /// A record that failed the contract.
    Malformed(Box<Malformed>),
}

/// What is known of either.
struct Parts<'a> {
    bytes: &'a [u8],
    headers: &'a Headers,
    spec: Option<&'a Spec<'a>>,
    lane: Lane,
    way: &'a Way,
    enqueued: Wall,
}

impl Subject {
    fn parts(&self) -> Parts<'_> {
        match self {
            Self::Job(job) => Parts {
                bytes: job.bytes(),
                headers: &job.headers,
                spec: Some(job.spec()),
                lane: job.lane,
                way: &job.way,
                enqueued: job.enqueued,
            },
            Self::Malformed(malformed) => {
                let Incoming { bytes, headers, enqueued, lane, way, .. } = &malformed.incoming;
                Parts { bytes, headers, spec: None, lane: *lane, way, enqueued: *enqueued }
            }
        }
    }

    fn receipt(&self) -> &Receipt {
        match self {
            Self::Job(job) => &job.receipt,
            Self::Malformed(malformed) => &malformed.incoming.receipt,
        }
    }

    fn into_receipt(self) -> Receipt {
        match self {
            Self::Job(job) => job.into_receipt(),
            Self::Malformed(malformed) => malformed.incoming.receipt,
        }
    }
}

/// What is handed to the settle thread.
#[derive(Debug)]
enum Work {
    Settle(Batch),
    WriteAhead(WriteAhead),
    Tell(Telling),
}

/// What every instance is told, as a record; opaque here.
#[derive(Debug)]
pub struct Telling {
    /// Later words under the same key stand for earlier ones.
    pub key: Vec<u8>,
    /// What it says.
    pub value: Vec<u8>,
}

/// Where the rooms before this one hand over what is through.
#[derive(Clone, Debug)]
pub struct Settler {
    names: Arc<Names>,
    to_thread: Sender<Work>,
    back: Sender<Vec<Back>>,
    wake: std::thread::Thread,
}

impl Settler {
    /// Hands over a batch. It is written down here, by whoever has just looked at its jobs: the thread that produces it
    /// would find each of them cold. Then only the words and the receipts are kept.
    pub fn settle(&self, batch: impl IntoIterator<Item = Settlement, IntoIter: ExactSizeIterator>) {
        let batch = batch.into_iter();
        if batch.len() == 0 {
            return;
        }
        // The thread ends only after every sender is gone, so this cannot fail while the daemon lives.
        if let Err(SendError(Work::Settle(lost))) = self.to_thread.send(Work::Settle(Batch::write(batch, &self.names)))
        {
            let why = crate::job::receipt::Why::Shutdown;
            self.give_back(lost.settlements.into_iter().map(|s| s.receipt.abandon(why)).collect());
        }
    }

    /// Hands over what must be durable before it is spent.
    pub fn write_ahead(&self, ahead: WriteAhead) {
        // A thread that has ended acknowledges nothing, so nothing is spent.
        let _ended = self.to_thread.send(Work::WriteAhead(ahead));
    }

    /// Gives every instance an order. Does not wait for the broker, which is asked until it has taken it, or until the
    /// daemon ends.
    pub fn tell(&self, order: Telling) {
        // A thread that has ended belongs to a daemon that sends no more.
        let _ended = self.to_thread.send(Work::Tell(order));
    }

    /// Gives receipts back unmet.
    pub fn give_back(&self, abandoned: Vec<Abandoned>) {
        if abandoned.is_empty() {
            return;
        }
        // Without a receiver there is no ledger left that could count them.
        let _gone = self.back.send(abandoned.into_iter().map(Back::Abandoned).collect());
        self.wake.unpark();
    }
}

/// The settle thread and its ends.
#[derive(Debug)]
pub struct Settling {
    /// For everyone who settles.
    pub settler: Settler,
    /// Ends when every settler is gone and all is written; an error is fatal for the daemon.
    pub thread: std::thread::JoinHandle<Result<(), String>>,
}

/// Room for answers to the ledgers' owner, in batches.
const OUTBOX: usize = 4096;

/// The channel on which receipts go back; its receiver belongs to intake.
#[must_use]
pub fn back_channel() -> (Sender<Vec<Back>>, Receiver<Vec<Back>>) {
    bounded(OUTBOX)
}

/// What the settle thread talks to.
#[derive(Debug)]
pub struct Links {
    /// What is counted.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Where receipts go back to …
    pub back: Sender<Vec<Back>>,
    /// … and the thread that reads there.
    pub wake: std::thread::Thread,
}

/// Starts the settle thread.
///
/// # Errors
/// When the producer cannot be made.
pub fn start(config: &Config, links: Links) -> Result<Settling, String> {
    let (to_thread, inbox) = bounded(INBOX);
    let names = Arc::new(Names::new(&config.topics));
    let settler = Settler { names: Arc::clone(&names), to_thread, back: links.back.clone(), wake: links.wake.clone() };
    let producer = producer::Producer::new(config)?;
    let stage = stage::Stage::new(names, producer, links);
    let thread = std::thread::Builder::new()
        .name("settle".to_owned())
        .spawn(move || stage.run(&inbox))
        .map_err(|e| format!("cannot start the settle thread: {e}"))?;
    Ok(Settling { settler, thread })
}
