//! A limit too small to be split: one home sends for all, the others hand their jobs over to it.
//!
//! Why: a twelfth of four a second is nothing; kept by every instance for itself it would be twelve times too much.
//! Must not know: how the home is found.

use std::collections::HashSet;
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Vendor, max_in_window};
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::{PARTITIONS, PATIENCE, World, kafka, until};

const LIMIT: usize = 4;

/// Two daemons, and callbacks in every partition: each is sent once, by the one that owns the carrying home, never more
/// than the limit in a second.
#[test]
fn one_home_sends_for_all_what_cannot_be_split() {
    let world = World::new("carried");
    let audit = world.audit();
    let settings = Settings { hook: "4 requests/s", ..Settings::default() };
    let mut first = Daemon::ready(&world, "first", &settings);
    let mut second = Daemon::start(&world, "second", &settings);
    let shared = || (first.homes() == PARTITIONS / 2 && second.homes() == PARTITIONS / 2).then_some(());
    until(PATIENCE, "both have their homes", shared, || format!("{} and {}", first.homes(), second.homes()));
    let jobs: Vec<Generated> = world.jobs(40, Mix::only(Lane::Marketing, Shape::Webhook)).take(40).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut first, &mut second]);
    let granted = [&first, &second].map(|daemon| daemon.metric("peakpost_gate_granted_total", &["provider=\"hook\""]));
    assert!(granted.iter().any(|n| *n < 0.5), "one of them sends for both, they were granted {granted:?}");
    first.stop();
    second.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    let times: Vec<u64> = seen.requests.iter().filter(|r| r.vendor == Vendor::Webhook).map(|r| r.at).collect();
    let most = max_in_window(&times, Duration::from_millis(950));
    assert!(most <= LIMIT, "{most} callbacks within a second, by two instances that share {LIMIT}");
    let ends = || account.endings.iter();
    let senders: HashSet<u16> = ends().filter(|e| &*e.kind == "accepted").map(|e| e.source.home).collect();
    assert_eq!(senders.len(), 1, "they were sent for {senders:?}");
    let handed_over = ends().filter(|e| &*e.reason == "carried").count();
    let elsewhere = ends().filter(|e| &*e.kind == "deferred" && senders.contains(&e.source.home)).count();
    println!("   {handed_over} of {} were handed over; most in a second {most} of {LIMIT}", jobs.len());
    assert!(handed_over > jobs.len() / 2, "most come in other homes");
    assert_eq!(elsewhere, 0, "nothing leaves the home that carries it");
    world.finish();
}
