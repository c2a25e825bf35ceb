//! Jobs that do not go now: what is near waits in memory, what is further off goes back to Kafka; and what is put
//! aside so that others are reached.
//!
//! Why: memory is for what goes within seconds. A job that waits longer, or that stands in the way of others, gets a
//! durable place, and its home can be committed past it.
//! Must not know: topics, how a deferral is made durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Now;
use super::shard::{Shard, until};
use crate::job::receipt::Why;
use crate::job::{Home, Job, Lane, Source, Wall};
use crate::lane::inbox::Turned;
use crate::ledger::ownership::Standing;
use crate::outcome::{Kind, Outcome, Reason};
use crate::route::ProviderId;
use crate::settle::{Deferral, Settlement, Subject, Unrecorded};

/// How often what stands in the way is looked through: a pass over every queue.
const LOOK: Duration = Duration::from_millis(200);
/// What intake said so long ago no longer holds.
const LATELY: Duration = Duration::from_millis(500);
/// Most jobs of one ordering key that wait here behind their first; more are deferred, and lose their place.
const OF_KEY_MAX: usize = 500;
/// The same in bytes, taking all for as large as the one that comes.
const OF_KEY_BYTES: usize = 256 * 1024;
/// A job that waits for the retry budget for longer than this is deferred, unless its provider stands still.
const BUDGET_WAIT: Duration = Duration::from_secs(10);

/// Whose turn it is among jobs that go one after another: within one ownership of one home, one lane.
pub(super) type OrderKey = (Home, u32, Lane, Box<str>);

/// Partitions that have used much of their room, as intake has said lately.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// And when it said so.
    partitions: BTreeMap<(Home, Source), Instant>,
    look_at: Option<Instant>,
}

impl Shard {
    /// A job arrives from its topic: behind those of its ordering key that came before, else at once.
    pub(super) fn arrive(&mut self, job: Job, now: Now) {
        let Some(key) = order_key(&job) else { return self.enter(job, now) };
        let behind = self.order.parked_behind(&key);
        if behind >= OF_KEY_MAX || behind * job.bytes().len() >= OF_KEY_BYTES {
            // It has not entered the order, so there is no turn that it could pass on. The oftener it came in vain, the
            // later it comes again.
            let wait = self.ctx.rules.tiers.horizon() * (1 << job.way.hop.min(10));
            return self.postpone(job, wait, Reason::KeyBusy, now);
        }
        if let Some(job) = self.order.enter(key, job) {
            self.enter(job, now);
        }
    }

    /// A job leaves this shard for good: the next of its key may go.
    pub(super) fn left(&mut self, job: &Job) {
        if let Some(key) = order_key(job) {
            self.ready.extend(self.order.leave(&key));
        }
    }

    /// A record from which nothing is sent now.
    pub(super) fn turn_away(&mut self, turned: Turned, now: Now) {
        let (job, outcome) = match turned {
            Turned::Malformed(malformed) => return self.bury(malformed, now),
            Turned::Repeat(job) => (job, Outcome::plain(Kind::Duplicate, Reason::Duplicate)),
            Turned::NotYet(job) => return self.postpone(job, self.ctx.rules.tiers.horizon(), Reason::InFlight, now),
        };
        self.put(job, outcome, None, None, now);
    }

    /// A job that has done nothing here comes back later, whatever its key.
    fn postpone(&mut self, job: Job, wait: Duration, reason: Reason, now: Now) {
        let deferral = self.tier(&job, wait, now);
        match self.ctx.ownership.standing(&job.receipt, now.mono) {
            Standing::Gone => self.returned.push(job.into_receipt().abandon(Why::Revoked)),
            _ => self.put(job, Outcome::plain(Kind::Deferred, reason), Some(deferral), None, now),
        }
    }

    /// Lets a job wait until a moment of wall time that must not be missed early: in memory, or in the tier whose
    /// end is the last before it.
    pub(super) fn wait_for(&mut self, job: Job, at: Wall, now: Now) {
        let wait = until(at, now.wall);
        match self.ctx.rules.tiers.within(wait) {
            None => self.waiting.push(now.mono + wait, (None, job)),
            Some(tier) => self.defer_for(job, self.ctx.rules.tiers.wait(tier), Reason::SendAt, None, now),
        }
    }

