//! A broker that stops, and one that errs.
//!
//! Why: Kafka is upgraded, moved and cut off while a peak lasts. What is on its way must wait, and go on by itself.
//! Must not know: how a client reconnects.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::load::Mix;

use crate::plan::{self, IN_FLIGHT, full_or};
use crate::support::checker::history::History;
use crate::support::checker::watch::Watch;
use crate::support::checker::{Blow, Weather, judge};
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::{PATIENCE, World, kafka, reckoning, until};

/// A real Kafka of this test's own: what is stopped must be nobody else's.
struct OwnKafka {
    dir: PathBuf,
}

impl OwnKafka {
    fn start(dir: &Path) -> (Self, String) {
        let own = Self { dir: dir.to_owned() };
        let address = own.tell("start");
        (own, address)
    }

    fn tell(&self, word: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/kafka.sh");
        let done = Command::new(script).arg(word).arg(&self.dir).output().unwrap();
        assert!(done.status.success(), "kafka.sh {word}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        self.tell("stop");
    }
}

/// How a broker goes away and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// Connections stay, answers stop.
    Paused,
    /// As in a power cut.
    Killed,
}

#[test]
fn a_broker_that_is_paused_loses_nothing() {
    away(Away::Paused);
}

#[test]
fn a_broker_that_is_killed_loses_nothing() {
    match World::real_is_wanted() {
        true => away(Away::Killed),
        false => World::left_out("a broker that is killed and started again (it forgets everything)"),
    }
}

/// Outcomes per second over the last five seconds, again and again.
struct Pace<'w> {
    watch: &'w Watch,
    seen: VecDeque<(Instant, u64)>,
}

/// Over so long a pace is taken.
const SPAN: Duration = Duration::from_secs(5);

impl<'w> Pace<'w> {
    fn new(watch: &'w Watch) -> Self {
        Self { watch, seen: VecDeque::new() }
    }

    /// `None` until it has looked for long enough.
    fn now(&mut self) -> Option<f64> {
        let (at, ended) = (Instant::now(), self.watch.ended.load(Ordering::Relaxed));
        self.seen.push_back((at, ended));
        let old = self.seen.iter().take_while(|(then, _)| at - *then >= SPAN).count();
        // The youngest of the old ones begins the span.
        self.seen.drain(..old.saturating_sub(1));
        let (then, before) = self.seen.front().filter(|(then, _)| at - *then >= SPAN)?;
        Some((ended - before) as f64 / (at - *then).as_secs_f64())
    }
}

fn away(how: Away) {
    let _turn = plan::turn();
    let scratch = tempfile::tempdir().unwrap();
    let own = World::real_is_wanted().then(|| OwnKafka::start(&scratch.path().join("kafka")));
    let name = format!("away-{how:?}").to_lowercase();
    let world = own.as_ref().map_or_else(|| World::embedded(&name), |(_, address)| World::on(&name, address.clone()));
    let lasts = full_or(Duration::from_secs(60), Duration::from_secs(10));
    let jobs = full_or(14_000, 7_000);
    plan::slow_vendors(&world, 100.0);
    let watch = world.audit();
    let expected = plan::enqueue(&world, 400, plan::no_texts(), jobs);
    // A pace that this machine can hold, so that it can be compared.
    let settings = Settings { mail: "250 messages/s", hook: "50 requests/s", ..plan::settings(&world) };
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    reckoning::wait_for(&watch, 300, &mut [&mut daemon]);
    let mut pace = Pace::new(&watch);
    let before = until(PATIENCE, "a pace", || pace.now(), || daemon.child.last_words());
    let from = world.vendor_now();
    let gone = Instant::now();
    match (&own, how) {
        (None, _) => world.signal_broker("STOP"),
        (Some((kafka, _)), Away::Paused) => drop(kafka.tell("pause")),
        (Some((kafka, _)), Away::Killed) => drop(kafka.tell("kill9")),
    }
    until(lasts * 2, "the broker is away", || (gone.elapsed() >= lasts).then_some(()), String::new);
    match (&own, how) {
        (None, _) => world.signal_broker("CONT"),
        (Some((kafka, _)), Away::Paused) => drop(kafka.tell("cont")),
        (Some((kafka, _)), Away::Killed) => drop(kafka.tell("start")),
    }
    let back = Instant::now();
    let again = || pace.now().filter(|now| *now >= before * 0.95);
    let state = || format!("it was {before:.0} a second, {} of {jobs}", watch.ended.load(Ordering::Relaxed));
    let after = until(Duration::from_secs(30), "95 % of the pace before", again, state);
    let recovered = back.elapsed();
    // What was on its way when the broker went may be sent again, if the homes were given away meanwhile.
    let blow = Blow { from, until: world.vendor_now() };
    reckoning::wait_for_commits(&world, &watch, jobs as u64, &mut daemon);
    daemon.stop();
    let (dump, seen) = reckoning::close(&world, watch);
    let history = History { expected, dump, seen };
    let figures = judge(&history, &Weather { blows: vec![blow], in_flight: IN_FLIGHT, zombies: 0 });
    kafka::all_committed(&world);
    println!("== broker {how:?} for {lasts:?}: {before:.0}/s before, {after:.0}/s {recovered:.1?} after its return");
    println!("   {figures:?}");
    world.finish();
}

