//! A shard: the jobs of a part of all keys, from their arrival to their outcome, in one task.
//!
//! Why: a job's state has one owner; nothing of it is shared, so nothing of it is locked. It reads the clock
//! once per turn, and hands over outcomes, receipts and asks once per turn.
//! Must not know: how homes are owned, how limits are kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::local::LocalHistogram;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use slab::Slab;
use tokio::sync::mpsc;

use super::attempt::Flight;
use super::defer::{Crowd, OrderKey};
use super::gatekeeper::ToGate;
use super::line::Line;
use super::{Desk, Now, Reputation, Rules};
use crate::gate::report::By;
use crate::gate::{Ask, Flow, Pass, REQUESTS_MAX, SendPermit};
use crate::job::receipt::{Abandoned, Why};
use crate::job::source::Layout;
use crate::job::{Home, Job, Lane, Malformed, Wall, field};
use crate::lane::Waiting;
use crate::lane::aside::Aside;
use crate::lane::inbox::ToShard;
use crate::lane::order::Order;
use crate::ledger::ownership::Ownership;
use crate::observe::{Clock, Metrics};
use crate::outcome::Outcome;
use crate::provider::Reply;
use crate::provider::wire::WireError;
use crate::recipient::Recipients;
use crate::route::ProviderId;
use crate::settle::{Settlement, Settler, Subject};

/// What comes back to a shard.
#[derive(Debug)]
pub(super) enum Event {
    /// Leave to send.
    Granted {
        /// By whom.
        provider: ProviderId,
        /// To whose jobs.
        flow: Arc<Flow>,
        /// How much.
        permit: SendPermit,
    },
    /// No leave: it takes nothing.
    Elsewhere {
        /// Who.
        provider: ProviderId,
        /// In which lane.
        lane: Lane,
        /// Who asked.
        flow: Arc<Flow>,
        /// Until then.
        until: Instant,
        /// Why.
        by: By,
    },
    /// A request has ended.
    Landed {
        /// Which.
        flight: usize,
        /// How.
        result: Result<Reply, WireError>,
    },
}

/// What a shard works with.
pub(super) struct Context {
    pub(super) id: usize,
    pub(super) desks: Arc<[Desk]>,
    pub(super) rules: Arc<Rules>,
    pub(super) layout: Layout,
    pub(super) homes: Home,
    pub(super) ownership: Arc<Ownership>,
    pub(super) recipients: Arc<Recipients>,
    pub(super) reputation: Reputation,
    pub(super) settler: Settler,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) replies: mpsc::Sender<Event>,
}

/// Stopped recipients remembered at most; beyond that the oldest stops are forgotten with the next sweep.
const STOPPED_RECIPIENTS: usize = 10_000;
/// How long a shard asks for nothing after it has found that it may not send.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How often depths and ages are shown anew, and stops that are over forgotten.
const SHOW: Duration = Duration::from_millis(500);

/// So many that are through are handed over at once, though the turn is not at its end.
const SETTLE_AT: usize = 500;

pub(super) struct Shard {
    pub(super) ctx: Context,
    pub(super) lines: Vec<Line>,
    pub(super) waiting: Waiting<(Option<ProviderId>, Job)>,
    pub(super) flights: Slab<Flight>,
    pub(super) stopped_recipients: HashMap<(ProviderId, String), Instant>,
    /// The lease has run out, or suppressions are not known: no asks before this.
    pub(super) hold_until: Option<Instant>,
    pub(super) order: Order<OrderKey, Job>,
    /// Jobs whose ordering key is theirs now.
    pub(super) ready: VecDeque<Job>,
    pub(super) aside: Aside,
    pub(super) crowd: Crowd,
    /// Jobs that came in this turn, by partition and provider; those of one partition come one after another.
    pub(super) came: Vec<((Home, u16), ProviderId, u32)>,
    /// Jobs that left for good in this turn, by provider.
    pub(super) through: Vec<u32>,
    pub(super) returned: Vec<Abandoned>,
    /// Shown once a turn.
    pub(super) accept_latency: [LocalHistogram; 2],
    pub(super) done: Vec<Settlement>,
    to_gates: VecDeque<(ProviderId, ToGate)>,
    rng: SmallRng,
    shown: Option<Instant>,
}

