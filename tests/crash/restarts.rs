//! SIGTERM and a new start, in a row, under load.
//!
//! Why: a release restarts every instance, and a peak does not wait for it. What is stopped in order owes nothing:
//! nothing is lost, nothing sent twice, and nothing was sent without a permit.
//! Must not know: how a drain is done.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peakpost::sim::arrivals::Vendor;
use peakpost::sim::load::Mix;

use crate::plan::{self, full_or};
use crate::support::checker::history::History;
use crate::support::checker::permits::{grants, permitted};
use crate::support::checker::{Weather, judge};
use crate::support::daemon::Daemon;
use crate::support::stalls::Stalls;
use crate::support::{PATIENCE, World, kafka, reckoning, until};

const PROVIDERS: [(&str, Vendor); 3] = [("mail", Vendor::SendGrid), ("sms", Vendor::Twilio), ("hook", Vendor::Webhook)];

#[test]
fn graceful_restarts_in_a_row_lose_and_repeat_nothing() {
    let _turn = plan::turn();
    let world = World::new("restarts");
    let (restarts, jobs) = full_or((50, 20_000), (6, 6_000));
    plan::slow_vendors(&world, 40.0);
    let stalls = Stalls::watch();
    let watch = world.audit();
    let expected = plan::enqueue(&world, 200, Mix::peak(), jobs);
    let settings = plan::settings(&world);
    let (mut drains, mut starts, mut logs): (Vec<Duration>, Vec<Duration>, Vec<String>) = Default::default();
    for n in 0..restarts {
        let began = Instant::now();
        let daemon = Daemon::ready(&world, &format!("daemon-{n}"), &settings);
        starts.push(began.elapsed());
        // An even share of what is left goes through before each signal, so that there is load at all of them.
        let before = watch.ended.load(Ordering::Relaxed);
        let share = (jobs as u64 - before) / (restarts - n + 1);
        let through = || (watch.ended.load(Ordering::Relaxed) >= before + share).then_some(());
        until(PATIENCE, "some jobs are through", through, || daemon.child.last_words());
        let (took, log) = daemon.stop();
        drains.push(took);
        logs.push(log);
    }
    let left = jobs as u64 - watch.ended.load(Ordering::Relaxed);
    assert!(left > 0, "the jobs were through before the last restart; hint: more jobs");
    let mut last = Daemon::ready(&world, "last", &settings);
    reckoning::wait_for_commits(&world, &watch, jobs as u64, &mut last);
    logs.push(last.stop().1);
    let (dump, seen) = reckoning::close(&world, watch);
    let history = History { expected, dump, seen };
    let figures = judge(&history, &Weather::default());
    kafka::all_committed(&world);
    plan::keeps_limits(&history.seen, stalls.worst());
    let grants = grants(logs.iter().map(String::as_str));
    plan::gates_keep_limits(&grants);
    permitted(&history.seen, &grants, &PROVIDERS).unwrap_or_else(|fault| panic!("{fault}"));
    drains.sort_unstable();
    starts.sort_unstable();
    println!("== graceful restarts: {restarts} over {} jobs; lost 0, sent twice 0; {figures:?}", figures.jobs);
    println!(
        "   SIGTERM to exit: median {:.1?}, worst {:.1?}; start to ready: median {:.1?}, worst {:.1?}; left at the end {left}",
        drains[drains.len() / 2],
        drains[drains.len() - 1],
        starts[starts.len() / 2],
        starts[starts.len() - 1],
    );
    world.finish();
}
