//! What all streams' sums come to, as whoever sends looks it up.
//!
//! Why: it is asked for every message, and nearly always answers that nothing is wrong: that must cost nothing.

use std::collections::HashMap;
use std::time::Duration;

use super::decide::{Standing, State};
use super::{Stream, millis};
use crate::job::{Channel, Lane, Wall};

/// What is to be sent: the names of its stream, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// The job's tenant.
    pub tenant: &'a str,
    /// How it travels.
    pub channel: Channel,
    /// Its lane.
    pub lane: Lane,
    /// Who is to carry it.
    pub provider: &'a str,
    /// Where to; empty for other channels than email.
    pub mailbox: &'a str,
}

impl Sending<'_> {
    fn is_of(&self, stream: &Stream) -> bool {
        let names = *stream.provider == *self.provider && *stream.mailbox == *self.mailbox;
        names && stream.lane == self.lane && stream.channel == self.channel
    }
}

/// The streams that are not simply well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdicts {
    /// By tenant.
    streams: HashMap<Box<str>, Vec<(Stream, Standing)>>,
    ramp_step: Duration,
}

impl Verdicts {
    pub(super) fn new(ramp_step: Duration) -> Self {
        Self { streams: HashMap::new(), ramp_step }
    }

    pub(super) fn put(&mut self, stream: &Stream, standing: Standing) {
        if standing == Standing::default() {
            return;
        }
        let of_tenant = self.streams.entry(stream.tenant.clone()).or_default();
        // Always in the same order, so that the same verdicts are equal.
        let at = of_tenant.partition_point(|(other, _)| other < stream);
        of_tenant.insert(at, (stream.clone(), standing));
    }

    /// Whether every stream is simply well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether a job may go now. If not, when it may be asked again: often enough that a release is noticed. `key` is the
    /// job's own, the same on every try and every instance: of a ramp's share are always the same.
    #[must_use]
    pub fn wait(&self, sending: &Sending<'_>, key: u64, now: Wall) -> Option<Wall> {
        let (_, standing) = self.streams.get(sending.tenant)?.iter().find(|(stream, _)| sending.is_of(stream))?;
        match standing.at(now, self.ramp_step) {
            State::Allow | State::Warn(_) => None,
            State::Block { until, .. } => Some(until.min(Wall(now.0.saturating_add(millis(self.ramp_step))))),
            State::Ramp { share, until, .. } => (part(key) >= share).then_some(until),
        }
    }

    /// Whether anything at all waits now or is on a ramp.
    #[must_use]
    pub fn holds_any(&self, now: Wall) -> bool {
        let holds = |state| matches!(state, State::Block { .. } | State::Ramp { .. });
        self.all(now).any(|(_, state)| holds(state))
    }

    /// Every stream that is not simply well, and its state.
    pub fn all(&self, now: Wall) -> impl Iterator<Item = (&Stream, State)> {
        let of_tenant = self.streams.values().flatten();
        let states = of_tenant.map(move |(stream, standing)| (stream, standing.at(now, self.ramp_step)));
        states.filter(|(_, state)| *state != State::Allow)
    }
}

/// Where a job stands in a ramp, 0 to 1. By the key's upper half: routes divide jobs by its remainder.
fn part(key: u64) -> f64 {
    (key >> 32) as f64 / f64::from(u32::MAX)
}