impl Shard {
    pub(super) fn new(ctx: Context, seed: u64) -> Self {
        let (m, now) = (&ctx.metrics, ctx.clock.mono());
        let line = |desk: &Desk| Line::new(&desk.provider, &ctx.rules.budget, ctx.id, m, now);
        Self {
            lines: ctx.desks.iter().map(line).collect(),
            waiting: Waiting::default(),
            flights: Slab::new(),
            stopped_recipients: HashMap::new(),
            hold_until: None,
            order: Order::default(),
            ready: VecDeque::new(),
            aside: Aside::new(ctx.desks.len()),
            crowd: Crowd::default(),
            came: Vec::new(),
            through: vec![0; ctx.desks.len()],
            returned: Vec::new(),
            accept_latency: Lane::ALL.map(|lane| m.accept_latency.with_label_values(&[lane.as_str()]).local()),
            done: Vec::new(),
            to_gates: VecDeque::new(),
            rng: SmallRng::seed_from_u64(seed),
            shown: None,
            ctx,
        }
    }

    /// Runs until the inbox is closed and nothing is out.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<ToShard>, mut events: mpsc::Receiver<Event>) {
        let (mut heard, mut came) = (Vec::new(), Vec::new());
        let mut open = true;
        while open || !self.flights.is_empty() {
            let wake = self.wake();
            tokio::select! {
                n = inbox.recv_many(&mut came, 16), if open => open = n > 0,
                _ = events.recv_many(&mut heard, 1024) => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            let now = Now { mono: self.ctx.clock.mono(), wall: self.ctx.clock.wall() };
            for event in heard.drain(..) {
                match event {
                    Event::Granted { provider, flow, permit } => self.redeem(provider, &flow, &permit, now),
                    Event::Elsewhere { provider, lane, flow, until, by } => {
                        self.detour(provider, lane, &flow, (until, by), now);
                    }
                    Event::Landed { flight, result } => self.landed(flight, &result, now),
                }
                // Written down while it is at hand: in a turn of many large batches the first would be cold at its end.
                if self.done.len() >= SETTLE_AT {
                    self.ctx.settler.settle(self.done.drain(..));
                }
            }
            for message in came.drain(..) {
                match message {
                    ToShard::Jobs(jobs) => jobs.into_iter().for_each(|job| self.arrive(job, now)),
                    ToShard::Turned(records) => records.into_iter().for_each(|record| self.turn_away(record, now)),
                    ToShard::Crowded { home, source } => self.crowded(home, source, now),
                    ToShard::Purge { home, epoch, why } => self.purge(home, epoch, why, now),
                }
            }
            while let Some((provider, job)) = self.waiting.pop_due(now.mono) {
                match provider {
                    Some(provider) => self.rejoin(provider, job, now),
                    None => self.enter(job, now),
                }
            }
            self.tell_aside(now);
            self.heed_reputation(now);
            self.make_way(now);
            while let Some(job) = self.ready.pop_front() {
                self.enter(job, now);
            }
            self.ask(now);
            self.show(now);
            self.hand_over().await;
        }
        self.give_up_all();
        self.hand_over().await;
    }

    fn wake(&self) -> Instant {
        let show = self.ctx.clock.mono() + SHOW;
        let now = self.ctx.clock.mono();
        let lines = self.lines.iter().flat_map(|line| [line.next_retry(now), line.gathered_at(now)]);
        [self.waiting.next_due(), self.hold_until].into_iter().chain(lines).flatten().fold(show, Instant::min)
    }

    /// Asks the gates for every flow of which somebody waits and no ask is out.
    fn ask(&mut self, now: Now) {
        if !self.ctx.recipients.open(now.mono) {
            self.hold_until = Some(now.mono + PAUSE);
        }
        if self.hold_until.is_some_and(|until| until > now.mono) {
            return;
        }
        self.hold_until = None;
        self.make_detours(now);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        for (provider, line) in self.lines.iter_mut().enumerate() {
            let desk = &self.ctx.desks[provider];
            let per_request = count(line.per_request);
            for lane in Lane::ALL {
                if desk.detours[lane.index()].at(now.mono).is_some() {
                    continue;
                }
                for (flow, next) in line.asks(lane, REQUESTS_MAX as usize, now.mono) {
                    let (requests, messages) = (count(next.requests), count(next.jobs));
                    let ask = Ask { shard: self.ctx.id, lane, flow, requests, messages, per_request };
                    self.to_gates.push_back((provider, ToGate::Ask(ask)));
                }
            }
        }
    }

    /// A record that is no job becomes a dead letter.
    pub(super) fn bury(&mut self, malformed: Box<Malformed>, now: Now) {
        let late = !self.ctx.ownership.is_held(&malformed.incoming.receipt);
        let outcome = Outcome::invalid(&malformed.invalid);
        let subject = Subject::Malformed(malformed);
        let (at, decided) = (now.wall, now.mono);
        self.done.push(Settlement {
            subject,
            outcome,
            deferral: None,
            late,
            provider: None,
            at,
            decided,
            unrecorded: None,
            suppression: None,
            told_under: None,
        });
    }

