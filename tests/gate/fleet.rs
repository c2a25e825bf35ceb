//! Instances that keep one budget together: homes that move, writes that take their time, processes that die or freeze.

use std::collections::BTreeMap;

use peakpost::gate::budget::{Budget, Terms, Write};
use peakpost::gate::limit::Limit;
use peakpost::gate::usage::Series;
use peakpost::job::{Home, Lane, Wall};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::ms;

/// Some day in the season, in the middle of a slice of most windows.
pub const BEGIN: i64 = 1_795_000_000_123;
/// How long a write takes to become durable, in ms.
pub const ACK: i64 = 10;
/// How far apart a spending and its arrival can be, in ms.
pub const JITTER: i64 = 50;
/// Of every purse, for transactional.
pub const RESERVE: f64 = 0.2;

/// One spending.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub at: i64,
    pub lane: Lane,
    pub units: u32,
    pub owner: usize,
}

struct Flight {
    lands: i64,
    owner: usize,
    write: Write,
}

pub struct Owner {
    pub budget: Budget,
    pub homes: Vec<(Home, u32)>,
    /// Whether it runs, and hears what becomes of its writes.
    pub alive: bool,
    writer: u64,
}

pub struct Fleet {
    pub limit: Limit,
    pub terms: Terms,
    homes: Home,
    pub now: i64,
    topic: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    epochs: Vec<u32>,
    pub owners: Vec<Owner>,
    flights: Vec<Flight>,
    tag: u64,
    pub writes: usize,
    pub log: Vec<Spent>,
    rng: SmallRng,
}

pub fn series(limit: Limit) -> Series {
    Series { provider: "mail".into(), scope: "provider".into(), unit: limit.unit, window: limit.window }
}

