//! One limit, several instances, in virtual time: they are killed, frozen and reloaded, homes move between them, and
//! no window is over the limit. One scenario file each, in `tests/data/gate`.
//!
//! `PEAKPOST_GATE=full cargo test --release --test gate -- --nocapture` runs each as long as its file says: over ten
//! million units through more than a hundred restarts, moves and reloads.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use peakpost::gate::{Config, Gate, Pass, Say};
use peakpost::job::{Home, Lane, Wall};
use peakpost::observe::Clock;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::rates::no_window_over;
use super::world::{Granted, Wants};
use super::{config, ms};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    why: String,
    limits: Vec<String>,
    wants: Wants,
    homes: Home,
    instances: usize,
    seconds: u64,
    restarts: u32,
    moves: u32,
    freezes: u32,
    reloads: u32,
    full: u64,
    used: f64,
}

/// The group gives a silent member's homes away after this; a frozen one sleeps a little longer.
const SESSION: Duration = Duration::from_secs(6);
/// Asks of one instance.
const SHARDS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A request ended: instance, its life, lane.
    Release(usize, u32, Lane),
    Ask(usize, u32, usize, Lane),
    /// A home has a new owner.
    Own(usize, Home),
    Kill,
    Start(usize),
    Freeze,
    Wake(usize, u32),
    Move,
    Reload,
}

/// One instance. A life ends with a kill.
struct Instance {
    gate: Option<Gate>,
    life: u32,
    frozen: bool,
    homes: Vec<(Home, u32)>,
    wake: Option<Duration>,
}

struct Fleet {
    scenario: Scenario,
    configs: [Config; 2],
    reloads: usize,
    instances: Vec<Instance>,
    origin: Instant,
    now: Duration,
    due: BinaryHeap<Reverse<(Duration, Event)>>,
    rng: SmallRng,
    log: Vec<Granted>,
    /// Units that the rates held allowed, by limit.
    usable: Vec<f64>,
    epoch: u32,
}

