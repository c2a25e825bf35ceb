//! Requests at the provider at the same time: as many as the homes owned and the factor learned from the vendor allow,
//! some of them kept for transactional.
//!
//! Why: a slot in use cannot be called back, so what marketing may borrow ends before the last one does.
//! Must not know: limits, who waits.

use super::bucket::{part_of, share};
use crate::job::Lane;

/// Slots of this instance.
#[derive(Debug)]
pub(super) struct Slots {
    /// Over all instances.
    of_all: u32,
    reserve: f64,
    /// What this instance may use: its part.
    here: u32,
    /// How much of that is used: more than 0, at most 1.
    factor: f64,
    used: [u32; 2],
}

impl Slots {
    pub(super) fn new(of_all: u32, reserve: f64) -> Self {
        Self { of_all, reserve, here: 0, factor: 1.0, used: [0; 2] }
    }

    /// `held` of `parts` are held from now on. Slots in use beyond that are not given out again.
    pub(super) fn hold(&mut self, held: u32, parts: u32) {
        let here = u64::from(self.of_all) * u64::from(held.min(parts)) / u64::from(parts);
        self.here = u32::try_from(here).unwrap_or(u32::MAX);
    }

    pub(super) fn change(&mut self, of_all: u32, reserve: f64) {
        (self.of_all, self.reserve) = (of_all, reserve);
    }

    /// Only this part is used from now on, but at least one slot.
    pub(super) fn scale(&mut self, factor: f64) {
        self.factor = factor;
    }

    /// Slots that are used at most.
    pub(super) fn most(&self) -> u32 {
        let part = u32::try_from(part_of(u64::from(self.here), self.factor)).unwrap_or(u32::MAX);
        part.max(1).min(self.here)
    }

    /// Slots of this instance, in use or not.
    pub(super) fn here(&self) -> u32 {
        self.here
    }

    /// Slots in use.
    pub(super) fn in_use(&self) -> u32 {
        self.used.iter().sum()
    }

    /// Slots that nobody uses.
    pub(super) fn free(&self) -> u32 {
        self.most().saturating_sub(self.in_use())
    }

    /// Slots that a lane may take now. One slot alone serves both lanes.
    pub(super) fn usable(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Transactional => self.free(),
            Lane::Marketing => {
                let most = self.most();
                let kept = share(most, self.reserve).max(1).min(most.saturating_sub(1));
                self.free().min((most - kept).saturating_sub(self.used[lane.index()]))
            }
        }
    }

    pub(super) fn take(&mut self, lane: Lane, requests: u32) {
        self.used[lane.index()] += requests;
    }

    pub(super) fn give_back(&mut self, lane: Lane, requests: u32) {
        let used = &mut self.used[lane.index()];
        *used = used.saturating_sub(requests);
    }
}
