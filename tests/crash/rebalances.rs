//! Instances that come, go and freeze, every two seconds.
//!
//! Why: homes change hands while jobs are out. Who leaves in order hands over everything; who is frozen past its
//! session and wakes up must neither send nor commit for homes that are another's.
//! Must not know: how homes are divided.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::plan::{self, IN_FLIGHT, full_or};
use crate::support::checker::history::History;
use crate::support::checker::watch::Watch;
use crate::support::checker::{Blow, Weather, judge, outcomes};
use crate::support::config::Settings;
use crate::support::daemon::{Daemon, STOP_LIMIT};
use crate::support::{PARTITIONS, PATIENCE, World, kafka, reckoning, until};

/// How often something happens.
const BEAT: Duration = Duration::from_secs(2);
/// A real Kafka's shortest session.
const SESSION: Duration = Duration::from_secs(6);
/// On the embedded broker members wait for each other for a second less than a session, and must outlive that.
const MIDDLE: &str = "session_timeout = \"4s\"";
const LEASES: [&str; 2] = [
    "[intake]\nlease = \"5s\"\ncommit_interval = \"200ms\"\ndrain = \"16s\"",
    "[intake]\nlease = \"3s\"\ncommit_interval = \"200ms\"\ndrain = \"16s\"",
];
/// A frozen instance sleeps for this longer than its session.
const OVERSLEEPS: Duration = Duration::from_millis(1_500);
/// What a woken instance had begun may arrive this much later, in nanoseconds.
const ON_ITS_WAY: u64 = 1_000_000_000;
const MOST: usize = 4;

struct Frozen {
    daemon: Daemon,
    from: u64,
    since: Instant,
    long: Duration,
}

/// The instances, by what they do.
struct Fleet {
    world: World,
    settings: Settings,
    running: Vec<Daemon>,
    frozen: Option<Frozen>,
    leaving: Vec<(Daemon, Instant)>,
    blows: Vec<Blow>,
    started: usize,
    left: usize,
}

impl Fleet {
    fn join(&mut self) {
        self.started += 1;
        let name = format!("instance-{}", self.started);
        self.running.push(Daemon::start(&self.world, &name, &self.settings));
    }

    fn leave(&mut self, index: usize) {
        let daemon = self.running.remove(index);
        daemon.child.signal("TERM");
        self.leaving.push((daemon, Instant::now()));
        self.left += 1;
    }

    fn freeze(&mut self, index: usize, long: Duration) {
        let daemon = self.running.remove(index);
        let from = self.world.vendor_now();
        daemon.child.signal("STOP");
        self.frozen = Some(Frozen { daemon, from, since: Instant::now(), long });
    }

    fn wake(&mut self) {
        let Some(Frozen { daemon, from, .. }) = self.frozen.take() else { return };
        daemon.child.signal("CONT");
        self.blows.push(Blow { from, until: self.world.vendor_now() + ON_ITS_WAY });
        self.running.push(daemon);
    }

    /// Wakes who has slept long enough, and sees off who has left.
    fn look(&mut self) {
        if self.frozen.as_ref().is_some_and(|frozen| frozen.since.elapsed() > frozen.long) {
            self.wake();
        }
        self.leaving.retain_mut(|(daemon, asked)| match daemon.child.ended() {
            Some(code) => {
                assert_eq!(code, 0, "it left in order; {}", daemon.child.last_words());
                false
            }
            None => {
                assert!(asked.elapsed() < STOP_LIMIT, "it does not leave in time; {}", daemon.child.last_words());
                true
            }
        });
        for daemon in &mut self.running {
            assert_eq!(daemon.child.ended(), None, "it ended by itself; {}", daemon.child.last_words());
        }
    }

