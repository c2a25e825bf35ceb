//! A provider as the shards see it: how to reach it and its gate, and what all of them must know of it at once.
//!
//! Why: a gate's word takes a moment to come round; what must hold in that moment is shared here, without a lock.
//! Must not know: whose turn it is, what a reply means.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use tokio::sync::mpsc;

use super::Provider;
use super::carrier::Carrier;
use super::gatekeeper::ToGate;
use super::stop::{Detour, StopLine};
use crate::job::Home;

/// A provider as the shards see it.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) provider: Provider,
    pub(super) gate: mpsc::Sender<ToGate>,
    pub(super) stop: StopLine,
    pub(super) carrier: Carrier,
    /// Jobs accepted whose outcome is not durable yet.
    pub(super) unrecorded: Arc<AtomicU32>,
    /// By lane: until when its jobs had better go elsewhere.
    pub(super) detours: [Detour; 2],
    /// By lane: when its warm-up will take more, as was told last.
    pub(super) spill_told: [StopLine; 2],
    /// That others carry its jobs need not be told again before this …
    pub(super) failover_told: StopLine,
    /// … nor that it turns everything away.
    pub(super) down_told: StopLine,
}

impl Desk {
    pub(super) fn new(
        provider: Provider,
        gate: mpsc::Sender<ToGate>,
        unrecorded: Arc<AtomicU32>,
        homes: Home,
        now: Instant,
    ) -> Self {
        let line = || StopLine::new(now);
        let carrier = Carrier::new(&provider.gate, &provider.name, homes);
        Self {
            provider,
            gate,
            stop: line(),
            carrier,
            unrecorded,
            detours: [Detour::new(now), Detour::new(now)],
            spill_told: [line(), line()],
            failover_told: line(),
            down_told: line(),
        }
    }
}
