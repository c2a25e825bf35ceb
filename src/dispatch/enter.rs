//! A job's way in: rules, route, carrier, queue. And its way on, where its provider takes nothing now.
//!
//! Why: all that is decided before a job waits is decided here, in one order, whichever way it comes.
//! Must not know: batches, permits, when it is sent.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::carrier::Carrier;
use super::line;
use super::shard::{Context, Shard, waiting_since};
use super::split::shared_key;
use super::{Desk, Now};
use crate::gate::Flow;
use crate::gate::report::By;
use crate::job::{Home, Job, Lane, Source};
use crate::outcome::{Kind, Outcome, Reason};
use crate::policy::Decision;
use crate::route::ProviderId;

/// A provider that takes nothing is asked again at least so often: its cap may grow with the homes owned.
const DETOUR_LOOK: Duration = Duration::from_secs(5);
/// That others carry a provider's jobs is told so often while it lasts.
const FAILOVER_QUIET: Duration = Duration::from_secs(60);
/// A warm-up that takes no more again within this is not told of anew.
const SPILL_QUIET: Duration = Duration::from_secs(600);

impl Shard {
    /// A job arrives: rules, suppressions, route, reputation, queue.
    pub(super) fn enter(&mut self, job: Job, now: Now) {
        match self.ctx.rules.policy.decide(job.spec(), job.lane, job.enqueued, now.wall) {
            Decision::Drop(kind, reason) => self.settle(job, Outcome::plain(kind, reason), None, now),
            Decision::Wait(at) => self.wait_for(job, at, now),
            Decision::Send => self.find_provider(job, now),
        }
    }

    /// A job may be sent: to nobody who is suppressed, for no stream that is blocked, and by whom.
    fn find_provider(&mut self, mut job: Job, now: Now) {
        // While the table is not whole, the last look decides.
        let known = self.ctx.recipients.open(now.mono);
        if let Some(outcome) = known.then(|| self.suppressed(&mut job)).flatten() {
            return self.settle(job, outcome, None, now);
        }
        let Some(Choice { provider, instead_of, .. }) = choose(&self.ctx, &job, now) else {
            return self.settle(job, Outcome::plain(Kind::Dead, Reason::NoRoute), None, now);
        };
        // Whose stream is blocked at its own provider is not carried by another.
        let own = instead_of.map_or(provider, |(own, _)| own);
        let Some(job) = self.unless_blocked(own, job, now) else { return };
        if let Some((from, by)) = instead_of {
            self.note_detour(from, provider, by, now);
        }
        self.join(provider, job, now);
    }

    /// A job's provider is known: it queues here, or goes to the home that carries it.
    fn join(&mut self, provider: ProviderId, job: Job, now: Now) {
        let at = job.receipt.source();
        match carrier(&self.ctx.desks[provider], &job, self.ctx.homes) {
            Some(home) if home != at.home => self.hand_to(home, provider, job, now),
            _ => {
                self.note_came(at.home, at.from, provider);
                self.queue(provider, job, now);
            }
        }
    }

    /// Into the queue, with those that may share its request.
    pub(super) fn queue(&mut self, provider: ProviderId, job: Job, now: Now) {
        let key = self.key_at(provider, &job);
        self.lines[provider].push(key, waiting_since(&job, now), job);
    }

    fn key_at(&self, provider: ProviderId, job: &Job) -> u64 {
        shared_key(self.ctx.desks[provider].provider.kind.batch_key(job))
    }

    /// A job that has waited for its next try goes back into its queue, or on, where its provider takes nothing.
    pub(super) fn rejoin(&mut self, provider: ProviderId, job: Job, now: Now) {
        match self.ctx.desks[provider].detours[job.lane.index()].at(now.mono) {
            Some(by) if is_failover(by) => self.enter(job, now),
            _ => self.requeue(provider, self.key_at(provider, &job), job, now),
        }
    }

    /// The one way back into a queue, for whoever has been in it before.
    pub(super) fn requeue(&mut self, provider: ProviderId, key: u64, job: Job, now: Now) {
        let Some(job) = self.keep(job, now) else { return };
        if let Some(job) = self.unless_blocked(provider, job, now) {
            self.lines[provider].push(key, waiting_since(&job, now), job);
        }
    }

    /// A provider takes nothing of a flow until then.
    pub(super) fn detour(
        &mut self,
        provider: ProviderId,
        lane: Lane,
        flow: &Flow,
        (until, by): (Instant, By),
        now: Now,
    ) {
        let desk = &self.ctx.desks[provider];
        desk.detours[lane.index()].set(until.min(now.mono + DETOUR_LOOK), by);
        if by == By::WarmUp {
            tell_spilled(desk, lane, until, now);
        }
        let line = &mut self.lines[provider];
        if let Some(id) = line.find(flow) {
            line.answered(id, lane);
        }
    }

    /// Jobs of providers that take nothing go on to the next of their route, as far as they may; the others wait. Once for
    /// every word of a gate, whichever shard has heard it.
    pub(super) fn make_detours(&mut self, now: Now) {
        for provider in 0..self.lines.len() {
            for lane in Lane::ALL {
                let detour = &self.ctx.desks[provider].detours[lane.index()];
                if let Some(by) = detour.at(now.mono)
                    && self.lines[provider].is_new_detour(lane, detour.until())
                {
                    self.go_on(provider, lane, by, now);
                }
            }
        }
    }

