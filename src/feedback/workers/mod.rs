//! The workers: a group of their own over the events, in which each partition is counted by one instance.
//!
//! Why: what is counted is published whole, with the offset up to which it counts, before that offset is committed. So a
//! worker may die anywhere: who follows reads the counts, then the events after the commit, and adds only what is not in
//! them. Anything that goes wrong is treated like a death.
//! Must not know: what a count means.

mod book;
mod doubts;
mod group;
mod publish;
mod restore;
pub mod suppress;
mod tally;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;

use self::book::{Book, Part};
use self::group::{Event, Group};
use self::publish::Publisher;
use super::CountConfig;
use super::dropped::Teller;
use crate::job::{Home, Wall};
use crate::observe::failpoint::failpoint;
use crate::observe::thread::{Running, Stop};
use crate::observe::{Clock, Metrics};
use crate::reputation::count::READ_AGAIN;
use crate::reputation::{Cohort, SoftBounces, Stream};

/// Longest wait for an event; the thread looks as often whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Counts are published so often.
const PUBLISH: Duration = Duration::from_secs(1);
/// Or when so many suppressions wait to be written.
const SUPPRESSIONS: usize = 10_000;
/// Most events that are taken in one turn.
const TURN: usize = 10_000;
/// After a failure it begins anew no sooner, and after each further one in twice the time, up to a minute.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// What the worker is told by who follows the counts.
#[derive(Debug)]
pub enum Word {
    /// Of this partition an older count was written after one that goes up to `upto`: somebody had lost it and did not know.
    Late {
        /// The partition.
        home: Home,
        /// Whose count.
        cohort: Cohort,
        /// How far the later one goes.
        upto: i64,
    },
    /// An operator has released a stream.
    Released(Stream, Wall),
}

/// Starts this instance's worker. It ends only when it is told to: it publishes what is counted and leaves the group.
///
/// # Errors
/// When there is no thread for it.
pub fn start(config: CountConfig, words: Receiver<Word>, metrics: Metrics, clock: Clock) -> Result<Running, String> {
    tally::begin(&metrics, &config.shown);
    let told = Told { words, released: HashMap::new(), dropped: Teller::default() };
    Running::start("feedback", move |stop| run(&config, told, &metrics, &clock, stop))
}

fn run(config: &CountConfig, mut told: Told, metrics: &Metrics, clock: &Clock, stop: &Stop) {
    let mut again = AGAIN;
    loop {
        let began = clock.mono();
        match Worker::new(config, &mut told, metrics, clock).and_then(|worker| worker.work(stop)) {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(
                    target: "peakpost::feedback", error,
                    "feedback is not counted; beginning anew from the last commit: nothing is lost or counted twice"
                );
            }
        }
        let worked = clock.mono().saturating_duration_since(began);
        again = if worked > AGAIN_MAX { AGAIN } else { again };
        if stop.told_within(again) {
            return;
        }
        again = (again * 2).min(AGAIN_MAX);
    }
}

/// What outlives a failure.
struct Told {
    words: Receiver<Word>,
    released: HashMap<Stream, Wall>,
    dropped: Teller,
}

struct Worker<'a> {
    config: &'a CountConfig,
    told: &'a mut Told,
    metrics: &'a Metrics,
    clock: &'a Clock,
    group: Group,
    publisher: Publisher,
    book: Book,
}

impl<'a> Worker<'a> {
    fn new(
        config: &'a CountConfig,
        told: &'a mut Told,
        metrics: &'a Metrics,
        clock: &'a Clock,
    ) -> Result<Self, String> {
        Ok(Self {
            config,
            told,
            metrics,
            clock,
            group: Group::join(config)?,
            publisher: Publisher::new(config)?,
            book: Book::default(),
        })
    }

    fn work(mut self, stop: &Stop) -> Result<(), String> {
        let mut published = self.clock.mono();
        while !stop.is_told() {
            self.hear();
            let events = self.take()?;
            while let Some(event) = self.group.event() {
                match event {
                    Event::Assigned(homes) => self.assigned(&homes, stop)?,
                    Event::Revoked { homes, lost } => self.revoked(&homes, lost)?,
                }
            }
            let now = self.clock.mono();
            if due(published, now) || self.book.suppressions.len() >= SUPPRESSIONS {
                self.publish()?;
                published = now;
            }
            if events > 0 {
                tracing::trace!(target: "peakpost::feedback", events, "events taken");
            }
        }
        self.publish()?;
        self.group.leave();
        Ok(())
    }

