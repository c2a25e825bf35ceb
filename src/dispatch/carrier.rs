//! Which homes may carry a provider's jobs, as far as it is known before there is a job.
//!
//! Why: most providers have no limit too small to be parted; their jobs must not pay for the question.
//! Must not know: which limits are small (`gate` does).

use crate::gate::Config;
use crate::gate::carrier::Scope;
use crate::job::Home;

/// Who carries what is sent through one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Every home its own.
    Any,
    /// This one everything.
    One(Home),
    /// It depends on sender and tenant.
    ByName,
}

impl Carrier {
    pub(super) fn new(config: &Config, provider: &str, homes: Home) -> Self {
        match config.account_carrier(provider, homes) {
            Some(home) => Self::One(home),
            None if config.carries_nothing(homes) => Self::Any,
            None => Self::ByName,
        }
    }
}

/// Whether the same homes carry the same jobs by both configurations.
pub(super) fn same(one: &Config, other: &Config, provider: &str, homes: Home) -> bool {
    let senders = || one.senders.named.keys().chain(other.senders.named.keys()).map(|name| Scope::Sender(name));
    let tenants = || one.tenants.named.keys().chain(other.tenants.named.keys()).map(|name| Scope::Tenant(name));
    // No job has such a tenant: it stands for those without a name in the configuration.
    let nobody = [Scope::Provider, Scope::Sender("\0"), Scope::Tenant("\0")];
    one.account_carrier(provider, homes) == other.account_carrier(provider, homes)
        && nobody
            .into_iter()
            .chain(senders())
            .chain(tenants())
            .all(|scope| one.scope_carrier(provider, scope, homes) == other.scope_carrier(provider, scope, homes))
}
