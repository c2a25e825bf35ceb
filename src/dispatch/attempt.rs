//! One attempt: the request out, the reply in, and what follows for each of its jobs.
//!
//! Why: a request may be on its way for seconds; its jobs and receipts stay with the shard, only bytes travel.
//! Must not know: how the batch was formed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::gatekeeper::ToGate;
use super::shard::{Event, Shard, until};
use super::{Now, split, word};
use crate::gate::{Pass, STOP_PATIENCE};
use crate::job::receipt::Why;
use crate::job::{Job, Lane, field};
use crate::ledger::ownership::Standing;
use crate::observe::attempt::Attempt;
use crate::observe::failpoint::failpoint;
use crate::outcome::{Code, Kind, Outcome, Reason, Said, Scope, Verdict};
use crate::provider::wire::WireError;
use crate::provider::{Decoded, Reply, Request};
use crate::retry::Next;
use crate::route::ProviderId;

/// A recipient who gets too much, where nobody says for how long.
const RECIPIENT_PAUSE: Duration = Duration::from_secs(60);
/// That a provider turns everything away is told anew only after this.
const DOWN_QUIET: Duration = Duration::from_secs(10);

/// A request that is out, with its jobs.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) provider: ProviderId,
    pub(super) lane: Lane,
    pub(super) key: u64,
    pub(super) pass: Pass,
    pub(super) jobs: Vec<Job>,
    pub(super) started: Instant,
}

/// Reports a flight's end even if its task is torn down.
struct Landing {
    flight: usize,
    replies: mpsc::Sender<Event>,
    result: Option<Result<Reply, WireError>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let lost = || Err(WireError::Broken("the request's task ended early".to_owned()));
        let result = self.result.take().unwrap_or_else(lost);
        // There is room for every slot; the receiver is gone only when the daemon is.
        if self.replies.try_send(Event::Landed { flight: self.flight, result }).is_err() {
            tracing::debug!(target: "peakpost::dispatch", "a reply came after the shard had ended");
        }
    }
}

impl Shard {
    /// Sends a request on a task of its own.
    pub(super) fn launch(&mut self, flight: Flight, request: Request) {
        let desk = &self.ctx.desks[flight.provider];
        self.lines[flight.provider].in_flight.inc();
        let wire = desk.provider.wire.clone();
        let flight = self.flights.insert(flight);
        let landing = Landing { flight, replies: self.ctx.replies.clone(), result: None };
        tokio::spawn(async move {
            // Moved in whole: dropping it, at whatever point, reports the flight's end.
            let mut landing = landing;
            let result = wire.send(request).await;
            landing.result = Some(result);
            drop(landing);
        });
    }

    /// A request has ended.
    pub(super) fn landed(&mut self, flight: usize, result: &Result<Reply, WireError>, now: Now) {
        failpoint!("after_reply");
        let Flight { provider, lane, key, pass, jobs, started } = self.flights.remove(flight);
        self.lines[provider].in_flight.dec();
        let took = now.mono.saturating_duration_since(started);
        let decoded = self.decode(provider, jobs.len(), result, now);
        let verdict = match &decoded {
            Decoded::All(verdict) => verdict.clone(),
            Decoded::Blame(list) => Verdict::Refused(list[0].1.clone()),
            Decoded::Unblamed(said) => Verdict::Refused(said.clone()),
        };
        self.count(provider, lane, jobs.len(), &verdict, took);
        let word = word::of(&verdict, &jobs, self.ctx.desks[provider].provider.kind.job_names_endpoint());
        self.tell_gate(provider, ToGate::Landed { lane, sent: started, pass, word });
        let first =
            jobs.first().map(|job| (job.spec().tenant.to_string(), job.spec().id.to_string(), job.way.attempts));
        let count = jobs.len();
        let next = self.follow(provider, key, jobs, decoded, now);
        if let Some((tenant, id, attempt)) = first {
            let status = result.as_ref().map_or(0, |reply| reply.status);
            let provider = &*self.ctx.desks[provider].provider.name;
            let first_job = (tenant.as_str(), id.as_str());
            Attempt { provider, lane, first_job, jobs: count, attempt, took, status, verdict: &verdict, next }.log();
        }
    }

