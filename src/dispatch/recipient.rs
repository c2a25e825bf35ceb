//! Recipients: who must not be written to, and who a provider says is gone.
//!
//! Why: an answer that ends one job for its recipient's sake ends all others to them as well; said once, to every
//! instance, and not learnt anew with every message.
//! Must not know: where suppressions are kept, how they are told.

use super::Now;
use super::shard::Shard;
use crate::job::Job;
use crate::outcome::{Cause, Code, Kind, Outcome, Reason};
use crate::recipient::suppression::{Scope, Suppression};
use crate::route::ProviderId;
use crate::settle::Told;

impl Shard {
    /// What becomes of a job whose recipient must not be written to.
    pub(super) fn suppressed(&self, job: &Job) -> Option<Outcome> {
        let spec = job.spec();
        let cause = self.ctx.recipients.suppressed(spec.channel, &spec.tenant, job.lane, &spec.to)?;
        Some(Outcome::plain(Kind::Suppressed, Reason::Suppressed(cause)))
    }

    /// Tells every instance of a recipient who is gone or has left, where a provider's answer says so.
    pub(super) fn tell_of_recipient(&self, job: &Job, outcome: &Outcome, provider: ProviderId, now: Now) {
        let spec = job.spec();
        let (tenant, reason) = match outcome.reason {
            Reason::Vendor(Code::RecipientGone) => (None, Cause::HardBounce),
            // They have left this sender, and senders are their tenant's.
            Reason::Vendor(Code::OptedOut) => (Some((*spec.tenant).into()), Cause::Vendor),
            _ => return,
        };
        let suppression = Suppression {
            channel: spec.channel,
            tenant,
            recipient: self.ctx.recipients.hash(spec.channel, &spec.to),
            scope: Scope::All,
            reason,
            by: (*self.ctx.desks[provider].provider.name).into(),
            at: now.wall,
        };
        self.ctx.settler.tell(Told::Suppression, suppression.key(), suppression.value());
    }
}
