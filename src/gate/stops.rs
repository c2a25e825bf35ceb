//! Senders whom the vendor told to wait: each until when.
//!
//! Why: one number with a full queue must not hold up the account. Where the vendor names no time, the waits grow
//! while it stays so. The map is bounded: what it holds comes from outside.
//! Must not know: the account's stop, limits, who waits.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Senders remembered at most.
const SENDERS_MAX: usize = 10_000;
/// The first wait where no time was named; each further one is twice as long …
const WAIT: Duration = Duration::from_secs(1);
/// … up to this.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A sender that could send for so long is forgotten.
const CALM: Duration = Duration::from_secs(60);

/// The stops of all senders of one provider.
#[derive(Debug, Default)]
pub struct SenderStops {
    stops: HashMap<Box<str>, Stopped>,
}

#[derive(Debug)]
struct Stopped {
    until: Instant,
    /// When the last wait without a named time began: what was sent before says nothing new.
    grown: Option<Instant>,
    /// The next one, if no time is named.
    wait: Duration,
}

impl SenderStops {
    /// A request of `sent` was throttled for its sender's sake; `wait`: the vendor's time, if it named one. A later
    /// time extends a stop, an earlier one never shortens it. Returns its end before, if there was one, and now.
    pub fn throttled(
        &mut self,
        sender: Box<str>,
        wait: Option<Duration>,
        sent: Instant,
        now: Instant,
    ) -> (Option<Instant>, Instant) {
        let stop = self.of(sender, now);
        let before = stop.until;
        let wait = match wait {
            Some(wait) => wait,
            None if stop.grown.is_some_and(|grown| sent <= grown) => Duration::ZERO,
            None => {
                let wait = stop.wait;
                (stop.grown, stop.wait) = (Some(now), (wait * 2).min(WAIT_MAX));
                wait
            }
        };
        stop.until = before.max(now + wait);
        ((before > now).then_some(before), stop.until)
    }

    /// Another instance was told to wait for this sender.
    pub fn extend(&mut self, sender: Box<str>, until: Instant, now: Instant) {
        let stop = self.of(sender, now);
        stop.until = stop.until.max(until);
    }

    /// The end of a sender's stop, if it is in force.
    #[must_use]
    pub fn until(&self, sender: &str, now: Instant) -> Option<Instant> {
        if self.stops.is_empty() {
            return None;
        }
        self.stops.get(sender).map(|stop| stop.until).filter(|until| *until > now)
    }

    /// Every stop in force, in no order.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = (&str, Instant)> {
        self.stops.iter().map(|(sender, stop)| (&**sender, stop.until)).filter(move |(_, until)| *until > now)
    }

    /// How many are remembered, in force or not.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.stops.len()
    }

    fn of(&mut self, sender: Box<str>, now: Instant) -> &mut Stopped {
        if self.stops.len() >= SENDERS_MAX && !self.stops.contains_key(&sender) {
            self.make_room(now);
        }
        let fresh = || Stopped { until: now, grown: None, wait: WAIT };
        let stop = self.stops.entry(sender).or_insert_with(fresh);
        if stop.until + CALM <= now {
            *stop = fresh();
        }
        stop
    }

    /// Forgets those that were calm long enough; if there is none, the one that may go first.
    fn make_room(&mut self, now: Instant) {
        self.stops.retain(|_, stop| stop.until + CALM > now);
        if self.stops.len() >= SENDERS_MAX
            && let Some(first) = self.stops.iter().min_by_key(|(_, stop)| stop.until).map(|(sender, _)| sender.clone())
        {
            self.stops.remove(&first);
        }
    }
}
