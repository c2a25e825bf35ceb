//! Whose mail is complained of, and what follows: counts by cohort, a bound that chance does not pass, a verdict.
//!
//! Why: a sender of whom one in a thousand complains loses its inbox for the season, and finds out when it is too late. The
//! answer is a function of sums and of the time of day alone, so every instance gives the same, and a restart changes
//! nothing.
//! Must not know: Kafka, who counts, who waits.

pub mod cohort;
pub mod count;
pub mod decide;
pub mod seen;
mod soft;
mod sums;
mod verdicts;
pub mod wilson;

use std::time::Duration;

pub use cohort::{Cohort, Counts, Partial, Stream};
pub use count::Counter;
pub use decide::{Signal, Standing, State, Why};
pub use soft::SoftBounces;
pub use sums::Sums;
pub use verdicts::{LOOK, Sending, Verdicts};

/// When a stream warns, when it blocks, and how it comes back. Rates are parts of one: 0.001 is one in a thousand.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What is sent within so long is one cohort. Whole seconds, at least one.
    pub window: Duration,
    /// A block holds for so long after the end of the cohort that caused it; cohorts no further apart are judged together
    /// as well.
    pub cool_down: Duration,
    /// After a block 1 % goes for so long, then 10 % for as long, then all.
    pub ramp_step: Duration,
    /// Complaints in delivered.
    pub complaints: SignalConfig,
    /// Above this rate of complaints transactional mail is blocked as well; nothing else blocks it.
    pub severe: f64,
    /// Hard bounces in all that arrived or did not.
    pub hard_bounces: SignalConfig,
    /// Unsubscribes in delivered.
    pub unsubscribes: SignalConfig,
}

/// The thresholds of one signal. What is compared with them is not the rate that was seen, but the lowest that can
/// reasonably lie behind it ([`wilson::lower`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalConfig {
    /// Above this it warns.
    pub warn: f64,
    /// Above this it blocks.
    pub block: f64,
    /// Fewer of them mean nothing.
    pub least: u32,
}

impl Config {
    /// How far back what was sent still counts: nothing older can hold a block or a ramp.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        self.window + 2 * self.cool_down + 2 * self.ramp_step
    }

    /// The window's length.
    fn window_s(&self) -> i64 {
        seconds(self.window).max(1)
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
