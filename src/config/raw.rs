//! The configuration as it is written: texts and numbers, unknown keys refused.
//!
//! Why: two steps, what was typed and what is needed, keep the errors close to what was typed.
//! Must not know: what any of it means.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::job::{Channel, Lane};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) kafka: Kafka,
    pub(super) topics: Topics,
    pub(super) intake: Intake,
    pub(super) delay: Delay,
    pub(super) settle: Settle,
    pub(super) suppressions: Suppressions,
    pub(super) dispatch: Dispatch,
    pub(super) lanes: Lanes,
    pub(super) policy: Policy,
    pub(super) tenants: BTreeMap<String, Tenant>,
    pub(super) retry: Retry,
    pub(super) feedback: Feedback,
    pub(super) mailboxes: BTreeMap<String, Vec<String>>,
    pub(super) reputation: Reputation,
    pub(super) ops: Ops,
    pub(super) log: Log,
    #[serde(default)]
    pub(super) providers: Vec<Provider>,
    #[serde(default)]
    pub(super) routes: Vec<Route>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kafka {
    pub(super) brokers: String,
    pub(super) prefix: String,
    pub(super) group: String,
    pub(super) first_start: String,
    pub(super) session_timeout: String,
    pub(super) heartbeat: String,
    /// Set by the demo and the tests: the broker is the embedded one.
    #[serde(default)]
    pub(super) embedded: bool,
    #[serde(default)]
    pub(super) client: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topics {
    pub(super) partitions: u16,
    pub(super) replication: i32,
    pub(super) outcomes_retention: String,
    pub(super) dead_retention: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Intake {
    pub(super) lease: String,
    pub(super) commit_interval: String,
    pub(super) drain: String,
    pub(super) window_jobs: usize,
    pub(super) restore_depth: usize,
    pub(super) duplicate_window: usize,
    pub(super) memory: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delay {
    pub(super) tiers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    pub(super) linger: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suppressions {
    pub(super) key: String,
    pub(super) max_stale: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dispatch {
    pub(super) shards: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lanes {
    pub(super) transactional: Priority,
    pub(super) marketing: Patience,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Priority {
    pub(super) reserve: f64,
    pub(super) weight: u32,
    pub(super) max_age: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    pub(super) max_age: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) require_consent: Vec<String>,
    pub(super) send_at_max: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    pub(super) from: Vec<String>,
    #[serde(default)]
    pub(super) marketing_without_unsubscribe: bool,
    pub(super) weight: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) attempts_max: u16,
    pub(super) backoff: String,
    pub(super) backoff_max: String,
    pub(super) budget: f64,
    pub(super) budget_floor: f64,
    pub(super) quarantine: Vec<Channel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Feedback {
    pub(super) listen: Option<String>,
    pub(super) body_max: String,
    pub(super) concurrency: usize,
    pub(super) read_timeout: String,
    pub(super) unresolved_after: String,
    pub(super) tls: Option<Tls>,
}

/// Paths of files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: String,
    pub(super) key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reputation {
    pub(super) window: String,
    pub(super) cool_down: String,
    pub(super) ramp_step: String,
    pub(super) complaints: Signal,
    pub(super) severe: f64,
    pub(super) hard_bounces: Signal,
    pub(super) unsubscribes: Signal,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    pub(super) warn: f64,
    pub(super) block: f64,
    pub(super) least: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ops {
    pub(super) listen: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: String,
    pub(super) filter: String,
}

/// Keys of every kind; which of them a kind takes is checked when it is built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) limits: Vec<String>,
    #[serde(default)]
    pub(super) senders: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) tenants: BTreeMap<String, Vec<String>>,
    pub(super) warm_up: Option<WarmUp>,
    pub(super) concurrency: u32,
    #[serde(default)]
    pub(super) allow_hosts: Vec<String>,
    pub(super) connect_timeout: Option<String>,
    pub(super) request_timeout: Option<String>,
    pub(super) jitter: Option<String>,
    pub(super) base_url: Option<String>,
    pub(super) url: Option<String>,
    pub(super) key: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) account_sid: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) batch_max: Option<usize>,
    pub(super) feedback: Option<Ear>,
}

/// Who may speak for a provider, in the words of every kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ear {
    pub(super) key: Option<String>,
    pub(super) public_key: Option<String>,
    pub(super) url: Option<String>,
    pub(super) max_age: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) channel: Channel,
    pub(super) tenant: Option<String>,
    pub(super) lane: Option<Lane>,
    pub(super) provider: Option<String>,
    pub(super) providers: Option<Vec<String>>,
    #[serde(default)]
    pub(super) weights: Vec<u32>,
}

/// Days as a list, or as growth.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WarmUp {
    pub(super) start: String,
    pub(super) days: Option<Vec<u32>>,
    pub(super) first: Option<u32>,
    pub(super) factor: Option<f64>,
    pub(super) until: Option<u32>,
}