    /// Waits until who is awake owns so many homes each, and nobody is on his way out.
    fn settled(&mut self, homes: &[u16]) {
        let asked = Instant::now();
        let owned = |daemons: &[Daemon]| daemons.iter().map(Daemon::homes).collect::<Vec<u16>>();
        while owned(&self.running) != homes || !self.leaving.is_empty() {
            self.look();
            let state = || format!("{:?}, not {homes:?}; {}", owned(&self.running), self.running[0].child.last_words());
            assert!(asked.elapsed() < PATIENCE, "the homes are not shared as they should be: {}", state());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn finish_jobs(&mut self, watch: &Watch, jobs: u64) {
        let mut moved = (0, Instant::now());
        while watch.ended.load(Ordering::Relaxed) < jobs || self.frozen.is_some() || !self.leaving.is_empty() {
            self.look();
            let outcomes = watch.seen.load(Ordering::Relaxed);
            if outcomes > moved.0 {
                moved = (outcomes, Instant::now());
            }
            let ended = watch.ended.load(Ordering::Relaxed);
            let words = || self.running.iter().map(Daemon::state).collect::<Vec<_>>().join("\n");
            assert!(moved.1.elapsed() < PATIENCE, "no outcome for {PATIENCE:?} at {ended} of {jobs}; {}", words());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a real Kafka is put through: every beat somebody joins, leaves or is frozen, whatever the group is at.
fn storm(fleet: &mut Fleet, lasts: Duration) {
    fleet.join();
    fleet.join();
    let mut dice = plan::dice(300);
    let (began, mut next) = (Instant::now(), Instant::now() + BEAT * 3);
    while began.elapsed() < lasts {
        fleet.look();
        if Instant::now() >= next {
            next += BEAT;
            let index = dice.random_range(0..fleet.running.len());
            match (dice.random_range(0..3), fleet.running.len()) {
                (0, 3..) | (_, MOST..) => fleet.leave(index),
                (1, 2..) if fleet.frozen.is_none() => fleet.freeze(index, SESSION + OVERSLEEPS),
                _ => fleet.join(),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the embedded broker can show: one change at a time. It ends itself (an assertion) when a member joins whose
/// last join has no answer, and counts members out that wait for others.
fn steps(fleet: &mut Fleet) {
    World::left_out("changes while the group is changing: one at a time, two instances");
    fleet.join();
    fleet.settled(&[PARTITIONS]);
    fleet.join();
    fleet.settled(&[PARTITIONS / 2; 2]);
    fleet.freeze(0, PATIENCE);
    fleet.settled(&[PARTITIONS]);
    fleet.wake();
    fleet.settled(&[PARTITIONS / 2; 2]);
    fleet.leave(0);
    fleet.settled(&[PARTITIONS]);
}

#[test]
fn instances_that_come_go_and_freeze_lose_nothing() {
    let _turn = plan::turn();
    let world = World::new("rebalances");
    let (lasts, jobs) = full_or((Duration::from_secs(120), 20_000), (Duration::from_secs(25), 4_000));
    plan::slow_vendors(&world, 400.0);
    let watch = world.audit();
    let expected = plan::enqueue(&world, 300, plan::no_texts(), jobs);
    // Slow enough that there is work to the end, over all instances.
    let settings = Settings {
        mail: "80 messages/s",
        hook: "20 requests/s",
        // Longer than a freeze: who wakes up finds answers, not time-outs, and must know that they are not his.
        request_timeout: "10s",
        kafka: world.scale(plan::LONG, MIDDLE),
        sections: world.scale(LEASES[0], LEASES[1]),
        ..plan::settings(&world)
    };
    let (running, leaving, blows) = (Vec::new(), Vec::new(), Vec::new());
    let mut fleet = Fleet { world, settings, running, frozen: None, leaving, blows, started: 0, left: 0 };
    match fleet.world.real {
        true => storm(&mut fleet, lasts),
        false => steps(&mut fleet),
    }
    let during = watch.ended.load(Ordering::Relaxed);
    fleet.finish_jobs(&watch, jobs as u64);
    let all = || kafka::uncommitted(&fleet.world).is_none().then_some(());
    until(PATIENCE, "everything is committed", all, || format!("{:?}", kafka::uncommitted(&fleet.world)));
    let Fleet { world, running, blows, started, left, .. } = fleet;
    for daemon in running {
        daemon.stop();
    }
    let (dump, seen) = reckoning::close(&world, watch);
    let history = History { expected, dump, seen };
    let freezes = blows.len();
    // Whoever wakes up may find answers to what it had out, and write outcomes that are another's by now. Flagged
    // `late` they do not count; there can be no more of the others than it had in flight.
    let weather = Weather { blows, in_flight: IN_FLIGHT, zombies: freezes * IN_FLIGHT };
    let figures = judge(&history, &weather);
    kafka::all_committed(&world);
    let twice = outcomes::ended_once(&history, 0).map_or_else(|fault| fault.count, |_| 0);
    println!("== rebalances: {started} joined, {left} left, {freezes} froze; {during} of {jobs} jobs meanwhile");
    println!("   {figures:?}; second outcomes by woken instances {twice}");
    world.finish();
}
