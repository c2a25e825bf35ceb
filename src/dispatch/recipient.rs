//! Recipients: who must not be written to, and who a provider says is gone.
//!
//! Why: an answer that ends one job for its recipient's sake ends all others to them as well; said once, to every
//! instance, and not learnt anew with every message.
//! Must not know: where suppressions are kept, how they are told.

use super::Now;
use super::shard::{Context, Shard};
use crate::job::Job;
use crate::outcome::{Cause, Code, Kind, Outcome, Reason};
use crate::recipient::address::Hashed;
use crate::recipient::suppression::{Scope, Suppression};
use crate::settle::Telling;

impl Shard {
    /// What becomes of a job whose recipient must not be written to. The job keeps the hash: it is asked for twice, and
    /// again with every attempt.
    pub(super) fn suppressed(&self, job: &mut Job) -> Option<Outcome> {
        let recipient = self.ctx.recipient(job);
        job.recipient = Some(recipient.0);
        let cause = self.ctx.recipients.suppressed(recipient, &job.spec().tenant, job.lane)?;
        Some(Outcome::plain(Kind::Suppressed, Reason::Suppressed(cause)))
    }
}

impl Context {
    /// By what a recipient is known, reckoned once for each job.
    pub(super) fn recipient(&self, job: &Job) -> Hashed {
        let spec = job.spec();
        job.recipient.map_or_else(|| self.recipients.hash(spec.channel, &spec.to), Hashed)
    }

    /// Under what key its vendor's words of a job will stand among the events: its recipient's.
    pub(super) fn told_under(&self, job: &Job) -> Box<str> {
        self.recipient(job).hex().into()
    }

    /// What every instance is to be told of a recipient who is gone or has left, where a provider's answer says so.
    pub(super) fn suppression_after(&self, job: &Job, outcome: &Outcome, by: &str, now: Now) -> Option<Telling> {
        let spec = job.spec();
        let (tenant, reason) = match outcome.reason {
            Reason::Vendor(Code::RecipientGone) => (None, Cause::HardBounce),
            // They have left this sender, and senders are their tenant's.
            Reason::Vendor(Code::OptedOut) => (Some((*spec.tenant).into()), Cause::Vendor),
            _ => return None,
        };
        let recipient = self.recipient(job);
        let (scope, by, at) = (Scope::All, by.into(), now.wall);
        let suppression = Suppression { channel: spec.channel, tenant, recipient, scope, reason, by, at };
        Some(Telling { key: suppression.key(), value: suppression.value() })
    }
}