    /// What who follows the counts has to say.
    fn hear(&mut self) {
        for word in self.told.words.try_iter() {
            match word {
                // Whose partition it is publishes again; the others are told as well.
                Word::Late { home, cohort, upto } => {
                    if let Some(part) = self.book.parts.get_mut(&home) {
                        tracing::info!(target: "peakpost::feedback", partition = home, cohort = cohort.key(home), "an older count was written late: the newer one is published again");
                        part.counter.again(&cohort, upto);
                    }
                }
                Word::Released(stream, at) => {
                    for part in self.book.parts.values_mut() {
                        part.counter.released(stream.clone(), at);
                    }
                    let known = self.told.released.entry(stream).or_insert(at);
                    *known = at.max(*known);
                }
            }
        }
    }

    /// Takes what has come, or waits a moment for it.
    fn take(&mut self) -> Result<usize, String> {
        let (mut wait, mut taken) = (LOOK, 0);
        let consumer = self.group.consumer();
        while taken < TURN {
            let Some(message) = consumer.poll(wait) else { break };
            match message {
                Ok(message) => self.book.count(&message),
                Err(error) => group::judge(&error)?,
            }
            (wait, taken) = (Duration::ZERO, taken + 1);
        }
        Ok(taken)
    }

    /// Takes partitions over: what was published of them, then the events from so far before the commit that repeats are
    /// recognised, and soft bounces are known.
    fn assigned(&mut self, homes: &[Home], stop: &Stop) -> Result<(), String> {
        let mut parts = restore::parts(self.config, homes, self.clock, stop)?;
        let mut from = Vec::new();
        for (home, committed, first) in self.group.committed(homes)? {
            let fence = committed.unwrap_or(first).max(first);
            let start = fence.saturating_sub(READ_AGAIN).max(first);
            let Some((mut counter, doubts)) = parts.remove(&home) else { continue };
            for (stream, at) in &self.told.released {
                counter.released(stream.clone(), *at);
            }
            from.push((home, start));
            let soft = SoftBounces::default();
            self.book.parts.insert(home, Part { counter, soft, doubts, fence, next: fence, committed: fence });
        }
        tracing::info!(target: "peakpost::feedback", ?homes, "counting the events of these partitions");
        self.group.assign(&from)
    }

    fn revoked(&mut self, homes: &[Home], lost: bool) -> Result<(), String> {
        if lost {
            // Somebody else counts them from the last commit on; what is here is in nobody's counts yet.
            return Err(format!("partitions {homes:?} were lost: no heartbeat was answered in time"));
        }
        self.publish()?;
        self.book.parts.retain(|home, _| !homes.contains(home));
        self.group.let_go(homes)
    }

    /// Makes what was counted durable, then commits. Waits for the broker.
    fn publish(&mut self) -> Result<(), String> {
        let moved: Vec<(Home, i64)> = self
            .book
            .parts
            .iter()
            .filter(|(_, part)| part.next > part.committed)
            .map(|(home, part)| (*home, part.next))
            .collect();
        let now = self.clock.wall();
        let steps = self.book.take_steps(now);
        self.metrics.quarantined_open.set(self.book.open());
        let changed = self.book.parts.values().any(|part| part.counter.has_changed());
        if moved.is_empty() && steps.is_empty() && !changed {
            return Ok(());
        }
        failpoint!("before_counts");
        self.book.publish(&steps, &self.publisher)?;
        for (home, part) in &mut self.book.parts {
            for (cohort, partial) in part.counter.take_changed(now) {
                self.publisher.count(*home, &cohort.key(*home), &partial.value())?;
            }
        }
        for suppression in self.book.suppressions.drain(..) {
            self.publisher.suppress(&suppression.key(), &suppression.value())?;
        }
        self.publisher.flush()?;
        failpoint!("between_counts");
        if !moved.is_empty() && !self.group.commit(&moved)? {
            // What is published stands; where counting goes on is told with the next.
            return Ok(());
        }
        for (home, next) in moved {
            if let Some(part) = self.book.parts.get_mut(&home) {
                part.committed = next;
            }
        }
        self.book.tally.show(self.metrics);
        let dropped = self.book.parts.values_mut().map(|part| part.counter.take_dropped());
        let (cohorts, events) = dropped.fold((0, 0), |sum, part| (sum.0 + part.cohorts, sum.1 + part.events));
        self.told.dropped.tell(&[("cohort", cohorts), ("event", events)], self.metrics, self.clock.mono());
        self.book.ended.show(self.metrics);
        Ok(())
    }
}

fn due(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= PUBLISH
}
