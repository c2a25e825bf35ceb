//! The gate in virtual time: what it lets through, to whom, and what it never does.
//!
//! Why: a limit is a promise to a vendor, and breaking it costs the account. Hours pass here in seconds, because
//! nobody sleeps: every instant is computed.
//! Must not know: tasks, shards, vendors.

#[path = "gate/alone.rs"]
mod alone;
#[path = "gate/breaker.rs"]
mod breaker;
#[path = "gate/budget.rs"]
mod budget;
#[path = "gate/fair.rs"]
mod fair;
#[path = "gate/fleet.rs"]
mod fleet;
#[path = "gate/heard.rs"]
mod heard;
#[path = "gate/limits.rs"]
mod limits;
#[path = "gate/owners.rs"]
mod owners;
#[path = "gate/pace.rs"]
mod pace;
#[path = "gate/rates.rs"]
mod rates;
#[path = "gate/schedules.rs"]
mod schedules;
#[path = "gate/shares.rs"]
mod shares;
#[path = "gate/stops.rs"]
mod stops;
#[path = "gate/tenants.rs"]
mod tenants;
#[path = "gate/turns.rs"]
mod turns;
#[path = "gate/vendor.rs"]
mod vendor;
#[path = "gate/warmup.rs"]
mod warmup;
#[path = "gate/weather.rs"]
mod weather;
#[path = "gate/world.rs"]
mod world;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use peakpost::gate::{Ask, Config, Flow, Scoped};
use peakpost::job::Lane;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A gate's configuration as operators have it, but for its limits and slots.
fn config(limits: &[&str], concurrency: u32) -> Config {
    let limits = limits.iter().map(|text| text.parse().unwrap_or_else(|fault| panic!("{fault}"))).collect();
    Config {
        limits,
        senders: Scoped::default(),
        tenants: Scoped::default(),
        concurrency,
        reserve: 0.2,
        jitter: ms(50),
        weight: 9,
        tenant_weights: HashMap::new(),
        warm_up: None,
        elsewhere: false,
    }
}

fn flow(tenant: &str, sender: &str) -> Arc<Flow> {
    Arc::new(Flow { tenant: tenant.into(), sender: sender.into() })
}

/// An ask for single sends: one message each.
fn singles(shard: usize, lane: Lane, n: u32) -> Ask {
    Ask { shard, lane, flow: flow("acme", ""), requests: n, messages: n, per_request: 1 }
}

/// An ask for one request with many messages.
fn batch(shard: usize, lane: Lane, messages: u32) -> Ask {
    Ask { requests: 1, messages, per_request: 1000, ..singles(shard, lane, 1) }
}
