//! A limit over a window longer than 60 s: its count is kept across processes, machines and crashes.
//!
//! Why the arithmetic: time is cut into slices of W/128. A unit is declared in a durable record before it is spent,
//! in that slice or the next, and arrives up to `jitter` later. Those that arrive within any W were thus declared in
//! at most n = ⌈(W + jitter)/slice⌉ + 2 slices in a row, so each counts in n slices from its own on, and a purse
//! declares only what keeps that count within its part. Purses sum to the limit; so do windows, over all owners.
//! What an owner declares while it is losing a home is not known to the next one: it must not be sent, and is not,
//! because a permit is redeemed only within the lease.
//! Must not know: providers, who waits, topics, which lane comes first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bucket;
use super::limit::Limit;
use super::purse::{Purse, WHOLE};
use super::usage::{self, Series};
use crate::job::{Home, Lane, Wall};

/// Slices per window. A unit counts in 131 of them: fewer would leave more of a limit unused, more make longer records.
const SLICES: i64 = 128;
/// A peak may spend this many times the average rate …
const PEAK: u64 = 50;
/// … and what it spends in this time, some acknowledgements long, is declared ahead.
const AHEAD: Duration = Duration::from_millis(200);

/// What may change while a budget is kept: by reload, or by a warm-up's new day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Units in any window, over all homes: up to 1,000,000,000. 0: nothing goes.
    pub count: u32,
    /// The home that has all of it; none: every home has its part.
    pub carrier: Option<Home>,
    /// Share of every purse that marketing never gets: 0 to 0.9. One unit it may always use, or it would never go.
    pub reserve: f64,
}

/// A record to be made durable in the home's partition of the `usage` topic; then [`Budget::written`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The partition.
    pub home: Home,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value.
    pub value: Vec<u8>,
    /// What `written` is to be told.
    pub tag: u64,
}

/// One limit's purses: those of the homes that this instance owns.
#[derive(Debug)]
pub struct Budget {
    series: Series,
    homes: Home,
    terms: Terms,
    writer: u64,
    slice_ms: i64,
    /// How many slices a unit counts in.
    counted: i64,
    present: i64,
    purses: BTreeMap<Home, Held>,
}

#[derive(Debug)]
struct Held {
    epoch: u32,
    /// Its records are read before the home is owned.
    owned: bool,
    key: Vec<u8>,
    purse: Purse,
}

