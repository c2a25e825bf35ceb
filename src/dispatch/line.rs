//! One provider's jobs in one shard: fresh ones, those that come again, and those whose last attempt may have been
//! sent. They take turns.
//!
//! Why: new work must not wait behind an outage's retries, nor retries behind a campaign; and what may have been
//! sent goes again only as far as the retry budget allows, so that a provider in trouble hears little more than its
//! fresh work.
//! Must not know: gates, permits, verdicts.

use std::time::{Duration, Instant};

use prometheus::{Gauge, Histogram, IntGauge};

use super::Provider;
use super::split::Splits;
use crate::job::{Home, Job, Lane, Source};
use crate::lane::{Fit, Queue};
use crate::observe::Metrics;
use crate::retry::budget::{self, Budget};

/// In which of a lane's queues a job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It was never sent.
    Fresh,
    /// It comes back: deferred, throttled, or a part of a batch that was split.
    Again,
    /// Its last attempt may have been sent.
    Unsure,
}

impl Stand {
    const ALL: [Self; 3] = [Self::Fresh, Self::Again, Self::Unsure];

    fn of(job: &Job) -> Self {
        match (job.way.unsure, job.way.hop, job.way.attempts) {
            (true, ..) => Self::Unsure,
            (false, 0, 0) => Self::Fresh,
            _ => Self::Again,
        }
    }
}

/// One provider's jobs in one shard.
pub(super) struct Line {
    /// By lane, by stand.
    queues: [[Queue<Job>; 3]; 2],
    /// The stand whose turn it is, by lane.
    turn: [usize; 2],
    pub(super) budget: Budget,
    /// Whether an ask is out, by lane.
    pub(super) asked: [bool; 2],
    pub(super) splits: Splits,
    pub(super) in_flight: IntGauge,
    pub(super) latency: Histogram,
    depth: [IntGauge; 2],
    head_age: [Gauge; 2],
    tokens: Gauge,
}

impl Line {
    pub(super) fn new(provider: &Provider, budget: &budget::Config, shard: usize, m: &Metrics, now: Instant) -> Self {
        let (name, shard) = (&*provider.name, shard.to_string());
        Self {
            queues: Default::default(),
            turn: [0; 2],
            budget: Budget::new(budget, now),
            asked: [false; 2],
            splits: Splits::default(),
            in_flight: m.in_flight_requests.with_label_values(&[name]),
            latency: m.vendor_latency.with_label_values(&[name]),
            depth: Lane::ALL.map(|lane| m.lane_depth.with_label_values(&[name, lane.as_str(), &shard])),
            head_age: Lane::ALL.map(|lane| m.lane_head_age.with_label_values(&[name, lane.as_str(), &shard])),
            tokens: m.retry_budget.with_label_values(&[name, &shard]),
        }
    }

    /// Jobs queued, over both lanes.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().flatten().map(Queue::len).sum()
    }

    pub(super) fn push(&mut self, key: u64, since: Instant, job: Job) {
        self.queues[job.lane.index()][Stand::of(&job) as usize].push(key, since, job);
    }

    /// Whether more jobs wait for the budget than it spares within a while.
    pub(super) fn is_overdrawn(&mut self, within: Duration, now: Instant) -> bool {
        let unsure: usize = self.queues.iter().map(|lane| lane[Stand::Unsure as usize].len()).sum();
        unsure > self.budget.within(within, now) as usize
    }

    /// Whether anybody of this group waits.
    pub(super) fn has_group(&self, key: u64) -> bool {
        self.queues.iter().flatten().any(|queue| queue.has_group(key))
    }

    /// Takes out every job that `leaves` says.
    pub(super) fn remove_if(&mut self, mut leaves: impl FnMut(&Job) -> bool) -> Vec<Job> {
        self.queues.iter_mut().flatten().flat_map(|queue| queue.remove_if(&mut leaves)).collect()
    }

    /// Queued jobs that were read from this partition.
    pub(super) fn count_of(&self, home: Home, source: Source) -> usize {
        let jobs = self.queues[source.lane().index()].iter().flat_map(Queue::jobs);
        jobs.map(|job| job.receipt.source()).filter(|at| at.home == home && at.from == source).count()
    }

    /// How many requests, of at most `per_request` jobs each, can be filled now, up to `requests_max`; and with how
    /// many jobs.
    pub(super) fn upcoming(
        &mut self,
        lane: Lane,
        requests_max: usize,
        per_request: usize,
        now: Instant,
    ) -> (usize, usize) {
        let (mut requests, mut jobs) = (0, 0);
        for stand in Stand::ALL {
            let queue = &self.queues[lane.index()][stand as usize];
            if queue.is_empty() {
                continue;
            }
            let (r, j) = queue.upcoming(requests_max - requests, per_request);
            // Of the unsure no more than the budget spares.
            let spared = if stand == Stand::Unsure { self.budget.available(now) as usize } else { usize::MAX };
            let j = j.min(spared);
            requests += r.min(j);
            jobs += j;
        }
        (requests, jobs)
    }

    /// When retries may go that wait for the budget alone.
    pub(super) fn next_retry(&self, now: Instant) -> Option<Instant> {
        let waits = self.queues.iter().any(|lane| !lane[Stand::Unsure as usize].is_empty());
        if waits { self.budget.next(now) } else { None }
    }

    /// Takes a batch from the stand whose turn it is. `fit` is asked for each job. Returns the group's key.
    pub(super) fn take(
        &mut self,
        lane: Lane,
        out: &mut Vec<Job>,
        now: Instant,
        mut fit: impl FnMut(&Job) -> Fit,
    ) -> Option<u64> {
        let first = self.turn[lane.index()];
        for n in 0..Stand::ALL.len() {
            let at = (first + n) % Stand::ALL.len();
            let unsure = at == Stand::Unsure as usize;
            let queue = &mut self.queues[lane.index()][at];
            if queue.is_empty() {
                continue;
            }
            let mut spared = if unsure { self.budget.available(now) } else { u32::MAX };
            if spared == 0 {
                continue;
            }
            let key = queue.take(out, |job| match fit(job) {
                Fit::Take if spared == 0 => Fit::Full,
                Fit::Take => {
                    spared -= 1;
                    Fit::Take
                }
                other => other,
            });
            self.turn[lane.index()] = (at + 1) % Stand::ALL.len();
            return key;
        }
        None
    }

    /// Shows depths and ages.
    pub(super) fn show(&mut self, now: Instant) {
        for lane in Lane::ALL {
            let queues = &self.queues[lane.index()];
            let depth: usize = queues.iter().map(Queue::len).sum();
            self.depth[lane.index()].set(depth as i64);
            let oldest = queues.iter().filter_map(Queue::oldest).min();
            let age = oldest.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
            self.head_age[lane.index()].set(age);
        }
        self.tokens.set(f64::from(self.budget.available(now)));
    }
}
