//! The task that owns one provider's gate.
//!
//! Why: what all shards share has one owner; there is nothing to lock and no order of locks to get wrong.
//! Must not know: jobs, vendors.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use prometheus::{Gauge, Histogram, IntCounter};
use tokio::sync::mpsc;

use super::{Provider, shard};
use crate::gate::limit::Unit;
use crate::gate::{Ask, Gate, Grant};
use crate::job::Lane;
use crate::observe::{Clock, Metrics};
use crate::route::ProviderId;

/// What shards say to a gate.
#[derive(Debug)]
pub(super) enum ToGate {
    /// They want to send.
    Ask(Ask),
    /// So many requests of a lane's permits have ended, or were never made.
    Release(Lane, u32),
    /// Nothing before this.
    Stop(Instant),
}

/// One permit, as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// By which provider's gate.
    pub provider: Arc<str>,
    /// When.
    pub at: Instant,
    /// For so many requests …
    pub requests: u32,
    /// … and messages.
    pub messages: u32,
}

/// A list of permits that outlives the daemon: demos and tests hold it against the arrivals.
pub type PermitLog = Arc<Mutex<Vec<Granted>>>;

pub(super) struct Gatekeeper {
    id: ProviderId,
    name: Arc<str>,
    gate: Gate,
    shards: Vec<mpsc::Sender<shard::Event>>,
    permit_log: Option<PermitLog>,
    granted: [IntCounter; 2],
    wait: [Histogram; 2],
    stopped: Gauge,
}

/// How often a stop's remaining time is shown anew.
const SHOW: std::time::Duration = std::time::Duration::from_secs(1);

impl Gatekeeper {
    pub(super) fn new(
        id: ProviderId,
        provider: &Provider,
        now: Instant,
        shards: Vec<mpsc::Sender<shard::Event>>,
        metrics: &Metrics,
        permit_log: Option<PermitLog>,
    ) -> Self {
        let gate = Gate::new(&provider.gate, now);
        let name = &provider.name;
        for (limit, rate) in gate.rates() {
            metrics.gate_rate.with_label_values(&[&**name, limit.unit.as_str(), &limit.to_string()]).set(rate);
        }
        let counter = |unit: Unit| metrics.gate_granted.with_label_values(&[&**name, unit.as_str()]);
        Self {
            id,
            name: Arc::clone(name),
            gate,
            shards,
            permit_log,
            granted: [counter(Unit::Requests), counter(Unit::Messages)],
            wait: Lane::ALL.map(|lane| metrics.gate_wait.with_label_values(&[&**name, lane.as_str()])),
            stopped: metrics.gate_stopped.with_label_values(&[&**name]),
        }
    }

    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<ToGate>, clock: Clock) {
        let mut heard = Vec::new();
        let mut grants = Vec::new();
        let mut wake = None;
        loop {
            let sleep = wake.unwrap_or_else(|| clock.mono() + SHOW);
            tokio::select! {
                n = asks.recv_many(&mut heard, 256) => if n == 0 { return },
                () = tokio::time::sleep_until(sleep.into()) => {}
            }
            let now = clock.mono();
            for message in heard.drain(..) {
                match message {
                    ToGate::Ask(ask) => self.gate.ask(ask, now),
                    ToGate::Release(lane, requests) => self.gate.release(lane, requests),
                    ToGate::Stop(until) => self.gate.stop_until(until),
                }
            }
            wake = self.gate.turn(now, &mut grants);
            self.stopped.set(self.gate.stopped(now).map_or(0.0, |until| (until - now).as_secs_f64()));
            self.hand_out(&mut grants, now);
        }
    }

    fn hand_out(&mut self, grants: &mut Vec<Grant>, now: Instant) {
        for grant in grants.drain(..) {
            let (requests, messages) = (grant.permit.requests(), grant.permit.messages());
            self.granted[0].inc_by(u64::from(requests));
            self.granted[1].inc_by(u64::from(messages));
            tracing::trace!(target: "peakpost::permit", provider = &*self.name, requests, messages, "granted");
            self.wait[grant.permit.lane().index()].observe(grant.waited.as_secs_f64());
            if let Some(log) = &self.permit_log
                && let Ok(mut log) = log.lock()
            {
                log.push(Granted { provider: Arc::clone(&self.name), at: now, requests, messages });
            }
            let lane = grant.permit.lane();
            let event = shard::Event::Granted { provider: self.id, permit: grant.permit };
            if self.shards[grant.shard].try_send(event).is_err() {
                // The shard has ended: the daemon is stopping, and so will this task.
                self.gate.release(lane, requests);
            }
        }
    }
}
