//! The task that owns one provider's gate, and what others may ask of it.
//!
//! Why: what all shards share has one owner; there is nothing to lock and no order of locks to get wrong.
//! Must not know: jobs, vendors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot};

use super::shard::Event;
use super::{Provider, carrier};
use crate::control::Order;
use crate::gate::budget::Write;
use crate::gate::limit::{Limit, Unit};
use crate::gate::report::{By, Change, Report};
use crate::gate::{self, Answer, Ask, Gate, Pass, Say, SendPermit, State, Stop, Word};
use crate::job::{Home, Lane, Wall};
use crate::ledger::ownership::Ownership;
use crate::ledger::usage::Opened;
use crate::observe::{Clock, Metrics};
use crate::route::ProviderId;
use crate::settle::{Settler, Telling, WriteAhead};

/// What is said to a gate.
#[derive(Debug)]
pub(super) enum ToGate {
    /// A shard wants to send.
    Ask(Ask),
    /// So many requests of a lane's permits were never made.
    Release(Lane, u32, Pass),
    /// A request has ended.
    Landed {
        /// In which lane.
        lane: Lane,
        /// When it was sent …
        sent: Instant,
        /// … and by which permit.
        pass: Pass,
        /// What its reply means for everyone.
        word: Word,
    },
    /// Another instance has heard this.
    Order(Order),
    /// What `usage` says of a home that is being opened.
    Opened(Arc<Opened>),
    /// Other limits hold from now on.
    Reload(Box<gate::Config>),
    /// Somebody wants to know what binds.
    Report(oneshot::Sender<Report>),
}

/// One permit, as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// By which provider's gate.
    pub provider: Arc<str>,
    /// When.
    pub at: Instant,
    /// For so many requests …
    pub requests: u32,
    /// … and messages.
    pub messages: u32,
}

/// A list of permits that outlives the daemon: demos and tests hold it against the arrivals.
pub type PermitLog = Arc<Mutex<Vec<Granted>>>;

/// A gate as seen from outside the line. It does not keep the gate from ending.
#[derive(Clone, Debug)]
pub struct GateHandle {
    provider: Arc<str>,
    gate: mpsc::WeakSender<ToGate>,
    at_start: gate::Config,
    homes: Home,
    /// Whether `usage` is read when a home is opened.
    reads_usage: bool,
}

impl GateHandle {
    pub(super) fn new(provider: &Provider, gate: &mpsc::Sender<ToGate>, homes: Home, reads_usage: bool) -> Self {
        let (at_start, name) = (provider.gate.clone(), Arc::clone(&provider.name));
        Self { provider: name, gate: gate.downgrade(), at_start, homes, reads_usage }
    }

    /// Whose gate it is.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// What binds now. `None`: the gate has ended.
    pub async fn report(&self) -> Option<Report> {
        let (tell, told) = oneshot::channel();
        self.gate.upgrade()?.send(ToGate::Report(tell)).await.ok()?;
        told.await.ok()
    }

    /// Lets other limits hold from now on.
    ///
    /// # Errors
    /// What stands against it, with a hint. The limits are as before.
    pub async fn reload(&self, config: gate::Config) -> Result<(), String> {
        if !carrier::same(&self.at_start, &config, &self.provider, self.homes) {
            return Err("limits too small to be split over the homes came or went, and shards hand over jobs by those of the start; hint: restart".to_owned());
        }
        if self.at_start.limits_senders() != config.limits_senders() {
            return Err(
                "shards tell senders apart only where senders had limits at the start; hint: restart".to_owned()
            );
        }
        if keeps_budgets(&config) && !self.reads_usage {
            return Err("no budget was kept at the start, so nobody has read what was spent; hint: restart".to_owned());
        }
        // Routes are those of the start, and so is who takes over.
        let config = gate::Config { elsewhere: self.at_start.elsewhere, ..config };
        let gate = self.gate.upgrade().ok_or_else(|| "the daemon is stopping".to_owned())?;
        gate.send(ToGate::Reload(Box::new(config))).await.map_err(|_| "the gate has ended".to_owned())
    }
}

/// Whether some of these limits are budgets.
pub(super) fn keeps_budgets(config: &gate::Config) -> bool {
    let named = config.senders.named.values().chain(config.tenants.named.values()).flatten();
    config.warm_up.is_some() || config.limits.iter().chain(named).any(Limit::is_budget)
}

pub(super) struct Gatekeeper {
    id: ProviderId,
    name: Arc<str>,
    gate: Gate,
    /// Jobs accepted whose outcome is not durable yet.
    unrecorded: Arc<AtomicU32>,
    shards: Vec<mpsc::Sender<Event>>,
    ownership: Arc<Ownership>,
    /// The ownership that the gate knows of.
    seen: Option<u64>,
    /// Homes of which `usage` has been heard, and as what they are opened; `None`: it is not read.
    opened: Option<HashMap<Home, u32>>,
    settler: Settler,
    /// What others know this instance by.
    instance: Arc<str>,
    permit_log: Option<PermitLog>,
    rng: SmallRng,
    shown: Shown,
}

