//! A breaker in any order of events: replies late, probes lost, passes stale, permits unused, leaps of time. Never more
//! probes out than permitted, and never stuck.
//!
//! `PEAKPOST_GATE=full cargo test --release --test gate -- schedules` runs a million of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use peakpost::gate::breaker::{PROBE_LIFE, PROBES};
use peakpost::gate::{Gate, Pass, Say, State, Word};
use peakpost::job::{Lane, Wall};
use peakpost::observe::Clock;
use peakpost::outcome::Code;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{config, ms, singles};

/// After this long in health everything goes again: a last late reply, lost probes, the longest block, the ramp.
const BOUND: Duration = Duration::from_secs(400);

#[derive(Clone, Copy, Debug)]
enum Health {
    Well,
    Failing,
    Half,
    Throttling,
    Down,
    /// Nothing comes back.
    Silent,
}

const SICK: [Health; 6] =
    [Health::Well, Health::Failing, Health::Half, Health::Throttling, Health::Down, Health::Silent];

struct Out {
    lane: Lane,
    sent: Instant,
    pass: Pass,
    /// `None`: it is given back unsent.
    word: Option<Word>,
}

struct Schedule {
    gate: Gate,
    origin: Instant,
    now: Duration,
    health: Health,
    healed: bool,
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    out: BTreeMap<u64, Out>,
    /// Probes that are out: when they were made.
    probes: BTreeMap<u64, Duration>,
    most: usize,
    waiting: usize,
    count: u64,
    rng: SmallRng,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let origin = Clock::default().mono();
        let mut gate = Gate::new(&config(&["1_000 requests/s"], 100_000), "mail", 1, 1, origin);
        gate.homes(&[(0, 1)], origin, Wall(0));
        Self {
            gate,
            origin,
            now: Duration::ZERO,
            health: Health::Well,
            healed: false,
            due: BinaryHeap::new(),
            out: BTreeMap::new(),
            probes: BTreeMap::new(),
            most: 0,
            waiting: 0,
            count: 0,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..12) {
            0..6 => self.ask(),
            6..10 => {
                let leap = [50, 2_000, 15_000, 200_000][self.rng.random_range(0..4)];
                let leap = self.rng.random_range(1..=leap);
                self.pass_time(self.now + ms(leap));
            }
            10 => self.health = SICK[self.rng.random_range(0..SICK.len())],
            _ => {
                let (now, wait) = (self.origin + self.now, self.rng.random_range(1..20_000));
                self.gate.order(None, now + ms(wait), now);
            }
        }
        self.turn();
    }

    fn ask(&mut self) {
        let (lane, n) = (Lane::ALL[self.rng.random_range(0..2)], self.rng.random_range(1..=8));
        self.gate.ask(singles(0, lane, n), self.origin + self.now);
        self.waiting += 1;
    }

    /// Lets what is due come back, late as it is.
    fn pass_time(&mut self, until: Duration) {
        self.now = until;
        while let Some(&Reverse((at, number))) = self.due.peek()
            && at <= self.now
        {
            self.due.pop();
            self.probes.remove(&number);
            let Some(Out { lane, sent, pass, word }) = self.out.remove(&number) else { continue };
            let (now, wall) = (self.origin + self.now, self.wall());
            match word {
                Some(word) => {
                    let chance = self.rng.random();
                    self.gate.landed(lane, sent, pass, word, now, wall, chance);
                }
                None => self.gate.release(lane, 1, pass),
            }
        }
    }

    fn wall(&self) -> Wall {
        Wall(i64::try_from(self.now.as_millis()).unwrap())
    }

    fn turn(&mut self) -> Option<Duration> {
        let (mut answers, mut writes) = (Vec::new(), Vec::new());
        let wake = self.gate.turn(self.origin + self.now, self.wall(), &mut answers, &mut writes);
        // A turn never leads from Probe to Allow, so what it grants in Probe are probes.
        let probes = self.gate.breaker_state() == State::Probe;
        for answer in answers {
            self.waiting -= 1;
            let Say::Go(permit) = answer.say else { panic!("there is nowhere else to go") };
            assert!(!probes || (permit.requests(), permit.messages()) == (1, 1), "a probe is one message: {permit:?}");
            assert_ne!(self.gate.breaker_state(), State::Block, "nothing goes in a block");
            for _ in 0..permit.requests() {
                self.send(permit.lane(), permit.pass(), probes);
            }
        }
        let now = self.now;
        self.probes.retain(|_, made| *made + PROBE_LIFE > now);
        self.most = self.most.max(self.probes.len());
        wake.map(|wake| wake - self.origin)
    }

    fn send(&mut self, lane: Lane, pass: Pass, probe: bool) {
        self.count += 1;
        if probe {
            self.probes.insert(self.count, self.now);
        }
        let word = match self.health {
            Health::Failing => Word::Failed,
            Health::Half if self.rng.random() => Word::Failed,
            Health::Well | Health::Half => Word::Well,
            Health::Throttling => {
                Word::Throttled { wait: self.rng.random_bool(0.1).then_some(ms(3_000)), sender: None }
            }
            Health::Down => Word::Down(Code::Account),
            Health::Silent => return,
        };
        let unsent = self.rng.random_bool(0.1);
        let late = match (unsent, self.healed) {
            (true, _) => 20,
            (false, true) => 200,
            (false, false) => [200, 200, 200, 5_000, 150_000][self.rng.random_range(0..5)],
        };
        let at = self.now + ms(self.rng.random_range(1..=late));
        self.due.push(Reverse((at, self.count)));
        let out = Out { lane, sent: self.origin + self.now, pass, word: (!unsent).then_some(word) };
        self.out.insert(self.count, out);
    }

    /// From now on all is well and somebody always wants to send. Returns how long it took until all goes.
    fn heal(&mut self) -> Option<Duration> {
        (self.health, self.healed) = (Health::Well, true);
        let begin = self.now;
        while self.now < begin + BOUND {
            if self.waiting == 0 {
                self.ask();
            }
            let wake = self.turn();
            let report = || self.gate.report(self.origin + self.now, self.wall());
            if self.gate.breaker_state() == State::Allow && report().ramp >= 1.0 {
                return Some(self.now.saturating_sub(begin));
            }
            let due = self.due.peek().map(|Reverse((at, _))| *at);
            let look = if self.waiting == 0 { Some(self.now + ms(250)) } else { None };
            let next = due.into_iter().chain(wake).chain(look).min()?;
            self.pass_time(next.max(self.now + ms(100)));
        }
        None
    }
}

