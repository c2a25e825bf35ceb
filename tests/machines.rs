//! The pure machines, held to tables and to models so plain that they are right by reading.
//!
//! Why: what they decide is what gets lost, sent twice or sent to the wrong place when it is wrong.
//! Must not know: Kafka, tasks, clocks; every instant is computed. The gate has a suite of its own.

#[path = "machines/aside.rs"]
mod aside;
#[path = "machines/blocked.rs"]
mod blocked;
#[path = "machines/budget.rs"]
mod budget;
#[path = "machines/carried.rs"]
mod carried;
#[path = "machines/control.rs"]
mod control;
#[path = "machines/counting.rs"]
mod counting;
#[path = "machines/doubts.rs"]
mod doubts;
#[path = "machines/feed.rs"]
mod feed;
#[path = "machines/flows.rs"]
mod flows;
#[path = "machines/gather.rs"]
mod gather;
#[path = "machines/known.rs"]
mod known;
#[path = "machines/lane.rs"]
mod lane;
#[path = "machines/ledger.rs"]
mod ledger;
#[path = "machines/order.rs"]
mod order;
#[path = "machines/ownership.rs"]
mod ownership;
#[path = "machines/policy.rs"]
mod policy;
#[path = "machines/receipts.rs"]
mod receipts;
#[path = "machines/reputation.rs"]
mod reputation;
#[path = "machines/reputation_runs.rs"]
mod reputation_runs;
#[path = "machines/rest.rs"]
mod rest;
#[path = "machines/retry.rs"]
mod retry;
#[path = "machines/route.rs"]
mod route;
#[path = "machines/source.rs"]
mod source;
#[path = "machines/suppressions.rs"]
mod suppressions;
#[path = "machines/usage.rs"]
mod usage;

use std::time::{Duration, Instant};

use peakpost::job::receipt::Why;
use peakpost::job::{Coordinates, Headers, Incoming, Job, Lane, Receipt, Source, Wall, Way};
use peakpost::observe::Clock;

/// Some instant, to count from.
fn start() -> Instant {
    Clock::default().mono()
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The test is through with it.
fn give_back(receipt: Receipt) {
    assert_eq!(receipt.abandon(Why::Shutdown).why, Why::Shutdown);
}

/// Reads a job and looks at it; what it owes is given back.
fn with_job<T>(record: &str, look: impl FnOnce(&Job) -> T) -> T {
    let receipt = Receipt::new(Coordinates { from: Source::Jobs(Lane::Marketing), home: 0, offset: 0 }, 1, 0, 0);
    let incoming = Incoming {
        bytes: record.as_bytes().into(),
        headers: Headers::new(),
        enqueued: Wall(0),
        lane: Lane::Marketing,
        way: Way::default(),
        receipt,
    };
    match Job::parse(incoming) {
        Ok(job) => {
            let found = look(&job);
            give_back(job.into_receipt());
            found
        }
        Err(malformed) => {
            give_back(malformed.incoming.receipt);
            panic!("the test's record is no job: {:?}\n{record}", malformed.invalid);
        }
    }
}
