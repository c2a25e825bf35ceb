//! The echo: how a send names itself to its vendor, and how that is read when the vendor speaks of it later.
//!
//! Why: written once for every vendor, so that what is read is what was written; there is no table of what was sent.
//! Must not know: in which field a vendor carries it.

use serde::ser::{Serialize, Serializer};

use super::feedback::stamp;
use crate::event::{Echo, echo};
use crate::job::{Job, Lane, Wall, field};

/// Its names, in the order in which they are written. The last one has always ten digits: where a vendor signs without
/// marking ends (Twilio), nothing can be moved in or out of it.
pub(super) const NAMES: [&str; 5] = [echo::ID, echo::TENANT, echo::CAMPAIGN, echo::LANE, echo::SENT];

/// One send, as it names itself. As JSON: an object of texts.
pub(super) struct Named<'a> {
    id: &'a str,
    tenant: &'a str,
    campaign: Option<&'a str>,
    lane: Lane,
    sent: &'a str,
}

impl<'a> Named<'a> {
    /// The echo of `job`; `sent` is what [`sent`] made of the time.
    pub(super) fn of(job: &'a Job, sent: &'a str) -> Self {
        let spec = job.spec();
        Self { id: &spec.id, tenant: &spec.tenant, campaign: spec.campaign.as_deref(), lane: job.lane, sent }
    }

    /// Names and values, without a campaign where there is none.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [Some(self.id), Some(self.tenant), self.campaign, Some(self.lane.as_str()), Some(self.sent)];
        NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)))
    }
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.pairs())
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