    /// Lets a job wait before it is tried again: in memory, or in the nearest tier.
    pub(super) fn wait_again(&mut self, job: Job, provider: ProviderId, wait: Duration, reason: Reason, now: Now) {
        // Retries without a budget must not fill the read-ahead of a provider that takes others. One that takes
        // nothing has nothing to read ahead for.
        let overdrawn = job.way.unsure
            && !self.aside.stands_still(provider, now.mono)
            && self.lines[provider].is_overdrawn(BUDGET_WAIT, now.mono);
        let tiers = &self.ctx.rules.tiers;
        match tiers.nearest(wait) {
            None if !overdrawn && !self.crowds(provider, &job, now) => {
                self.waiting.push(now.mono + wait, (Some(provider), job));
            }
            _ => {
                let wait = if overdrawn { wait.max(tiers.horizon() * (1 << job.way.hop.min(6))) } else { wait };
                self.defer_for(job, wait, reason, Some(provider), now);
            }
        }
    }

    /// Puts a job into the tier nearest to a wait, at least the first.
    pub(super) fn defer_for(
        &mut self,
        job: Job,
        wait: Duration,
        reason: Reason,
        provider: Option<ProviderId>,
        now: Now,
    ) {
        let deferral = self.tier(&job, wait, now);
        self.defer(job, deferral, reason, provider, now);
    }

    fn tier(&self, job: &Job, wait: Duration, now: Now) -> Deferral {
        let tiers = &self.ctx.rules.tiers;
        let tier = tiers.nearest(wait).unwrap_or(0);
        let ms = i64::try_from(tiers.wait(tier).as_millis()).unwrap_or(i64::MAX);
        let (to, home) = (Source::Delay(job.lane, tier), job.receipt.source().home);
        Deferral { to, home, due: Some(Wall(now.wall.0.saturating_add(ms))) }
    }

    /// Another home carries this job: it goes on there, in its provider's hold.
    pub(super) fn hand_to(&mut self, home: Home, provider: ProviderId, job: Job, now: Now) {
        let deferral = Deferral { to: hold(job.lane, provider), home, due: None };
        self.defer(job, deferral, Reason::Carried, Some(provider), now);
    }

    /// Puts a job back into Kafka, unless its home has gone: its next owner reads it again anyway.
    fn defer(&mut self, job: Job, deferral: Deferral, reason: Reason, provider: Option<ProviderId>, now: Now) {
        if self.ctx.ownership.standing(&job.receipt, now.mono) == Standing::Gone {
            return self.abandon(job, Why::Revoked);
        }
        self.left(&job);
        self.put(job, Outcome::plain(Kind::Deferred, reason), Some(deferral), provider, now);
    }

    /// Gives a job back unmet.
    pub(super) fn abandon(&mut self, job: Job, why: Why) {
        self.left(&job);
        self.returned.push(job.into_receipt().abandon(why));
    }

    /// Hands a job over to be settled.
    pub(super) fn put(
        &mut self,
        job: Job,
        outcome: Outcome,
        deferral: Option<Deferral>,
        provider: Option<ProviderId>,
        now: Now,
    ) {
        let late = !self.ctx.ownership.is_held(&job.receipt);
        let desk = provider.map(|id| &self.ctx.desks[id]);
        let unrecorded = desk.filter(|_| outcome.kind == Kind::Accepted).map(|desk| Unrecorded::new(&desk.unrecorded));
        let provider = desk.map(|desk| Arc::clone(&desk.provider.name));
        let suppression = provider.as_deref().and_then(|by| self.ctx.suppression_after(&job, &outcome, by, now));
        let suppression = suppression.map(Box::new);
        let told_under = (outcome.kind == Kind::Quarantined).then(|| self.ctx.told_under(&job));
        let (subject, at, decided) = (Subject::Job(job), now.wall, now.mono);
        self.done.push(Settlement {
            subject,
            outcome,
            deferral,
            late,
            provider,
            at,
            decided,
            unrecorded,
            suppression,
            told_under,
        });
    }

