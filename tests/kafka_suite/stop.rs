//! SIGTERM under load: in order, in time, and the rest is done by whoever comes next.
//!
//! Why: every release stops every instance; a stop that loses or repeats is a fault of every release.
//! Must not know: how a drain is done.

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Latency};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::{PATIENCE, World, kafka, until};

fn slow(ms: f64) -> Behaviour {
    Behaviour { latency: Latency { median_ms: ms, sigma: 0.0 }, ..Behaviour::default() }
}

/// Answers take 0.7 s, so requests are out when the signal comes.
#[test]
fn sigterm_under_load_drains_and_a_restart_finishes_the_rest() {
    let world = World::new("sigterm");
    let count = world.scale(20_000, 6_000);
    let mix = Mix { malformed: 0.0, ..Mix::peak() };
    let jobs: Vec<Generated> = world.jobs(20, mix).take(count).collect();
    for vendor in Vendor::ALL {
        world.vendors.set_behaviour(vendor, slow(700.0)).unwrap();
    }
    let audit = world.audit();
    let mut first = Daemon::ready(&world, "first", &Settings::default());
    kafka::enqueue(&world, &jobs, |_| None);
    reckoning::wait_for(&audit, count as u64 / 20, &mut [&mut first]);
    let out = first.metric("peakpost_in_flight_requests", &[]);
    assert!(out > 0.0, "nothing was out when the signal came; hint: slower vendors");
    let (took, log) = first.stop();
    println!("   SIGTERM with {out} requests out: ended after {took:?}");
    in_order(&log);
    for vendor in Vendor::ALL {
        world.vendors.set_behaviour(vendor, Behaviour::default()).unwrap();
    }
    let mut second = Daemon::ready(&world, "second", &Settings::default());
    reckoning::wait_for(&audit, count as u64, &mut [&mut second]);
    second.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    world.finish();
}

/// The drain tells what it does, in the order of the line, with what is left and whether the commit came through.
fn in_order(log: &str) {
    let steps = ["stopping: reading has ended", "intake has left the group left=0 committed=true"];
    let mut from = 0;
    for step in steps {
        let at = log[from..].find(step).unwrap_or_else(|| panic!("`{step}` is not in the log, or too early:\n{log}"));
        from += at;
    }
}

/// While a vendor holds everything back, a second signal ends the wait.
#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let world = World::new("twice");
    let jobs: Vec<Generated> = world.jobs(21, Mix::only(Lane::Transactional, Shape::Webhook)).take(200).collect();
    world.vendors.set_behaviour(Vendor::Webhook, slow(60_000.0)).unwrap();
    let mut daemon = Daemon::ready(&world, "daemon", &Settings::default());
    kafka::enqueue(&world, &jobs, |_| None);
    let out = || (daemon.metric("peakpost_in_flight_requests", &[]) > 60.0).then_some(());
    until(PATIENCE, "every slot is taken", out, || "see the daemon's log".to_owned());
    daemon.child.signal("TERM");
    let draining = || daemon.get("/readyz").err().filter(|answer| answer.contains("draining: 64 jobs"));
    until(PATIENCE, "/readyz tells of the drain", draining, || daemon.child.last_words());
    let told = || daemon.child.output().contains("still waiting; please be patient for_what=\"64 jobs").then_some(());
    until(PATIENCE, "the log tells what the drain waits for", told, || daemon.child.last_words());
    let again = Instant::now();
    daemon.child.signal("TERM");
    let code = daemon.child.wait(Duration::from_secs(30));
    let took = again.elapsed();
    assert_eq!(code, 75, "{}", daemon.child.last_words());
    assert!(daemon.child.output().contains("second signal"), "must say why: {}", daemon.child.last_words());
    println!("   75 after {took:?}");
    assert!(took < Duration::from_secs(2), "a second signal took {took:?}: it does not wait for the drain");
    world.finish();
}
