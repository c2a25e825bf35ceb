//! What a gate says of itself: what binds now, what each factor takes away, what has changed lately.
//!
//! Why: "why is it slow" is asked at 3 a.m.; the answer is in the operator's own units, and every change that could
//! be the reason is in a short history beside it.
//! Must not know: how limits are kept, who shows it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use super::Config;
use super::limit::Limit;
use crate::job::Wall;

/// Changes that are remembered.
const REMEMBERED: usize = 256;
/// What is said of "now" looks back over one to two of these.
const LATELY: Duration = Duration::from_secs(5);

/// What can keep somebody waiting, or take something away of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A limit of the account.
    Limit,
    /// A limit of a sender.
    Sender,
    /// A limit of a tenant.
    Tenant,
    /// A limit of the account over a long window.
    Budget,
    /// The next block of a budget is not durable yet.
    Usage,
    /// The cap of a new account.
    WarmUp,
    /// Requests at the provider at the same time.
    Concurrency,
    /// The provider said to stop.
    Stop,
    /// Outcomes of what was accepted are not durable yet.
    Outcomes,
    /// The homes that other instances own.
    Share,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Limit,
        Self::Sender,
        Self::Tenant,
        Self::Budget,
        Self::Usage,
        Self::WarmUp,
        Self::Concurrency,
        Self::Stop,
        Self::Outcomes,
        Self::Share,
    ];

    /// The word in metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Sender => "sender",
            Self::Tenant => "tenant",
            Self::Budget => "budget",
            Self::Usage => "usage",
            Self::WarmUp => "warm_up",
            Self::Concurrency => "concurrency",
            Self::Stop => "stop",
            Self::Outcomes => "outcomes",
            Self::Share => "share",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What keeps those waiting whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    /// Which kind of thing.
    pub by: By,
    /// Which of the account's limits or budgets, as configured; 0 otherwise.
    pub at: usize,
}

impl Bound {
    pub(super) fn of(by: By) -> Self {
        Self { by, at: 0 }
    }
}

/// One change of a rate or a share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When: milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// Of what.
    pub by: By,
    /// What it was; without a limit: infinite, `null` in JSON …
    #[serde(deserialize_with = "or_infinite")]
    pub from: f64,
    /// … and is.
    #[serde(deserialize_with = "or_infinite")]
    pub to: f64,
    /// Why.
    pub why: String,
}

/// JSON has no word for infinite: it is written as `null`.
fn or_infinite<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

impl Change {
    pub(super) fn new(at: Wall, by: By, from: f64, to: f64, why: String) -> Self {
        Self { at_ms: at.0, by, from, to, why }
    }
}

/// What was, for those who ask later. Bounded.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// Of the latest, those nobody has taken yet.
    new: usize,
    bound: Option<(Bound, Instant)>,
    kept: BTreeMap<By, Duration>,
    /// Lately, and before that: who was kept by what, and what was granted.
    lately: [Stretch; 2],
}

#[derive(Debug, Default)]
struct Stretch {
    since: Option<Instant>,
    kept: BTreeMap<Bound, Duration>,
    granted: u64,
}

impl History {
    pub(super) fn note(&mut self, change: Change) {
        if (change.from - change.to).abs() < f64::EPSILON {
            return;
        }
        if self.changes.len() == REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.new = (self.new + 1).min(REMEMBERED);
    }

    pub(super) fn take_new(&mut self) -> Vec<Change> {
        let from = self.changes.len() - std::mem::take(&mut self.new);
        self.changes.iter().skip(from).cloned().collect()
    }

    pub(super) fn take_kept(&mut self) -> Vec<(By, Duration)> {
        std::mem::take(&mut self.kept).into_iter().collect()
    }

    /// From now on somebody is kept waiting by this, or nobody.
    pub(super) fn bound(&mut self, bound: Option<Bound>, now: Instant) {
        self.roll(now);
        if let Some((by, since)) = self.bound {
            let time = now.saturating_duration_since(since);
            *self.kept.entry(by.by).or_default() += time;
            *self.lately[0].kept.entry(by).or_default() += time;
        }
        self.bound = bound.map(|bound| (bound, now));
    }

