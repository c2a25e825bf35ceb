//! All partial counts added up, and the operator's releases.
//!
//! Why: what each partition says is the whole of what it knows, so the order in which it comes does not matter, and hearing
//! it twice does not either.

use std::collections::{BTreeMap, HashMap};

use super::decide::{Standing, decide};
use super::verdicts::Verdicts;
use super::{Cohort, Config, Counts, Partial, Stream, millis, seconds};
use crate::job::{Home, Wall};

/// Cohorts kept in all; beyond it the oldest window goes first.
pub const COHORTS_MAX: usize = 100_000;

#[derive(Debug, Default)]
struct Known {
    /// By the start of the window, in seconds.
    cohorts: BTreeMap<i64, Vec<(Home, Partial)>>,
    released: Option<Wall>,
}

impl Known {
    fn standing(&self, stream: &Stream, config: &Config, now: Wall) -> Standing {
        let sum = |partials: &Vec<(Home, Partial)>| {
            partials.iter().fold(Counts::default(), |sum, (_, partial)| sum.and(partial.counts))
        };
        let cohorts: Vec<(i64, Counts)> =
            self.cohorts.iter().map(|(start, partials)| (*start, sum(partials))).collect();
        decide(&cohorts, stream.lane, self.released, config, now)
    }
}

/// Everything that is known of every stream.
#[derive(Debug, Default)]
pub struct Sums {
    streams: HashMap<Stream, Known>,
}

impl Sums {
    /// What a partition of the events has said of a cohort. An older word than is known changes nothing; then it says how far
    /// the known one goes.
    pub fn put(&mut self, cohort: Cohort, partition: Home, partial: Partial) -> Option<i64> {
        let partials = self.streams.entry(cohort.stream).or_default().cohorts.entry(cohort.start).or_default();
        match partials.iter_mut().find(|(of, _)| *of == partition) {
            Some((_, known)) if known.upto > partial.upto => return Some(known.upto),
            Some((_, known)) => *known = partial,
            None => partials.push((partition, partial)),
        }
        None
    }

    /// An operator lifts what was before; the latest word holds.
    pub fn release(&mut self, stream: Stream, at: Wall) {
        let known = self.streams.entry(stream).or_default();
        known.released = known.released.max(Some(at));
    }

    /// What follows for one stream.
    #[must_use]
    pub fn standing(&self, stream: &Stream, config: &Config, now: Wall) -> Standing {
        self.streams.get(stream).map_or_else(Standing::default, |known| known.standing(stream, config, now))
    }

    /// What follows for all of them.
    #[must_use]
    pub fn verdicts(&self, config: &Config, now: Wall) -> Verdicts {
        let mut verdicts = Verdicts::new(config.ramp_step);
        for (stream, known) in &self.streams {
            verdicts.put(stream, known.standing(stream, config, now));
        }
        verdicts
    }

    /// Forgets what can hold nothing any more, and what is too much: the oldest windows, whole. So many cohorts were too much.
    /// What comes back of them goes again before it is judged.
    pub fn forget(&mut self, config: &Config, now: Wall) -> u64 {
        let oldest = now.0.div_euclid(1000) - seconds(config.horizon());
        self.drop_before(oldest);
        let released_before = Wall(now.0.saturating_sub(millis(config.horizon())));
        self.streams
            .retain(|_, known| !known.cohorts.is_empty() || known.released.is_some_and(|at| at > released_before));
        let known = self.cohorts();
        while self.cohorts() > COHORTS_MAX {
            let first = |known: &Known| known.cohorts.keys().next().copied();
            let Some(oldest) = self.streams.values().filter_map(first).min() else { break };
            self.drop_before(oldest + 1);
        }
        (known - self.cohorts()) as u64
    }

    /// How many cohorts are known.
    #[must_use]
    pub fn cohorts(&self) -> usize {
        self.streams.values().map(|known| known.cohorts.len()).sum()
    }

    fn drop_before(&mut self, start: i64) {
        for known in self.streams.values_mut() {
            known.cohorts = known.cohorts.split_off(&start);
        }
    }
}
