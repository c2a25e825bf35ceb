//! Commits and the lease that follows from them.
//!
//! Why: an acknowledged commit proves that the group still counts us as the owner; the lease runs from the
//! moment that commit was *sent*. Answers come in the order of the commits; an overdue one is counted against
//! the oldest, which is the safe side.
//! Must not know: Kafka clients, what is committed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When to commit next, and what an answer means.
#[derive(Debug)]
pub(super) struct Fence {
    interval: Duration,
    lease: Duration,
    /// Send times of the commits that are out, oldest first. More than one only when an answer is overdue.
    out: VecDeque<Instant>,
    last: Option<Instant>,
    urgent: bool,
    /// Commits sent so far.
    sent: u64,
    /// The newest commit that was acknowledged.
    acked: u64,
}

/// A failed commit is tried again after this.
const AGAIN: Duration = Duration::from_millis(200);

impl Fence {
    pub(super) fn new(interval: Duration, lease: Duration) -> Self {
        let interval = interval.min(lease / 3);
        Self { interval, lease, out: VecDeque::new(), last: None, urgent: false, sent: 0, acked: 0 }
    }

    /// Something waits for the next commit. Returns its number: once `reached` says so, what holds now is
    /// committed.
    pub(super) fn hurry(&mut self) -> u64 {
        self.urgent = true;
        self.sent + 1
    }

    /// Whether to send one now. While one is out, the next waits, but not longer than a lease.
    pub(super) fn due(&self, now: Instant) -> bool {
        let since = |at: &Instant| now.saturating_duration_since(*at);
        if self.out.back().is_some_and(|sent| since(sent) < self.lease) {
            return false;
        }
        let wait = if self.urgent { AGAIN.min(self.interval) } else { self.interval };
        self.last.as_ref().is_none_or(|last| since(last) >= wait || (self.urgent && self.acked == self.sent))
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.out.push_back(now);
        (self.last, self.urgent) = (Some(now), false);
        self.sent += 1;
    }

    /// The oldest commit that is out was answered. Returns until when sending is allowed.
    pub(super) fn answered(&mut self, ok: bool) -> Option<Instant> {
        let sent = self.out.pop_front()?;
        if !ok {
            self.urgent = true;
            return None;
        }
        self.acked = self.sent - self.out.len() as u64;
        Some(sent + self.lease)
    }

    /// Whether every commit that was sent has its answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether the commit of that number, or a later one, was acknowledged.
    pub(super) fn reached(&self, number: u64) -> bool {
        self.acked >= number
    }
}