    pub(super) fn granted(&mut self, messages: u32, now: Instant) {
        self.roll(now);
        self.lately[0].granted += u64::from(messages);
    }

    fn roll(&mut self, now: Instant) {
        let since = *self.lately[0].since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= LATELY {
            let old = std::mem::take(&mut self.lately[0]);
            // After a long rest nothing of the old is told.
            let idle = Stretch { since: now.checked_sub(LATELY), ..Stretch::default() };
            self.lately[1] = if passed >= 2 * LATELY { idle } else { old };
            self.lately[0].since = Some(now);
        }
    }

    /// What bound lately, the longest first, as parts of the time; messages granted a second; and of how many
    /// seconds this is said.
    pub(super) fn lately(&self, now: Instant) -> (Vec<(Bound, f64)>, f64, f64) {
        let [present, before] = &self.lately;
        let since = before.since.or(present.since).unwrap_or(now);
        let time = now.saturating_duration_since(since).as_secs_f64().max(0.001);
        let mut kept: BTreeMap<Bound, Duration> = present.kept.clone();
        for (bound, passed) in &before.kept {
            *kept.entry(*bound).or_default() += *passed;
        }
        if let Some((bound, since)) = self.bound {
            *kept.entry(bound).or_default() += now.saturating_duration_since(since);
        }
        let mut kept: Vec<(Bound, f64)> =
            kept.into_iter().map(|(bound, passed)| (bound, (passed.as_secs_f64() / time).min(1.0))).collect();
        kept.sort_by(|a, b| b.1.total_cmp(&a.1));
        (kept, (present.granted + before.granted) as f64 / time, time)
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        self.changes.iter().cloned().collect()
    }
}

/// One limit as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// As configured: `600 requests/s`.
    pub limit: String,
    /// Whose: `account`, `sender NAME`, `tenant NAME`, `warm-up`.
    pub of: String,
    /// What it counts.
    pub unit: String,
    /// What all instances together can use of it in the long run, a second.
    pub of_all_per_s: f64,
    /// What this instance can.
    pub here_per_s: f64,
    /// Of a budget: spent by the homes owned here, in the window that ends now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spent: Option<u32>,
    /// Of a budget: what the homes owned here may spend in a window.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cap: Option<u32>,
    /// The home that has it whole, if it is too small to be parted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carried_by: Option<u16>,
}

/// What kept those waiting whose turn it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// By what kind of thing.
    pub by: By,
    /// The limit, as configured, if it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<String>,
    /// The part of the last seconds in which it did: 0 to 1.
    pub part: f64,
}

/// What a gate says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The provider.
    pub provider: String,
    /// When: milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// Homes owned here …
    pub homes_owned: u16,
    /// … of all.
    pub homes: u16,
    /// The part of the account's limits that is this instance's: 0 to 1.
    pub share: f64,
    /// What bound in the last seconds, the longest first.
    pub binding: Vec<Binding>,
    /// How many seconds "the last seconds" are.
    pub lately_s: f64,
    /// Messages granted a second, over the last seconds.
    pub granted_per_s: f64,
    /// Asks that wait.
    pub waiting: usize,
    /// Requests at the provider, of how many that this instance may have, of how many over all.
    pub in_use: u32,
    /// See `in_use`.
    pub slots: u32,
    /// See `in_use`.
    pub slots_of_all: u32,
    /// The provider said to stop for so many seconds more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped_s: Option<f64>,
    /// Every limit.
    pub limits: Vec<Standing>,
    /// The latest changes, oldest first.
    pub history: Vec<Change>,
}

/// Most senders and tenants that a report names.
const NAMED: usize = 50;

