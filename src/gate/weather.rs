//! The vendor's weather: what replies teach the gate, and what of it other instances are told.
//!
//! Why: a vendor says in many ways that it wants less, or nothing. A named time is a stop, a share of throttled replies
//! is a factor, failures are the breaker's, and after every silence there is a ramp. All four end here, in when and how
//! fast the next one goes.
//! Must not know: dialects of vendors, routes, topics.

use std::time::{Duration, Instant};

use super::Gate;
use super::ask::{Pass, Word};
use super::breaker::{State, Turned};
use super::pace::Learned;
use super::report::{BreakerStanding, By, Change};
use crate::job::{Lane, Wall};

/// A longer stop is told to the other instances: a shorter one would be over before they hear it.
const TOLD: Duration = Duration::from_secs(1);
/// A throttled reply whose time is not further away than this says "too fast" and no more: a reset in whole seconds of
/// the vendor's clock can look this far away.
const NEAR: Duration = Duration::from_secs(2);
/// A stop as long as this ends with a ramp.
const SILENCE: Duration = Duration::from_secs(5);
/// Who can go elsewhere does not wait for a stop that lasts longer than this.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Added before milliseconds are cut off: up to a whole second, but for the few that two clocks differ by.
const ROUNDED: i64 = 995;

/// A stop that was made here: the other instances are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Only for what this sender sends; `None`: for the account.
    pub sender: Option<Box<str>>,
    /// Its end, rounded up to a whole second, so that it is told once and not with every reply.
    pub until: Wall,
}

impl Gate {
    /// A request of `sent` has ended, and this is what its reply means. Its slot is free, and its probe, if it was one,
    /// is answered. `chance`: 0 to 1.
    #[expect(clippy::too_many_arguments, reason = "what was sent, what it means, and the time in both clocks")]
    pub fn landed(&mut self, lane: Lane, sent: Instant, pass: Pass, word: Word, now: Instant, wall: Wall, chance: f64) {
        self.slots.give_back(lane, 1);
        let turned = self.breaker.landed(pass, &word, now, chance);
        self.note_turned(turned, now, wall);
        match word {
            Word::Well => self.learn(sent, false, now, wall),
            Word::Throttled { wait, sender: None } => {
                if wait.is_none_or(|wait| wait <= NEAR) {
                    self.learn(sent, true, now, wall);
                }
                if let Some(wait) = wait {
                    let (before, until) = (self.stopped(now), now + wait);
                    self.stop_until(until);
                    self.tell(None, before, until, now, wall);
                }
            }
            Word::Throttled { wait, sender: Some(sender) } => {
                let (before, until) = self.sender_stops.throttled(sender.clone(), wait, sent, now);
                self.tell(Some(sender), before, until, now, wall);
            }
            Word::Failed | Word::Down(_) | Word::Nothing => {}
        }
    }

    /// Requests of a permit in `lane` were never made: their slots are free, and a probe may be made again.
    pub fn release(&mut self, lane: Lane, requests: u32, pass: Pass) {
        self.slots.give_back(lane, requests);
        self.breaker.released(pass);
    }

    /// Another instance was told to stop until then, for the account or for one sender. A later time extends a stop, an
    /// earlier one never shortens it.
    pub fn order(&mut self, sender: Option<&str>, until: Instant, now: Instant) {
        if until <= now {
            return;
        }
        match sender {
            None => self.stop_until(until),
            Some(sender) => self.sender_stops.extend(sender.into(), until, now),
        }
    }

    /// Stops over 1 s that were made here since the last call: to be told to the other instances.
    pub fn orders(&mut self) -> Vec<Stop> {
        std::mem::take(&mut self.orders)
    }

