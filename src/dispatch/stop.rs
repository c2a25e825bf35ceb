//! A provider's stop, and until when its jobs had better go elsewhere, as every shard sees it at once.
//!
//! Why: the gate hears of a throttled reply a moment after the shard that read it; permits already given out
//! must not be redeemed in that moment. What is more than a cap goes elsewhere before it asks in vain.
//! Must not know: why it stands still.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::gate::report::By;

#[derive(Debug)]
pub(super) struct StopLine {
    origin: Instant,
    until: AtomicU64,
}

impl StopLine {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, until: AtomicU64::new(0) }
    }

    /// Nothing goes before `until`; a later time extends, an earlier one never shortens. Returns the end of the stop
    /// before it, if there was one.
    pub(super) fn stop_until(&self, until: Instant) -> Option<Instant> {
        let nanos = until.saturating_duration_since(self.origin).as_nanos();
        let before = self.until.fetch_max(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::AcqRel);
        (before > 0).then(|| self.origin + Duration::from_nanos(before))
    }

    pub(super) fn until(&self) -> Instant {
        self.origin + Duration::from_nanos(self.until.load(Ordering::Acquire))
    }

    pub(super) fn is_stopped(&self, now: Instant) -> bool {
        now < self.until()
    }
}

/// Jobs had better go elsewhere for a while, and why.
#[derive(Debug)]
pub(super) struct Detour {
    until: StopLine,
    /// Its place in `By::ALL`.
    by: AtomicU8,
}

impl Detour {
    pub(super) fn new(origin: Instant) -> Self {
        Self { until: StopLine::new(origin), by: AtomicU8::new(By::WarmUp as u8) }
    }

    pub(super) fn set(&self, until: Instant, by: By) {
        self.by.store(by as u8, Ordering::Release);
        self.until.stop_until(until);
    }

    pub(super) fn until(&self) -> Instant {
        self.until.until()
    }

    /// Why jobs had better go elsewhere now, if they had.
    pub(super) fn at(&self, now: Instant) -> Option<By> {
        let by = || By::ALL.get(usize::from(self.by.load(Ordering::Acquire))).copied();
        self.until.is_stopped(now).then(by).flatten()
    }
}
