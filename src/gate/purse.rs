//! One home's part of a budget: what of it was declared, spent and is left, slice of time by slice of time.
//!
//! Why: units may be spent only after they were declared in a durable record, so that no crash forgets one. What is
//! declared and not spent is one pool for both lanes, written down as marketing's: neither lane can hold up the other,
//! and what a crash leaves of it never costs transactional its reserve.
//! Must not know: other homes, how records look, how long a slice is.

use std::collections::BTreeMap;

use super::usage;
use crate::job::Lane;

const TRANSACTIONAL: usize = Lane::Transactional.index();
const MARKETING: usize = Lane::Marketing.index();

/// A block is this part of a purse: few enough records, little enough lost with a process that dies.
const BLOCKS: u32 = 400;
/// What is declared and not spent is at most this part of a purse: what a crash can waste.
const UNSPENT: u32 = 100;

/// Stands for everything a purse can hold, whatever its part is today.
pub(super) const WHOLE: [u32; 2] = [u32::MAX; 2];

/// What was declared in one slice of time.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// By other owners, by lane.
    others: [u32; 2],
    /// By this one, and spent since, by lane.
    spent: [u32; 2],
    /// By this one, durable, not spent yet.
    left: u32,
}

impl Slice {
    fn used(&self, lane: usize) -> u64 {
        u64::from(self.others[lane]) + u64::from(self.spent[lane])
    }
}

/// A write that is not known to be durable yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    tag: u64,
    slice: i64,
    units: u32,
}

/// A purse. Slices are numbered; the caller says which is the present one.
#[derive(Debug, Default)]
pub(super) struct Purse {
    /// Its part of the limit.
    cap: u32,
    /// What of it marketing may use.
    lent: u32,
    slices: BTreeMap<i64, Slice>,
    /// Sums over `slices`, by lane: of others', and spent.
    used: [u64; 2],
    /// Sum over `slices`.
    left: u32,
    pending: Option<Pending>,
    /// Units were taken back that the last record still declares.
    untold: bool,
}

impl Purse {
    pub fn cap(&self) -> u32 {
        self.cap
    }

    pub fn set_part(&mut self, cap: u32, lent: u32) {
        self.cap = cap;
        self.lent = lent;
    }

    /// Counts what another owner declared.
    pub fn add(&mut self, index: i64, units: [u32; 2]) {
        let slice = self.slices.entry(index).or_default();
        for lane in [TRANSACTIONAL, MARKETING] {
            self.used[lane] -= slice.used(lane);
            slice.others[lane] = slice.others[lane].saturating_add(units[lane]);
            self.used[lane] += slice.used(lane);
        }
    }

    /// Slices up to `gone` count no more. What was declared before the slice that has just ended is taken back: it
    /// would be spent later than it is counted for.
    pub fn advance(&mut self, present: i64, gone: i64) {
        for (_, slice) in self.slices.range_mut(..present - 1) {
            self.untold |= slice.left > 0;
            self.left -= std::mem::take(&mut slice.left);
        }
        while let Some(first) = self.slices.first_entry()
            && *first.key() <= gone
        {
            let slice = first.remove();
            self.used[TRANSACTIONAL] -= slice.used(TRANSACTIONAL);
            self.used[MARKETING] -= slice.used(MARKETING);
        }
    }

    /// Units the lane may still use, declared or not.
    pub fn room(&self, lane: Lane) -> u32 {
        self.room_beside(lane, self.used)
    }

    fn room_beside(&self, lane: Lane, used: [u64; 2]) -> u32 {
        let room = |cap: u32, used: u64| u32::try_from(u64::from(cap).saturating_sub(used)).unwrap_or(0);
        let all = room(self.cap, used[TRANSACTIONAL] + used[MARKETING]);
        match lane {
            Lane::Transactional => all,
            Lane::Marketing => all.min(room(self.lent, used[MARKETING])),
        }
    }

    /// Units the lane may spend now.
    pub fn available(&self, lane: Lane) -> u32 {
        self.left.min(self.room(lane))
    }