/// What is shown of a gate.
struct Shown {
    metrics: Metrics,
    granted: [IntCounter; 2],
    wait: [Histogram; 2],
    stopped: Gauge,
    told: IntCounter,
    share: Gauge,
    factor: Gauge,
    /// In the order of `State::ALL`.
    breaker: [IntGauge; State::ALL.len()],
    /// In the order of `By::ALL`, which is that of its numbers.
    bound: [Counter; By::ALL.len()],
    limits: Vec<Limit>,
}

/// The gate looks at least so often: for homes that came or went while nobody asked.
const LOOK: Duration = Duration::from_millis(250);
/// Blocks of budgets that can be on their way to `usage`: far more than a gate has purses.
const WRITES_MAX: usize = 1 << 16;

/// What gates share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) shards: Vec<mpsc::Sender<Event>>,
    pub(super) ownership: Arc<Ownership>,
    pub(super) settler: Settler,
    pub(super) instance: Arc<str>,
    pub(super) metrics: Metrics,
    pub(super) permit_log: Option<PermitLog>,
    pub(super) homes: Home,
    /// Whether `usage` is read when a home is opened.
    pub(super) reads_usage: bool,
    pub(super) seed: u64,
}

impl Gatekeeper {
    pub(super) fn new(
        id: ProviderId,
        provider: &Provider,
        unrecorded: &Arc<AtomicU32>,
        common: Common,
        now: Instant,
    ) -> Self {
        let Common { shards, ownership, settler, instance, metrics, permit_log, homes, reads_usage, seed } = common;
        let name = Arc::clone(&provider.name);
        let counter = |unit: Unit| metrics.gate_granted.with_label_values(&[&*name, unit.as_str()]);
        let shown = Shown {
            granted: [counter(Unit::Requests), counter(Unit::Messages)],
            wait: Lane::ALL.map(|lane| metrics.gate_wait.with_label_values(&[&*name, lane.as_str()])),
            stopped: metrics.gate_stopped.with_label_values(&[&*name]),
            told: metrics.control_orders.with_label_values(&["told"]),
            share: metrics.gate_share.with_label_values(&[&*name]),
            factor: metrics.gate_factor.with_label_values(&[&*name]),
            breaker: State::ALL.map(|state| metrics.breaker_state.with_label_values(&[&*name, state.as_str()])),
            bound: By::ALL.map(|by| metrics.gate_bound.with_label_values(&[&*name, by.as_str()])),
            limits: Vec::new(),
            metrics,
        };
        let gate = Gate::new(&provider.gate, &name, homes, seed, now);
        let opened = reads_usage.then(HashMap::new);
        let unrecorded = Arc::clone(unrecorded);
        let rng = SmallRng::seed_from_u64(seed.wrapping_add(id as u64));
        let mut keeper = Self {
            id,
            name,
            gate,
            unrecorded,
            shards,
            ownership,
            seen: None,
            opened,
            settler,
            instance,
            permit_log,
            rng,
            shown,
        };
        keeper.show_rates();
        keeper
    }

    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<ToGate>, clock: Clock) {
        let (done, mut written) = mpsc::channel(WRITES_MAX);
        let (mut heard, mut tags) = (Vec::new(), Vec::new());
        let (mut answers, mut writes) = (Vec::new(), Vec::new());
        let mut wake: Option<Instant> = None;
        loop {
            let look = clock.mono() + LOOK;
            let sleep = wake.map_or(look, |wake| wake.min(look));
            tokio::select! {
                n = asks.recv_many(&mut heard, 256) => if n == 0 { return },
                _ = written.recv_many(&mut tags, 256) => {}
                () = tokio::time::sleep_until(sleep.into()) => {}
            }
            let (now, wall) = (clock.mono(), clock.wall());
            heard.drain(..).for_each(|message| self.hear(message, now, wall));
            tags.drain(..).for_each(|tag| self.gate.written(tag));
            // Right before permits are made, so that none is made for a home that has gone.
            self.look_at_homes(now, wall);
            self.gate.unrecorded(self.unrecorded.load(Ordering::Relaxed));
            wake = self.gate.turn(now, wall, &mut answers, &mut writes);
            self.shown.stopped.set(self.gate.stopped(now).map_or(0.0, |until| (until - now).as_secs_f64()));
            answers.drain(..).for_each(|answer| self.hand_out(answer, now));
            for Write { home, key, value, tag } in writes.drain(..) {
                self.settler.write_ahead(WriteAhead { home, key, value, tag, done: done.clone() });
            }
            self.tell_stops();
            self.tell_changes();
        }
    }

    fn hear(&mut self, message: ToGate, now: Instant, wall: Wall) {
        match message {
            ToGate::Ask(ask) => self.gate.ask(ask, now),
            ToGate::Release(lane, requests, pass) => self.gate.release(lane, requests, pass),
            ToGate::Landed { lane, sent, pass, word } => {
                let chance = self.rng.random();
                self.gate.landed(lane, sent, pass, word, now, wall, chance);
            }
            ToGate::Order(order) => {
                if let Some(left) = order.left(wall) {
                    self.gate.order(order.sender.as_deref(), now + left, now);
                }
            }
            ToGate::Opened(opened) => {
                self.gate.opened(opened.home, opened.epoch, &opened.records, wall);
                if let Some(heard) = &mut self.opened {
                    heard.insert(opened.home, opened.epoch);
                }
            }
            ToGate::Reload(config) => self.gate.reload(&config, now, wall),
            ToGate::Report(tell) => {
                // Who no longer waits for it does not miss it.
                let _gone = tell.send(self.gate.report(now, wall));
            }
        }
    }

    fn look_at_homes(&mut self, now: Instant, wall: Wall) {
        let version = self.ownership.version();
        if self.seen == Some(version) {
            return;
        }
        let mut owned = self.ownership.owned();
        let open = owned.len();
        if let Some(heard) = &self.opened {
            // What is spent of a home is heard before it is opened, but on another way: it may come a moment later.
            owned.retain(|(home, epoch)| heard.get(home) == Some(epoch));
        }
        self.gate.homes(&owned, now, wall);
        self.seen = (owned.len() == open).then_some(version);
    }

    fn hand_out(&mut self, answer: Answer, now: Instant) {
        let Answer { shard, waited, lane, flow, say } = answer;
        let (event, unused) = match say {
            Say::Go(permit) => {
                self.note(&permit, waited, now);
                let unused = Some((permit.requests(), permit.pass()));
                (Event::Granted { provider: self.id, flow, permit }, unused)
            }
            Say::Elsewhere { until, by } => (Event::Elsewhere { provider: self.id, lane, flow, until, by }, None),
        };
        if self.shards[shard].try_send(event).is_err()
            && let Some((requests, pass)) = unused
        {
            // The shard has ended: the daemon is stopping, and so will this task.
            self.gate.release(lane, requests, pass);
        }
    }

    fn note(&self, permit: &SendPermit, waited: Duration, now: Instant) {
        let (requests, messages) = (permit.requests(), permit.messages());
        self.shown.granted[0].inc_by(u64::from(requests));
        self.shown.granted[1].inc_by(u64::from(messages));
        tracing::trace!(target: "peakpost::permit", provider = &*self.name, requests, messages, "granted");
        self.shown.wait[permit.lane().index()].observe(waited.as_secs_f64());
        if let Some(log) = &self.permit_log
            && let Ok(mut log) = log.lock()
        {
            log.push(Granted { provider: Arc::clone(&self.name), at: now, requests, messages });
        }
    }

    /// Tells the other instances of long stops that began here.
    fn tell_stops(&mut self) {
        for Stop { sender, until } in self.gate.orders() {
            let (provider, by, why) = ((*self.name).into(), (*self.instance).into(), "throttled".into());
            let order = Order { provider, sender, until, by, why };
            tracing::info!(
                target: "peakpost::control",
                provider = &*self.name, sender = order.sender.as_deref(), %until,
                "a stop that every instance is told of"
            );
            self.settler.tell(Telling { key: order.key(), value: order.value() });
            self.shown.told.inc();
        }
    }

    /// Tells who was kept waiting by what, and of every change of a rate or a share.
    fn tell_changes(&mut self) {
        for (by, time) in self.gate.kept() {
            self.shown.bound[by as usize].inc_by(time.as_secs_f64());
        }
        let changes = self.gate.changes();
        if changes.is_empty() {
            return;
        }
        for change in changes {
            let Change { by, from, to, why, .. } = &change;
            tracing::info!(target: "peakpost::rate", provider = &*self.name, %by, from, to, why, "changed");
            self.shown.metrics.gate_changes.with_label_values(&[&*self.name, by.as_str()]).inc();
        }
        self.show_rates();
    }

    fn show_rates(&mut self) {
        let rates: Vec<(Limit, f64)> = self.gate.rates().collect();
        let gauge = &self.shown.metrics.gate_rate;
        for limit in self.shown.limits.drain(..).filter(|old| rates.iter().all(|(limit, _)| limit != old)) {
            // One that is not there needs not go.
            let _gone = gauge.remove_label_values(&[&*self.name, limit.unit.as_str(), &limit.to_string()]);
        }
        for (limit, rate) in rates {
            gauge.with_label_values(&[&*self.name, limit.unit.as_str(), &limit.to_string()]).set(rate);
            self.shown.limits.push(limit);
        }
        self.shown.share.set(self.gate.share());
        self.shown.factor.set(self.gate.factor());
        for (gauge, state) in self.shown.breaker.iter().zip(State::ALL) {
            gauge.set(i64::from(state == self.gate.breaker_state()));
        }
    }
}
