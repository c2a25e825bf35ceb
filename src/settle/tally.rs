//! Counts what became durable, by the turn.
//!
//! Why: looking a counter up costs as much as writing an outcome, and a turn knows few kinds of ends.
//! Must not know: how it became durable.

use std::time::Instant;

use prometheus::local::LocalHistogram;

use super::written::Written;
use crate::job::Lane;
use crate::observe::Metrics;
use crate::outcome::{Kind, Reason};

/// What has become durable in this turn.
pub(super) struct Tally {
    outcomes: Vec<((Lane, Kind, Reason), u64)>,
    hops: [LocalHistogram; 2],
    latency: LocalHistogram,
}

impl Tally {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            outcomes: Vec::new(),
            hops: Lane::ALL.map(|lane| metrics.hops.with_label_values(&[lane.as_str()]).local()),
            latency: metrics.settle_latency.with_label_values::<&str>(&[]).local(),
        }
    }

    /// An outcome is durable.
    pub(super) fn count(&mut self, settlement: &Written, now: Instant) {
        let Written { lane, kind, reason, hop, .. } = *settlement;
        match self.outcomes.iter_mut().find(|(end, _)| *end == (lane, kind, reason)) {
            Some((_, count)) => *count += 1,
            None => self.outcomes.push(((lane, kind, reason), 1)),
        }
        if kind.is_terminal() {
            self.hops[lane.index()].observe(f64::from(hop));
        }
        self.latency.observe(now.saturating_duration_since(settlement.decided).as_secs_f64());
    }

    /// The turn is over.
    pub(super) fn show(&mut self, metrics: &Metrics) {
        for ((lane, kind, reason), count) in self.outcomes.drain(..) {
            metrics.outcomes.with_label_values(&[lane.as_str(), kind.as_str(), reason.as_str()]).inc_by(count);
        }
        self.hops.iter().for_each(LocalHistogram::flush);
        self.latency.flush();
    }
}
