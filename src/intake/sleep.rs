//! Which tiers and holds are read: those in which something is.
//!
//! Why: there are dozens for each home, nearly all of them empty nearly always, and whatever is read is named in every fetch,
//! ten times a second, to the broker and back. What this instance defers itself wakes its partition when it is durable;
//! the rest is found by looking.
//! Must not know: what is read of them, when its time has come.

use std::collections::BTreeSet;
use std::time::Instant;

use super::home::Phase;
use super::owner::Owner;
use crate::job::receipt::{End, Settled};
use crate::job::{Home, Source};

impl Owner {
    /// A deferral is durable: its tier or hold reaches at least to it, and is to be read.
    pub(super) fn reaches(&mut self, settled: &Settled) {
        let End::Deferred(Some((source, offset))) = settled.end else { return };
        let home = settled.source.home;
        if let Some(owned) = self.owned.get_mut(&home) {
            let end = &mut owned.ends[self.layout.index(source)];
            *end = (*end).max(offset + 1);
            self.waking.insert((source, home));
        }
    }

    /// Takes in how far tiers and holds reach, lets those sleep that have been read to their end, wakes the others.
    pub(super) fn look(&mut self, now: Instant) {
        let mut done = Vec::new();
        for (source, home, end) in self.look.answer().unwrap_or_default() {
            let Some(owned) = self.owned.get_mut(&home) else { continue };
            let (next, known) = (owned.ledger.next(source), &mut owned.ends[self.layout.index(source)]);
            *known = (*known).max(end);
            // One that ends before what was read of it has lost records: its reader finds out, and says so.
            let is_read = end == next && *known == next;
            let Some(later) = owned.later().iter_mut().find(|later| later.source == source) else { continue };
            if !is_read {
                self.waking.insert((source, home));
            } else if later.is_awake() && !later.has_head() {
                later.sleep();
                done.push((source, home));
            }
        }
        self.later.close(&done);
        self.wake();
        let (owned, layout) = (&self.owned, self.layout);
        let live = || {
            let homes = owned.iter().filter(|(_, owned)| matches!(owned.phase, Phase::Live { .. }));
            homes.flat_map(|(home, _)| layout.later().map(|source| (source, *home))).collect()
        };
        self.look.ask(live, now);
    }

    /// Reads what is to be read and is not yet.
    fn wake(&mut self) {
        let mut from: Vec<(Source, Home, i64)> = Vec::new();
        for (source, home) in std::mem::take(&mut self.waking) {
            let Some(owned) = self.owned.get_mut(&home) else { continue };
            let next = owned.ledger.next(source);
            if owned.later().iter().any(|later| later.source == source && !later.is_awake()) {
                from.push((source, home, next));
            }
        }
        if from.is_empty() {
            return;
        }
        match self.later.open(&from) {
            Ok(queues) => {
                for ((source, home, _), queue) in from.into_iter().zip(queues) {
                    let later = self
                        .owned
                        .get_mut(&home)
                        .and_then(|owned| owned.later().iter_mut().find(|l| l.source == source));
                    if let Some(later) = later {
                        later.wake(queue);
                    }
                }
            }
            Err(error) => {
                let homes: BTreeSet<Home> = from.into_iter().map(|(_, home, _)| home).collect();
                for home in homes {
                    self.stop_home(home, error.clone());
                }
            }
        }
    }
}
