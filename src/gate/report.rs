//! What a gate says of itself: what binds now, what each factor takes away, what has changed lately.
//!
//! Why: "why is it slow" is asked at 3 a.m.; the answer is in the operator's own units, and every change that could
//! be the reason is in a short history beside it.
//! Must not know: how limits are kept, who shows it.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize};

use super::Config;
use super::limit::Limit;
use crate::job::Wall;

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
    /// The failure breaker: it blocks, or waits for its probes.
    Breaker,
    /// The rate factor learned from throttled replies.
    Throttle,
    /// The way back to full speed after a silence.
    Ramp,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 13] = [
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
        Self::Breaker,
        Self::Throttle,
        Self::Ramp,
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
            Self::Breaker => "breaker",
            Self::Throttle => "throttle",
            Self::Ramp => "ramp",
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

/// One change of a rate or a share, or of the breaker's state (Allow 0, Block 1, Probe 2).
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

/// How the failure breaker stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerStanding {
    /// `allow`, `block` or `probe`.
    pub state: String,
    /// It blocks for so many seconds more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until_s: Option<f64>,
    /// Why it does not allow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
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
    /// The part of the account's rates that the vendor bears, as far as is known: 1 where nothing was learned.
    pub factor: f64,
    /// The part of that after a silence: 1 when the way back is over.
    pub ramp: f64,
    /// The failure breaker.
    pub breaker: BreakerStanding,
    /// Senders that the provider said to stop, and for how many seconds more: the longest first, not all if many.
    pub stopped_senders: Vec<(String, f64)>,
    /// Every limit.
    pub limits: Vec<Standing>,
    /// The latest changes, oldest first.
    pub history: Vec<Change>,
}

/// Most senders and tenants that a report names, and most stopped senders.
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
            slots: self.slots.most(),
            slots_of_all: self.config.concurrency,
            stopped_s: self.stopped(now).map(|until| (until - now).as_secs_f64()),
            factor: self.pace.factor(),
            ramp: self.ramp.value(),
            breaker: self.breaker_standing(now),
            stopped_senders: self.stopped_senders(now),
            limits,
            history: self.history.changes(),
        }
    }

    fn stopped_senders(&self, now: Instant) -> Vec<(String, f64)> {
        let seconds = |until: Instant| (until - now).as_secs_f64();
        let stops = self.sender_stops.all(now);
        let mut stops: Vec<(String, f64)> = stops.map(|(sender, until)| (sender.to_owned(), seconds(until))).collect();
        stops.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        stops.truncate(NAMED);
        stops
    }

    fn name_of(&self, bound: Bound) -> Option<String> {
        match bound.by {
            By::Limit | By::Throttle | By::Ramp => {
                self.account.buckets.get(bound.at).map(|bucket| bucket.limit.to_string())
            }
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