impl Fleet {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let limits: Vec<&str> = scenario.limits.iter().map(String::as_str).collect();
        let normal = config(&limits, 4_000);
        let mut lower = normal.clone();
        for limit in &mut lower.limits {
            limit.count = limit.count * 4 / 5;
        }
        let instance = |_| Instance { gate: None, life: 0, frozen: false, homes: Vec::new(), wake: None };
        let mut fleet = Self {
            usable: vec![0.0; limits.len()],
            configs: [normal, lower],
            reloads: 0,
            instances: (0..scenario.instances).map(instance).collect(),
            origin: Clock::default().mono(),
            now: Duration::ZERO,
            due: BinaryHeap::new(),
            rng: SmallRng::seed_from_u64(seed),
            log: Vec::new(),
            epoch: 0,
            scenario: scenario.clone(),
        };
        for instance in 0..scenario.instances {
            fleet.start(instance);
        }
        for home in 0..scenario.homes {
            fleet.own(usize::from(home) % scenario.instances, home);
        }
        let span = Duration::from_secs(scenario.seconds);
        let Scenario { restarts, moves, freezes, reloads, .. } = *scenario;
        for (event, count) in
            [(Event::Kill, restarts), (Event::Move, moves), (Event::Freeze, freezes), (Event::Reload, reloads)]
        {
            for _ in 0..count {
                let at = span.mul_f64(fleet.rng.random());
                fleet.due.push(Reverse((at, event)));
            }
        }
        fleet
    }

    fn wall(&self) -> Wall {
        Wall(i64::try_from(self.now.as_millis()).unwrap())
    }

    fn start(&mut self, n: usize) {
        let now = self.origin + self.now;
        let config = &self.configs[self.reloads % 2];
        let instance = &mut self.instances[n];
        if instance.gate.is_some() {
            return;
        }
        instance.gate = Some(Gate::new(config, "mail", self.scenario.homes, self.rng.random(), now));
        instance.life += 1;
        let life = instance.life;
        for shard in 0..SHARDS {
            for lane in Lane::ALL {
                self.due.push(Reverse((self.now, Event::Ask(n, life, shard, lane))));
            }
        }
        // It joins: some homes come over.
        for _ in 0..self.scenario.homes / 4 {
            self.due.push(Reverse((self.now + ms(500), Event::Move)));
        }
    }

    /// Says to an instance which homes it has.
    fn tell(&mut self, n: usize) {
        let (now, wall) = (self.origin + self.now, self.wall());
        let Instance { gate, homes, .. } = &mut self.instances[n];
        if let Some(gate) = gate {
            gate.homes(homes, now, wall);
        }
    }

    fn own(&mut self, n: usize, home: Home) {
        let owner = (n..n + self.instances.len()).map(|n| n % self.instances.len());
        let alive = |n: &usize| self.instances[*n].gate.is_some() && !self.instances[*n].frozen;
        match owner.into_iter().find(alive) {
            Some(owner) => {
                self.epoch += 1;
                self.instances[owner].homes.push((home, self.epoch));
                self.tell(owner);
            }
            None => self.due.push(Reverse((self.now + ms(500), Event::Own(n, home)))),
        }
    }

    /// The gate of an instance, if it still lives that life.
    fn gate(&mut self, n: usize, life: u32) -> Option<&mut Gate> {
        let instance = &mut self.instances[n];
        if instance.life == life { instance.gate.as_mut() } else { None }
    }

    fn happen(&mut self, event: Event) {
        let any = self.rng.random_range(0..self.instances.len());
        let now = self.origin + self.now;
        match event {
            Event::Release(n, life, lane) => {
                if let Some(gate) = self.gate(n, life) {
                    gate.release(lane, 1, Pass::default());
                }
            }
            Event::Ask(n, life, shard, lane) => {
                let ask = self.scenario.wants.ask(&mut self.rng, shard, lane);
                if let Some(gate) = self.gate(n, life) {
                    gate.ask(ask, now);
                }
            }
            Event::Own(n, home) => self.own(n, home),
            Event::Kill => self.kill(any),
            Event::Start(n) => self.start(n),
            Event::Freeze => self.freeze(any),
            Event::Wake(n, life) => self.awake(n, life),
            Event::Move => self.give(any),
            Event::Reload => {
                self.reloads += 1;
                let (config, wall) = (&self.configs[self.reloads % 2], self.wall());
                for gate in self.instances.iter_mut().filter_map(|instance| instance.gate.as_mut()) {
                    gate.reload(config, now, wall);
                }
            }
        }
    }

    fn kill(&mut self, n: usize) {
        let instance = &mut self.instances[n];
        if std::mem::take(&mut instance.frozen) {
            // They have been given away already.
            instance.homes.clear();
        }
        instance.gate = None;
        let homes: Vec<Home> = instance.homes.drain(..).map(|(home, _)| home).collect();
        for home in homes {
            let to = self.rng.random_range(0..self.instances.len());
            self.due.push(Reverse((self.now + SESSION, Event::Own(to, home))));
        }
        let back = self.now + self.rng.random_range(ms(50)..=ms(3_000));
        self.due.push(Reverse((back, Event::Start(n))));
    }

    /// Its homes go to others at the end of its session, and it does not know.
    fn freeze(&mut self, n: usize) {
        let instance = &mut self.instances[n];
        if instance.frozen || instance.gate.is_none() {
            return;
        }
        instance.frozen = true;
        let (life, homes) = (instance.life, instance.homes.clone());
        for (home, _) in homes {
            let to = self.rng.random_range(0..self.instances.len());
            self.due.push(Reverse((self.now + SESSION, Event::Own(to, home))));
        }
        self.due.push(Reverse((self.now + SESSION + ms(1_500), Event::Wake(n, life))));
    }

    /// It has the homes in mind that it had, but its lease is over: what it grants now is turned away at the door. Then
    /// it learns.
    fn awake(&mut self, n: usize, life: u32) {
        if self.instances[n].life != life || self.instances[n].gate.is_none() {
            return;
        }
        self.turn(n, false);
        self.instances[n].frozen = false;
        self.instances[n].homes.clear();
        self.tell(n);
    }

    /// A home goes in peace: its owner lets go first.
    fn give(&mut self, from: usize) {
        if self.instances[from].frozen || self.instances[from].homes.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.instances[from].homes.len());
        let (home, _) = self.instances[from].homes.swap_remove(at);
        self.tell(from);
        let to = self.rng.random_range(0..self.instances.len());
        let then = self.now + self.rng.random_range(Duration::ZERO..=ms(500));
        self.due.push(Reverse((then, Event::Own(to, home))));
    }

    /// An instance answers. `holds`: its lease does.
    fn turn(&mut self, n: usize, holds: bool) {
        let (at, wall) = (self.origin + self.now, self.wall());
        let Instance { gate: Some(gate), life, .. } = &mut self.instances[n] else { return };
        let life = *life;
        let (mut answers, mut writes) = (Vec::new(), Vec::new());
        let wake = gate.turn(at, wall, &mut answers, &mut writes);
        self.instances[n].wake = wake.and_then(|wake| wake.checked_duration_since(self.origin));
        for answer in answers {
            let Say::Go(permit) = answer.say else { panic!("no warm-up, nobody is sent elsewhere") };
            let (lane, requests, messages) = (permit.lane(), permit.requests(), permit.messages());
            if holds {
                let at = u64::try_from(self.now.as_nanos()).unwrap();
                self.log.push(Granted { at, lane, requests, messages, out: [0; 2] });
            }
            for _ in 0..requests {
                let back = self.now + self.rng.random_range(ms(5)..=ms(100));
                self.due.push(Reverse((back, Event::Release(n, life, lane))));
            }
            let again = self.now + self.rng.random_range(Duration::ZERO..=ms(1));
            self.due.push(Reverse((again, Event::Ask(n, life, answer.shard, lane))));
        }
    }

    fn run(&mut self) {
        let until = Duration::from_secs(self.scenario.seconds);
        while self.now < until {
            while let Some(&Reverse((at, event))) = self.due.peek()
                && at <= self.now
            {
                self.due.pop();
                self.happen(event);
            }
            for n in 0..self.instances.len() {
                if !self.instances[n].frozen {
                    self.turn(n, true);
                }
            }
            let wakes = self.instances.iter().filter(|instance| !instance.frozen).filter_map(|instance| instance.wake);
            let next = self.due.peek().map(|Reverse((at, _))| *at).into_iter().chain(wakes).min();
            let next = next.expect("nobody would ever look again");
            let later = next.max(self.now) + self.rng.random_range(Duration::ZERO..=ms(5));
            self.allow(later.saturating_sub(self.now).as_secs_f64());
            self.now = later;
        }
    }

    /// What the rates held now allow in so many seconds.
    fn allow(&mut self, seconds: f64) {
        for gate in self.instances.iter().filter(|instance| !instance.frozen).filter_map(|i| i.gate.as_ref()) {
            for (usable, (_, rate)) in self.usable.iter_mut().zip(gate.rates()) {
                *usable += rate * seconds;
            }
        }
    }
}

