//! Owns homes: membership of the group, reading, the lease, commits; makes jobs with receipts and hands them
//! to shards.
//!
//! Why: what may be committed and what may be sent follow from one thing, who owns a home; so one thread
//! holds all of it. The membership handle subscribes to the empty homes topic and makes every commit (fenced
//! by the group's generation); the data handle only reads what it is told to.
//! Must not know: what becomes of a job between hand-over and receipt.

mod change;
pub mod control;
mod data;
mod fence;
mod home;
mod later;
mod look;
mod membership;
mod owner;
mod reading;
pub mod rest;
mod restore;
mod sleep;
pub mod topics;
mod trim;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, watch};

use crate::job::Home;
use crate::job::receipt::Back;
use crate::job::topic::Topics;
use crate::lane::inbox::ToShard;
use crate::ledger::ownership::Ownership;
use crate::ledger::usage::Opened;
use crate::observe::{Clock, Metrics};

/// How homes are owned and read.
#[derive(Clone)]
pub struct Config {
    /// librdkafka properties common to every client (brokers, TLS, SASL). Never printed: passwords are in them.
    pub client: Vec<(String, String)>,
    /// Topic names.
    pub topics: Topics,
    /// Consumer group.
    pub group: String,
    /// Where to start in a jobs topic in which the group has never committed.
    pub first_start: FirstStart,
    /// Time after which the group gives a silent member's homes away.
    pub session_timeout: Duration,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// How long this instance may send on an acknowledged commit.
    pub lease: Duration,
    /// Time between commits.
    pub commit_interval: Duration,
    /// Longest drain of a home that goes to another owner, and of the whole at shutdown.
    pub drain: Duration,
    /// Most records read ahead and not committable, per lane and home.
    pub window_jobs: usize,
    /// Outcomes read back per home when the commit does not say from where.
    pub restore_depth: i64,
    /// Jobs remembered per home once they are through, to tell a repeated id.
    pub duplicate_window: usize,
    /// Whether the broker can delete records (the embedded one cannot).
    pub trims: bool,
    /// Most bytes of jobs in memory, over all homes: their records and what is kept beside them.
    pub memory_bytes: usize,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("first_start", &self.first_start)
            .field("session_timeout", &self.session_timeout)
            .field("heartbeat", &self.heartbeat)
            .field("lease", &self.lease)
            .field("commit_interval", &self.commit_interval)
            .field("drain", &self.drain)
            .field("window_jobs", &self.window_jobs)
            .field("restore_depth", &self.restore_depth)
            .field("duplicate_window", &self.duplicate_window)
            .field("trims", &self.trims)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

/// Where the group starts in a jobs topic in which it has never committed an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStart {
    /// With the oldest record.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// How intake is doing, for readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The group has given this instance its homes, be they none.
    pub joined: bool,
    /// Whether it may send: a commit was acknowledged within the lease.
    pub leased: bool,
    /// Homes it was given and does not read yet.
    pub opening: usize,
    /// Homes it owns.
    pub homes: Vec<Home>,
    /// Homes that stopped, and why.
    pub stopped: Vec<(Home, String)>,
    /// What a drain still waits for; empty when none runs.
    pub draining: String,
}

/// Everything intake talks to.
pub struct Links {
    /// Who owns what: written here, read by shards.
    pub ownership: Arc<Ownership>,
    /// One inbox per shard.
    pub shards: Vec<mpsc::Sender<ToShard>>,
    /// Receipts come back here.
    pub back: Receiver<Vec<Back>>,
    /// Who hears, before a home is opened, what was spent of its share of long limits. `None`: nobody, and it is not
    /// read.
    pub usage: Option<mpsc::Sender<Opened>>,
    /// What is counted.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

/// The running intake.
pub struct Intake {
    /// Asks it to drain everything within the given time and to leave the group.
    pub stop: Sender<Duration>,
    /// How it is doing.
    pub status: watch::Receiver<Status>,
    /// Ends after a stop, or with an error that is fatal for the daemon.
    pub thread: JoinHandle<Result<Drained, String>>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Receipts that had not come back when the time was over. Their jobs will be read again.
    pub left: usize,
    /// Whether the last commit was acknowledged.
    pub committed: bool,
}

/// Starts the intake thread. It must be made before the rooms that wake it, so its hands are given to it by
/// `links` once they exist: the thread parks until then.
///
/// # Errors
/// When a consumer cannot be made.
pub fn start(
    config: Config,
    links: impl FnOnce(std::thread::Thread) -> Result<Links, String>,
) -> Result<Intake, String> {
    let (stop, stopped) = bounded(1);
    let (status_tx, status) = watch::channel(Status::default());
    let (links_tx, links_rx) = bounded::<Links>(1);
    let thread = std::thread::Builder::new()
        .name("intake".to_owned())
        .spawn(move || {
            let links = links_rx.recv().map_err(|_| "the daemon was not built to the end".to_owned())?;
            owner::Owner::new(config, links, stopped, status_tx)?.run()
        })
        .map_err(|e| format!("cannot start the intake thread: {e}"))?;
    let links = links(thread.thread().clone())?;
    links_tx.send(links).map_err(|_| "the intake thread ended early".to_owned())?;
    Ok(Intake { stop, status, thread })
}

/// Deadline arithmetic that never overflows.
fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}
