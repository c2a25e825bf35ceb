//! May I send n to this provider now? One machine per provider: limits, concurrency, the vendor's weather, who waits.
//!
//! Why: a limit that every worker keeps for itself is kept by nobody. One task owns this machine; a shard asks for up
//! to 64 requests of one flow at a time, and gets one permit; what is not used of it is spent. A permit is all limits
//! or none; a refusal by one leaks nothing of another. Several instances share each limit by the homes they own. A
//! reply that says more than its own jobs' fate comes back here (`weather`): a named time stops, throttled replies
//! without one make slower (`pace`), failures block (`breaker`), and after a silence it starts slowly (`ramp`).
//! Must not know: jobs, vendors, tasks, channels.

mod ask;
pub mod breaker;
pub mod bucket;
pub mod budget;
pub mod carrier;
mod decide;
mod history;
pub mod limit;
pub mod pace;
mod purse;
pub mod ramp;
pub mod report;
mod scoped;
mod slots;
pub mod stops;
pub mod turns;
pub mod usage;
mod warming;
pub mod warmup;
mod weather;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::job::{Home, Lane, Wall};
pub use ask::{Answer, Ask, Flow, PERMIT_LIFE, Pass, REQUESTS_MAX, Say, SendPermit, Word};
use breaker::Breaker;
pub use breaker::State;
use budget::Write;
use carrier::Scope;
use history::History;
use limit::Limit;
use pace::Pace;
use ramp::Ramp;
use report::{Bound, By, Change};
pub use scoped::Scoped;
use scoped::{Group, Groups, Terms};
use slots::Slots;
use stops::SenderStops;
use turns::Turns;
use warming::WarmUp;
pub use weather::{STOP_PATIENCE, Stop};

/// One provider's limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Of the account: every one of them holds.
    pub limits: Vec<Limit>,
    /// Of its senders.
    pub senders: Scoped,
    /// Of its tenants.
    pub tenants: Scoped,
    /// Requests at the provider at the same time: at least 2 (one is always kept for transactional).
    pub concurrency: u32,
    /// Share of each limit and of the concurrency kept for transactional: 0 to 0.9.
    pub reserve: f64,
    /// How far apart a permit and its arrival at the vendor's door can be.
    pub jitter: Duration,
    /// When both lanes wait: how many permits transactional gets for each of marketing's.
    pub weight: u32,
    /// What a tenant's turn weighs against another's: 1 to 1,000, 1 where it is not said.
    pub tenant_weights: HashMap<Box<str>, u32>,
    /// How many messages a day a new account may send.
    pub warm_up: Option<warmup::Schedule>,
    /// Some route names another provider after it: who cannot go is told so instead of waiting.
    pub elsewhere: bool,
}

/// One provider's gate.
#[derive(Debug)]
pub struct Gate {
    config: Config,
    name: Box<str>,
    /// P.
    homes: Home,
    writer: u64,
    owned: Vec<(Home, u32)>,
    account: Group,
    senders: Groups,
    tenants: Groups,
    warm_up: Option<WarmUp>,
    slots: Slots,
    /// Messages accepted by the provider whose outcome is not durable yet.
    unrecorded: u32,
    waiting: [Turns; 2],
    /// Permits given to transactional while marketing waited, since marketing's last turn.
    ahead: u32,
    stopped_until: Option<Instant>,
    /// Since when it is stopped without a break.
    stopped_since: Option<Instant>,
    sender_stops: SenderStops,
    pace: Pace,
    ramp: Ramp,
    breaker: Breaker,
    /// Stops that other instances have not been told.
    orders: Vec<Stop>,
    origin: Instant,
    /// Of the last write-ahead.
    tag: u64,
    /// What is given back of homes that went: to be written with the next turn.
    last_writes: Vec<Write>,
    history: History,
}

