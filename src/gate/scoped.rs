//! Limits that are kept together: those of a provider's account, of one sender, of one tenant.
//!
//! Why: a permit is all limits that apply or none, so they are asked as groups and given back as groups. Senders and
//! tenants without a name in the configuration get their buckets with their first ask; these are bounded in number,
//! and one that was forgotten starts empty like any other.
//! Must not know: who waits, slots.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::bucket::{Bucket, Keeping};
use super::budget::{self, Budget, Write};
use super::carrier::Scope;
use super::limit::{Limit, Unit};
use super::usage::Series;
use crate::job::{Home, Lane, Wall};

/// Most senders or tenants without a name in the configuration whose buckets are remembered.
const REMEMBERED: usize = 10_000;

/// Limits by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scoped {
    /// Of these. A name without limits has none, whatever `each` says.
    pub named: BTreeMap<Box<str>, Vec<Limit>>,
    /// Of each other one, for itself. Windows up to 60 s.
    pub each: Vec<Limit>,
}

impl Scoped {
    /// Whether nobody is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.each.is_empty()
    }

    /// The limits of one name.
    #[must_use]
    pub fn of(&self, name: &str) -> &[Limit] {
        self.named.get(name).unwrap_or(&self.each)
    }

    /// Every limit that is written down.
    pub fn all(&self) -> impl Iterator<Item = &Limit> {
        self.named.values().flatten().chain(&self.each)
    }
}

/// What all limits of a gate are kept by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) provider: &'a str,
    pub(super) homes: Home,
    pub(super) reserve: f64,
    pub(super) jitter: Duration,
    /// Told apart from every other owner in `usage`.
    pub(super) writer: u64,
}

impl Terms<'_> {
    pub(super) fn budget(&self, limit: Limit, scope: &str, carrier: Option<Home>) -> Budget {
        let Limit { count, unit, window } = limit;
        let series = Series { provider: self.provider.into(), scope: scope.into(), unit, window };
        let terms = budget::Terms { count, carrier, reserve: self.reserve };
        Budget::new(series, self.homes, self.jitter, self.writer, terms)
    }
}

/// The limits of one account, sender or tenant.
#[derive(Debug)]
pub(super) struct Group {
    /// The home that has all of it.
    pub(super) carrier: Option<Home>,
    pub(super) buckets: Vec<Bucket>,
    pub(super) budgets: Vec<Budget>,
}

/// Why a group does not let somebody go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// No part of it is held here.
    NoPart,
    /// A bucket, by number, until then.
    Bucket(usize, Duration),
    /// A budget, by number, until then.
    Budget(usize, Wall),
    /// A budget's next block is being written.
    Writing(usize),
}

impl Group {
    pub(super) fn new(limits: &[Limit], scope: Scope<'_>, carrier: Option<Home>, terms: Terms<'_>) -> Self {
        let parts = if carrier.is_some() { 1 } else { u32::from(terms.homes) };
        let keeping = Keeping { parts, reserve: terms.reserve, jitter: terms.jitter };
        let (long, short): (Vec<Limit>, Vec<Limit>) = limits.iter().partition(|limit| limit.is_budget());
        let name = scope.to_string();
        let budget = |limit: Limit| terms.budget(limit, &name, carrier);
        Self {
            carrier,
            buckets: short.into_iter().map(|limit| Bucket::new(limit, keeping)).collect(),
            budgets: long.into_iter().map(budget).collect(),
        }
    }

    /// Takes the limits of another configuration: what is kept by the same unit and window goes on with what it has.
    pub(super) fn change(&mut self, new: Self, terms: Terms<'_>, now: Duration) {
        let parts = if new.carrier.is_some() { 1 } else { u32::from(terms.homes) };
        let keeping = Keeping { parts, reserve: terms.reserve, jitter: terms.jitter };
        let alike = |a: Limit, b: Limit| (a.unit, a.window) == (b.unit, b.window);
        let (mut buckets, mut budgets) = (std::mem::take(&mut self.buckets), std::mem::take(&mut self.budgets));
        self.carrier = new.carrier;
        for fresh in new.buckets {
            match buckets.iter().position(|old| alike(old.limit, fresh.limit)) {
                Some(at) => {
                    let mut old = buckets.swap_remove(at);
                    old.change(fresh.limit, keeping, now);
                    self.buckets.push(old);
                }
                None => self.buckets.push(fresh),
            }
        }
        for fresh in new.budgets {
            match budgets.iter().position(|old| alike(old.limit(), fresh.limit())) {
                Some(at) => {
                    let mut old = budgets.swap_remove(at);
                    old.set_terms(fresh.terms());
                    self.budgets.push(old);
                }
                None => self.budgets.push(fresh),
            }
        }
    }

    /// These homes are held from now on. Budgets are told by themselves: they write.
    pub(super) fn hold(&mut self, owned: &[(Home, u32)], homes: Home, now: Duration) {
        let held = match self.carrier {
            Some(carrier) => u32::from(owned.iter().any(|(home, _)| *home == carrier)),
            None => u32::try_from(owned.len()).unwrap_or(u32::MAX).min(u32::from(homes)),
        };
        for bucket in &mut self.buckets {
            bucket.hold(held, now);
        }
    }

