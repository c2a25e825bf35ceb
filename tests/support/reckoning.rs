//! The end of a run: waited for, read to its end, and judged.
//!
//! Why: every scenario ends with the same question, asked once and strictly; the checker's functions answer it.
//! Must not know: how the run was made.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peakpost::sim::arrivals::Seen;

use super::checker::history::{Dump, History};
use super::checker::watch::Watch;
use super::checker::{Figures, Weather, judge};
use super::daemon::Daemon;
use super::{PATIENCE, World, kafka, until};

pub use super::checker::history::Expected;

/// Waits until so many jobs (and records that are none) have ended. Fails when no outcome comes for a while, or a daemon
/// ends by itself. Ends are counted, not outcomes: on a slow computer any job may be deferred before its end, and an
/// outcome says so. Any outcome is progress.
pub fn wait_for(watch: &Watch, jobs: u64, daemons: &mut [&mut Daemon]) {
    let mut moved = (0, Instant::now());
    loop {
        let ended = watch.ended.load(Ordering::Relaxed);
        if ended >= jobs {
            return;
        }
        for daemon in daemons.iter_mut() {
            assert!(daemon.child.ended().is_none(), "a daemon ended by itself; {}", daemon.child.last_words());
        }
        let outcomes = watch.seen.load(Ordering::Relaxed);
        if outcomes != moved.0 {
            moved = (outcomes, Instant::now());
        }
        let still = moved.1.elapsed();
        let words = || daemons.iter().map(|daemon| daemon.child.last_words()).collect::<Vec<_>>().join("\n");
        assert!(still < PATIENCE, "no outcome for {still:?} at {ended} of {jobs}; {}", words());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until these jobs have ended and everything is committed, so that a stop leaves nothing to its successor.
pub fn wait_for_commits(world: &World, watch: &Watch, jobs: u64, daemon: &mut Daemon) {
    wait_for(watch, jobs, &mut [&mut *daemon]);
    let done = || kafka::uncommitted(world).is_none().then_some(());
    let state = || format!("{:?}; {}", kafka::uncommitted(world), daemon.child.last_words());
    until(PATIENCE, "everything is committed", done, state);
}

/// Closes the books once every daemon has ended: every topic is read to its end.
pub fn close(world: &World, watch: Watch) -> (Dump, Seen) {
    let all_read = || watch.has_all().then_some(());
    until(PATIENCE, "every topic is read to its end", all_read, || format!("topics of {}", world.prefix));
    let dump = watch.finish();
    let unread = &dump.unread;
    assert!(unread.is_empty(), "{} were not read: {:?}; hint: enqueue less", unread.len(), unread.first());
    (dump, world.vendors.take_arrivals())
}

/// Fails unless each job has the one outcome it must have, the accepted were sent once and nothing else was, and
/// everything is committed, at no time too early.
pub fn exactly(world: &World, expected: &Expected, dump: &Dump, seen: &Seen) -> Figures {
    let history = History { expected: expected.clone(), dump: dump.clone(), seen: seen.clone() };
    let figures = judge(&history, &Weather::default());
    kafka::all_committed(world);
    figures
}
