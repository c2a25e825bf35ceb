//! The gate of a provider that one instance has for itself, without budgets: what most tests ask about.

use std::time::Instant;

use peakpost::gate::limit::Limit;
use peakpost::gate::{Ask, Config, Gate, Pass, Say, SendPermit};
use peakpost::job::{Lane, Wall};

/// An ask that was granted.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    pub shard: usize,
    pub waited: std::time::Duration,
    pub permit: SendPermit,
}

pub struct Alone(pub Gate);

impl Alone {
    pub fn new(config: &Config, now: Instant) -> Self {
        let mut gate = Gate::new(config, "mail", 1, 1, now);
        gate.homes(&[(0, 1)], now, Wall(0));
        Self(gate)
    }

    pub fn ask(&mut self, ask: Ask, now: Instant) {
        self.0.ask(ask, now);
    }

    pub fn release(&mut self, lane: Lane, requests: u32) {
        self.0.release(lane, requests, Pass::default());
    }

    pub fn stop_until(&mut self, until: Instant) {
        self.0.stop_until(until);
    }

    pub fn stopped(&self, now: Instant) -> Option<Instant> {
        self.0.stopped(now)
    }

    pub fn free_slots(&self, now: Instant) -> u32 {
        let report = self.0.report(now, Wall(0));
        report.slots - report.in_use
    }

    pub fn rates(&self) -> impl Iterator<Item = (Limit, f64)> {
        self.0.rates()
    }

    pub fn turn(&mut self, now: Instant, grants: &mut Vec<Grant>) -> Option<Instant> {
        let (mut answers, mut writes) = (Vec::new(), Vec::new());
        let wake = self.0.turn(now, Wall(0), &mut answers, &mut writes);
        assert_eq!(writes, [], "without a budget nothing is written");
        grants.extend(answers.into_iter().map(|answer| match answer.say {
            Say::Go(permit) => Grant { shard: answer.shard, waited: answer.waited, permit },
            Say::Elsewhere { .. } => panic!("without a warm-up nobody is sent elsewhere"),
        }));
        wake
    }
}