    /// Most units that one grant may take now. Asks budgets for more as they run low.
    pub(super) fn room(
        &mut self,
        lane: Lane,
        wanted: impl Fn(Unit) -> u32,
        wall: Wall,
        tag: &mut u64,
        writes: &mut Vec<Write>,
    ) -> Result<[u32; 2], Full> {
        let mut room = [u32::MAX; 2];
        for (at, budget) in self.budgets.iter_mut().enumerate() {
            let unit = budget.limit().unit;
            budget.declare(lane, wanted(unit), wall, tag, writes);
            let there = budget.available(lane, wall);
            if there == 0 {
                return Err(budget.next(lane, wall).map_or(Full::Writing(at), |next| Full::Budget(at, next)));
            }
            room[unit.index()] = room[unit.index()].min(there);
        }
        for bucket in &self.buckets {
            let most = bucket.grant_max(lane);
            if most == 0 {
                return Err(Full::NoPart);
            }
            let unit = bucket.limit.unit.index();
            room[unit] = room[unit].min(most);
        }
        Ok(room)
    }

    /// Undoes the last [`Self::take`].
    pub(super) fn undo(&mut self) {
        self.buckets.iter_mut().for_each(Bucket::undo);
    }

    /// Takes from every bucket. On an error some have been taken from, and it is to be undone.
    pub(super) fn take(&mut self, lane: Lane, units: [u32; 2], now: Duration) -> Result<(), Full> {
        let mut full: Option<(usize, Duration)> = None;
        for (at, bucket) in self.buckets.iter_mut().enumerate() {
            bucket.mark();
            if let Err(until) = bucket.take(lane, units[bucket.limit.unit.index()], now)
                && full.is_none_or(|(_, longest)| until > longest)
            {
                full = Some((at, until));
            }
        }
        full.map_or(Ok(()), |(at, until)| Err(Full::Bucket(at, until)))
    }

    /// Spends from every budget what [`Self::room`] said is there.
    pub(super) fn spend(&mut self, lane: Lane, units: [u32; 2], wall: Wall) {
        for budget in &mut self.budgets {
            budget.spend(lane, units[budget.limit().unit.index()], wall);
        }
    }
}

/// The groups of all senders, or of all tenants.
#[derive(Debug)]
pub(super) struct Groups {
    limits: Scoped,
    named: HashMap<Box<str>, Group>,
    others: HashMap<Box<str>, Group>,
    /// Nobody who is not in `others` has sent since: a new bucket has been filling from there.
    quiet_since: Duration,
}

impl Groups {
    pub(super) fn new(limits: &Scoped, now: Duration, group: impl Fn(&str, &[Limit]) -> Group) -> Self {
        let named = limits.named.iter().map(|(name, limits)| (name.clone(), group(name, limits))).collect();
        Self { limits: limits.clone(), named, others: HashMap::new(), quiet_since: now }
    }

    /// The limits of a name. `None`: it has none.
    pub(super) fn get(
        &mut self,
        name: &str,
        group: impl FnOnce(&str, &[Limit]) -> Group,
        owned: &[(Home, u32)],
        homes: Home,
        now: Duration,
    ) -> Option<&mut Group> {
        if self.limits.named.contains_key(name) {
            return self.named.get_mut(name);
        }
        if self.limits.each.is_empty() {
            return None;
        }
        if !self.others.contains_key(name) {
            if self.others.len() >= REMEMBERED {
                self.others.clear();
                self.quiet_since = now;
            }
            let mut fresh = group(name, &self.limits.each);
            fresh.hold(owned, homes, self.quiet_since);
            self.others.insert(name.into(), fresh);
        }
        self.others.get_mut(name)
    }

    pub(super) fn hold(&mut self, owned: &[(Home, u32)], homes: Home, now: Duration) {
        self.quiet_since = now;
        for group in self.named.values_mut().chain(self.others.values_mut()) {
            group.hold(owned, homes, now);
        }
    }

    /// Every group that was written down or asked for.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.named.iter().chain(&self.others).map(|(name, group)| (&**name, group))
    }

    pub(super) fn budgets(&mut self) -> impl Iterator<Item = &mut Budget> {
        self.named.values_mut().flat_map(|group| &mut group.budgets)
    }

    /// Takes another configuration.
    pub(super) fn change(&mut self, new: Self, terms: Terms<'_>, now: Duration) {
        let mut old: HashMap<_, _> = std::mem::take(&mut self.named);
        self.named = new
            .named
            .into_iter()
            .map(|(name, fresh)| match old.remove(&name) {
                Some(mut group) => {
                    group.change(fresh, terms, now);
                    (name, group)
                }
                None => (name, fresh),
            })
            .collect();
        if self.limits.each != new.limits.each {
            self.others.clear();
        }
        self.limits = new.limits;
        self.quiet_since = now;
    }
}
