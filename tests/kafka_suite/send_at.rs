//! Jobs for later: none is early, few are late, and nothing that happens to a daemon meanwhile changes that.
//!
//! Why: a campaign is planned for a minute, and its jobs wait in Kafka for hours until then, through releases and
//! crashes. The tiers here are the shipped ones in short, so that an hour passes in half a minute.
//! Must not know: how tiers are read.

use std::collections::HashMap;
use std::time::Duration;

use peakpost::job::{Lane, Source};
use peakpost::sim::arrivals::Seen;
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::checker::history::History;
use crate::support::checker::{Blow, Weather, judge};
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later::{self, Tally, arrived, key, quantile, wall_ms};
use crate::support::reckoning::{self, Expected};
use crate::support::timed::{in_time, judged};
use crate::support::{PATIENCE, World, kafka, until};

/// An hour in 30 s: 10 s, 1 min, 5 min and 20 min.
const SHORT: [&str; 4] = ["100ms", "500ms", "2500ms", "10s"];
/// An hour in 5 min.
const LONG: [&str; 4] = ["1s", "5s", "25s", "100s"];
/// How late the 99th of a hundred may be, beyond the shortest tier.
const LATE_MS: i64 = 1_000;
/// Requests at a time: what a killed daemon leaves behind to be sent again, beside what was accepted and not recorded
/// yet.
const CONCURRENCY: usize = 32;
/// What a killed process had written may reach the vendor this much later, in nanoseconds.
const ON_ITS_WAY: u64 = 500_000_000;
/// For how long an accepted job may be without a durable outcome on a busy machine.
const UNRECORDED_MS: i64 = 500;

struct Plan {
    world: World,
    settings: Settings,
    jobs: Vec<Generated>,
    due: HashMap<String, i64>,
    shortest: i64,
    span: i64,
}

impl Plan {
    /// Jobs of both lanes whose times are spread evenly over an hour in short; enqueued.
    fn new(name: &str, seed: u64) -> Self {
        let full = later::full() && std::env::var("PEAKPOST_TEST_BROKERS").is_ok();
        let world = World::alone_with(name, if full { &LONG } else { &SHORT });
        let count = world.size(100_000, 6_000, 3_000);
        let (shortest, span) = if full { (1_000, 300_000) } else { (100, 30_000) };
        let mut mix = Mix::only(Lane::Marketing, Shape::Webhook);
        mix.shares.push((Lane::Transactional, Shape::Webhook, 0.5));
        let began = wall_ms();
        let time = |n: usize| began + span * i64::try_from(n).unwrap() / i64::try_from(count).unwrap();
        let jobs: Vec<Generated> =
            world.jobs(seed, mix).take(count).enumerate().map(|(n, job)| later::at(job, time(n))).collect();
        let due = jobs.iter().enumerate().map(|(n, job)| (key(job), time(n))).collect();
        let settings = Settings {
            concurrency: u32::try_from(CONCURRENCY).unwrap(),
            kafka: "session_timeout = \"3s\"",
            sections: "[intake]\nlease = \"2500ms\"",
            ..Settings::default()
        };
        kafka::enqueue(&world, &jobs, |_| None);
        Self { world, settings, jobs, due, shortest, span }
    }

    fn count(&self) -> u64 {
        self.jobs.len() as u64
    }

    /// Fails when a job came early, or too many came late of those that were not due in `away` (wall time, ms).
    fn punctual(&self, seen: &Seen, away: (i64, i64)) {
        let mut late = Vec::new();
        for arrival in seen.messages.iter().filter(|a| a.sent) {
            let due = self.due[&*arrival.key];
            let (from, to) = arrived(&self.world, arrival);
            assert!(to >= due, "{} came {} ms early", arrival.key, due - to);
            if due < away.0 || due > away.1 {
                late.push((from - due).max(0));
            }
        }
        assert!(late.len() * 4 > self.jobs.len(), "only {} jobs were due while somebody was there", late.len());
        let [half, most, worst] = [0.5, 0.99, 1.0].map(|share| quantile(&mut late, share));
        println!("   none early; late by {half} ms in the middle, {most} ms for 99 of 100, {worst} ms at worst");
        let allowed = self.shortest + LATE_MS;
        in_time(most <= allowed, || format!("99 of 100 are late by {most} ms, at most {allowed}"));
    }

    /// When the first jobs are handled at the pace of the others: the daemon's start and the first rush.
    fn settled(&self) -> i64 {
        self.due.values().min().unwrap() + self.span / 5
    }
}

#[test]
fn none_is_early_and_few_are_late() {
    judged(all_are_punctual);
}

fn all_are_punctual() {
    let plan = Plan::new("send-at", 31);
    let audit = plan.world.audit();
    let deferrals = Tally::of(&audit);
    let mut daemon = Daemon::ready(&plan.world, "daemon", &plan.settings);
    reckoning::wait_for(&audit, plan.count(), &mut [&mut daemon]);
    daemon.stop();
    let (_, seen) = later::exactly(&plan.world, audit, &plan.jobs, Seen::default());
    println!("   {:.1} hops per job", deferrals.per(plan.jobs.len()));
    plan.punctual(&seen, (0, plan.settled()));
    plan.world.finish();
}

#[test]
fn a_release_in_the_middle_makes_none_early_and_none_twice() {
    judged(punctual_through_a_release);
}

