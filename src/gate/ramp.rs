//! The way back to full speed after a silence: a small part first, then twice as much every second.
//!
//! Why: everybody has waited for the same moment. What a vendor gets in the first second after an outage or a stop
//! must not be the whole backlog at once; a little shows whether it can bear more.
//! Must not know: why there was a silence, limits, who waits.

use std::time::{Duration, Instant};

/// The first part.
pub const FIRST: f64 = 0.05;
/// How long each part lasts before it doubles.
const STEP: Duration = Duration::from_secs(1);

/// One way back, or none.
#[derive(Debug)]
pub struct Ramp {
    /// When the first part begins to grow, and after what.
    begin: Option<(Instant, &'static str)>,
    value: f64,
}

impl Default for Ramp {
    fn default() -> Self {
        Self { begin: None, value: 1.0 }
    }
}

impl Ramp {
    /// The silence ends then; until it does nothing but the first part goes. A later end of another one outweighs it.
    pub fn begin(&mut self, at: Instant, after: &'static str) {
        if self.begin.is_none_or(|(begin, _)| begin < at) {
            self.begin = Some((at, after));
        }
    }

    /// The part of its rates to be used, as of the last [`Self::follow`]: [`FIRST`] to 1.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Takes the step whose time has come: what the part was, and after what the way back began.
    pub fn follow(&mut self, now: Instant) -> Option<(f64, &'static str)> {
        let (begin, after) = self.begin?;
        let before = self.value;
        self.value = FIRST;
        let steps = now.saturating_duration_since(begin).as_secs();
        for _ in 0..steps {
            self.value *= 2.0;
            if self.value >= 1.0 {
                (self.value, self.begin) = (1.0, None);
                break;
            }
        }
        ((self.value - before).abs() > f64::EPSILON).then_some((before, after))
    }

    /// When the next step is due.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let (begin, _) = self.begin?;
        let steps = now.saturating_duration_since(begin).as_secs();
        Some(begin + Duration::from_secs(steps) + STEP)
    }
}
