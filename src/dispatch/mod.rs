//! The only room that knows the order: shard loop → batch → attempt → settle.
//!
//! Why: every other room answers one question; here the questions are asked in the one order that is safe:
//! rules, route, queue, permit, redeem (ownership, lease, suppressions, stops, expiry), encode, send, decode, retry or settle.
//! Must not know: Kafka, vendors' formats, how limits are kept.

mod attempt;
mod carrier;
mod defer;
mod desk;
mod enter;
mod gatekeeper;
mod line;
mod recipient;
mod redeem;
mod reputation;
mod shard;
mod split;
mod stop;
mod word;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::control::Order;
use crate::gate;
use crate::job::source::{Layout, Tiers};
use crate::job::{Home, Lane};
use crate::lane::inbox::ToShard;
use crate::ledger::ownership::Ownership;
use crate::ledger::usage::Opened;
use crate::observe::{Clock, Metrics};
use crate::policy;
use crate::provider::Kind;
use crate::provider::wire::Wire;
use crate::recipient::Recipients;
use crate::retry;
use crate::route::Routes;
use crate::settle::Settler;

pub use crate::gate::breaker::PROBE_LIFE;
use desk::Desk;
pub use gatekeeper::{GateHandle, Granted, PermitLog};
pub use reputation::Reputation;

/// One provider, ready to be used.
#[derive(Debug)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its words.
    pub kind: Kind,
    /// Its connections.
    pub wire: Wire,
    /// Its limits.
    pub gate: gate::Config,
}

impl Provider {
    /// Whether some of its limits are budgets, of which `usage` must be read before a home is opened.
    #[must_use]
    pub fn keeps_budgets(&self) -> bool {
        gatekeeper::keeps_budgets(&self.gate)
    }
}

/// The rules by which jobs are sent.
#[derive(Debug)]
pub struct Rules {
    /// Who may be written to.
    pub policy: policy::Config,
    /// Who carries what.
    pub routes: Routes,
    /// When to try again.
    pub retry: retry::Config,
    /// How many retries a provider is spared, per shard.
    pub budget: retry::budget::Config,
    /// How long the delay tiers wait.
    pub tiers: Tiers,
}

/// What dispatch is made of.
pub struct Parts {
    /// Providers, in the order of their ids.
    pub providers: Vec<Provider>,
    /// Rules.
    pub rules: Rules,
    /// Homes over all instances.
    pub homes: Home,
    /// What `usage` says of homes that are being opened; `None`: nobody keeps a budget.
    pub opened: Option<mpsc::Receiver<Opened>>,
    /// What other instances have heard. The tasks end only when its sender is gone.
    pub control: mpsc::Receiver<Order>,
    /// What they know this one by.
    pub instance: String,
    /// Shard tasks.
    pub shards: usize,
    /// Seed of the jitter.
    pub seed: u64,
    /// Who owns what.
    pub ownership: Arc<Ownership>,
    /// Who must not be written to.
    pub recipients: Arc<Recipients>,
    /// Which streams are blocked.
    pub reputation: Reputation,
    /// Where outcomes go.
    pub settler: Settler,
    /// What is counted.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Takes a note of every permit, for checks against arrivals.
    pub permit_log: Option<PermitLog>,
}

/// The running dispatch.
pub struct Dispatch {
    /// One inbox per shard. Dropping them lets the shards end once nothing is out.
    pub shards: Vec<mpsc::Sender<ToShard>>,
    /// One per provider, in the order of their ids.
    pub gates: Vec<GateHandle>,
    /// Ends with the last shard; a task that panics shows here.
    pub tasks: JoinSet<()>,
}

/// Batches on their way to one shard.
const INBOX: usize = 256;

/// Most requests that a provider may be configured to have at a time.
pub const CONCURRENCY_MAX: u32 = 10_000;

