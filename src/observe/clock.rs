//! The one clock, handed down from `app`.
//!
//! Why: machines take time as an argument; only doors read it, and only here. Monotonic time drives machines;
//! wall time serves expiry and feedback alone, and never steps back: a clock set back must not revive what
//! has expired.
//! Must not know: what the time is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use crate::job::Wall;

/// A reader of time. Cheap to clone; clones agree on wall time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    latest: Arc<AtomicI64>,
}

impl Clock {
    /// Monotonic time. Follows tokio's paused time in tests.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads monotonic time")]
    pub fn mono(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Wall time, never earlier than any it has told before.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads wall time")]
    pub fn wall(&self) -> Wall {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Wall(now.max(self.latest.fetch_max(now, Ordering::Relaxed)))
    }
}
