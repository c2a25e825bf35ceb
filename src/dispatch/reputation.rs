//! Jobs whose stream is blocked wait in a tier and look again.
//!
//! Why: no other provider carries them, because what is wrong is the mail and not the provider: it would burn the next. They
//! are looked at when they come, when they come back, when the verdict changes, and once more at the door.
//! Must not know: what a verdict is made of.

use std::sync::Arc;

use tokio::sync::watch;

use super::Now;
use super::enter::key_of;
use super::shard::{Context, Shard, until};
use crate::job::{Job, Wall};
use crate::outcome::Reason;
use crate::recipient::mailbox::Mailboxes;
use crate::reputation::{Sending, Verdicts};
use crate::route::ProviderId;

/// What is asked before a job goes to a provider.
#[derive(Clone, Debug)]
pub struct Reputation {
    /// The newest verdicts.
    pub verdicts: watch::Receiver<Arc<Verdicts>>,
    /// Whose mailbox an address is.
    pub mailboxes: Mailboxes,
}

impl Context {
    /// When a job may be asked for again that must not go to this provider now.
    pub(super) fn blocked(&self, provider: ProviderId, job: &Job, now: Now) -> Option<Wall> {
        let verdicts = self.reputation.verdicts.borrow();
        if verdicts.is_empty() {
            return None;
        }
        let spec = job.spec();
        let sending = Sending {
            tenant: &spec.tenant,
            channel: spec.channel,
            lane: job.lane,
            provider: &self.desks[provider].provider.name,
            mailbox: self.reputation.mailboxes.of(spec.channel, &spec.to),
        };
        verdicts.wait(&sending, key_of(job), now.wall)
    }
}

impl Shard {
    /// Lets a job go on. `None`: its stream is blocked, so its place is in a tier, and not in a queue where others stand
    /// behind it.
    pub(super) fn unless_blocked(&mut self, provider: ProviderId, job: Job, now: Now) -> Option<Job> {
        let Some(at) = self.ctx.blocked(provider, &job, now) else { return Some(job) };
        self.defer_for(job, until(at, now.wall), Reason::Reputation, Some(provider), now);
        None
    }

    /// When the verdicts have changed, whoever may go no longer leaves the queues, so that no permit is spent on it.
    pub(super) fn heed_reputation(&mut self, now: Now) {
        if !self.ctx.reputation.verdicts.has_changed().unwrap_or(false) {
            return;
        }
        if !self.ctx.reputation.verdicts.borrow_and_update().holds_any(now.wall) {
            return;
        }
        for provider in 0..self.lines.len() {
            let (ctx, line) = (&self.ctx, &mut self.lines[provider]);
            let gone = line.remove_if(|job| ctx.blocked(provider, job, now).is_some());
            for job in gone {
                // There may be another verdict already.
                if let Some(job) = self.unless_blocked(provider, job, now) {
                    self.queue(provider, job, now);
                }
            }
            for key in self.vanished_halves(provider) {
                self.half_ended(provider, key, now);
            }
        }
    }
}
