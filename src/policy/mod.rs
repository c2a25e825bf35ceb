//! May this message go to this person now?
//!
//! Why: the rules that protect recipients and reputation stand together, each in a file of its own with its
//! reason, and are asked before a job may queue (all of them) and again when its permit is redeemed (those
//! that time can change).
//! Must not know: providers, limits, where the answers to its questions are kept.

pub mod consent;
pub mod expiry;
pub mod schedule;
pub mod sender;
pub mod unsubscribe;

use std::collections::HashMap;
use std::time::Duration;

use crate::job::{Channel, Lane, Spec, Wall};
use crate::outcome::{Kind, Reason};

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may go.
    Send,
    /// Not before this time.
    Wait(Wall),
    /// It may not go.
    Drop(Kind, Reason),
}

/// What the rules need to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Channel and lane pairs in which a job must carry consent.
    pub require_consent: Vec<(Channel, Lane)>,
    /// Rules by tenant.
    pub tenants: HashMap<String, Tenant>,
    /// Rules for tenants without an entry.
    pub other_tenants: Tenant,
    /// Jobs due later than this are not held in memory.
    pub horizon: Duration,
}

/// One tenant's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Allowed senders: an address or number, `*@domain`, or `*`.
    pub from: Vec<String>,
    /// Lets marketing mail go without `unsubscribe` (the tenant's templates carry their own).
    pub marketing_without_unsubscribe: bool,
}

impl Config {
    fn tenant(&self, name: &str) -> &Tenant {
        self.tenants.get(name).unwrap_or(&self.other_tenants)
    }

    /// Every rule, before a job may queue.
    #[must_use]
    pub fn decide(&self, spec: &Spec<'_>, lane: Lane, now: Wall) -> Decision {
        let tenant = self.tenant(&spec.tenant);
        let drop = expiry::check(spec, now)
            .or_else(|| consent::check(spec, lane, &self.require_consent))
            .or_else(|| unsubscribe::check(spec, lane, tenant))
            .or_else(|| sender::check(spec, tenant));
        match drop {
            Some((kind, reason)) => Decision::Drop(kind, reason),
            None => schedule::check(spec, now, self.horizon),
        }
    }

    /// The rules that time can change, when a permit is redeemed.
    #[must_use]
    pub fn recheck(&self, spec: &Spec<'_>, now: Wall) -> Decision {
        match expiry::check(spec, now) {
            Some((kind, reason)) => Decision::Drop(kind, reason),
            None => Decision::Send,
        }
    }
}
