//! What all streams' sums come to, as whoever sends looks it up.
//!
//! Why: it is asked for every message, and nearly always answers that nothing is wrong: that must cost nothing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::decide::{Standing, State};
use super::{Stream, millis};
use crate::job::{Channel, Lane, Wall};

/// Whoever waits asks again at least so often, because a release cannot reach into a tier. A compromise: every time is a hop,
/// two records more in Kafka, and after a release the ramp takes hours anyway.
pub const LOOK: Duration = Duration::from_secs(4 * 3_600);

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

    /// Whether a job may go now. If not, when it is to be asked again: when it may go as things stand, but within [`LOOK`].
    /// `key` is the job's own, the same on every try and every instance: of a ramp's share are always the same.
    #[must_use]
    pub fn wait(&self, sending: &Sending<'_>, key: u64, now: Wall) -> Option<Wall> {
        let (_, standing) = self.streams.get(sending.tenant)?.iter().find(|(stream, _)| sending.is_of(stream))?;
        let at = standing.goes_at(part(key), self.ramp_step).filter(|at| *at > now)?;
        Some(at.min(Wall(now.0.saturating_add(millis(LOOK)))))
    }

    /// Whether anything at all waits now or is on a ramp.
    #[must_use]
    pub fn holds_any(&self, now: Wall) -> bool {
        self.held(now).next().is_some()
    }

    /// Whether both say the same to whoever sends, from now on. Counts change all the time, and so do reasons and warnings:
    /// that is no news to those who wait.
    #[must_use]
    pub fn holds_alike(&self, other: &Self, now: Wall) -> bool {
        let (held, by_other): (BTreeMap<_, _>, BTreeMap<_, _>) = (self.held(now).collect(), other.held(now).collect());
        self.ramp_step == other.ramp_step && held == by_other
    }

    /// Every stream that waits now or is on a ramp, and the end of its block.
    fn held(&self, now: Wall) -> impl Iterator<Item = (&Stream, Wall)> {
        let of_tenant = self.streams.values().flatten();
        of_tenant.filter_map(move |(stream, standing)| match standing.at(now, self.ramp_step) {
            State::Block { .. } | State::Ramp { .. } => standing.block.map(|(end, _)| (stream, end)),
            State::Allow | State::Warn(_) => None,
        })
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
