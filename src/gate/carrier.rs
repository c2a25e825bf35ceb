//! Which limits are too small to be parted, and which home has them whole.
//!
//! Why: one message a second cannot be cut in twelve. A limit of which no home would have a few units in each window
//! belongs to one home, found from its name alone, so that every instance finds the same; other homes hand its jobs
//! over to that one.
//! Must not know: who owns a home.

use std::fmt;

use super::Config;
use super::limit::Limit;
use super::scoped::Scoped;
use crate::job::Home;

/// A limit is parted if every home has at least so many units in each window: below that, the one unit of burst that
/// each home needs costs more than a quarter of the limit.
const UNITS_LEAST: u32 = 4;
/// The same for a budget, whose parts cost nothing but must be there.
const BUDGET_UNITS_LEAST: u32 = 2;

/// Whose limits they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The provider's account.
    Provider,
    /// One sender.
    Sender(&'a str),
    /// One tenant.
    Tenant(&'a str),
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider => f.write_str("provider"),
            Self::Sender(name) => write!(f, "sender:{name}"),
            Self::Tenant(name) => write!(f, "tenant:{name}"),
        }
    }
}

/// Whether a limit cannot be parted over so many homes.
#[must_use]
pub fn is_small(limit: &Limit, homes: Home) -> bool {
    let least = if limit.is_budget() { BUDGET_UNITS_LEAST } else { UNITS_LEAST };
    homes > 1 && limit.count < least * u32::from(homes)
}

fn any_small<'a>(limits: impl IntoIterator<Item = &'a Limit>, homes: Home) -> bool {
    limits.into_iter().any(|limit| is_small(limit, homes))
}

/// The same home for the same name everywhere and for ever (FNV-1a, 64 bits).
fn home_of(provider: &str, name: &str, homes: Home) -> Home {
    let bytes = provider.bytes().chain([0]).chain(name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Home::try_from(hash % u64::from(homes.max(1))).unwrap_or(0)
}

impl Config {
    /// The home that has all limits of the account, if one of them, or the concurrency, is too small to be parted.
    #[must_use]
    pub fn account_carrier(&self, provider: &str, homes: Home) -> Option<Home> {
        let small = any_small(&self.limits, homes) || (homes > 1 && self.concurrency < u32::from(homes));
        small.then(|| home_of(provider, "", homes))
    }

    /// The home that has all limits of a sender or tenant, if it is not every home.
    #[must_use]
    pub fn scope_carrier(&self, provider: &str, scope: Scope<'_>, homes: Home) -> Option<Home> {
        let account = self.account_carrier(provider, homes);
        if account.is_some() {
            return account;
        }
        let small = |scoped: &Scoped, name: &str| any_small(scoped.of(name), homes);
        let (name, small) = match scope {
            Scope::Provider => return None,
            Scope::Sender(name) => (name, small(&self.senders, name)),
            Scope::Tenant(name) => (name, small(&self.tenants, name)),
        };
        // A job of a small sender and a small tenant needs both in one place: then all of them are in one.
        let both = any_small(self.senders.all(), homes) && any_small(self.tenants.all(), homes);
        small.then(|| home_of(provider, if both { "" } else { name }, homes))
    }

    /// The home that must make the sends of a job, if it is not the job's own. Known from the configuration alone.
    #[must_use]
    pub fn carrier(&self, provider: &str, sender: &str, tenant: &str, homes: Home) -> Option<Home> {
        let by = |scope| self.scope_carrier(provider, scope, homes);
        by(Scope::Sender(sender)).or_else(|| by(Scope::Tenant(tenant)))
    }

    /// Whether no job of this provider is ever carried.
    #[must_use]
    pub fn carries_nothing(&self, homes: Home) -> bool {
        let scoped = self.senders.all().chain(self.tenants.all());
        self.account_carrier("", homes).is_none() && !any_small(scoped, homes)
    }

    /// Whether it matters who a job is from.
    #[must_use]
    pub fn limits_senders(&self) -> bool {
        !self.senders.is_empty()
    }
}