    fn decode(&self, provider: ProviderId, count: usize, result: &Result<Reply, WireError>, now: Now) -> Decoded {
        let kind = &self.ctx.desks[provider].provider.kind;
        match result {
            Ok(reply) => {
                catch_unwind(AssertUnwindSafe(|| kind.decode(count, reply, now.wall))).unwrap_or_else(|panic| {
                    Decoded::All(Verdict::Ambiguous(Said::new(Code::Panicked, &panic_text(&*panic))))
                })
            }
            Err(error) => Decoded::All(match error {
                // The job's own URL is the job's fault; a provider that cannot be reached is nobody's job's.
                WireError::BeforeWrite(text) if kind.job_names_endpoint() => {
                    Verdict::FailedBeforeWrite(Said::new(Code::Connection, text))
                }
                WireError::BeforeWrite(text) => Verdict::ProviderDown(Said::new(Code::Connection, text)),
                WireError::Forbidden(text) if kind.job_names_endpoint() => {
                    Verdict::Refused(Said::new(Code::ForbiddenAddress, text))
                }
                WireError::Forbidden(text) => Verdict::ProviderDown(Said::new(Code::ForbiddenAddress, text)),
                WireError::Timeout(text) => Verdict::Ambiguous(Said::new(Code::Timeout, text)),
                WireError::Broken(text) => Verdict::Ambiguous(Said::new(Code::Connection, text)),
            }),
        }
    }

    fn count(&self, provider: ProviderId, lane: Lane, jobs: usize, verdict: &Verdict, took: Duration) {
        let name = &*self.ctx.desks[provider].provider.name;
        let labels = [name, lane.as_str(), verdict.as_str()];
        self.ctx.metrics.attempts.with_label_values(&labels).inc();
        self.ctx.metrics.attempted_jobs.with_label_values(&labels).inc_by(jobs as u64);
        self.lines[provider].latency.observe(took.as_secs_f64());
    }

