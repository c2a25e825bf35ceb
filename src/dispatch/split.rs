//! Finding the guilty job of a batch that was turned down without naming one.
//!
//! Why: one bad address must not cost a thousand messages, and a template that no vendor can render must not
//! cost two thousand requests. So a batch is halved; when both halves fail alike, the fault is in what they
//! share, and all of them are refused as one (but size: what is too large is halved until it fits).
//! Must not know: queues, gates; a half is known by the queue key under which it waits.

use std::collections::HashMap;

use slab::Slab;

use crate::job::Job;
use crate::outcome::{Code, Said};

/// Queue keys with this bit belong to groups that must not grow: halves and remainders.
const OWN_GROUP: u64 = 1 << 63;

/// The key under which jobs queue that a vendor's batch key puts together.
pub(super) fn shared_key(batch_key: u64) -> u64 {
    batch_key & !OWN_GROUP
}

#[derive(Debug)]
struct Split {
    /// What the whole was told.
    said: Said,
    /// A half that failed alike, kept until the other is back.
    held: Option<Vec<Job>>,
    /// Halves that are not back.
    out: u8,
}

/// What to do with jobs that came back.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing now.
    Nothing,
    /// Both halves failed alike: refuse all of these.
    RefuseAll(Vec<Job>),
    /// Send these in two halves, under these keys.
    Halves([(u64, Vec<Job>); 2]),
}

/// Batches that are being searched.
#[derive(Debug, Default)]
pub(super) struct Splits {
    own_keys: u64,
    halves: HashMap<u64, usize>,
    open: Slab<Split>,
}

impl Splits {
    /// A key for a group of its own.
    pub(super) fn own_key(&mut self) -> u64 {
        self.own_keys += 1;
        OWN_GROUP | self.own_keys
    }

    /// A request under `key` was turned down unblamed. `jobs` are two or more. A half that was left behind by
    /// its halving (`also`) is to be searched on its own.
    pub(super) fn unblamed(&mut self, key: u64, jobs: Vec<Job>, said: &Said) -> (Next, Option<Vec<Job>>) {
        let Some(split) = self.halves.remove(&key) else { return (self.halve(jobs, said), None) };
        let alike = self.open[split].said.same_words(said);
        self.open[split].out -= 1;
        let waits_for_other = self.open[split].out > 0;
        match (alike, self.open[split].held.take()) {
            (true, Some(mut held)) if said.code != Code::TooLarge => {
                self.open.remove(split);
                held.extend(jobs);
                (Next::RefuseAll(held), None)
            }
            (true, None) if waits_for_other && said.code != Code::TooLarge => {
                self.open[split].held = Some(jobs);
                (Next::Nothing, None)
            }
            (_, held) => {
                self.drop_if_over(split);
                (self.halve(jobs, said), held)
            }
        }
    }

    /// A request under `key` had any other end, or its group was broken up. Returns a half that waited for it:
    /// the guilty are among them, so it is searched on.
    pub(super) fn other_end(&mut self, key: u64) -> Option<(Vec<Job>, Said)> {
        let split = self.halves.remove(&key)?;
        self.open[split].out -= 1;
        let held = self.open[split].held.take();
        let said = self.open[split].said.clone();
        self.drop_if_over(split);
        held.map(|held| (held, said))
    }

    fn drop_if_over(&mut self, split: usize) {
        if self.open[split].out == 0 {
            self.open.remove(split);
        }
    }

    /// Two halves under keys of their own.
    pub(super) fn halve(&mut self, mut jobs: Vec<Job>, said: &Said) -> Next {
        let second = jobs.split_off(jobs.len() / 2);
        let split = self.open.insert(Split { said: said.clone(), held: None, out: 2 });
        let halves = [jobs, second].map(|half| {
            let key = self.own_key();
            self.halves.insert(key, split);
            (key, half)
        });
        Next::Halves(halves)
    }

    /// The keys of all halves that are not back.
    pub(super) fn halves(&self) -> impl Iterator<Item = u64> + '_ {
        self.halves.keys().copied()
    }

    /// Takes out held jobs that `leaves` says.
    pub(super) fn remove_if(&mut self, mut leaves: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let held = self.open.iter_mut().filter_map(|(_, split)| split.held.as_mut());
        held.flat_map(|jobs| jobs.extract_if(.., |job| leaves(job)).collect::<Vec<_>>()).collect()
    }
}
