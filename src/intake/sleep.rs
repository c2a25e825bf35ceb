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
        let Some(owned) = self.owned.get_mut(&home) else { return };
        let end = &mut owned.ends[self.layout.index(source)];
        *end = (*end).max(offset + 1);
        if owned.later_of(self.layout, source).is_some_and(|later| !later.is_awake()) {
            self.waking.insert((source, home));
        }
    }

    /// Takes in how far tiers and holds reach, lets those sleep that have been read to their end, wakes the others.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), String> {
        let mut done = Vec::new();
        for (source, home, end) in self.look.answer()? {
            let Some(owned) = self.owned.get_mut(&home) else { continue };
            let (next, known) = (owned.ledger.next(source), &mut owned.ends[self.layout.index(source)]);
            *known = (*known).max(end);
            // One that ends before what was read of it has lost records: its reader finds out, and says so.
            let is_read = end == next && *known == next;
            let Some(later) = owned.later_of(self.layout, source) else { continue };
            match (is_read, later.is_awake()) {
                (false, false) => {
                    self.waking.insert((source, home));
                }
                (true, true) if !later.has_head() => {
                    later.sleep();
                    done.push((source, home));
                }
                _ => {}
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
        Ok(())
    }

    /// Reads what is to be read from now on, of homes that are still here.
    fn wake(&mut self) {
        let owned = &self.owned;
        let next = |(source, home)| {
            let live = owned.get(&home).filter(|owned| matches!(owned.phase, Phase::Live { .. }))?;
            Some((source, home, live.ledger.next(source)))
        };
        let from: Vec<(Source, Home, i64)> = std::mem::take(&mut self.waking).into_iter().filter_map(next).collect();
        if from.is_empty() {
            return;
        }
        match self.later.open(&from) {
            Ok(queues) => {
                for ((source, home, _), queue) in from.into_iter().zip(queues) {
                    let owned = self.owned.get_mut(&home);
                    if let Some(later) = owned.and_then(|owned| owned.later_of(self.layout, source)) {
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