impl super::Gate {
    /// What there is to say now.
    #[must_use]
    pub fn report(&self, now: Instant, wall: Wall) -> Report {
        let (kept, granted_per_s, lately_s) = self.history.lately(now);
        let binding = kept.into_iter().map(|(bound, part)| Binding { by: bound.by, limit: self.name_of(bound), part });
        let account = std::iter::once(("account".to_owned(), &self.account));
        let senders = self.senders.all().take(NAMED).map(|(name, group)| (format!("sender {name}"), group));
        let tenants = self.tenants.all().take(NAMED).map(|(name, group)| (format!("tenant {name}"), group));
        let groups = account.chain(senders).chain(tenants);
        let mut limits: Vec<Standing> = groups.flat_map(|(of, group)| standings(&of, group, wall)).collect();
        limits.extend(self.warm_up.as_ref().and_then(|warm_up| warm_up.standing(wall)));
        Report {
            provider: self.name.to_string(),
            at_ms: wall.0,
            homes_owned: u16::try_from(self.owned.len()).unwrap_or(u16::MAX),
            homes: self.homes,
            share: self.share(),
            binding: binding.collect(),
            lately_s,
            granted_per_s,
            waiting: self.waiting.iter().map(super::Turns::len).sum(),
            in_use: self.slots.in_use(),
            slots: self.slots.here(),
            slots_of_all: self.config.concurrency,
            stopped_s: self.stopped(now).map(|until| (until - now).as_secs_f64()),
            limits,
            history: self.history.changes(),
        }
    }

    fn name_of(&self, bound: Bound) -> Option<String> {
        match bound.by {
            By::Limit => self.account.buckets.get(bound.at).map(|bucket| bucket.limit.to_string()),
            By::Budget | By::Usage => self.account.budgets.get(bound.at).map(|budget| budget.limit().to_string()),
            _ => None,
        }
    }
}

fn standings(of: &str, group: &super::Group, wall: Wall) -> Vec<Standing> {
    let standing = |limit: Limit, of_all_per_s: f64, here_per_s: f64| Standing {
        limit: limit.to_string(),
        of: of.to_owned(),
        unit: limit.unit.as_str().to_owned(),
        of_all_per_s,
        here_per_s,
        spent: None,
        cap: None,
        carried_by: group.carrier,
    };
    let buckets = group.buckets.iter().map(|bucket| standing(bucket.limit, bucket.rate_of_all(), bucket.rate()));
    let budgets = group.budgets.iter().map(|budget| {
        let (spent, cap) = budget.used(wall);
        let limit = budget.limit();
        let per_s = |count: f64| count / limit.window.as_secs_f64();
        let shown = standing(limit, per_s(f64::from(limit.count)), per_s(f64::from(cap)));
        Standing { spent: Some(spent), cap: Some(cap), ..shown }
    });
    buckets.chain(budgets).collect()
}

/// What differs between two configurations, as numbers: for the history.
pub(super) fn differences(old: &Config, new: &Config) -> Vec<(String, f64, f64)> {
    let mut found = Vec::new();
    let mut note = |name: String, from: f64, to: f64| found.push((name, from, to));
    note("concurrency".to_owned(), f64::from(old.concurrency), f64::from(new.concurrency));
    note("reserve".to_owned(), old.reserve, new.reserve);
    note("weight".to_owned(), f64::from(old.weight), f64::from(new.weight));
    let alike = |a: &Limit, b: &Limit| (a.unit, a.window) == (b.unit, b.window);
    for limit in &new.limits {
        let before = old.limits.iter().find(|old| alike(old, limit)).map_or(f64::INFINITY, |old| f64::from(old.count));
        note(limit.to_string(), before, f64::from(limit.count));
    }
    for gone in old.limits.iter().filter(|old| !new.limits.iter().any(|new| alike(old, new))) {
        note(format!("no {gone} any more"), f64::from(gone.count), f64::INFINITY);
    }
    if (&old.senders, &old.tenants) != (&new.senders, &new.tenants) {
        note("limits of senders or tenants".to_owned(), 0.0, 1.0);
    }
    if old.warm_up != new.warm_up {
        note("warm-up".to_owned(), 0.0, 1.0);
    }
    found
}
