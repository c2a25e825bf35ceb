//! Tells people that there was no room for all counts: the metric always, the log once an hour.
//!
//! Why: what is not counted blocks nobody, so somebody should know; and it comes by the thousand.
//! Must not know: what was left out.

use std::time::{Duration, Instant};

use crate::observe::Metrics;

const TELL: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Teller {
    told: Option<Instant>,
}

impl Teller {
    /// So many of each were left out: `cohort`, `event`, `sum`.
    pub(super) fn tell(&mut self, dropped: &[(&'static str, u64)], metrics: &Metrics, now: Instant) {
        for (what, count) in dropped {
            // None as well: a series that begins with its first step shows no increase.
            metrics.reputation_dropped.with_label_values(&[what]).inc_by(*count);
            if *count > 0 && self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL) {
                self.told = Some(now);
                tracing::warn!(
                    target: "peakpost::reputation", what, count,
                    "there is no room for the counts of so many streams: the oldest go, and what has no room is not judged; \
                     see peakpost_reputation_dropped_total"
                );
            }
        }
    }
}
