//! When a lane that was full is read again: in one go, not record by record as room is freed.
//!
//! Why: what is read together is sent together and settled together. Jobs of all partitions in turn, one by one, would
//! leave each partition a handful of outcomes at a time, and each handful is a request to the broker.
//! Must not know: partitions, what room is.

use std::time::{Duration, Instant};

/// The longest rest. Short enough to keep going where jobs that wait for long hold most of the room.
pub const REST: Duration = Duration::from_millis(200);

/// The rest of one lane of one home.
#[derive(Debug, Default)]
pub struct Rest {
    until: Option<Instant>,
}

impl Rest {
    /// It is full.
    pub fn begin(&mut self, now: Instant) {
        self.until = Some(now + REST);
    }

    /// Whether it rests still. `has_room`: much of its room is free again; asked while it rests.
    #[must_use]
    pub fn lasts(&mut self, has_room: impl FnOnce() -> bool, now: Instant) -> bool {
        self.until = self.until.filter(|until| *until > now && !has_room());
        self.until.is_some()
    }
}
