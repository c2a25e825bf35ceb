//! Gates and a vendor with a will of its own, in virtual time: an unknown limit, long resets, outages. One scenario
//! file each, in `tests/data/gate/weather`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use peakpost::gate::{Gate, Pass, Say, Stop, Word};
use peakpost::job::{Lane, Wall};
use peakpost::observe::Clock;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::vendor::{Phase, Reply, Says, Vendor};
use super::{config, ms, singles};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    why: String,
    /// What the configuration believes.
    limits: Vec<String>,
    instances: u16,
    /// Of the time to wait, in throttled replies.
    says: Says,
    vendor: Vec<Phase>,
    expect: Vec<Expect>,
}

/// What must be true of a stretch of time, in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    why: String,
    from: f64,
    until: f64,
    /// Accepted a second: at least.
    well: Option<f64>,
    /// Of all requests: at most this share was throttled.
    throttled: Option<f64>,
    /// Of all requests: at most this share failed.
    failed: Option<f64>,
    /// So many requests came, at most.
    requests: Option<usize>,
}

const HOMES: u16 = 12;
const SHARDS: usize = 2;

enum Event {
    Ask(usize, Lane),
    Arrive(Lane, Pass, Duration),
    Reply(Lane, Pass, Duration, Reply),
    Order(Stop),
}

struct Sky {
    vendor: Vendor,
    gates: Vec<Gate>,
    wakes: Vec<Option<Duration>>,
    origin: Instant,
    now: Duration,
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    /// By number: to which instance.
    events: HashMap<u64, (usize, Event)>,
    count: u64,
    rng: SmallRng,
}

impl Sky {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let limits: Vec<&str> = scenario.limits.iter().map(String::as_str).collect();
        let (config, origin) = (config(&limits, 1_200), Clock::default().mono());
        let gate = |n: u16| {
            let mut gate = Gate::new(&config, "mail", HOMES, u64::from(n), origin);
            let homes: Vec<_> =
                (0..HOMES).filter(|home| home % scenario.instances == n).map(|home| (home, 1)).collect();
            gate.homes(&homes, origin, Wall(0));
            gate
        };
        let mut sky = Self {
            vendor: Vendor::new(&scenario.vendor, scenario.says),
            gates: (0..scenario.instances).map(gate).collect(),
            wakes: vec![None; usize::from(scenario.instances)],
            origin,
            now: Duration::ZERO,
            due: BinaryHeap::new(),
            events: HashMap::new(),
            count: 0,
            rng: SmallRng::seed_from_u64(seed),
        };
        for n in 0..sky.gates.len() {
            for shard in 0..SHARDS {
                for lane in Lane::ALL {
                    sky.put(n, Duration::ZERO, Event::Ask(shard, lane));
                }
            }
        }
        sky
    }

    fn put(&mut self, n: usize, after: Duration, event: Event) {
        self.count += 1;
        self.due.push(Reverse((self.now + after, self.count)));
        self.events.insert(self.count, (n, event));
    }

    /// Half a round trip of 20 to 100 ms.
    fn way(&mut self) -> Duration {
        self.rng.random_range(ms(10)..=ms(50))
    }

    fn happen(&mut self, n: usize, event: Event) {
        let (now, wall) = (self.origin + self.now, Wall(i64::try_from(self.now.as_millis()).unwrap()));
        match event {
            Event::Ask(shard, lane) => self.gates[n].ask(singles(shard, lane, 64), now),
            Event::Arrive(lane, pass, sent) => {
                let reply = self.vendor.answer(self.now, &mut self.rng);
                let way = self.way();
                self.put(n, way, Event::Reply(lane, pass, sent, reply));
            }
            Event::Reply(lane, pass, sent, reply) => {
                let word = match reply {
                    Reply::Well => Word::Well,
                    Reply::Failed => Word::Failed,
                    // A time that has passed says nothing.
                    Reply::Throttled(until) => {
                        Word::Throttled { wait: until.and_then(|until| until.checked_sub(self.now)), sender: None }
                    }
                };
                let chance = self.rng.random();
                self.gates[n].landed(lane, self.origin + sent, pass, word, now, wall, chance);
            }
            Event::Order(stop) => {
                let left = Duration::from_millis(u64::try_from(stop.until.0 - wall.0).unwrap_or(0));
                self.gates[n].order(stop.sender.as_deref(), now + left, now);
            }
        }
        self.wakes[n] = Some(self.now);
    }

    fn turn(&mut self, n: usize) {
        let (at, wall) = (self.origin + self.now, Wall(i64::try_from(self.now.as_millis()).unwrap()));
        let (mut answers, mut writes) = (Vec::new(), Vec::new());
        let wake = self.gates[n].turn(at, wall, &mut answers, &mut writes);
        assert!(wake.is_none_or(|wake| wake > at), "the gate wants to be woken in the past: its task would spin");
        self.wakes[n] = wake.map(|wake| wake - self.origin);
        for answer in answers {
            let Say::Go(permit) = answer.say else { panic!("nobody has anywhere else to go") };
            for _ in 0..permit.requests() {
                let way = self.way();
                self.put(n, way, Event::Arrive(permit.lane(), permit.pass(), self.now));
            }
            self.put(n, ms(1), Event::Ask(answer.shard, answer.lane));
        }
        for stop in self.gates[n].orders() {
            for to in 0..self.gates.len() {
                // To itself too, as from a topic.
                let after = self.rng.random_range(ms(100)..=ms(1_500));
                self.put(to, after, Event::Order(stop.clone()));
            }
        }
    }

    fn run(&mut self, until: Duration) {
        while self.now < until {
            while let Some(&Reverse((at, number))) = self.due.peek()
                && at <= self.now
            {
                self.due.pop();
                let (n, event) = self.events.remove(&number).unwrap();
                self.happen(n, event);
            }
            for n in 0..self.gates.len() {
                if self.wakes[n].is_some_and(|wake| wake <= self.now) {
                    self.turn(n);
                }
            }
            let next =
                self.due.peek().map(|Reverse((at, _))| *at).into_iter().chain(self.wakes.iter().flatten().copied());
            let next = next.min().expect("nothing is under way and no gate names a time: everybody waits for ever");
            self.now = next.max(self.now) + self.rng.random_range(Duration::ZERO..=ms(2));
        }
    }
}