    /// What follows from a reply. Returns it in one word, for the log.
    fn follow(&mut self, provider: ProviderId, key: u64, jobs: Vec<Job>, decoded: Decoded, now: Now) -> &'static str {
        match decoded {
            Decoded::All(verdict) => {
                self.heed(provider, &verdict, &jobs, now);
                let mut next = "settled";
                for job in jobs {
                    if self.conclude(provider, job, &verdict, now) {
                        next = "again";
                    }
                }
                self.half_ended(provider, key, now);
                next
            }
            Decoded::Blame(list) => {
                self.not_sent(provider, &jobs);
                self.without(provider, jobs, list, now);
                self.half_ended(provider, key, now);
                "again_without_the_blamed"
            }
            Decoded::Unblamed(said) if jobs.len() == 1 => {
                for job in jobs {
                    self.conclude(provider, job, &Verdict::Refused(said.clone()), now);
                }
                self.half_ended(provider, key, now);
                "settled"
            }
            Decoded::Unblamed(said) => {
                self.not_sent(provider, &jobs);
                let (next, left_behind) = self.lines[provider].splits.unblamed(key, jobs, &said);
                if let Some(jobs) = left_behind {
                    self.search(provider, jobs, &said, now);
                }
                self.split(provider, next, &said, now)
            }
        }
    }

    fn split(&mut self, provider: ProviderId, next: split::Next, said: &Said, now: Now) -> &'static str {
        match next {
            split::Next::Nothing => "waits_for_other_half",
            split::Next::RefuseAll(jobs) => {
                for job in jobs {
                    self.settle(
                        job,
                        Outcome::said(Kind::Refused, Reason::Vendor(said.code), said),
                        Some(provider),
                        now,
                    );
                }
                "settled"
            }
            split::Next::Halves(halves) => {
                for (key, jobs) in halves {
                    for job in jobs {
                        self.requeue(provider, key, job, now);
                    }
                    // Nobody of it has come back: its sibling must not wait for it.
                    if !self.lines[provider].has_group(key) {
                        self.half_ended(provider, key, now);
                    }
                }
                "split"
            }
        }
    }

    /// What the retry budget paid for jobs that were not sent after all comes back.
    pub(super) fn not_sent<'j>(&mut self, provider: ProviderId, jobs: impl IntoIterator<Item = &'j Job>) {
        let unsure = jobs.into_iter().filter(|job| job.way.unsure).count();
        self.lines[provider].budget.give_back(u32::try_from(unsure).unwrap_or(u32::MAX));
    }

    /// Goes on searching a group in which somebody is at fault.
    fn search(&mut self, provider: ProviderId, jobs: Vec<Job>, said: &Said, now: Now) {
        if jobs.len() == 1 {
            for job in jobs {
                self.settle(job, Outcome::said(Kind::Refused, Reason::Vendor(said.code), said), Some(provider), now);
            }
            return;
        }
        let next = self.lines[provider].splits.halve(jobs, said);
        self.split(provider, next, said, now);
    }

    /// A half of a searched batch had another end than its sibling: the guilty are in the sibling.
    pub(super) fn half_ended(&mut self, provider: ProviderId, key: u64, now: Now) {
        if let Some((jobs, said)) = self.lines[provider].splits.other_end(key) {
            self.search(provider, jobs, &said, now);
        }
    }

    /// Refuses the blamed and lets the others go again at once, as a group of their own.
    fn without(&mut self, provider: ProviderId, jobs: Vec<Job>, blamed: Vec<(usize, Said)>, now: Now) {
        let mut blamed = blamed.into_iter().peekable();
        let key = self.lines[provider].splits.own_key();
        for (index, job) in jobs.into_iter().enumerate() {
            match blamed.next_if(|(at, _)| *at == index) {
                Some((_, said)) => {
                    self.settle(
                        job,
                        Outcome::said(Kind::Refused, Reason::Vendor(said.code), &said),
                        Some(provider),
                        now,
                    );
                }
                None => self.requeue(provider, key, job, now),
            }
        }
    }

    /// A job that has come back and is not through. `None`: its home went meanwhile, so nobody would take it back later.
    pub(super) fn keep(&mut self, job: Job, now: Now) -> Option<Job> {
        match self.ctx.ownership.standing(&job.receipt, now.mono) {
            Standing::Gone => {
                self.abandon(job, Why::Revoked);
                None
            }
            Standing::Ours | Standing::LeaseOut => Some(job),
        }
    }

    /// What a verdict means here at once, before the gate has heard of it: permits are out.
    fn heed(&mut self, provider: ProviderId, verdict: &Verdict, jobs: &[Job], now: Now) {
        match verdict {
            Verdict::Throttled { wait: Some(wait), scope: Scope::Provider, .. } => {
                self.ctx.desks[provider].stop.stop_until(now.mono + *wait);
            }
            Verdict::Throttled { wait, scope: Scope::Recipient, .. } => {
                let until = now.mono + wait.unwrap_or(RECIPIENT_PAUSE);
                for job in jobs {
                    let recipient = field::address(&job.spec().to).to_owned();
                    self.stopped_recipients.insert((provider, recipient), until);
                }
            }
            Verdict::ProviderDown(said) => self.tell_down(provider, said, now),
            _ => {}
        }
    }

    /// A provider turns everything away, or cannot be reached. Said now and then, not once per request.
    fn tell_down(&self, provider: ProviderId, said: &Said, now: Now) {
        let desk = &self.ctx.desks[provider];
        if desk.down_told.is_stopped(now.mono) {
            return;
        }
        desk.down_told.stop_until(now.mono + DOWN_QUIET);
        let hint = match said.code {
            Code::Connection => "is it reachable from here (DNS, egress, base_url)?",
            Code::ForbiddenAddress => "its address is private; `allow_hosts` lets it pass by name",
            _ => "check its credentials, account and base_url",
        };
        tracing::error!(
            target: "peakpost::dispatch",
            provider = &*desk.provider.name,
            code = said.code.as_str(), said = &*said.text, hint,
            "the provider takes nothing; its jobs wait, or go to the next of their route"
        );
    }

    /// Settles a job, or lets it wait for its next attempt (`true`).
    fn conclude(&mut self, provider: ProviderId, mut job: Job, verdict: &Verdict, now: Now) -> bool {
        let chance = self.chance();
        let channel = job.spec().channel;
        let expires = self.ctx.rules.policy.expires(job.spec(), job.lane, job.enqueued);
        let left = expires.map(|at| until(at, now.wall));
        let retry = &self.ctx.rules.retry;
        let own_endpoint = self.ctx.desks[provider].provider.kind.job_names_endpoint();
        let failures = job.way.failures.saturating_add(1);
        let next = match retry.next(verdict, channel, failures, chance, left) {
            // A provider's throttling is waited out; one endpoint's would hold up everybody behind its job.
            Next::Again { after, .. } if own_endpoint && failures < retry.attempts_max => {
                Next::Again { after, counted: true }
            }
            Next::Again { .. } if own_endpoint => Next::Done(exhausted(verdict)),
            next => next,
        };
        if job.way.unsure {
            let budget = &mut self.lines[provider].budget;
            match verdict {
                // Whoever turns a retry down for good is as well as one who takes it.
                Verdict::Accepted { .. } | Verdict::Refused(_) => budget.accepted(1),
                Verdict::Throttled { .. } | Verdict::FailedBeforeWrite(_) | Verdict::ProviderDown(_) => {
                    budget.give_back(1);
                }
                Verdict::Ambiguous(_) => {}
            }
        }
        match next {
            Next::Done(outcome) => {
                if outcome.kind == Kind::Accepted {
                    let ms = now.wall.0.saturating_sub(job.enqueued.0).max(0);
                    self.accept_latency[job.lane.index()].observe(ms as f64 / 1000.0);
                }
                self.settle(job, outcome, Some(provider), now);
                false
            }
            Next::Again { after, counted } => {
                let code = verdict.said().map_or(Code::Nonsense, |said| said.code);
                job.way.failures = job.way.failures.saturating_add(u16::from(counted));
                job.way.unsure |= matches!(verdict, Verdict::Ambiguous(_));
                job.way.last_error = Some(code.as_str().into());
                self.remember(provider, &mut job);
                // A time that the vendor names is never shortened by a tier. Who can go elsewhere need not wait for it: the
                // gate says where.
                let tiers = &self.ctx.rules.tiers;
                let after = match verdict {
                    Verdict::Throttled { wait: Some(wait), scope: Scope::Provider, .. }
                        if *wait > STOP_PATIENCE && self.has_another(&job) =>
                    {
                        self.ctx.rules.retry.backoff.mul_f64(chance)
                    }
                    // Its gate keeps the time: it may come back early and wait there, not in a tier that is far longer.
                    Verdict::Throttled { wait: Some(_), scope: Scope::Provider | Scope::Sender, .. } => {
                        tiers.within(after).map_or(after, |tier| tiers.wait(tier))
                    }
                    Verdict::Throttled { wait: Some(_), .. } => {
                        tiers.beyond(after).map_or(after, |tier| tiers.wait(tier))
                    }
                    _ => after,
                };
                if let Some(job) = self.keep(job, now) {
                    self.wait_again(job, provider, after, Reason::Again(code), now);
                }
                true
            }
        }
    }
}

/// The outcome of a job whose last permitted attempt said this.
fn exhausted(verdict: &Verdict) -> Outcome {
    let said = verdict.said().cloned().unwrap_or_else(|| Said::new(Code::Nonsense, ""));
    Outcome::said(Kind::Dead, Reason::AttemptsExhausted(said.code), &said)
}

/// What a panic said, if it said it in words.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}