impl Fleet {
    pub fn new(limit: &str, homes: Home, seed: u64) -> Self {
        let limit: Limit = limit.parse().unwrap();
        Self {
            limit,
            terms: Terms { count: limit.count, carrier: None, reserve: RESERVE },
            homes,
            now: BEGIN,
            topic: vec![BTreeMap::new(); usize::from(homes)],
            epochs: vec![0; usize::from(homes)],
            owners: Vec::new(),
            flights: Vec::new(),
            tag: 0,
            writes: 0,
            log: Vec::new(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    pub fn window(&self) -> i64 {
        i64::try_from(self.limit.window.as_millis()).unwrap()
    }

    pub fn wall(&self) -> Wall {
        Wall(self.now)
    }

    /// What the topic holds for a home.
    pub fn records(&self, home: Home) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.topic[usize::from(home)].clone().into_iter().collect()
    }

    /// Something stands in a home's partition, whoever wrote it.
    pub fn plant(&mut self, home: Home, key: String, value: &str) {
        self.topic[usize::from(home)].insert(key.into_bytes(), value.into());
    }

    /// A new process, which owns these homes.
    pub fn start(&mut self, homes: &[Home]) -> usize {
        let writer = self.rng.random();
        let budget = Budget::new(series(self.limit), self.homes, ms(JITTER.unsigned_abs()), writer, self.terms);
        self.owners.push(Owner { budget, homes: Vec::new(), alive: true, writer });
        let owner = self.owners.len() - 1;
        self.own(owner, homes);
        owner
    }

    /// From now on the process owns these homes and no others: the lost ones are let go, the new ones read and opened.
    pub fn own(&mut self, owner: usize, homes: &[Home]) {
        let wall = self.wall();
        let mut owned: Vec<_> = self.owners[owner].homes.clone();
        owned.retain(|(home, _)| homes.contains(home));
        for &home in homes.iter().filter(|home| !owned.iter().any(|(held, _)| held == *home)).collect::<Vec<_>>() {
            let epoch = &mut self.epochs[usize::from(home)];
            *epoch += 1;
            owned.push((home, *epoch));
            let records = self.topic[usize::from(home)].clone().into_iter().collect::<Vec<_>>();
            self.owners[owner].budget.opened(home, owned[owned.len() - 1].1, &records, wall);
        }
        let mut writes = Vec::new();
        self.owners[owner].budget.homes(&owned, &mut self.tag, &mut writes);
        self.owners[owner].homes = owned;
        self.fly(owner, writes);
    }

    fn fly(&mut self, owner: usize, writes: Vec<Write>) {
        self.writes += writes.len();
        self.flights.extend(writes.into_iter().map(|write| Flight { lands: self.now + ACK, owner, write }));
    }

    pub fn available(&mut self, owner: usize, lane: Lane) -> u32 {
        let wall = self.wall();
        self.owners[owner].budget.available(lane, wall)
    }

    /// Spends what is there of `units`, and asks for as much again.
    pub fn send(&mut self, owner: usize, lane: Lane, units: u32) -> u32 {
        let wall = self.wall();
        let Owner { budget, .. } = &mut self.owners[owner];
        let sent = units.min(budget.available(lane, wall));
        budget.spend(lane, sent, wall);
        if sent > 0 {
            self.log.push(Spent { at: self.now, lane, units: sent, owner });
        }
        let mut writes = Vec::new();
        self.owners[owner].budget.declare(lane, units, wall, &mut self.tag, &mut writes);
        self.fly(owner, writes);
        sent
    }

    /// Spends all that the lane ever gets now, waiting only for writes.
    pub fn drain(&mut self, owner: usize, lane: Lane) -> u32 {
        let mut sent = 0;
        for _ in 0..100_000 {
            sent += self.send(owner, lane, u32::MAX);
            let wall = self.wall();
            if self.owners[owner].budget.is_exhausted(lane, wall) {
                return sent;
            }
            self.wait(ACK);
        }
        panic!("{lane} never uses the budget up; see Budget::is_exhausted");
    }

    /// Lets time pass; what lands meanwhile is durable, and who lives hears of it.
    pub fn wait(&mut self, millis: i64) {
        let end = self.now + millis;
        while let Some(lands) = self.flights.iter().map(|flight| flight.lands).filter(|at| *at <= end).min() {
            self.now = lands.max(self.now);
            let (landed, flying) = std::mem::take(&mut self.flights).into_iter().partition(|f| f.lands <= lands);
            self.flights = flying;
            let landed: Vec<Flight> = landed;
            for Flight { owner, write, .. } in landed {
                self.topic[usize::from(write.home)].insert(write.key, write.value);
                if self.owners[owner].alive {
                    self.owners[owner].budget.written(write.tag);
                }
            }
        }
        self.now = end;
    }

    /// The process hears nothing any more. Each of its writes is lost, or lands as late as `late`.
    pub fn cut_off(&mut self, owner: usize, late: i64) {
        self.owners[owner].alive = false;
        let rng = &mut self.rng;
        self.flights.retain_mut(|flight| {
            if flight.owner == owner {
                flight.lands += rng.random_range(0..=late);
            }
            flight.owner != owner || rng.random_bool(0.7)
        });
    }

    /// Declared by a process, by what is durable, and not spent by it. Only slices that count are known: all must.
    pub fn wasted(&self, owner: usize) -> u32 {
        let writer = format!("{:016x}.", self.owners[owner].writer);
        let own = |key: &[u8]| String::from_utf8_lossy(key).contains(&writer);
        let values = self.topic.iter().flatten().filter(|(key, _)| own(key)).map(|(_, value)| value);
        let sum = |value: &Vec<u8>| {
            let value: serde_json::Value = serde_json::from_slice(value).unwrap();
            let slices: Vec<(i64, u32, u32)> = serde_json::from_value(value["slices"].clone()).unwrap();
            slices.iter().map(|(_, transactional, marketing)| transactional + marketing).sum::<u32>()
        };
        let spent: u32 = self.log.iter().filter(|spent| spent.owner == owner).map(|spent| spent.units).sum();
        values.map(sum).sum::<u32>().checked_sub(spent).expect("more was spent than is durable; see purse.rs")
    }

    /// What a crash may waste of these homes' purses.
    pub fn waste_allowed(&self, homes: &[Home]) -> u32 {
        let up_to = |home: u64| u64::from(self.terms.count) * home / u64::from(self.homes);
        let part = |home: Home| up_to(u64::from(home) + 1) - up_to(u64::from(home));
        homes.iter().map(|home| u32::try_from(part(*home) / 100).unwrap().max(1)).sum()
    }

    /// Until `until` every process sends all it may in these lanes, `batch` units every `gap` ms.
    pub fn backlog(&mut self, until: i64, lanes: &[Lane], batch: u32, gap: i64) {
        while self.now < until {
            let mut wake = until.min(self.flights.iter().map(|flight| flight.lands).min().unwrap_or(until));
            for owner in (0..self.owners.len()).filter(|owner| self.owners[*owner].alive).collect::<Vec<_>>() {
                for &lane in lanes {
                    let sent = self.send(owner, lane, batch);
                    let wall = self.wall();
                    let budget = &mut self.owners[owner].budget;
                    let next = budget.next(lane, wall);
                    assert!(next.is_none_or(|at| at > wall), "{next:?} is not after {wall:?}: a gate would spin");
                    assert!(next.is_none() || budget.available(lane, wall) == 0, "told to wait beside what is there");
                    wake = wake.min(next.map_or(until, |at| at.0)).min(if sent > 0 { self.now + gap } else { until });
                }
            }
            let wake = wake.min(self.flights.iter().map(|flight| flight.lands).min().unwrap_or(until));
            self.wait((wake - self.now).max(1));
        }
    }

    /// The most units of the lane, or of both, that can arrive within a window: any may come `JITTER` late.
    pub fn worst(&self, lane: Option<Lane>) -> u64 {
        let log: Vec<_> = self.log.iter().filter(|spent| lane.is_none_or(|lane| lane == spent.lane)).collect();
        let (mut worst, mut sum, mut first) = (0, 0, 0);
        for spent in &log {
            sum += u64::from(spent.units);
            while log[first].at + self.window() + JITTER <= spent.at {
                sum -= u64::from(log[first].units);
                first += 1;
            }
            worst = worst.max(sum);
        }
        worst
    }

    pub fn total(&self) -> u64 {
        self.log.iter().map(|spent| u64::from(spent.units)).sum()
    }

    pub fn none_over(&self, why: &str) {
        let worst = self.worst(None);
        let limit = self.limit;
        assert!(worst <= u64::from(limit.count), "{why}: {worst} units of `{limit}` in one window; see budget.rs");
    }
}
