//! Which providers may carry a job, and in which order: its plan.
//!
//! Why: what carries what is the operator's table, read top to bottom, so that it can be read at 3 a.m.; and who
//! takes over is decided before anybody is in trouble.
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
    /// … go to the first of these, at least one; or, with weights, to one of them in proportion. Another carries what
    /// that one cannot take now.
    pub providers: Vec<ProviderId>,
    /// Empty: the first comes first. Otherwise one for each provider, 0 to 1,000, not all of them 0; who has 0 only takes
    /// over.
    pub weights: Vec<u32>,
}

impl Route {
    /// The plan of a job; `key` is its own and the same on every attempt.
    #[must_use]
    pub fn plan(&self, key: u64) -> Plan<'_> {
        let all: u64 = self.weights.iter().copied().map(u64::from).sum();
        let mut left = key % all.max(1);
        let first = self.weights.iter().position(|weight| match left.checked_sub(u64::from(*weight)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        Plan { providers: &self.providers, first: first.unwrap_or(0) }
    }
}

/// The order in which providers are tried for one job: the chosen one, then the others as the table names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan<'a> {
    providers: &'a [ProviderId],
    first: usize,
}

impl Plan<'_> {
    /// The providers, in order; at least one.
    pub fn all(&self) -> impl Iterator<Item = ProviderId> {
        let others = self.providers.iter().enumerate().filter(|(at, _)| *at != self.first);
        self.providers.get(self.first).into_iter().chain(others.map(|(_, id)| id)).copied()
    }

    /// Whether there is a choice at all.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.providers.len() < 2
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Routes(pub Vec<Route>);

impl Routes {
    /// The first line that fits; none if no line does.
    #[must_use]
    pub fn find(&self, channel: Channel, tenant: &str, lane: Lane) -> Option<&Route> {
        let fits = |route: &&Route| {
            route.channel == channel
                && route.tenant.as_deref().is_none_or(|t| t == tenant)
                && route.lane.is_none_or(|l| l == lane)
        };
        self.0.iter().find(fits)
    }

    /// Whether some line names another provider that can take over from this one. Also from the last of a line: what it
    /// has taken over goes back when it fails in its turn.
    #[must_use]
    pub fn has_another(&self, provider: ProviderId) -> bool {
        self.0.iter().any(|route| route.providers.len() > 1 && route.providers.contains(&provider))
    }
}