    fn go_on(&mut self, provider: ProviderId, lane: Lane, by: By, now: Now) {
        let (ctx, line) = (&self.ctx, &mut self.lines[provider]);
        // What was sent before stays where the warm-up counts it; a provider in trouble keeps nobody.
        let may = |job: &Job| job.lane == lane && (is_failover(by) || job.way.attempts == 0);
        // If nobody takes it, it stays where it is.
        let goes_on =
            |job: &Job| may(job) && choose(ctx, job, now).is_some_and(|choice| choice.is_other_than(provider));
        let gone = line.remove_if(goes_on);
        for key in self.vanished_halves(provider) {
            self.half_ended(provider, key, now);
        }
        for job in gone {
            self.enter(job, now);
        }
    }

    /// Counts a job that another carries than it should, and tells of it now and then.
    fn note_detour(&self, from: ProviderId, to: ProviderId, by: By, now: Now) {
        let (from, to) = (&self.ctx.desks[from], &*self.ctx.desks[to].provider.name);
        let provider = &*from.provider.name;
        self.ctx.metrics.rerouted.with_label_values(&[provider, to, by.as_str()]).inc();
        if !is_failover(by) {
            return;
        }
        if !from.failover_told.is_stopped(now.mono) {
            from.failover_told.stop_until(now.mono + FAILOVER_QUIET);
            tracing::warn!(
                target: "peakpost::dispatch", provider, to, %by,
                "failover: the provider takes nothing, its jobs go to the next of their route"
            );
        }
    }

    /// Whether a job's route has another provider.
    pub(super) fn has_another(&self, job: &Job) -> bool {
        let route = self.ctx.rules.routes.find(job.spec().channel, &job.spec().tenant, job.lane);
        route.is_some_and(|route| route.providers.len() > 1)
    }

    /// Lets a job remember whom it was sent to, where its route leaves a choice: a retry stays with its provider.
    pub(super) fn remember(&self, provider: ProviderId, job: &mut Job) {
        if self.has_another(job) {
            job.way.provider = u16::try_from(provider).ok();
        }
    }
}

/// Whether the provider itself is in trouble, not only full.
fn is_failover(by: By) -> bool {
    matches!(by, By::Breaker | By::Stop)
}

fn tell_spilled(desk: &Desk, lane: Lane, until: Instant, now: Now) {
    let told = desk.spill_told[lane.index()].stop_until(until);
    if told.is_none_or(|told| told + SPILL_QUIET <= now.mono) {
        let (provider, for_s) = (&*desk.provider.name, until.saturating_duration_since(now.mono).as_secs());
        tracing::info!(
            target: "peakpost::rate", provider, lane = lane.as_str(), for_s,
            "the warm-up's cap is spent: new jobs go to the next provider of their route, or wait"
        );
    }
}

/// Who carries a job.
struct Choice {
    provider: ProviderId,
    /// Who should have, and why he does not.
    instead_of: Option<(ProviderId, By)>,
    /// Nobody takes anything now; this one is waited for.
    waits: bool,
}

impl Choice {
    fn of(provider: ProviderId) -> Self {
        Self { provider, instead_of: None, waits: false }
    }

    /// Whether another takes it now.
    fn is_other_than(&self, provider: ProviderId) -> bool {
        self.provider != provider && !self.waits
    }
}

/// Walks a job's plan: the provider that it was sent to before, or the first, unless that takes nothing now; then the
/// first that does. If none does, it waits for the first.
fn choose(ctx: &Context, job: &Job, now: Now) -> Option<Choice> {
    let spec = job.spec();
    let route = ctx.rules.routes.find(spec.channel, &spec.tenant, job.lane)?;
    let plan = route.plan(if route.weights.is_empty() { 0 } else { key_of(job) });
    let Some(first) = plan.all().next().filter(|_| !plan.is_single()) else {
        return plan.all().next().map(Choice::of);
    };
    let in_plan = |of: u16| plan.all().find(|id| *id == usize::from(of));
    let before = job.way.provider.and_then(in_plan);
    // From a hold it never goes back: two instances that see different ends of it would pass it to and fro.
    let held = match job.receipt.source().from {
        Source::Hold(_, of) => in_plan(of),
        _ => None,
    };
    let start = held.or(before).unwrap_or(first);
    let keeps_off = |id: ProviderId| {
        let by = ctx.desks[id].detours[job.lane.index()].at(now.mono);
        by.filter(|by| is_failover(*by) || before != Some(id))
    };
    let Some(by) = keeps_off(start) else { return Some(Choice::of(start)) };
    let later = plan.all().skip_while(|id| held.is_some_and(|held| *id != held));
    let free = |id: &ProviderId| keeps_off(*id).is_none() && ctx.blocked(*id, job, now).is_none();
    let other = later.filter(|id| *id != start).find(free);
    Some(match other {
        Some(provider) => Choice { instead_of: Some((start, by)), ..Choice::of(provider) },
        None => Choice { waits: true, ..Choice::of(start) },
    })
}

/// The same on every attempt, and on every instance of the same build: another may hash otherwise.
pub(super) fn key_of(job: &Job) -> u64 {
    let mut key = DefaultHasher::new();
    (&*job.spec().tenant, &*job.spec().id).hash(&mut key);
    key.finish()
}

/// The home that must carry a job at this provider; `None`: any may.
fn carrier(desk: &Desk, job: &Job, homes: Home) -> Option<Home> {
    match desk.carrier {
        Carrier::Any => None,
        Carrier::One(home) => Some(home),
        Carrier::ByName => {
            let provider = &desk.provider;
            let sender = if provider.gate.limits_senders() { line::sender(job) } else { Cow::Borrowed("") };
            provider.gate.carrier(&provider.name, &sender, &job.spec().tenant, homes)
        }
    }
}