/// What goes wrong one after the other; each is waited out until so many more jobs are through. No connection of a
/// producer is closed: the embedded broker looks at sequence numbers in transactions only, and would write twice what
/// a real Kafka writes once.
const TROUBLES: [&[&str]; 8] = [
    &["errors produce timed_out 5"],
    &["errors produce not_leader 5", "leader {outcomes} 0 2", "leader {outcomes} 1 3"],
    &["leader {jobs} 0 3", "leader {jobs} 1 1", "leader {jobs} 2 2"],
    // The connection is closed: nobody knows whether the commit was heard.
    &["errors offset_commit transport 3"],
    &["errors offset_commit timed_out 3"],
    &["errors fetch not_leader 5", "errors heartbeat timed_out 3"],
    &["coordinator {group} 1"],
    &["coordinator {group} 2", "errors offset_commit not_coordinator 2"],
];

#[test]
fn a_broker_that_errs_loses_and_repeats_nothing() {
    let _turn = plan::turn();
    let mut world = World::cluster("errs");
    let (rounds, jobs) = full_or((4, 18_000), (1, 5_000));
    plan::slow_vendors(&world, 40.0);
    let watch = world.audit();
    let expected = plan::enqueue(&world, 500, Mix::peak(), jobs);
    // A session that outlives one closed connection and the look for another coordinator.
    let settings = Settings {
        mail: "300 messages/s",
        sms: "52 messages/s",
        hook: "48 requests/s",
        kafka: plan::LONG,
        sections: plan::LONG_LEASE,
        ..plan::settings(&world)
    };
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    let share = jobs as u64 / (rounds * TROUBLES.len() as u64 + 2);
    let mut longest = (Duration::ZERO, TROUBLES[0]);
    for (n, trouble) in std::iter::repeat_n(TROUBLES, usize::try_from(rounds).unwrap()).flatten().enumerate() {
        for line in trouble {
            let line = line.replace("{outcomes}", &world.topics.outcomes()).replace("{group}", &world.prefix);
            world.order(&line.replace("{jobs}", world.topics.jobs(Lane::Marketing)));
        }
        let began = Instant::now();
        reckoning::wait_for(&watch, share * (n as u64 + 1), &mut [&mut daemon]);
        longest = longest.max((began.elapsed(), trouble));
    }
    reckoning::wait_for_commits(&world, &watch, jobs as u64, &mut daemon);
    let failed = daemon.metric("peakpost_commits_total", &["result=\"failed\""]);
    let again = daemon.metric("peakpost_settle_retries_total", &[]);
    let (_, log) = daemon.stop();
    assert!(
        !log.contains("homes lost"),
        "the group gave the daemon's homes away: what held up its heartbeats? See the log"
    );
    let (dump, seen) = reckoning::close(&world, watch);
    let history = History { expected, dump, seen };
    let figures = judge(&history, &Weather::default());
    kafka::all_committed(&world);
    println!(
        "== a broker that errs: {} troubles, longest to the next {share} jobs: {longest:.1?}",
        rounds * TROUBLES.len() as u64
    );
    println!("   {failed} commits failed, {again} outcomes produced again by us; {figures:?}");
    world.finish();
}
