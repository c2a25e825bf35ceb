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
#[derive(Clone, Debug)]
pub struct Config {
    /// Channel and lane pairs in which a job must carry consent.
    pub require_consent: Vec<(Channel, Lane)>,
    /// Rules by tenant.
    pub tenants: HashMap<String, Tenant>,
    /// Rules for tenants without an entry.
    pub other_tenants: Tenant,
    /// A `send_at` further off than this is taken for a mistake.
    pub send_at_max: Duration,
    /// By lane ([`Lane::index`]): how old a job without `expires_at` may become. Zero drops every such job.
    pub max_age: [Duration; 2],
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

    /// From when on a job is worthless: its `expires_at`, or else its lane's `max_age` after it was enqueued or
    /// after its `send_at`, whichever is later. `enqueued` is its record's broker timestamp; 0 or less means that
    /// the broker gave none. `None`: never, because nothing says how old it is.
    #[must_use]
    pub fn expires(&self, spec: &Spec<'_>, lane: Lane, enqueued: Wall) -> Option<Wall> {
        spec.expires_at.or_else(|| expiry::of_age(spec, self.max_age[lane.index()], enqueued))
    }

    /// Every rule, before a job may queue. `enqueued` as for [`Config::expires`].
    #[must_use]
    pub fn decide(&self, spec: &Spec<'_>, lane: Lane, enqueued: Wall, now: Wall) -> Decision {
        let tenant = self.tenant(&spec.tenant);
        let drop = expiry::check(spec, self.expires(spec, lane, enqueued), now)
            .or_else(|| consent::check(spec, lane, &self.require_consent))
            .or_else(|| unsubscribe::check(spec, lane, tenant))
            .or_else(|| sender::check(spec, tenant));
        match drop {
            Some((kind, reason)) => Decision::Drop(kind, reason),
            None => schedule::check(spec, now, self.send_at_max),
        }
    }

    /// The rules that time can change, when a permit is redeemed. `enqueued` as for [`Config::expires`].
    #[must_use]
    pub fn recheck(&self, spec: &Spec<'_>, lane: Lane, enqueued: Wall, now: Wall) -> Decision {
        match expiry::check(spec, self.expires(spec, lane, enqueued), now) {
            Some((kind, reason)) => Decision::Drop(kind, reason),
            None => Decision::Send,
        }
    }
}
