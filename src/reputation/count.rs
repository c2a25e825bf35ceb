//! One partition of the events, counted: repeats dropped, sums by cohort.
//!
//! Why: vendors tell an event up to forty times, and a worker that takes over reads again what the one before it had
//! counted. Neither may change a sum: a complaint counted twice blocks a sender who did nothing.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::cohort::window_of;
use super::{Cohort, Config, Partial, Stream, seconds};
use crate::event::Record;
use crate::job::Wall;

/// Ids remembered per partition: repeats that come after so many other events are not recognised.
pub const SEEN_MAX: usize = 100_000;
/// Cohorts kept per partition; events of further ones are not counted.
pub const COHORTS_MAX: usize = 50_000;
/// A clock that is so far ahead is wrong, in seconds.
const AHEAD: i64 = 3_600;
/// Cohorts are kept for so much longer than they are counted, in seconds: events come in no order.
const MARGIN: i64 = 86_400;

/// The sums of one partition.
#[derive(Debug)]
pub struct Counter {
    window: i64,
    horizon: i64,
    partials: HashMap<Cohort, Partial>,
    changed: BTreeSet<Cohort>,
    seen: HashSet<u64>,
    /// The same, the oldest first.
    order: VecDeque<u64>,
}

impl Counter {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            window: config.window_s(),
            horizon: seconds(config.horizon()),
            partials: HashMap::new(),
            changed: BTreeSet::new(),
            seen: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// What was published before; the furthest counts, in whatever order they come. What is too old to matter `now` is left
    /// out.
    pub fn restore(&mut self, cohort: Cohort, partial: Partial, now: Wall) {
        if cohort.start < self.oldest(now) {
            return;
        }
        let known = self.partials.entry(cohort).or_insert(partial);
        if partial.upto > known.upto {
            *known = partial;
        }
    }

    /// An event that was dealt with before: its repeats will be recognised. `false`: it was a repeat itself.
    pub fn remember(&mut self, event: &Record<'_>) -> bool {
        let mut id = DefaultHasher::new();
        event.event.hash(&mut id);
        let id = id.finish();
        if !self.seen.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    /// The next event, at this offset. `false`: a repeat.
    pub fn hear(&mut self, offset: i64, event: &Record<'_>) -> bool {
        if !self.remember(event) {
            return false;
        }
        if let Some(cohort) = self.cohort(event)
            && (self.partials.len() < COHORTS_MAX || self.partials.contains_key(&cohort))
        {
            let partial = self.partials.entry(cohort.clone()).or_default();
            // A worker before us may have published what it did not come to commit.
            if offset >= partial.upto && partial.counts.add(event.happened) {
                partial.upto = offset + 1;
                self.changed.insert(cohort);
            }
        }
        true
    }

    /// The cohort of an event. `None`: the vendor did not say which send it was, or one that no longer counts.
    fn cohort(&self, event: &Record<'_>) -> Option<Cohort> {
        let start = window_of(Wall(event.sent_ms?), self.window);
        let heard = event.heard_ms.div_euclid(1000);
        if start > heard + AHEAD || start < heard - self.horizon {
            return None;
        }
        let stream = Stream::new(&event.tenant, event.channel, event.lane?, &event.provider, &event.mailbox)?;
        Some(Cohort { stream, start })
    }

    /// When the windows began that still matter, at the earliest. By our own clock: one listener's wrong one must not take
    /// everything away.
    fn oldest(&self, now: Wall) -> i64 {
        now.0.div_euclid(1000) - self.horizon - MARGIN
    }

    /// The sums that have changed since this was asked last, to be published.
    pub fn take_changed(&mut self, now: Wall) -> Vec<(Cohort, Partial)> {
        let oldest = self.oldest(now);
        let changed = std::mem::take(&mut self.changed);
        let sums =
            changed.into_iter().filter_map(|cohort| self.partials.get(&cohort).map(|sum| (cohort, *sum))).collect();
        self.partials.retain(|cohort, _| cohort.start >= oldest);
        sums
    }
}