impl Gate {
    /// The gate of a provider that `homes` homes share, none of which is owned yet. `writer`: told apart from every
    /// other owner's, then and now.
    #[must_use]
    pub fn new(config: &Config, name: &str, homes: Home, writer: u64, now: Instant) -> Self {
        let homes = homes.max(1);
        let terms = terms(config, name, homes, writer);
        let groups = |limits: &Scoped, scope: for<'n> fn(&'n str) -> Scope<'n>| {
            Groups::new(limits, Duration::ZERO, |name, limits| scoped(config, terms, limits, scope(name)))
        };
        Self {
            account: Group::new(&config.limits, Scope::Provider, config.account_carrier(name, homes), terms),
            senders: groups(&config.senders, |name| Scope::Sender(name)),
            tenants: groups(&config.tenants, |name| Scope::Tenant(name)),
            warm_up: config.warm_up.clone().map(|schedule| WarmUp::new(schedule, terms)),
            slots: Slots::new(config.concurrency, config.reserve),
            unrecorded: 0,
            waiting: Default::default(),
            ahead: 0,
            stopped_until: None,
            stopped_since: None,
            sender_stops: SenderStops::default(),
            pace: Pace::new(now),
            ramp: Ramp::default(),
            breaker: Breaker::new(now),
            orders: Vec::new(),
            origin: now,
            tag: 0,
            last_writes: Vec::new(),
            history: History::default(),
            config: config.clone(),
            name: name.into(),
            homes,
            writer,
            owned: Vec::new(),
        }
    }

    fn since_origin(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.origin)
    }

    /// These homes, in these ownership periods, are owned from now on: every share follows.
    pub fn homes(&mut self, owned: &[(Home, u32)], now: Instant, wall: Wall) {
        let before = self.share();
        self.owned = owned.to_vec();
        let at = self.since_origin(now);
        self.account.hold(owned, self.homes, at);
        self.senders.hold(owned, self.homes, at);
        self.tenants.hold(owned, self.homes, at);
        let (mut tag, mut writes) = (self.tag, std::mem::take(&mut self.last_writes));
        for budget in self.budgets() {
            budget.homes(owned, &mut tag, &mut writes);
        }
        (self.tag, self.last_writes) = (tag, writes);
        let (held, parts) = self.parts();
        self.slots.hold(held, parts);
        let why = format!("{} of {} homes", owned.len(), self.homes);
        self.history.note(Change::new(wall, By::Share, before, self.share(), why));
    }

    /// Parts of the account held, of how many.
    fn parts(&self) -> (u32, u32) {
        match self.account.carrier {
            Some(carrier) => (u32::from(self.owned.iter().any(|(home, _)| *home == carrier)), 1),
            None => (u32::try_from(self.owned.len()).unwrap_or(u32::MAX), u32::from(self.homes)),
        }
    }

    /// The part of the account's limits that is this instance's: 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let (held, parts) = self.parts();
        f64::from(held) / f64::from(parts)
    }

    /// A home is being opened; this is what its earlier owners have spent. To be told before the home is owned.
    pub fn opened(&mut self, home: Home, epoch: u32, records: &[(Vec<u8>, Vec<u8>)], wall: Wall) {
        for budget in self.budgets() {
            budget.opened(home, epoch, records, wall);
        }
    }

    fn budgets(&mut self) -> impl Iterator<Item = &mut budget::Budget> {
        let warm_up = self.warm_up.as_mut().map(|warm_up| &mut warm_up.budget);
        let scoped = self.senders.budgets().chain(self.tenants.budgets());
        self.account.budgets.iter_mut().chain(scoped).chain(warm_up)
    }

    /// What was to be written ahead under this tag is durable.
    pub fn written(&mut self, tag: u64) {
        for budget in self.budgets() {
            budget.written(tag);
        }
        for lane in &mut self.waiting {
            lane.unpark_all();
        }
    }

    /// Other limits from now on. What goes on under the same unit and window keeps what it has.
    pub fn reload(&mut self, config: &Config, now: Instant, wall: Wall) {
        // A limit that went and comes back must not write over its own record.
        self.writer = self.writer.wrapping_add(1);
        let mut fresh = Self::new(config, &self.name, self.homes, self.writer, now);
        let (at, terms) = (self.since_origin(now), terms(config, &self.name, self.homes, self.writer));
        for (name, from, to) in report::differences(&self.config, config) {
            self.history.note(Change::new(wall, By::Limit, from, to, format!("reload: {name}")));
        }
        self.account.change(fresh.account, terms, at);
        self.senders.change(fresh.senders, terms, at);
        self.tenants.change(fresh.tenants, terms, at);
        self.slots.change(config.concurrency, config.reserve);
        match (&mut self.warm_up, fresh.warm_up.take()) {
            (Some(old), Some(new)) => old.schedule = new.schedule,
            (old, new) => *old = new,
        }
        self.config = config.clone();
        let owned = std::mem::take(&mut self.owned);
        self.homes(&owned, now, wall);
        self.scale(now);
    }

    /// Takes an ask into the queue; `turn` answers it.
    pub fn ask(&mut self, ask: Ask, now: Instant) {
        self.waiting[ask.lane.index()].push((now, ask));
    }

    /// So many messages were accepted by the provider, and their outcome is not durable yet. A crash would send them
    /// again; when they are as many as may be at the provider, nothing goes until there are fewer.
    pub fn unrecorded(&mut self, messages: u32) {
        self.unrecorded = messages;
    }

    /// Nothing goes before `until`. A later time extends a stop, an earlier one never shortens it.
    pub fn stop_until(&mut self, until: Instant) {
        self.stopped_until = Some(self.stopped_until.map_or(until, |stop| stop.max(until)));
    }

    /// The end of the present stop, if one is in force.
    #[must_use]
    pub fn stopped(&self, now: Instant) -> Option<Instant> {
        self.stopped_until.filter(|until| *until > now)
    }

    /// The account's short limits and the rates that can be used of them here in the long run, in units per second.
    pub fn rates(&self) -> impl Iterator<Item = (Limit, f64)> {
        self.account.buckets.iter().map(|bucket| (bucket.limit, bucket.rate()))
    }

    /// What has changed since the last call: to be logged and counted.
    pub fn changes(&mut self) -> Vec<Change> {
        self.history.take_new()
    }

    /// How long somebody has been kept waiting since the last call, by what kept them.
    pub fn kept(&mut self) -> Vec<(By, Duration)> {
        self.history.take_kept()
    }

    /// Answers every ask that can be answered now. Returns when to look again, if only time can help. What must be
    /// durable before more of a budget is spent is added to `writes`.
    pub fn turn(
        &mut self,
        now: Instant,
        wall: Wall,
        answers: &mut Vec<Answer>,
        writes: &mut Vec<Write>,
    ) -> Option<Instant> {
        if let Some(warm_up) = &mut self.warm_up
            && let Some(change) = warm_up.follow(wall)
        {
            self.history.note(change);
        }
        self.follow(now, wall);
        for lane in &mut self.waiting {
            lane.unpark(now);
        }
        writes.append(&mut self.last_writes);
        let mut bound = None;
        let wake = match self.held(now) {
            Some((by, until, true)) => {
                for lane in Lane::ALL {
                    self.send_away(lane, until, by, now, answers);
                }
                None
            }
            Some((by, until, false)) => {
                bound = self.waiting.iter().any(|lane| !lane.is_empty()).then_some(Bound::of(by));
                bound.is_some().then_some(until)
            }
            None => self.answer_all(now, wall, answers, writes, &mut bound),
        };
        self.history.bound(bound, now);
        let parked = self.waiting.iter().filter_map(Turns::next).min();
        let step = bound.and_then(|_| self.next_step(now));
        wake.into_iter().chain(parked).chain(step).min()
    }
}

fn terms<'a>(config: &Config, provider: &'a str, homes: Home, writer: u64) -> Terms<'a> {
    Terms { provider, homes, reserve: config.reserve, jitter: config.jitter, writer }
}

fn scoped(config: &Config, terms: Terms<'_>, limits: &[Limit], scope: Scope<'_>) -> Group {
    Group::new(limits, scope, config.scope_carrier(terms.provider, scope, terms.homes), terms)
}
