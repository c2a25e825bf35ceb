//! A job's way in: rules, route, carrier, queue. And its way on, where the warm-up of its provider takes no more.
//!
//! Why: all that is decided before a job waits is decided here, in one order, whichever way it comes.
//! Must not know: batches, permits, when it is sent.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::carrier::Carrier;
use super::line;
use super::shard::{Context, Shard, waiting_since};
use super::split::shared_key;
use super::{Desk, Now};
use crate::gate::Flow;
use crate::job::{Home, Job, Lane, Source};
use crate::outcome::{Kind, Outcome, Reason};
use crate::policy::Decision;
use crate::route::ProviderId;

/// A provider whose warm-up takes no more is asked again at least so often: its cap may grow with the homes owned.
const SPILL_LOOK: Duration = Duration::from_secs(5);
/// A warm-up that takes no more again within this is not told of anew.
const SPILL_QUIET: Duration = Duration::from_secs(600);

impl Shard {
    /// A job arrives: rules, route, queue.
    pub(super) fn enter(&mut self, job: Job, now: Now) {
        match self.ctx.rules.policy.decide(job.spec(), job.lane, job.enqueued, now.wall) {
            Decision::Drop(kind, reason) => self.settle(job, Outcome::plain(kind, reason), None, now),
            Decision::Wait(at) => self.wait_for(job, at, now),
            Decision::Send => match choose(&self.ctx, &job, now) {
                Some(provider) => self.join(provider, job, now),
                None => self.settle(job, Outcome::plain(Kind::Dead, Reason::NoRoute), None, now),
            },
        }
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

    pub(super) fn queue(&mut self, provider: ProviderId, job: Job, now: Now) {
        let key = shared_key(self.ctx.desks[provider].provider.kind.batch_key(&job));
        self.lines[provider].push(key, waiting_since(&job, now), job);
    }

    /// The warm-up's cap is spent until then: a flow's jobs that were never sent go on to the next of their route, the
    /// others wait.
    pub(super) fn spilled(&mut self, provider: ProviderId, lane: Lane, flow: &Flow, until: Instant, now: Now) {
        let desk = &self.ctx.desks[provider];
        desk.spilled[lane.index()].stop_until(until.min(now.mono + SPILL_LOOK));
        let told = desk.spill_told[lane.index()].stop_until(until);
        if told.is_none_or(|told| told + SPILL_QUIET <= now.mono) {
            let (provider, for_s) = (&*desk.provider.name, until.saturating_duration_since(now.mono).as_secs());
            tracing::info!(
                target: "peakpost::rate", provider, lane = lane.as_str(), for_s,
                "the warm-up's cap is spent: new jobs go to the next provider of their route, or wait"
            );
        }
        let (ctx, line) = (&self.ctx, &mut self.lines[provider]);
        let Some(id) = line.find(flow) else { return };
        let goes_on = |job: &Job| job.way.attempts == 0 && choose(ctx, job, now) != Some(provider);
        let gone = line.remove_of(id, lane, goes_on);
        line.answered(id, lane);
        if !gone.is_empty() {
            let name = &*self.ctx.desks[provider].provider.name;
            self.ctx.metrics.spilled.with_label_values(&[name]).inc_by(gone.len() as u64);
        }
        for job in gone {
            self.enter(job, now);
        }
    }

    /// Lets a job remember whom it was sent to, where its route leaves a choice: a retry stays with its provider.
    pub(super) fn remember(&self, provider: ProviderId, job: &mut Job) {
        let spec = job.spec();
        if self.ctx.rules.routes.find(spec.channel, &spec.tenant, job.lane).len() > 1 {
            job.way.provider = u16::try_from(provider).ok();
        }
    }
}

/// The provider of a job: the one that it was sent to before, else the first of its route whose warm-up takes more,
/// else the first.
fn choose(ctx: &Context, job: &Job, now: Now) -> Option<ProviderId> {
    let spec = job.spec();
    let all = ctx.rules.routes.find(spec.channel, &spec.tenant, job.lane);
    if all.len() < 2 {
        return all.first().copied();
    }
    let position = |of: u16| all.iter().position(|id| *id == usize::from(of));
    if let Some(before) = job.way.provider.and_then(position) {
        return Some(all[before]);
    }
    // From a hold it never goes back: two instances that know of different caps would pass it to and fro.
    let first = match job.receipt.source().from {
        Source::Hold(_, of) => position(of).unwrap_or(0),
        _ => 0,
    };
    let takes_more = |id: &&ProviderId| !ctx.desks[**id].spilled[job.lane.index()].is_stopped(now.mono);
    let candidates = &all[first..];
    candidates.iter().find(takes_more).or(candidates.first()).copied()
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