impl Budget {
    /// A budget without purses. `homes` is how many there are in all (at least 1), `jitter` how far apart a spending
    /// and its arrival at the vendor's door can be, `writer` a number that no other budget of this series was ever
    /// given, in any process: draw it at random for each.
    #[must_use]
    pub fn new(series: Series, homes: Home, jitter: Duration, writer: u64, terms: Terms) -> Self {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX / 2);
        let window = millis(series.window);
        let slice_ms = (window / SLICES).max(1);
        let span = window.saturating_add(millis(jitter));
        let counted = span / slice_ms + i64::from(span % slice_ms > 0) + 2;
        Self { series, homes, terms, writer, slice_ms, counted, present: 0, purses: BTreeMap::new() }
    }

    /// What is counted.
    #[must_use]
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// The limit as it is kept now.
    #[must_use]
    pub fn limit(&self) -> Limit {
        Limit { count: self.terms.count, unit: self.series.unit, window: self.series.window }
    }

    /// The terms in force.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Other terms from now on. What was spent stays spent; what is declared beyond a smaller count is not spent.
    ///
    /// A limit that becomes carried, or ceases to be, moves between purses: within the window of that change the sum
    /// can be the old count and the new one.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
        for (&home, held) in &mut self.purses {
            fill(&mut held.purse, self.homes, terms, home);
        }
    }

    /// A home is about to be owned: `records` are the latest of each key in its partition, of any series. They must
    /// have been read after its former owner could last send.
    ///
    /// A record of this series that cannot be read counts as a purse fully spent now; see [`Budget::unreadable`].
    pub fn opened(&mut self, home: Home, epoch: u32, records: &[(Vec<u8>, Vec<u8>)], wall: Wall) {
        self.advance(wall);
        let prefix = self.series.prefix();
        let mut purse = Purse::default();
        fill(&mut purse, self.homes, self.terms, home);
        for (_, value) in records.iter().filter(|(key, _)| key.starts_with(prefix.as_bytes())) {
            let Some(slices) = usage::read(self.slice_ms, value) else {
                purse.add(self.present, WHOLE);
                continue;
            };
            for (index, transactional, marketing) in slices {
                // A clock ahead of ours: it counts until ours is there, too; but damage never for longer than twice.
                let index = index.min(self.present + self.counted);
                purse.add(index, [transactional, marketing]);
            }
        }
        purse.advance(self.present, self.gone());
        let key = self.series.key(self.writer, epoch);
        self.purses.insert(home, Held { epoch, owned: false, key, purse });
    }

    /// The homes owned now, with the epoch in which each was opened. A purse gives nothing before its home is here;
    /// once it is not any more the purse is dropped, and what it had not spent is given back by a last write: whether
    /// that is made durable, and when, does not matter to the limit.
    pub fn homes(&mut self, owned: &[(Home, u32)], next_tag: &mut u64, writes: &mut Vec<Write>) {
        let slice_ms = self.slice_ms;
        self.purses.retain(|&home, held| {
            let owns = owned.contains(&(home, held.epoch));
            let lost = held.owned && !owns;
            held.owned = owns;
            if lost && held.purse.give_back() {
                writes.push(held.write(home, slice_ms, next_tag));
            }
            !lost
        });
    }

    /// Units that the lane may spend now, over all purses.
    pub fn available(&mut self, lane: Lane, wall: Wall) -> u32 {
        self.advance(wall);
        self.owned().fold(0, |sum, purse| sum.saturating_add(purse.available(lane)))
    }

    /// Spends `units`, at most what is available to the lane at the same time.
    pub fn spend(&mut self, lane: Lane, units: u32, wall: Wall) {
        self.advance(wall);
        let mut rest = units;
        for held in self.purses.values_mut().filter(|held| held.owned) {
            rest -= held.purse.spend(lane, rest, self.present);
        }
    }

    /// Declares more if what is declared falls short of `wanted` (units that wait, or that were just spent: as many
    /// again are likely) and of what a peak needs until it is written. One write per purse is out at a time.
    pub fn declare(&mut self, lane: Lane, wanted: u32, wall: Wall, next_tag: &mut u64, writes: &mut Vec<Write>) {
        self.advance(wall);
        if wanted == 0 {
            return;
        }
        let coming: u64 = self.owned().map(|purse| u64::from(purse.coming(lane))).sum();
        let mut short = (u64::from(wanted) + self.ahead()).saturating_sub(coming);
        while short > 0 {
            let can = |(_, held): &(_, &mut Held)| held.owned && held.purse.declarable(lane) > 0;
            // The fullest first, so that all last equally long.
            let fullest = self.purses.iter_mut().filter(can).max_by_key(|(_, held)| held.purse.room(lane));
            let Some((&home, held)) = fullest else { return };
            let units = u32::try_from(short).unwrap_or(u32::MAX);
            let units = held.purse.declare(lane, units, self.present, *next_tag);
            short = short.saturating_sub(u64::from(units));
            writes.push(held.write(home, self.slice_ms, next_tag));
        }
    }

    /// The write with this tag is durable: its units may be spent. Other budgets' tags, and old ones, are ignored.
    pub fn written(&mut self, tag: u64) {
        let present = self.present;
        let _ = self.purses.values_mut().any(|held| held.purse.written(tag, present));
    }

    /// Whether the lane has used all it may: nothing is available, on its way or to be declared.
    pub fn is_exhausted(&mut self, lane: Lane, wall: Wall) -> bool {
        self.advance(wall);
        self.owned().all(|purse| purse.room(lane) == 0)
    }

    /// When there is more for a lane that has used all it may. None: it has not, only a write is awaited; or no time
    /// brings more, because no home with a part of it is owned.
    pub fn next(&mut self, lane: Lane, wall: Wall) -> Option<Wall> {
        if !self.is_exhausted(lane, wall) {
            return None;
        }
        let slice = self.owned().filter_map(|purse| purse.holds_up(lane)).min()?;
        Some(Wall((slice + self.counted) * self.slice_ms))
    }

    /// Units used in the window that ends now, and the most there may be, over the purses of owned homes.
    #[must_use]
    pub fn used(&self, wall: Wall) -> (u32, u32) {
        let gone = self.slice(wall) - self.counted;
        self.owned().fold((0, 0), |(used, cap), purse| (used + purse.used(gone), cap + purse.cap()))
    }

    /// How many owned homes count as fully spent because a record of theirs could not be read.
    #[must_use]
    pub fn unreadable(&self, wall: Wall) -> usize {
        let gone = self.slice(wall) - self.counted;
        self.owned().filter(|purse| purse.unreadable(gone)).count()
    }

    fn owned(&self) -> impl Iterator<Item = &Purse> {
        self.purses.values().filter(|held| held.owned).map(|held| &held.purse)
    }

    fn slice(&self, wall: Wall) -> i64 {
        wall.0.div_euclid(self.slice_ms)
    }

    /// The last slice that counts no more.
    fn gone(&self) -> i64 {
        self.present - self.counted
    }

    fn advance(&mut self, wall: Wall) {
        let present = self.slice(wall);
        if present == self.present {
            return;
        }
        self.present = present;
        let gone = self.gone();
        for held in self.purses.values_mut() {
            held.purse.advance(present, gone);
        }
    }

    /// Units to be declared before anybody waits for them.
    fn ahead(&self) -> u64 {
        let cap: u64 = self.owned().map(|purse| u64::from(purse.cap())).sum();
        let window = u64::try_from(self.series.window.as_millis()).unwrap_or(u64::MAX).max(1);
        cap * PEAK * u64::try_from(AHEAD.as_millis()).unwrap_or(0) / window
    }
}

impl Held {
    fn write(&self, home: Home, slice_ms: i64, next_tag: &mut u64) -> Write {
        let tag = *next_tag;
        *next_tag += 1;
        Write { home, key: self.key.clone(), value: usage::write(slice_ms, self.purse.declared()), tag }
    }
}

/// Gives a home's purse its part: all parts sum to the count, and differ by at most one.
fn fill(purse: &mut Purse, homes: Home, terms: Terms, home: Home) {
    let up_to = |home: u64| u64::from(terms.count) * home / u64::from(homes.max(1));
    let cap = match terms.carrier {
        Some(carrier) if carrier == home => terms.count,
        Some(_) => 0,
        None => u32::try_from(up_to(u64::from(home) + 1) - up_to(u64::from(home))).unwrap_or(0),
    };
    let lent = (cap - bucket::share(cap, terms.reserve)).max(1).min(cap);
    purse.set_part(cap, lent);
}
