//! A limit at the vendor's door, through a restart.
//!
//! Why: vendors count in windows, and a window does not begin anew because we do.
//! Must not know: how a limit is kept.

use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Vendor, max_in_window, windows_over};
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::stalls::Stalls;
use crate::support::timed::{in_time, judged};
use crate::support::{World, kafka};

const LIMIT: usize = 500;
const WINDOW: Duration = Duration::from_secs(1);
/// How far apart a permit and its arrival may be: the configured `jitter`.
const JITTER: Duration = Duration::from_millis(50);

#[test]
fn a_limit_holds_at_the_vendors_door_through_a_restart() {
    judged(through_a_restart);
}

/// 500 callbacks a second, with a backlog all the while, and a restart in the middle.
fn through_a_restart() {
    let world = World::alone("rate");
    let count = world.scale(9_000, 4_000);
    let jobs: Vec<Generated> = world.jobs(16, Mix::only(Lane::Transactional, Shape::Webhook)).take(count).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    let audit = world.audit();
    let settings = Settings { hook: "500 requests/s", ..Settings::default() };
    let stalls = Stalls::watch();
    let mut first = Daemon::start(&world, "first", &settings);
    reckoning::wait_for(&audit, count as u64 / 2, &mut [&mut first]);
    let usable = first.metric("peakpost_gate_rate", &["provider=\"hook\""]);
    first.stop();
    let mut second = Daemon::start(&world, "second", &settings);
    reckoning::wait_for(&audit, count as u64, &mut [&mut second]);
    let stall = stalls.worst();
    second.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    let times: Vec<u64> = seen.requests.iter().filter(|r| r.vendor == Vendor::Webhook).map(|r| r.at).collect();
    let window = WINDOW.saturating_sub(stall.saturating_sub(JITTER));
    let over = windows_over(&times, LIMIT, window);
    println!(
        "   worst stall {stall:?}: windows of {window:?}; most in one {} of {LIMIT}; usable {usable:.1}/s",
        max_in_window(&times, window)
    );
    assert_eq!(over, 0, "windows over the limit at the vendor's door");
    for (name, run) in ["before", "after"].iter().zip(runs(&times)) {
        let span = Duration::from_nanos(run[run.len() - 1] - run[0]);
        let rate = run.len() as f64 / span.as_secs_f64();
        println!("   {name} the restart: {rate:.1}/s over {span:?}, {:.1} % of what is usable", rate / usable * 100.0);
        in_time(rate >= usable * 0.9, || format!("{rate:.1}/s of {usable:.1}/s with a backlog waiting"));
    }
    world.finish();
}

/// The arrivals before and after the longest pause.
fn runs(times: &[u64]) -> [&[u64]; 2] {
    let pause = |i: &usize| times[*i] - times[i - 1];
    let restart = (1..times.len()).max_by_key(pause).unwrap();
    [&times[..restart], &times[restart..]]
}
