//! Which providers may carry a job, the preferred one first.
//!
//! Why: what carries what is the operator's table, read top to bottom, so that it can be read at 3 a.m.
//! Must not know: whether a provider has room or is well (`gate` does).

use crate::job::{Channel, Lane};

/// A provider's position in the configuration.
pub type ProviderId = usize;

/// One line of the table. An absent condition fits everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Jobs of this channel …
    pub channel: Channel,
    /// … of this tenant …
    pub tenant: Option<String>,
    /// … in this lane …
    pub lane: Option<Lane>,
    /// … go to the first of these; at least one. Another carries what is more than the first may take in its warm-up.
    pub providers: Vec<ProviderId>,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Routes(pub Vec<Route>);

impl Routes {
    /// The providers of the first line that fits; none if no line does.
    #[must_use]
    pub fn find(&self, channel: Channel, tenant: &str, lane: Lane) -> &[ProviderId] {
        let fits = |route: &&Route| {
            route.channel == channel
                && route.tenant.as_deref().is_none_or(|t| t == tenant)
                && route.lane.is_none_or(|l| l == lane)
        };
        self.0.iter().find(fits).map_or(&[], |route| &route.providers)
    }
}