    /// A job is through.
    pub(super) fn settle(&mut self, job: Job, outcome: Outcome, provider: Option<ProviderId>, now: Now) {
        if let Some(provider) = provider {
            self.through[provider] += 1;
        }
        self.left(&job);
        self.put(job, outcome, None, provider, now);
    }

    pub(super) fn release(&mut self, provider: ProviderId, lane: Lane, requests: u32, pass: Pass) {
        if requests > 0 {
            self.tell_gate(provider, ToGate::Release(lane, requests, pass));
        }
    }

    pub(super) fn tell_gate(&mut self, provider: ProviderId, message: ToGate) {
        self.to_gates.push_back((provider, message));
    }

    pub(super) fn chance(&mut self) -> f64 {
        self.rng.random()
    }

    /// Until when this job's recipient must not be written to by this provider.
    pub(super) fn stopped_recipient(&self, provider: ProviderId, job: &Job, now: Now) -> Option<Instant> {
        if self.stopped_recipients.is_empty() {
            return None;
        }
        let key = (provider, field::address(&job.spec().to).to_owned());
        self.stopped_recipients.get(&key).copied().filter(|until| *until > now.mono)
    }

    /// Gives back every job of a home that is not at a provider.
    fn purge(&mut self, home: Home, epoch: u32, why: Why, now: Now) {
        let of_home = |job: &Job| job.receipt.source().home == home && job.receipt.epoch() <= epoch;
        let mut gone: Vec<Job> =
            self.waiting.remove_if(|(_, job)| of_home(job)).into_iter().map(|(_, job)| job).collect();
        for line in &mut self.lines {
            gone.extend(line.remove_if(of_home));
            gone.extend(line.splits.remove_if(of_home));
        }
        let (out, stay) = std::mem::take(&mut self.ready).into_iter().partition(of_home);
        self.ready = stay;
        gone.extend::<VecDeque<Job>>(out);
        // Whoever of it is at a provider gives up a key that nobody holds any more, which means nothing.
        gone.extend(self.order.forget(|(of, as_of, ..)| *of == home && *as_of <= epoch));
        self.aside.forget(home);
        self.returned.extend(gone.into_iter().map(|job| job.into_receipt().abandon(why)));
        for provider in 0..self.lines.len() {
            for key in self.vanished_halves(provider) {
                self.half_ended(provider, key, now);
            }
        }
    }

    /// Halves of searched batches of which nobody is left: their siblings must not wait for them.
    pub(super) fn vanished_halves(&self, provider: ProviderId) -> Vec<u64> {
        let line = &self.lines[provider];
        let queued = |key: u64| line.has_group(key);
        let out = |key: u64| self.flights.iter().any(|(_, flight)| flight.provider == provider && flight.key == key);
        line.splits.halves().filter(|key| !queued(*key) && !out(*key)).collect()
    }

    /// The daemon ends: whatever still waits goes back by name.
    fn give_up_all(&mut self) {
        let mut gone: Vec<Job> = self.waiting.remove_if(|_| true).into_iter().map(|(_, job)| job).collect();
        for line in &mut self.lines {
            gone.extend(line.remove_if(|_| true));
            gone.extend(line.splits.remove_if(|_| true));
        }
        gone.extend(self.ready.drain(..));
        gone.extend(self.order.forget(|_| true));
        self.returned.extend(gone.into_iter().map(|job| job.into_receipt().abandon(Why::Shutdown)));
    }

    /// Hands over what this turn brought about: outcomes, receipts, words to the gates.
    async fn hand_over(&mut self) {
        self.accept_latency.iter().for_each(LocalHistogram::flush);
        self.ctx.settler.settle(self.done.drain(..));
        self.ctx.settler.give_back(std::mem::take(&mut self.returned));
        while let Some((provider, message)) = self.to_gates.pop_front() {
            if self.ctx.desks[provider].gate.send(message).await.is_err() {
                tracing::debug!(target: "peakpost::dispatch", "a gate has ended");
            }
        }
    }

    fn show(&mut self, now: Now) {
        if self.shown.is_some_and(|shown| now.mono < shown + SHOW) {
            return;
        }
        self.shown = Some(now.mono);
        for line in &mut self.lines {
            line.show(now.mono);
        }
        self.stopped_recipients.retain(|_, until| *until > now.mono);
        if self.stopped_recipients.len() > STOPPED_RECIPIENTS {
            self.stopped_recipients.clear();
        }
    }
}

/// Since when a job waits, on the monotonic clock: its Kafka timestamp, so that a retry does not make it young.
pub(super) fn waiting_since(job: &Job, now: Now) -> Instant {
    now.mono.checked_sub(until(now.wall, job.enqueued)).unwrap_or(now.mono)
}

/// How long until `at`; nothing if it has passed.
pub(super) fn until(at: Wall, now: Wall) -> Duration {
    Duration::from_millis(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0))
}
