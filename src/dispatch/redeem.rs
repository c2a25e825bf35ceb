//! Turning a permit into requests: who joins, who is turned away at the door, and the encoding.
//!
//! Why: everything that time can change is checked here, after the permit and right before the write, so that
//! nothing is decided early and sent late. A unit whose job is turned away is spent.
//! Must not know: how long a permit waited or why.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::shard::{PAUSE, Shard};
use super::{Now, attempt};
use crate::gate::{Flow, Pass, SendPermit};
use crate::job::digest::AsItIs;
use crate::job::receipt::Why;
use crate::job::{Job, Lane};
use crate::lane::Fit;
use crate::lane::flows::FlowId;
use crate::ledger::ownership::Standing;
use crate::observe::failpoint::failpoint;
use crate::outcome::{Code, Kind, Outcome, Reason, Said};
use crate::policy::Decision;
use crate::provider::{MAX_BATCH_BYTES, Request, Unencodable};
use crate::route::ProviderId;

impl Shard {
    /// Uses a flow's permit as far as it goes; gives back the slots of requests that were not made.
    pub(super) fn redeem(&mut self, provider: ProviderId, flow: &Flow, permit: &SendPermit, now: Now) {
        let (lane, pass) = (permit.lane(), permit.pass());
        // It is there as long as its ask is out.
        let Some(id) = self.lines[provider].find(flow) else {
            return self.release(provider, lane, permit.requests(), pass);
        };
        let late = now.mono > permit.deadline() || self.ctx.desks[provider].stop.is_stopped(now.mono);
        let mut requests = permit.requests();
        let mut messages = permit.messages() as usize;
        while !late && requests > 0 && messages > 0 && self.hold_until.is_none_or(|until| until <= now.mono) {
            let Some((key, batch)) = self.form(provider, id, lane, messages, now) else { break };
            requests -= 1;
            messages -= batch.len();
            let admitted: Vec<Job> = batch.into_iter().filter_map(|job| self.admit(provider, key, job, now)).collect();
            self.spend(provider, &admitted);
            failpoint!("after_permit");
            if !self.fly(provider, lane, (key, pass), admitted, now) {
                // Nobody of it may go: its unit is spent, its slot is free again.
                self.release(provider, lane, 1, pass);
            }
        }
        self.lines[provider].answered(id, lane);
        self.release(provider, lane, requests, pass);
    }

    /// Retries are paid for when they go.
    fn spend(&mut self, provider: ProviderId, admitted: &[Job]) {
        let unsure = admitted.iter().filter(|job| job.way.unsure).count();
        self.lines[provider].budget.spend(u32::try_from(unsure).unwrap_or(u32::MAX));
    }

    /// Takes the next batch of a flow, of at most `messages` jobs. `None`: nobody is left.
    fn form(
        &mut self,
        provider: ProviderId,
        flow: FlowId,
        lane: Lane,
        messages: usize,
        now: Now,
    ) -> Option<(u64, Vec<Job>)> {
        let most = self.ctx.desks[provider].provider.kind.batch_max().min(messages);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let is_shared = most > 1;
        // They are keyed hashes already. A permit is for no more than its flow has asked for, so this is no more either.
        let mut addresses: HashSet<u128, BuildHasherDefault<AsItIs>> = HashSet::default();
        addresses.reserve(if is_shared { most } else { 0 });
        let (ctx, line) = (&self.ctx, &mut self.lines[provider]);
        let key = line.take(flow, lane, &mut taken, most, now.mono, |job: &Job| {
            let size = job.bytes().len();
            if bytes + size > MAX_BATCH_BYTES {
                return Fit::Full;
            }
            if is_shared && !addresses.insert(u128::from_le_bytes(ctx.recipient(job).0)) {
                return Fit::Skip;
            }
            bytes += size;
            Fit::Take
        })?;
        Some((key, taken))
    }

