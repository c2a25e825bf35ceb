//! One provider's jobs in one shard, by flow, and how many retries it is spared.
//!
//! Why: what may have been sent goes again only as far as the retry budget allows, so that a provider in trouble hears
//! little more than its fresh work.
//! Must not know: gates, permits, verdicts.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Gauge, Histogram, IntGauge};

use super::Provider;
use super::split::Splits;
use crate::gate::Flow;
use crate::job::{Home, Job, Lane, Source, field};
use crate::lane::Fit;
use crate::lane::flows::{FlowId, Flows, Stand, Upcoming};
use crate::lane::gather::Gather;
use crate::observe::Metrics;
use crate::retry::budget::{self, Budget};

/// Most asks that are out in one lane: more flows than that, each kept by a limit of its own, would hold up the others.
pub(super) const ASKS_MAX: usize = 4096;

/// One provider's jobs in one shard.
pub(super) struct Line {
    flows: Flows<Arc<Flow>, Job>,
    /// Whether it matters in whose name a job is sent.
    by_sender: bool,
    /// Most jobs of a request.
    pub(super) per_request: usize,
    /// Of the lane that can wait: a code that somebody waits for does not wait for company.
    gather: Gather,
    pub(super) budget: Budget,
    pub(super) splits: Splits,
    pub(super) in_flight: IntGauge,
    pub(super) latency: Histogram,
    /// By lane: the end of the last detour that its jobs have been asked to make.
    detoured: [Option<Instant>; 2],
    depth: [IntGauge; 2],
    head_age: [Gauge; 2],
    tokens: Gauge,
}

impl Line {
    pub(super) fn new(provider: &Provider, budget: &budget::Config, shard: usize, m: &Metrics, now: Instant) -> Self {
        let (name, shard) = (&*provider.name, shard.to_string());
        Self {
            flows: Flows::default(),
            by_sender: provider.gate.limits_senders() || provider.kind.throttles_senders(),
            per_request: provider.kind.batch_max(),
            gather: Gather::new(provider.kind.batch_max()),
            budget: Budget::new(budget, now),
            splits: Splits::default(),
            in_flight: m.in_flight_requests.with_label_values(&[name]),
            latency: m.vendor_latency.with_label_values(&[name]),
            detoured: [None; 2],
            depth: Lane::ALL.map(|lane| m.lane_depth.with_label_values(&[name, lane.as_str(), &shard])),
            head_age: Lane::ALL.map(|lane| m.lane_head_age.with_label_values(&[name, lane.as_str(), &shard])),
            tokens: m.retry_budget.with_label_values(&[name, &shard]),
        }
    }

    /// Jobs queued, over both lanes.
    pub(super) fn len(&self) -> usize {
        Lane::ALL.iter().map(|lane| self.flows.len(*lane)).sum()
    }

    pub(super) fn push(&mut self, key: u64, since: Instant, job: Job) {
        let (lane, stand) = (job.lane, stand(&job));
        let (tenant, sender) = (&*job.spec().tenant, if self.by_sender { sender(&job) } else { Cow::Borrowed("") });
        let flow = || Arc::new(Flow { tenant: tenant.into(), sender: (*sender).into() });
        let id = self.flows.enter(tenant, &sender, flow);
        self.flows.push(id, lane, stand, key, since, job);
    }

    /// The flow of an answered ask.
    pub(super) fn find(&self, flow: &Flow) -> Option<FlowId> {
        self.flows.find(&flow.tenant, &flow.sender)
    }

    /// What a lane asks for now: flows that have something to send and no ask out, and what they could send. They count as
    /// having asked.
    pub(super) fn asks(&mut self, lane: Lane, requests_max: usize, now: Instant) -> Vec<(Arc<Flow>, Upcoming)> {
        let gathers = lane == Lane::Marketing;
        if gathers && !self.gather.may_ask(self.flows.len(lane), now) {
            return Vec::new();
        }
        let asks: Vec<_> = std::iter::from_fn(|| self.next_ask(lane, requests_max, now)).collect();
        if gathers && !asks.is_empty() {
            self.gather.asked(now);
        }
        asks
    }