#[test]
fn no_schedule_has_too_many_probes_or_gets_stuck() {
    let full = std::env::var("PEAKPOST_GATE").is_ok_and(|size| size == "full");
    let schedules = if full { 1_000_000 } else { 20_000 };
    let (mut longest, mut most, mut blocks) = (Duration::ZERO, 0, 0_u64);
    for seed in 0..schedules {
        let mut schedule = Schedule::new(seed);
        for _ in 0..schedule.rng.random_range(5..60) {
            schedule.step();
        }
        blocks += u64::from(schedule.gate.breaker_state() != State::Allow);
        let healed = schedule.heal();
        let (state, probes) = (schedule.gate.breaker_state(), schedule.most);
        assert!(probes <= PROBES, "schedule {seed}: {probes} probes were out at a time; see breaker.rs");
        let healed = healed.unwrap_or_else(|| panic!("schedule {seed}: {BOUND:?} after healing it is in {state:?}"));
        longest = longest.max(healed);
        most = most.max(probes);
    }
    println!(
        "{schedules} schedules, {blocks} not in Allow at the end; at most {most} probes out, healed in {longest:?}"
    );
    assert_eq!(most, PROBES, "no schedule ever had all its probes out: the test says nothing");
    assert!(blocks > schedules / 10, "only {blocks} of {schedules} schedules were blocked when they healed");
}