    /// Units the lane may spend once the present write is durable.
    pub fn coming(&self, lane: Lane) -> u32 {
        let pending = self.pending.map_or(0, |pending| pending.units);
        (self.left + pending).min(self.room(lane))
    }

    /// Units that can be declared for the lane now: none while a write is out, or for less than a block.
    pub fn declarable(&self, lane: Lane) -> u32 {
        let open = (self.cap / UNSPENT).max(1).saturating_sub(self.left);
        if self.pending.is_some() || open < self.block() {
            return 0;
        }
        open.min(self.room(lane).saturating_sub(self.left))
    }

    fn block(&self) -> u32 {
        (self.cap / BLOCKS).max(1)
    }

    /// Declares `units`, or a block if that is more, as far as it may. Returns how many.
    pub fn declare(&mut self, lane: Lane, units: u32, present: i64, tag: u64) -> u32 {
        let units = units.max(self.block()).min(self.declarable(lane));
        self.slices.entry(present).or_default();
        self.pending = Some(Pending { tag, slice: present, units });
        self.untold = false;
        units
    }

    /// What this owner declares in all, for a record.
    pub fn declared(&self) -> Vec<usage::Slice> {
        let pending = |index| self.pending.filter(|p| p.slice == index).map_or(0, |p| p.units);
        let one = |(&index, slice): (&i64, &Slice)| {
            (index, slice.spent[TRANSACTIONAL], slice.spent[MARKETING] + slice.left + pending(index))
        };
        self.slices.iter().map(one).filter(|(_, transactional, marketing)| transactional + marketing > 0).collect()
    }

    /// The write with this tag is durable. Returns whether it was this purse's.
    pub fn written(&mut self, tag: u64, present: i64) -> bool {
        let Some(pending) = self.pending.take_if(|pending| pending.tag == tag) else { return false };
        if pending.slice < present - 1 {
            self.untold = true;
        } else {
            self.slices.entry(pending.slice).or_default().left += pending.units;
            self.left += pending.units;
        }
        true
    }

    /// Spends up to `units`, the oldest first. Returns how many.
    pub fn spend(&mut self, lane: Lane, units: u32, present: i64) -> u32 {
        let units = units.min(self.available(lane));
        let mut rest = units;
        for (_, slice) in self.slices.range_mut(present - 1..) {
            let taken = rest.min(slice.left);
            slice.left -= taken;
            slice.spent[lane.index()] += taken;
            rest -= taken;
        }
        self.left -= units;
        self.used[lane.index()] += u64::from(units);
        units
    }

    /// Gives up all that is not spent. Returns whether the last record declares more than was.
    pub fn give_back(&mut self) -> bool {
        for slice in self.slices.values_mut() {
            slice.left = 0;
        }
        let unspent = std::mem::take(&mut self.left) > 0;
        self.pending.take().is_some() || unspent || self.untold
    }

    /// The slice with whose end there is room for the lane. None: there is now, or never will be.
    pub fn holds_up(&self, lane: Lane) -> Option<i64> {
        let mut used = self.used;
        if self.room(lane) > 0 {
            return None;
        }
        self.slices.iter().find_map(|(&index, slice)| {
            used[TRANSACTIONAL] -= slice.used(TRANSACTIONAL);
            used[MARKETING] -= slice.used(MARKETING);
            (self.room_beside(lane, used) > 0).then_some(index)
        })
    }

    /// Units spent, or declared by others, in slices after `gone`: at most the cap.
    pub fn used(&self, gone: i64) -> u32 {
        let counted = self.slices.range(gone.saturating_add(1)..);
        let used: u64 = counted.map(|(_, slice)| slice.used(TRANSACTIONAL) + slice.used(MARKETING)).sum();
        self.cap.min(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// Whether a record that could not be read still counts after `gone`.
    pub fn unreadable(&self, gone: i64) -> bool {
        self.slices.range(gone.saturating_add(1)..).any(|(_, slice)| slice.others == WHOLE)
    }
}