    /// Intake says that a partition has used much of its room.
    pub(super) fn crowded(&mut self, home: Home, source: Source, now: Now) {
        self.crowd.partitions.insert((home, source), now.mono);
    }

    /// Whether a job stands in the way of others: its partition is crowded, its provider takes nothing, another
    /// runs dry.
    fn crowds(&self, provider: ProviderId, job: &Job, now: Now) -> bool {
        let at = job.receipt.source();
        self.crowd.partitions.contains_key(&(at.home, at.from))
            && self.aside.may_move(self.partition(at.home, at.from), provider, &self.depths(), now.mono) > 0
    }

    fn partition(&self, home: Home, source: Source) -> (Home, u16) {
        (home, u16::try_from(self.ctx.layout.index(source)).unwrap_or(u16::MAX))
    }

    fn depths(&self) -> Vec<usize> {
        self.lines.iter().map(super::line::Line::len).collect()
    }

    pub(super) fn note_came(&mut self, home: Home, source: Source, provider: ProviderId) {
        let from = self.partition(home, source);
        match self.came.last_mut() {
            Some((last, of, n)) if (*last, *of) == (from, provider) => *n += 1,
            _ => self.came.push((from, provider, 1)),
        }
    }

    /// Tells the head-of-line rules what this turn brought and took, once for all its jobs.
    pub(super) fn tell_aside(&mut self, now: Now) {
        for (from, provider, n) in self.came.drain(..) {
            self.aside.came(from, provider, n, now.mono);
        }
        for (provider, n) in self.through.iter_mut().enumerate() {
            self.aside.through(provider, std::mem::take(n), now.mono);
        }
    }

    /// Puts aside what stands in the way in crowded partitions.
    pub(super) fn make_way(&mut self, now: Now) {
        if self.crowd.partitions.is_empty() || self.crowd.look_at.is_some_and(|at| at > now.mono) {
            return;
        }
        self.crowd.look_at = Some(now.mono + LOOK);
        // Who has not been named again has room again.
        self.crowd.partitions.retain(|_, named| *named + LATELY > now.mono);
        let depths = self.depths();
        for provider in 0..self.lines.len() {
            // What one partition gives counts for the next: together they leave what goes within seconds.
            let mut depths = depths.clone();
            let mut allowed: BTreeMap<(Home, Source), usize> = BTreeMap::new();
            for &(home, source) in self.crowd.partitions.keys() {
                let most = self.aside.may_move(self.partition(home, source), provider, &depths, now.mono);
                if most == 0 {
                    continue;
                }
                let here = self.lines[provider].count_of(home, source).min(most);
                depths[provider] -= here;
                allowed.insert((home, source), here);
            }
            if !allowed.is_empty() {
                self.put_aside(provider, allowed, now);
            }
        }
    }

    /// Moves a provider's jobs of some partitions into its hold, so many of each; the first of them, because only
    /// then the partition can be committed and read further.
    fn put_aside(&mut self, provider: ProviderId, mut leave: BTreeMap<(Home, Source), usize>, now: Now) {
        let place = |job: &Job| (job.receipt.source().home, job.receipt.source().from);
        let line = &mut self.lines[provider];
        let gone = line.remove_if(|job| match leave.get_mut(&place(job)) {
            None | Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        });
        for job in gone {
            let (home, source) = place(&job);
            self.aside.moved(self.partition(home, source), provider, 1);
            let deferral = Deferral { to: hold(job.lane, provider), home, due: None };
            self.defer(job, deferral, Reason::ProviderBusy, Some(provider), now);
        }
        for key in self.vanished_halves(provider) {
            self.half_ended(provider, key, now);
        }
    }
}

fn hold(lane: Lane, provider: ProviderId) -> Source {
    Source::Hold(lane, u16::try_from(provider).unwrap_or(u16::MAX))
}

fn order_key(job: &Job) -> Option<OrderKey> {
    let key = job.spec().ordering_key.as_ref()?;
    Some((job.receipt.source().home, job.receipt.epoch(), job.lane, (**key).into()))
}
