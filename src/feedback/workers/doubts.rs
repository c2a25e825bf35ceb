//! What a worker makes durable of jobs of which nobody knows whether they were sent.
//!
//! Why: the outcome goes first, then what is kept of it. Whoever dies between the two has it written once more by who follows,
//! the same to the letter; the other way round it would never be written.

use super::book::Book;
use super::publish::Publisher;
use crate::feedback::doubts::Step;
use crate::job::{Home, Wall};
use crate::observe::Metrics;
use crate::observe::failpoint::failpoint;

/// How many jobs came to an end, and are not shown yet.
#[derive(Default)]
pub(super) struct Ended {
    resolved: u64,
    unresolved: u64,
}

impl Ended {
    pub(super) fn show(&mut self, metrics: &Metrics) {
        let Self { resolved, unresolved } = std::mem::take(self);
        metrics.quarantined_resolved.inc_by(resolved);
        metrics.quarantined_unresolved.inc_by(unresolved);
        if unresolved > 0 {
            tracing::warn!(
                target: "peakpost::feedback", jobs = unresolved,
                "quarantined jobs count as unresolved: nothing was heard of them in time; hint: is their provider listened to?"
            );
        }
    }
}

impl Book {
    /// What is to be made durable, by partition.
    pub(super) fn take_steps(&mut self, now: Wall) -> Vec<(Home, Step)> {
        let mut all = Vec::new();
        for (home, part) in &mut self.parts {
            all.extend(part.doubts.take_steps(now).into_iter().map(|step| (*home, step)));
        }
        all
    }

    /// How many jobs wait for a word.
    pub(super) fn open(&self) -> i64 {
        let open: usize = self.parts.values().map(|part| part.doubts.open()).sum();
        i64::try_from(open).unwrap_or(i64::MAX)
    }

    /// Hands steps to the producer, and waits until the outcomes among them are acknowledged.
    pub(super) fn publish(&mut self, steps: &[(Home, Step)], publisher: &Publisher) -> Result<(), String> {
        let before = self.ended.resolved;
        for (_, step) in steps {
            match step {
                Step::Resolve { home, id, record, .. } => {
                    publisher.resolve(*home, id, record)?;
                    self.ended.resolved += 1;
                }
                Step::Forget { unresolved, .. } => self.ended.unresolved += u64::from(*unresolved),
                Step::Keep { .. } => {}
            }
        }
        if self.ended.resolved > before {
            publisher.flush()?;
            failpoint!("between_resolved");
        }
        steps.iter().try_for_each(|(partition, step)| match step {
            Step::Keep { key, record } | Step::Resolve { key, record, .. } => {
                publisher.keep(*partition, key, Some(record))
            }
            Step::Forget { key, .. } => publisher.keep(*partition, key, None),
        })
    }
}
