//! One limit, several instances: together they never pass it, and soon use it again after each change.
//!
//! Why: a limit that every instance keeps for itself is passed by as many times as there are instances, and one that
//! is divided by hand is wasted whenever one of them is away.
//! Must not know: how shares are kept.

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Vendor, max_in_window, windows_over};
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::stalls::Stalls;
use crate::support::timed::{in_time, judged};
use crate::support::{PARTITIONS, PATIENCE, World, kafka, until};

const LIMIT: usize = 500;
const WINDOW: Duration = Duration::from_secs(1);
/// How far apart a permit and its arrival may be: the configured `jitter`.
const JITTER: Duration = Duration::from_millis(50);
/// After the last home has its owner, the limit must be in use again within this.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Waits until each of them owns as many homes as the others. Returns the vendors' time then.
pub fn shared(world: &World, daemons: &[Daemon]) -> u64 {
    let each = PARTITIONS / u16::try_from(daemons.len()).unwrap();
    let owned = || daemons.iter().map(Daemon::homes).collect::<Vec<u16>>();
    let even = || owned().iter().all(|homes| *homes == each).then_some(());
    until(PATIENCE, "the homes are shared evenly", even, || format!("{:?}", owned()));
    world.vendor_now()
}

/// Lets time pass at the vendors; jobs that end are what moves meanwhile.
pub fn pass(world: &World, from: u64, span: Duration) {
    let wanted = from + u64::try_from(span.as_nanos()).unwrap();
    let began = Instant::now();
    let over = || (world.vendor_now() >= wanted).then_some(());
    until(span + PATIENCE, "time passes", over, || format!("{:?} have passed here", began.elapsed()));
}

/// One instance, then four, then two, with a backlog all the while.
#[test]
fn a_limit_is_one_limit_for_all_instances() {
    judged(one_limit);
}

fn one_limit() {
    let world = World::alone("fleet");
    // The embedded broker's joins take long.
    let (most, least) = world.scale((4, 2), (2, 1));
    let stretch = BACK_WITHIN + Duration::from_secs(world.size(30, 10, 4));
    let count = world.size(80_000, 34_000, 50_000);
    let jobs: Vec<Generated> = world.jobs(81, Mix::only(Lane::Marketing, Shape::Webhook)).take(count).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    let audit = world.audit();
    // Read a little ahead only, so that every home has a backlog to the end.
    let sections = "[intake]\nwindow_jobs = 200";
    let settings = Settings { hook: "500 requests/s", sections, ..Settings::default() };
    let stalls = Stalls::watch();
    let mut daemons = vec![Daemon::ready(&world, "instance-1", &settings)];
    let mut usable = 0.0;
    let mut stretches = Vec::new();
    for instances in [1, most, least] {
        while daemons.len() < instances {
            daemons.push(Daemon::start(&world, &format!("instance-{}", daemons.len() + 1), &settings));
        }
        while daemons.len() > instances {
            daemons.remove(0).stop();
        }
        let since = shared(&world, &daemons);
        pass(&world, since, stretch);
        stretches.push((instances, since, world.vendor_now()));
        let sum = |metric| -> f64 { daemons.iter().map(|daemon| daemon.metric(metric, &["provider=\"hook\""])).sum() };
        usable = sum("peakpost_gate_rate");
        let shares = sum("peakpost_gate_share");
        assert!((shares - 1.0).abs() < 1e-9, "{instances} instances have {shares} of the limit together");
    }
    let mut left: Vec<&mut Daemon> = daemons.iter_mut().collect();
    reckoning::wait_for(&audit, count as u64, &mut left);
    let stall = stalls.worst();
    for daemon in daemons {
        daemon.stop();
    }
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    let times: Vec<u64> = seen.requests.iter().filter(|r| r.vendor == Vendor::Webhook).map(|r| r.at).collect();
    let window = WINDOW.saturating_sub(stall.saturating_sub(JITTER));
    println!(
        "   worst stall {stall:?}: windows of {window:?}; most in one {} of {LIMIT}; usable {usable:.1}/s",
        max_in_window(&times, window)
    );
    let mut used = Vec::new();
    for (instances, since, until) in stretches {
        let from = since + u64::try_from(BACK_WITHIN.as_nanos()).unwrap();
        let sent = times.iter().filter(|at| (from..until).contains(*at)).count();
        let rate = sent as f64 / Duration::from_nanos(until - from).as_secs_f64();
        println!("   {instances} instances: {rate:.1}/s, {:.1} % of what is usable", rate / usable * 100.0);
        used.push((instances, rate / usable));
    }
    assert_eq!(windows_over(&times, LIMIT, window), 0, "windows over the limit at the vendor's door");
    let kept = used.iter().all(|(_, share)| *share >= 0.95);
    in_time(kept, || format!("under 95 % of the rate with a backlog waiting: {used:.3?}"));
    world.finish();
}