    /// The part of the account's rates that is used: what was learned of its pace, times the ramp. 1: all of them.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.pace.factor() * self.ramp.value()
    }

    /// The breaker's state, as of the last turn.
    #[must_use]
    pub fn breaker_state(&self) -> State {
        self.breaker.state()
    }

    /// The end of the breaker's present block. `None`: it allows or probes.
    #[must_use]
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.breaker.blocked_until(now)
    }

    /// Takes what time has brought. Right before permits are made, so that none is made by an old factor.
    pub(super) fn follow(&mut self, now: Instant, wall: Wall) {
        let turned = self.breaker.follow(now);
        self.note_turned(turned, now, wall);
        let learned = self.pace.follow(now);
        self.note_learned(learned, wall);
        self.stopped_since = match self.stopped(now) {
            Some(until) => {
                let since = self.stopped_since.unwrap_or(now);
                if until.saturating_duration_since(since) >= SILENCE {
                    self.ramp.begin(until, "after a stop");
                }
                Some(since)
            }
            None => None,
        };
        if let Some((before, after)) = self.ramp.follow(now) {
            self.history.note(Change::new(wall, By::Ramp, before, self.ramp.value(), after.to_owned()));
        }
        self.scale(now);
    }

    /// Uses the present factor: on the account's buckets, or on the slots where it has none.
    pub(super) fn scale(&mut self, now: Instant) {
        let (factor, at) = (self.factor(), self.since_origin(now));
        for bucket in &mut self.account.buckets {
            bucket.scale(factor, at);
        }
        self.slots.scale(if self.account.buckets.is_empty() { factor } else { 1.0 });
    }

    /// When the factor takes its next step: who waits may go earlier then.
    pub(super) fn next_step(&self, now: Instant) -> Option<Instant> {
        self.pace.next().into_iter().chain(self.ramp.next(now)).min()
    }

    /// What lets nobody go, until when, and whether who can go elsewhere is told so.
    pub(super) fn held(&self, now: Instant) -> Option<(By, Instant, bool)> {
        let (block, stop) = (self.breaker.blocked_until(now), self.stopped(now));
        let block = block.map(|until| (By::Breaker, until));
        let (by, until) =
            block.into_iter().chain(stop.map(|until| (By::Stop, until))).max_by_key(|(_, until)| *until)?;
        let long = block.is_some() || until > now + STOP_PATIENCE;
        Some((by, until, long && self.config.elsewhere))
    }

    /// Why less goes than is configured; `None`: it does not.
    pub(super) fn slowed(&self) -> Option<By> {
        match (self.pace.factor(), self.ramp.value()) {
            (pace, ramp) if pace >= 1.0 && ramp >= 1.0 => None,
            (pace, ramp) if ramp < pace => Some(By::Ramp),
            _ => Some(By::Throttle),
        }
    }

    /// What the breaker says of itself.
    pub(super) fn breaker_standing(&self, now: Instant) -> BreakerStanding {
        BreakerStanding {
            state: self.breaker.state().as_str().to_owned(),
            until_s: self.blocked_until(now).map(|until| (until - now).as_secs_f64()),
            why: self.breaker.why().map(str::to_owned),
        }
    }

    fn learn(&mut self, sent: Instant, throttled: bool, now: Instant, wall: Wall) {
        let learned = self.pace.landed(sent, throttled, now);
        self.note_learned(learned, wall);
    }

    fn note_learned(&mut self, learned: Option<Learned>, wall: Wall) {
        if let Some(Learned { from, to, why }) = learned {
            self.history.note(Change::new(wall, By::Throttle, from, to, why));
        }
    }

    fn note_turned(&mut self, turned: Option<Turned>, now: Instant, wall: Wall) {
        let Some(Turned { from, to, why }) = turned else { return };
        if to == State::Allow {
            self.ramp.begin(now, "after a block");
        }
        let number = |state: State| f64::from(state.number());
        self.history.note(Change::new(wall, By::Breaker, number(from), number(to), why));
    }

    /// Has others told of a stop, if it is long, and longer than what they know.
    fn tell(&mut self, sender: Option<Box<str>>, before: Option<Instant>, until: Instant, now: Instant, wall: Wall) {
        let end = |at: Instant| {
            let millis = i64::try_from(at.saturating_duration_since(now).as_millis()).unwrap_or(i64::MAX);
            Wall(wall.0.saturating_add(millis).saturating_add(ROUNDED).div_euclid(1_000).saturating_mul(1_000))
        };
        let known = before.filter(|before| *before > now + TOLD);
        if until > now + TOLD && known.is_none_or(|known| end(known) < end(until)) {
            self.orders.retain(|stop| stop.sender != sender);
            self.orders.push(Stop { sender, until: end(until) });
        }
    }
}
