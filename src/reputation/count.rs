//! One partition of the events, counted: repeats dropped, sums by cohort.
//!
//! Why: vendors tell an event up to forty times, and a worker that takes over reads again what the one before it had
//! counted. Neither may change a sum: a complaint counted twice blocks a sender who did nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::cohort::window_of;
use super::seen::Seen;
use super::{Cohort, Config, Counts, Partial, Stream, seconds};
use crate::event::Record;
use crate::job::Wall;

/// Who takes a partition over reads so many of its last events again, to recognise their repeats.
pub const READ_AGAIN: i64 = 200_000;
/// Cohorts kept per partition.
pub const COHORTS_MAX: usize = 50_000;
/// So many of them go at a time when there is no room.
const GO: usize = COHORTS_MAX / 16;
/// A clock that is so far ahead is wrong, in seconds.
const AHEAD: i64 = 3_600;
/// Cohorts are kept for so much longer than they are counted, in seconds: events come in no order.
const MARGIN: i64 = 86_400;

/// What there was no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Cohorts that were forgotten.
    pub cohorts: u64,
    /// Events that were not counted.
    pub events: u64,
}

/// The sums of one partition.
#[derive(Debug)]
pub struct Counter {
    window: i64,
    horizon: i64,
    partials: HashMap<Cohort, Partial>,
    changed: BTreeSet<Cohort>,
    /// Since when a stream's sends are judged anew, in seconds.
    released: HashMap<Stream, i64>,
    /// Windows that began until then take no further cohort: one that was forgotten, or had no room at its beginning, would
    /// come back without its deliveries, and look far worse than it is.
    closed: i64,
    dropped: Dropped,
    seen: Seen,
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
            released: HashMap::new(),
            closed: i64::MIN,
            dropped: Dropped::default(),
            seen: Seen::default(),
        }
    }

    /// What was published before, in the order in which it stands; the furthest counts. Where that is not what stands last, a
    /// worker that had lost the partition has spoken late: it is published again. What is too old to matter `now` is left out.
    pub fn restore(&mut self, cohort: Cohort, partial: Partial, now: Wall) {
        if cohort.start < self.oldest(now) {
            return;
        }
        match self.partials.entry(cohort) {
            Entry::Occupied(known) if known.get().upto > partial.upto => drop(self.changed.insert(known.key().clone())),
            entry => {
                let entry = entry.insert_entry(partial);
                self.changed.remove(entry.key());
            }
        }
    }

    /// A worker that had lost the partition has spoken late: below a cohort's sum up to `upto` stands an older one. It is
    /// published again, unless ours is the older one.
    pub fn again(&mut self, cohort: &Cohort, upto: i64) {
        if self.partials.get(cohort).is_some_and(|own| own.upto >= upto) {
            self.changed.insert(cohort.clone());
        }
    }

    /// An operator has released a stream: what it sends from then on is a cohort of its own, to be judged without what was
    /// before.
    pub fn released(&mut self, stream: Stream, at: Wall) {
        // Sends are told by whole seconds.
        let first = at.0.saturating_add(999).div_euclid(1000);
        let known = self.released.entry(stream).or_insert(first);
        *known = first.max(*known);
    }

    /// An event that was dealt with before: its repeats will be recognised. `false`: it was a repeat itself.
    pub fn remember(&mut self, event: &Record<'_>) -> bool {
        self.seen.remember(event)
    }

    /// The next event, at this offset. `false`: a repeat.
    pub fn hear(&mut self, offset: i64, event: &Record<'_>) -> bool {
        if !self.remember(event) {
            return false;
        }
        let mut one = Counts::default();
        if !one.add(event.happened) {
            return true;
        }
        if let Some(cohort) = self.cohort(event) {
            if self.takes(&cohort, event.heard_ms.div_euclid(1000)) {
                let partial = self.partials.entry(cohort.clone()).or_default();
                // A worker before us may have published what it did not come to commit.
                if offset >= partial.upto {
                    *partial = Partial { upto: offset + 1, counts: partial.counts.and(one) };
                    self.changed.insert(cohort);
                }
            } else {
                self.dropped.events += 1;
            }
        }
        true
    }

    /// The cohort of an event. `None`: the vendor did not say which send it was, or one that no longer counts.
    fn cohort(&self, event: &Record<'_>) -> Option<Cohort> {
        let sent = Wall(event.sent_ms?);
        let start = window_of(sent, self.window);
        let heard = event.heard_ms.div_euclid(1000);
        if start > heard + AHEAD || start < heard - self.horizon {
            return None;
        }
        let stream = Stream::new(&event.tenant, event.channel, event.lane?, &event.provider, &event.mailbox)?;
        let released = self.released.get(&stream).filter(|at| **at <= sent.0.div_euclid(1000));
        Some(Cohort { start: released.map_or(start, |at| start.max(*at)), stream })
    }

    /// Whether a cohort is counted: it is known, or begins where there is room.
    fn takes(&mut self, cohort: &Cohort, heard: i64) -> bool {
        if self.partials.contains_key(cohort) {
            return true;
        }
        if cohort.start <= self.closed {
            return false;
        }
        if self.partials.len() >= COHORTS_MAX {
            self.make_room(cohort.start, heard);
        }
        let has_room = self.partials.len() < COHORTS_MAX;
        if !has_room {
            self.closed = cohort.start;
        }
        has_room
    }

    /// Forgets cohorts of earlier windows: those of which nothing bad was heard before those that may hold a block, then the
    /// oldest, then the smallest.
    fn make_room(&mut self, before: i64, heard: i64) {
        let oldest = heard - self.horizon;
        let worth = |cohort: &Cohort, Partial { counts, .. }: &Partial| {
            (counts.has_bad() && cohort.start >= oldest, cohort.start, counts.delivered)
        };
        let earlier = self.partials.iter().filter(|(cohort, _)| cohort.start < before);
        let mut all: Vec<_> = earlier.map(|(cohort, partial)| worth(cohort, partial)).collect();
        // More than may be kept are there when a partition was taken over.
        let go = self.partials.len() - COHORTS_MAX + GO;
        let Some(last) = all.len().min(go).checked_sub(1) else { return };
        let last = *all.select_nth_unstable(last).1;
        let (count, closed) = (self.partials.len(), &mut self.closed);
        self.partials.retain(|cohort, partial| {
            let stays = cohort.start >= before || worth(cohort, partial) > last;
            if !stays {
                *closed = cohort.start.max(*closed);
            }
            stays
        });
        self.dropped.cohorts += (count - self.partials.len()) as u64;
    }

    /// When the windows began that still matter, at the earliest. By our own clock: one listener's wrong one must not take
    /// everything away.
    fn oldest(&self, now: Wall) -> i64 {
        now.0.div_euclid(1000) - self.horizon - MARGIN
    }

    /// Whether anything is to be published.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The sums that have changed since this was asked last, to be published.
    pub fn take_changed(&mut self, now: Wall) -> Vec<(Cohort, Partial)> {
        let oldest = self.oldest(now);
        let changed = std::mem::take(&mut self.changed);
        let sums =
            changed.into_iter().filter_map(|cohort| self.partials.get(&cohort).map(|sum| (cohort, *sum))).collect();
        self.partials.retain(|cohort, _| cohort.start >= oldest);
        self.released.retain(|_, at| *at >= oldest);
        sums
    }

    /// What there was no room for since this was asked last.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }
}