    /// The last look at one job. `None`: it was turned away and dealt with.
    fn admit(&mut self, provider: ProviderId, key: u64, mut job: Job, now: Now) -> Option<Job> {
        match self.ctx.ownership.standing(&job.receipt, now.mono) {
            Standing::Ours if self.ctx.recipients.open(now.mono) => {}
            Standing::Gone => {
                self.abandon(job, Why::Revoked);
                return None;
            }
            Standing::Ours | Standing::LeaseOut => {
                self.hold_until = Some(now.mono + PAUSE);
                self.requeue(provider, key, job, now);
                return None;
            }
        }
        if let Decision::Drop(kind, reason) =
            self.ctx.rules.policy.recheck(job.spec(), job.lane, job.enqueued, now.wall)
        {
            self.settle(job, Outcome::plain(kind, reason), None, now);
            return None;
        }
        if let Some(outcome) = self.suppressed(&mut job) {
            self.settle(job, outcome, None, now);
            return None;
        }
        if let Some(until) = self.stopped_recipient(provider, &job, now) {
            let wait = until.saturating_duration_since(now.mono);
            self.wait_again(job, provider, wait, Reason::Again(Code::RateLimit), now);
            return None;
        }
        self.unless_blocked(provider, job, now)
    }

    /// Encodes and sends. Jobs that this vendor cannot be told are refused, the others go. `false`: none went.
    fn fly(
        &mut self,
        provider: ProviderId,
        lane: Lane,
        (key, pass): (u64, Pass),
        mut jobs: Vec<Job>,
        now: Now,
    ) -> bool {
        while !jobs.is_empty() {
            match self.encode(provider, &jobs, now) {
                Ok(Ok(request)) => {
                    let first = jobs.iter().filter(|job| job.way.attempts == 0).count();
                    self.lines[provider].budget.first(u32::try_from(first).unwrap_or(u32::MAX));
                    for job in &mut jobs {
                        job.way.attempts = job.way.attempts.saturating_add(1);
                    }
                    let flight = attempt::Flight { provider, lane, key, pass, jobs, started: now.mono };
                    self.launch(flight, request);
                    return true;
                }
                Ok(Err(Unencodable { index, said })) => {
                    let job = jobs.remove(index.min(jobs.len() - 1));
                    self.settle(
                        job,
                        Outcome::said(Kind::Refused, Reason::Vendor(said.code), &said),
                        Some(provider),
                        now,
                    );
                }
                Err(text) => self.encoding_panicked(provider, std::mem::take(&mut jobs), &text, now),
            }
        }
        self.half_ended(provider, key, now);
        false
    }

    /// One catch at the boundary of the attempt: it borrows the jobs, their receipts stay here.
    fn encode(&self, provider: ProviderId, jobs: &[Job], now: Now) -> Result<Result<Request, Unencodable>, String> {
        let kind = &self.ctx.desks[provider].provider.kind;
        let refs: Vec<&Job> = jobs.iter().collect();
        catch_unwind(AssertUnwindSafe(|| kind.encode(&refs, now.wall))).map_err(|panic| attempt::panic_text(&*panic))
    }

    /// Nothing was written. The jobs of a batch go again one by one; a job that fails alone is the guilty one.
    fn encoding_panicked(&mut self, provider: ProviderId, jobs: Vec<Job>, text: &str, now: Now) {
        let name = &self.ctx.desks[provider].provider.name;
        tracing::error!(target: "peakpost::dispatch", provider = &**name, jobs = jobs.len(), text, "encoding panicked");
        if let [_] = jobs.as_slice() {
            let said = Said::new(Code::Panicked, text);
            for job in jobs {
                let outcome = Outcome::said(Kind::Dead, Reason::AttemptsExhausted(said.code), &said);
                self.settle(job, outcome, Some(provider), now);
            }
            return;
        }
        for job in jobs {
            let key = self.lines[provider].splits.own_key();
            self.requeue(provider, key, job, now);
        }
    }
}