impl Expect {
    fn hold(&self, vendor: &Vendor, what: &str) {
        let Self { why, from, until, .. } = self;
        let within = vendor.log.iter().filter(|(at, _)| (*from..*until).contains(&at.as_secs_f64()));
        let (mut all, mut well, mut failed) = (0, 0, 0);
        for (_, reply) in within {
            all += 1;
            well += usize::from(*reply == Reply::Well);
            failed += usize::from(*reply == Reply::Failed);
        }
        let share = |n: usize| n as f64 / (all.max(1)) as f64;
        let (pace, throttled, failed) = (well as f64 / (until - from), share(all - well - failed), share(failed));
        let found = format!(
            "{from} to {until} s: {all} requests, {pace:.1}/s well, {:.2} % throttled, {:.2} % failed",
            throttled * 100.0,
            failed * 100.0
        );
        println!("   {found}; {why}");
        let hold =
            |good: bool, key: &str| assert!(good, "{what}: {why}: `{key}` does not hold: {found}; see src/gate/");
        hold(self.well.is_none_or(|least| pace >= least), "well");
        hold(self.throttled.is_none_or(|most| throttled <= most), "throttled");
        hold(self.failed.is_none_or(|most| failed <= most), "failed");
        hold(self.requests.is_none_or(|most| all <= most), "requests");
    }
}

#[test]
fn gates_find_their_pace_in_every_weather() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gate/weather")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "scenarios are missing: {files:?}");
    for (seed, file) in (1..).zip(files) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let scenario: Scenario = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        println!("{name}: {}", scenario.why);
        let mut sky = Sky::new(&scenario, seed);
        let end = scenario.expect.iter().map(|expect| expect.until).fold(0.0, f64::max);
        sky.run(Duration::from_secs_f64(end));
        for expect in &scenario.expect {
            expect.hold(&sky.vendor, &format!("{name}: {}", scenario.why));
        }
    }
}
