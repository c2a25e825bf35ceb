//! Shards that always want more, a gatekeeper that looks late, requests that take their time, restarts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use peakpost::gate::{Ask, Config};
use peakpost::job::Lane;
use peakpost::observe::Clock;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::alone::Alone;
use super::{batch, ms, singles};

const SHARDS: usize = 4;

/// What shards ask for.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// Single sends, up to 64 at a time.
    Singles,
    /// Up to eight requests with up to 1,000 messages each.
    Batches,
    /// Now the one, now the other.
    Both,
    /// Always one single send.
    OneByOne,
}

impl Wants {
    /// The next ask of a shard that wants this.
    pub fn ask(self, rng: &mut SmallRng, shard: usize, lane: Lane) -> Ask {
        let alone = match self {
            Self::OneByOne => return singles(shard, lane, 1),
            Self::Singles => true,
            Self::Batches => false,
            Self::Both => rng.random(),
        };
        match alone {
            true => singles(shard, lane, rng.random_range(1..=64)),
            false => {
                let requests = rng.random_range(1..=8);
                let messages = rng.random_range(requests..=requests * 1000);
                Ask { requests, ..batch(shard, lane, messages) }
            }
        }
    }
}

/// One grant.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// Nanoseconds since the world began.
    pub at: u64,
    pub lane: Lane,
    pub requests: u32,
    pub messages: u32,
    /// Slots in use after it, by lane.
    pub out: [u32; 2],
}

/// A gate's time between two restarts.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub from: u64,
    pub until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Release(Lane, u32),
    Ask(usize, Lane),
    Restart,
}

pub struct World {
    config: Config,
    wants: Wants,
    /// Lanes with jobs without end.
    lanes: Vec<Lane>,
    /// How late the gatekeeper can be.
    pub late: Duration,
    /// How long a request can take.
    takes: RangeInclusive<Duration>,
    gate: Alone,
    origin: Instant,
    now: Duration,
    due: BinaryHeap<Reverse<(Duration, Event)>>,
    out: [u32; 2],
    rng: SmallRng,
    pub log: Vec<Granted>,
    pub lives: Vec<Life>,
}

impl World {
    /// A world in which every lane of `lanes` is never without jobs.
    pub fn new(config: &Config, wants: Wants, lanes: &[Lane], seed: u64) -> Self {
        let origin = Clock::default().mono();
        let mut world = Self {
            config: config.clone(),
            wants,
            lanes: lanes.to_vec(),
            late: ms(20),
            takes: ms(5)..=ms(100),
            gate: Alone::new(config, origin),
            origin,
            now: Duration::ZERO,
            due: BinaryHeap::new(),
            out: [0; 2],
            rng: SmallRng::seed_from_u64(seed),
            log: Vec::new(),
            lives: vec![Life { from: 0, until: 0 }],
        };
        world.everyone_asks();
        world
    }

    /// Kills the gate at `at` and starts a new one, which knows nothing, a moment later.
    pub fn restart_at(&mut self, at: Duration) {
        self.due.push(Reverse((at, Event::Restart)));
    }

    fn everyone_asks(&mut self) {
        for shard in 0..SHARDS {
            for &lane in &self.lanes {
                self.due.push(Reverse((self.now, Event::Ask(shard, lane))));
            }
        }
    }

    /// Runs until `until`.
    pub fn run(&mut self, until: Duration) {
        let mut grants = Vec::new();
        while self.now < until {
            while let Some(&Reverse((at, event))) = self.due.peek()
                && at <= self.now
            {
                self.due.pop();
                self.happen(event);
            }
            let at = self.origin + self.now;
            let wake = self.gate.turn(at, &mut grants);
            assert!(
                wake.is_none_or(|wake| wake > at),
                "the gate wants to be woken in the past: its task would spin; see Gate::turn"
            );
            for grant in grants.drain(..) {
                let permit = grant.permit;
                self.granted(grant.shard, permit.lane(), permit.requests(), permit.messages());
            }
            let wake = wake.map(|wake| wake - self.origin);
            let next = self.due.peek().map(|Reverse((at, _))| *at).into_iter().chain(wake).min();
            let next = next.expect("nothing is under way and the gate names no time: everybody waits for ever");
            self.now = next.max(self.now) + self.rng.random_range(Duration::ZERO..=self.late);
        }
        self.close_life();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Release(lane, requests) => {
                self.gate.release(lane, requests);
                self.out[lane.index()] -= requests;
            }
            Event::Ask(shard, lane) => {
                let ask = self.wants.ask(&mut self.rng, shard, lane);
                self.gate.ask(ask, self.origin + self.now);
            }
            Event::Restart => self.restart(),
        }
    }

    fn granted(&mut self, shard: usize, lane: Lane, requests: u32, messages: u32) {
        self.out[lane.index()] += requests;
        let at = u64::try_from(self.now.as_nanos()).unwrap();
        self.log.push(Granted { at, lane, requests, messages, out: self.out });
        for _ in 0..requests {
            let back = self.now + self.rng.random_range(self.takes.clone());
            self.due.push(Reverse((back, Event::Release(lane, 1))));
        }
        let again = self.now + self.rng.random_range(Duration::ZERO..=ms(1));
        self.due.push(Reverse((again, Event::Ask(shard, lane))));
    }

    fn restart(&mut self) {
        self.close_life();
        self.now += self.rng.random_range(ms(1)..=ms(200));
        let later: Vec<_> = self.due.drain().filter(|Reverse((_, event))| *event == Event::Restart).collect();
        self.due.extend(later);
        self.out = [0; 2];
        self.gate = Alone::new(&self.config, self.origin + self.now);
        let from = u64::try_from(self.now.as_nanos()).unwrap();
        self.lives.push(Life { from, until: from });
        self.everyone_asks();
    }

    fn close_life(&mut self) {
        if let Some(life) = self.lives.last_mut() {
            life.until = u64::try_from(self.now.as_nanos()).unwrap();
        }
    }
}