/// Starts gates and shards. Must be called within a tokio runtime.
#[must_use]
pub fn start(parts: Parts) -> Dispatch {
    let Parts { providers, rules, homes, opened, shards, seed, ownership, settler, metrics, clock, .. } = parts;
    let (recipients, reputation) = (parts.recipients, parts.reputation);
    let instance: Arc<str> = parts.instance.into();
    let now = clock.mono();
    let mut tasks = JoinSet::new();
    // Answers to one shard: as many as it has asks out, and a reply per slot, of which a reload may make more. They
    // always find room, so neither a gate nor a reply ever waits for a shard.
    let room = providers.len() * (CONCURRENCY_MAX as usize + 2 * line::ASKS_MAX) + 16;
    let (event_tx, event_rx): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(room)).unzip();
    let reads_usage = opened.is_some();
    let common = gatekeeper::Common {
        shards: event_tx.clone(),
        ownership: Arc::clone(&ownership),
        settler: settler.clone(),
        instance: Arc::clone(&instance),
        metrics: metrics.clone(),
        permit_log: parts.permit_log,
        homes,
        reads_usage,
        seed,
    };
    let mut gates = Vec::new();
    let desks: Arc<[Desk]> = providers
        .into_iter()
        .enumerate()
        .map(|(id, provider)| {
            let unrecorded = Arc::<AtomicU32>::default();
            let (gate, asks) = mpsc::channel(shards * 8 + provider.gate.concurrency as usize);
            let keeper = gatekeeper::Gatekeeper::new(id, &provider, &unrecorded, common.clone(), now);
            tasks.spawn(keeper.run(asks, clock.clone()));
            gates.push(GateHandle::new(&provider, &gate, homes, reads_usage));
            Desk::new(provider, gate, unrecorded, homes, now)
        })
        .collect();
    if let Some(opened) = opened {
        tasks.spawn(pass_on(opened, desks.iter().map(|desk| desk.gate.clone()).collect()));
    }
    tasks.spawn(obey(parts.control, instance, Arc::clone(&desks), metrics.clone()));
    for lane in Lane::ALL {
        let age = rules.policy.max_age[lane.index()].as_secs_f64();
        metrics.lane_max_age.with_label_values(&[lane.as_str()]).set(age);
    }
    let rules = Arc::new(rules);
    let layout = Layout {
        tiers: u8::try_from(rules.tiers.0.len()).unwrap_or(u8::MAX),
        holds: u16::try_from(desks.len()).unwrap_or(u16::MAX),
    };
    let mut inboxes = Vec::with_capacity(shards);
    for (id, events) in event_rx.into_iter().enumerate() {
        let (tx, inbox) = mpsc::channel(INBOX);
        inboxes.push(tx);
        let ctx = shard::Context {
            id,
            desks: Arc::clone(&desks),
            rules: Arc::clone(&rules),
            layout,
            homes,
            ownership: Arc::clone(&ownership),
            recipients: Arc::clone(&recipients),
            reputation: reputation.clone(),
            settler: settler.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            replies: event_tx[id].clone(),
        };
        tasks.spawn(shard::Shard::new(ctx, seed.wrapping_add(id as u64)).run(inbox, events));
    }
    Dispatch { shards: inboxes, gates, tasks }
}

/// Tells every gate what `usage` says of each home that is being opened.
async fn pass_on(mut opened: mpsc::Receiver<Opened>, gates: Vec<mpsc::Sender<gatekeeper::ToGate>>) {
    while let Some(opened) = opened.recv().await {
        let opened = Arc::new(opened);
        for gate in &gates {
            if gate.send(gatekeeper::ToGate::Opened(Arc::clone(&opened))).await.is_err() {
                tracing::debug!(target: "peakpost::dispatch", "a gate has ended");
            }
        }
    }
}

/// Passes what other instances have heard to the gate that it concerns.
async fn obey(mut orders: mpsc::Receiver<Order>, instance: Arc<str>, desks: Arc<[Desk]>, metrics: Metrics) {
    let heard = metrics.control_orders.with_label_values(&["heard"]);
    while let Some(order) = orders.recv().await {
        // What was said here comes back as well, and who has other providers may speak of them.
        let Some(desk) = desks.iter().find(|desk| *desk.provider.name == *order.provider && *order.by != *instance)
        else {
            continue;
        };
        let Order { provider, sender, until, by, why } = &order;
        let sender = sender.as_deref();
        tracing::info!(target: "peakpost::control", provider, sender, %until, by, why, "another instance's stop holds here");
        heard.inc();
        if desk.gate.send(gatekeeper::ToGate::Order(order)).await.is_err() {
            tracing::debug!(target: "peakpost::dispatch", "a gate has ended");
        }
    }
}

/// The time of one turn of a shard.
#[derive(Clone, Copy, Debug)]
struct Now {
    mono: Instant,
    wall: crate::job::Wall,
}