fn scenarios() -> Vec<Scenario> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gate")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|file| toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}

#[test]
fn several_instances_keep_one_limit_whatever_happens_to_them() {
    let full = std::env::var("PEAKPOST_GATE").is_ok_and(|size| size == "full");
    let (mut units, mut disturbed) = (0, [0; 4]);
    for (seed, mut scenario) in (1..).zip(scenarios()) {
        if full {
            let times = u32::try_from(scenario.full).unwrap();
            scenario.seconds *= scenario.full;
            for count in [&mut scenario.restarts, &mut scenario.moves, &mut scenario.freezes, &mut scenario.reloads] {
                *count *= times;
            }
        }
        let why = &scenario.why;
        let mut fleet = Fleet::new(&scenario, seed);
        fleet.run();
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut best, mut most) = (0.0_f64, 0);
        for (limit, usable) in fleet.configs[0].limits.iter().zip(&fleet.usable) {
            let granted = super::rates::times(&fleet.log, limit.unit);
            no_window_over(*limit, &granted, fleet.configs[0].jitter, why, &mut rng);
            let used = granted.len() as f64 / usable;
            println!("   `{limit}`: {} units, {:.1} % of what the shares allowed; {why}", granted.len(), used * 100.0);
            (best, most) = (best.max(used), most.max(granted.len()));
        }
        assert!(best >= scenario.used, "{why}: only {:.1} % of what the shares allowed was used", best * 100.0);
        units += most;
        let these = [scenario.restarts, scenario.moves, scenario.freezes, scenario.reloads];
        disturbed.iter_mut().zip(these).for_each(|(sum, n)| *sum += n);
    }
    let [restarts, moves, freezes, reloads] = disturbed;
    println!(
        "== {units} units through {restarts} restarts, {moves} moves of homes, {freezes} freezes, {reloads} reloads"
    );
    assert!(!full || units >= 10_000_000, "{units} units are too few for the full run; lengthen the files");
}