    /// When those may ask who gather now.
    pub(super) fn gathered_at(&self, now: Instant) -> Option<Instant> {
        self.gather.opens_at(self.flows.len(Lane::Marketing), now)
    }

    fn next_ask(&mut self, lane: Lane, requests_max: usize, now: Instant) -> Option<(Arc<Flow>, Upcoming)> {
        while self.flows.asks(lane) < ASKS_MAX {
            let spared = self.budget.available(now).saturating_sub(self.flows.promised(lane));
            let id = match self.flows.next_hungry(lane) {
                Some(id) => id,
                None if spared > 0 => self.flows.next_poor(lane)?,
                None => return None,
            };
            let next = self.flows.upcoming(id, lane, requests_max, self.per_request, spared);
            if next.requests > 0 {
                return Some((Arc::clone(self.flows.ask(id, lane, next.unsure)), next));
            }
            self.flows.keep_poor(id, lane);
        }
        None
    }

    /// The answer to a flow's ask is used up.
    pub(super) fn answered(&mut self, id: FlowId, lane: Lane) {
        self.flows.answered(id, lane);
    }

    /// Takes a batch of at most `most` jobs from a flow. `fit` is asked for each. Returns the group's key.
    pub(super) fn take(
        &mut self,
        id: FlowId,
        lane: Lane,
        out: &mut Vec<Job>,
        most: usize,
        now: Instant,
        fit: impl FnMut(&Job) -> Fit,
    ) -> Option<u64> {
        let spared = self.budget.available(now);
        self.flows.take(id, lane, out, (most, spared), fit)
    }

    /// Whether more jobs wait for the budget than it spares within a while.
    pub(super) fn is_overdrawn(&mut self, within: Duration, now: Instant) -> bool {
        let unsure: usize = Lane::ALL.iter().map(|lane| self.flows.unsure(*lane)).sum();
        unsure > self.budget.within(within, now) as usize
    }

    /// Whether anybody of this group waits.
    pub(super) fn has_group(&self, key: u64) -> bool {
        self.flows.has_group(key)
    }

    /// Takes out every job that `leaves` says.
    pub(super) fn remove_if(&mut self, leaves: impl FnMut(&Job) -> bool) -> Vec<Job> {
        self.flows.remove_if(leaves)
    }

    /// Whether jobs wait that have not been asked yet to make the detour that ends then. They count as asked.
    pub(super) fn is_new_detour(&mut self, lane: Lane, until: Instant) -> bool {
        self.flows.len(lane) > 0 && self.detoured[lane.index()].replace(until) != Some(until)
    }

    /// Queued jobs that were read from this partition.
    pub(super) fn count_of(&self, home: Home, source: Source) -> usize {
        let places = self.flows.jobs(source.lane()).map(|job| job.receipt.source());
        places.filter(|at| at.home == home && at.from == source).count()
    }

    /// When retries may go that wait for the budget alone.
    pub(super) fn next_retry(&self, now: Instant) -> Option<Instant> {
        if self.flows.waits_for_budget() { self.budget.next(now) } else { None }
    }

    /// Shows depths and ages.
    pub(super) fn show(&mut self, now: Instant) {
        for lane in Lane::ALL {
            self.depth[lane.index()].set(self.flows.len(lane) as i64);
            let age = self.flows.oldest(lane).map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
            self.head_age[lane.index()].set(age);
        }
        self.tokens.set(f64::from(self.budget.available(now)));
    }
}

fn stand(job: &Job) -> Stand {
    match (job.way.unsure, job.way.hop, job.way.attempts) {
        (true, ..) => Stand::Unsure,
        (false, 0, 0) => Stand::Fresh,
        _ => Stand::Again,
    }
}

/// In whose name a job is sent, as limits name it: the address alone, in small letters. Nothing where there is none.
pub(super) fn sender(job: &Job) -> Cow<'_, str> {
    let sender = job.spec().from.as_deref().map_or("", field::address);
    match sender.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(sender.to_ascii_lowercase()),
        false => Cow::Borrowed(sender),
    }
}