fn punctual_through_a_release() {
    let plan = Plan::new("send-at-release", 32);
    let audit = plan.world.audit();
    let deferrals = Tally::of(&audit);
    let mut first = Daemon::ready(&plan.world, "first", &plan.settings);
    reckoning::wait_for(&audit, plan.count() / 2, &mut [&mut first]);
    let stopped = wall_ms();
    first.stop();
    let mut second = Daemon::ready(&plan.world, "second", &plan.settings);
    let back = wall_ms();
    println!("   nobody there for {} ms", back - stopped);
    reckoning::wait_for(&audit, plan.count(), &mut [&mut second]);
    second.stop();
    let (_, seen) = later::exactly(&plan.world, audit, &plan.jobs, Seen::default());
    let early = plan.settled().min(stopped - plan.span / 10);
    println!("   {:.1} hops per job", deferrals.per(plan.jobs.len()));
    plan.punctual(&only_after(&plan, seen, early), (stopped - 1_000, back + 2_000));
    plan.world.finish();
}

/// What was due after this.
fn only_after(plan: &Plan, mut seen: Seen, ms: i64) -> Seen {
    seen.messages.retain(|a| plan.due[&*a.key] > ms);
    seen
}

#[test]
fn a_kill_in_the_middle_makes_none_early_and_loses_none() {
    judged(punctual_through_a_kill);
}

fn punctual_through_a_kill() {
    let plan = Plan::new("send-at-kill", 33);
    let audit = plan.world.audit();
    let deferrals = Tally::of(&audit);
    let mut first = Daemon::ready(&plan.world, "first", &plan.settings);
    reckoning::wait_for(&audit, plan.count() / 2, &mut [&mut first]);
    let killed = wall_ms();
    let at = plan.world.vendor_now();
    first.child.signal("KILL");
    first.child.wait(Duration::from_secs(5));
    drop(first);
    let mut second = Daemon::ready(&plan.world, "second", &plan.settings);
    let back = wall_ms();
    println!("   nobody there for {} ms", back - killed);
    let ended = || reached(&plan, &audit).then_some(());
    until(PATIENCE * 10, "every job has its end", ended, || second.child.last_words());
    reckoning::wait_for(&audit, plan.count(), &mut [&mut second]);
    second.stop();
    let (dump, seen) = reckoning::close(&plan.world, audit);
    let due = |from: i64, to: i64| plan.due.values().filter(|due| (from..=to).contains(*due)).count();
    let in_flight = CONCURRENCY + due(killed - UNRECORDED_MS, killed);
    let history = History { expected: Expected::of(&plan.jobs), dump, seen: seen.clone() };
    let weather = Weather { blows: vec![Blow { from: at, until: at + ON_ITS_WAY }], in_flight, zombies: 0 };
    println!("   {:?}; at most {in_flight}", judge(&history, &weather));
    kafka::all_committed(&plan.world);
    let early = plan.settled().min(killed - plan.span / 10);
    println!("   {:.1} hops per job", deferrals.per(plan.jobs.len()));
    plan.punctual(&only_after(&plan, seen, early), (killed - 1_000, back + 2_000));
    plan.world.finish();
}

/// Whether every job has arrived: ends may be counted twice after a crash.
fn reached(plan: &Plan, audit: &crate::support::checker::watch::Watch) -> bool {
    use std::sync::atomic::Ordering;
    if audit.ended.load(Ordering::Relaxed) < plan.count() {
        return false;
    }
    let seen = plan.world.vendors.arrivals();
    let sent: std::collections::HashSet<&str> = seen.messages.iter().filter(|a| a.sent).map(|a| &*a.key).collect();
    sent.len() == plan.jobs.len()
}

/// Every daemon is away for longer than the longest tier in use; what waited goes out once, and was shown.
#[test]
fn what_waits_outlives_every_daemon() {
    let world = World::alone_with("tiers-survive", &["1s", "4s"]);
    let count = world.size(50_000, 5_000, 2_000);
    let due = wall_ms() + 12_000 + world.size(60_000, 0, 0);
    let mix = Mix::only(Lane::Marketing, Shape::Webhook);
    let jobs: Vec<Generated> = world.jobs(34, mix).take(count).map(|job| later::at(job, due)).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    let audit = world.audit();
    let first = Daemon::ready(&world, "first", &Settings::default());
    let (deferred, state) = (|| shown(&first) == count as u64, || format!("shown: {}", shown(&first)));
    until(PATIENCE, "all jobs are deferred and shown", || deferred().then_some(()), state);
    first.stop();
    let ended = audit.ended.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(ended, 0, "jobs ended before their time");
    // Nothing can be asked of a daemon that is not there: the time itself must pass.
    let over = due + 1_000;
    until(PATIENCE * 3, "the time has passed", || (wall_ms() > over).then_some(()), String::new);
    assert_eq!(world.vendors.arrivals().messages.len(), 0, "somebody sent while nobody ran");
    let waiting: u64 = world
        .topics
        .layout()
        .later()
        .filter(|source| matches!(source, Source::Delay(..)))
        .map(|source| kafka::count(&world, world.topics.source(source)))
        .sum();
    let mut second = Daemon::ready(&world, "second", &Settings::default());
    reckoning::wait_for(&audit, count as u64, &mut [&mut second]);
    until(
        PATIENCE,
        "nothing is shown as waiting",
        || (shown(&second) == 0).then_some(()),
        || shown(&second).to_string(),
    );
    second.stop();
    println!("   {count} jobs waited through a stop; {waiting} records were written into tiers before it");
    later::exactly(&world, audit, &jobs, Seen::default());
    world.finish();
}

fn shown(daemon: &Daemon) -> u64 {
    format!("{:.0}", daemon.metric("peakpost_deferred_records", &["source=\"delay."])).parse().unwrap()
}
