//! When those who wait ask for leave to send, where a request carries many: at once after a rest, else together.
//!
//! Why: a request costs as much with one message as with hundreds. Asked for as they come, messages of a line that is
//! busy but not full go out nearly one by one.
//! Must not know: whose jobs wait, limits.

use std::time::{Duration, Instant};

/// How long those who come after an ask gather for the next. Shorter than what a limit's bucket holds, a twentieth of at
/// least a second, so that no leave is lost meanwhile.
pub const GATHER: Duration = Duration::from_millis(20);

/// The rhythm of one provider's asks in one lane.
#[derive(Debug)]
pub struct Gather {
    /// So many need not wait for more.
    enough: usize,
    until: Option<Instant>,
}

impl Gather {
    /// `per_request`: the most messages of a request. Where that is one, nothing is gained by waiting, and nobody does.
    #[must_use]
    pub const fn new(per_request: usize) -> Self {
        Self { enough: per_request, until: None }
    }

    /// Whether `waiting` jobs may ask now.
    #[must_use]
    pub fn may_ask(&self, waiting: usize, now: Instant) -> bool {
        waiting >= self.enough || self.until.is_none_or(|until| until <= now)
    }

    /// They have asked.
    pub fn asked(&mut self, now: Instant) {
        self.until = Some(now + GATHER);
    }

    /// When they may that may not now.
    #[must_use]
    pub fn opens_at(&self, waiting: usize, now: Instant) -> Option<Instant> {
        self.until.filter(|_| waiting > 0 && !self.may_ask(waiting, now))
    }
}
