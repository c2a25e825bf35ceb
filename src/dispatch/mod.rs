//! The only room that knows the order: shard loop → batch → attempt → settle.
//!
//! Why: every other room answers one question; here the questions are asked in the one order that is safe:
//! rules, route, queue, permit, redeem (ownership, lease, stops, expiry), encode, send, decode, retry or settle.
//! Must not know: Kafka, vendors' formats, how limits are kept.

mod attempt;
mod defer;
mod gatekeeper;
mod line;
mod redeem;
mod shard;
mod split;
mod stop;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::gate;
use crate::job::Lane;
use crate::job::source::{Layout, Tiers};
use crate::lane::inbox::ToShard;
use crate::ledger::ownership::Ownership;
use crate::observe::{Clock, Metrics};
use crate::policy;
use crate::provider::Kind;
use crate::provider::wire::Wire;
use crate::retry;
use crate::route::Routes;
use crate::settle::Settler;

pub use gatekeeper::{Granted, PermitLog};

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
    /// Shard tasks.
    pub shards: usize,
    /// Seed of the jitter.
    pub seed: u64,
    /// Who owns what.
    pub ownership: Arc<Ownership>,
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
    /// Ends with the last shard; a task that panics shows here.
    pub tasks: JoinSet<()>,
}

/// Batches on their way to one shard.
const INBOX: usize = 256;

/// A provider as the shards see it.
struct Desk {
    provider: Provider,
    gate: mpsc::Sender<gatekeeper::ToGate>,
    stop: stop::StopLine,
}

/// Starts gates and shards. Must be called within a tokio runtime.
#[must_use]
pub fn start(parts: Parts) -> Dispatch {
    let Parts { providers, rules, shards, seed, ownership, settler, metrics, clock, permit_log } = parts;
    let now = clock.mono();
    let mut tasks = JoinSet::new();
    // Answers to one shard: a grant per provider and lane, and a reply per slot. They always find room, so
    // neither a gate nor a reply ever waits for a shard.
    let slots: u32 = providers.iter().map(|p| p.gate.concurrency).sum();
    let room = slots as usize + providers.len() * 4 + 16;
    let (event_tx, event_rx): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(room)).unzip();
    let desks: Arc<[Desk]> = providers
        .into_iter()
        .enumerate()
        .map(|(id, provider)| {
            let (gate, asks) = mpsc::channel(shards * 8 + slots as usize);
            let keeper =
                gatekeeper::Gatekeeper::new(id, &provider, now, event_tx.clone(), &metrics, permit_log.clone());
            tasks.spawn(keeper.run(asks, clock.clone()));
            Desk { provider, gate, stop: stop::StopLine::new(now) }
        })
        .collect();
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
            ownership: Arc::clone(&ownership),
            settler: settler.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            replies: event_tx[id].clone(),
        };
        tasks.spawn(shard::Shard::new(ctx, seed.wrapping_add(id as u64)).run(inbox, events));
    }
    Dispatch { shards: inboxes, tasks }
}

/// The time of one turn of a shard.
#[derive(Clone, Copy, Debug)]
struct Now {
    mono: Instant,
    wall: crate::job::Wall,
}
