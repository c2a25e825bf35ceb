//! The echo: how a send names itself to its vendor, and how that is read when the vendor speaks of it later.
//!
//! Why: written once for every vendor, so that what is read is what was written; there is no table of what was sent.
//! Must not know: in which field a vendor carries it.

use super::feedback::stamp;
use crate::event::{Echo, echo};
use crate::job::json::Json;
use crate::job::{Job, Wall, field};

/// Its names, in the order in which they are written. The last one has always ten digits: where a vendor signs without
/// marking ends (Twilio), nothing can be moved in or out of it.
pub(super) const NAMES: [&str; 5] = [echo::ID, echo::TENANT, echo::CAMPAIGN, echo::LANE, echo::SENT];

/// Names and values of what `job` says of itself, without a campaign where there is none; `sent` is what [`sent`] made of
/// the time.
pub(super) fn pairs<'a>(job: &'a Job, sent: &'a str) -> impl Iterator<Item = (&'static str, &'a str)> {
    let spec = job.spec();
    let values = [Some(&*spec.id), Some(&*spec.tenant), spec.campaign.as_deref(), Some(job.lane.as_str()), Some(sent)];
    NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)))
}

/// The echoes of one request's jobs, as JSON objects of texts. The jobs of a batch differ in their ids alone, so what
/// stands behind the id is written once.
pub(super) struct Batch(Vec<u8>);

impl Batch {
    /// Those of the jobs that share a request with `job`; `sent` as in [`pairs`].
    pub(super) fn of(job: &Job, sent: &str) -> Self {
        let mut behind = Vec::with_capacity(256);
        for (name, value) in pairs(job, sent).skip(1) {
            Json(&mut behind).raw(r#",""#).raw(name).raw(r#"":"#).text(value);
        }
        behind.push(b'}');
        Self(behind)
    }

    /// Writes the echo of the job with this id.
    pub(super) fn write(&self, json: &mut Json<'_>, id: &str) {
        json.raw(r#"{""#).raw(echo::ID).raw(r#"":"#).text(id);
        json.0.extend_from_slice(&self.0);
    }
}

/// The time of a send, in whole seconds since 1970.
pub(super) fn sent(now: Wall) -> String {
    format!("{:010}", now.0.div_euclid(1000))
}

/// Reads the values of [`NAMES`]. What no job could have said is as good as not told.
pub(super) fn read([id, tenant, campaign, lane, sent]: [&str; 5]) -> Echo {
    let text = |s: &str| if field::header_safe(s, 128).is_ok() { s.into() } else { Box::default() };
    Echo {
        id: text(id),
        tenant: if field::label(tenant, 64).is_ok() { tenant.into() } else { Box::default() },
        campaign: text(campaign),
        lane: lane.parse().ok(),
        sent: stamp(sent),
    }
}
