//! The rate factor: the part of its configured rates that a provider really takes, learned from replies that say "too
//! fast" and name no time, or one so near that it says no more.
//!
//! Why: a configured limit can be ten times the true one, and a vendor that names no time tells nothing but the share
//! of requests that were too many. That share is what a cut takes away, and a little more, so that the next window is
//! below. Replies to requests from before a cut say what the rate was and cut nothing. The way up is small steps in
//! calm, which grow the longer it lasts: near the true limit each try costs little, and a vendor that has raised its
//! limit is followed in minutes.
//! Must not know: limits, slots, who waits, why a reply was throttled.

use std::time::{Duration, Instant};

/// The least time over which replies are counted …
const WINDOW: Duration = Duration::from_secs(1);
/// … with at least so many of them …
const REPLIES_MIN: u32 = 20;
/// … but for no longer than this.
const WINDOW_MAX: Duration = Duration::from_secs(10);
/// A smaller share of throttled replies is no reason to go slower.
const SHARE_MIN: f64 = 0.005;
/// What one cut leaves at least, whatever the share.
const LEFT_MIN: f64 = 0.3;
/// What a cut takes beyond the share, so that it is below the limit and not at it.
const BELOW: f64 = 0.985;
/// The same for a small share that comes again within [`AGAIN`]. A vendor that stops all for the rest of its second
/// throttles few of what we send, however far above its limit that is: its share alone would be followed for a minute.
const BELOW_AGAIN: f64 = 0.9;
/// Of stop, to the next whole second, and a window, after the vendor has settled.
const AGAIN: Duration = Duration::from_secs(3);
/// After a cut the vendor's own window is still full of what came before: a second of replies says nothing.
const SETTLED: Duration = Duration::from_secs(1);
/// A larger share says by itself how far above the limit it is.
const SHARE_SMALL: f64 = 0.3;
/// The smallest factor: something must go, or nothing would be learned any more.
pub const FLOOR: f64 = 0.01;
/// Time without a throttled reply before each step up.
const CALM: Duration = Duration::from_secs(10);
/// The first step …
const STEP: f64 = 0.02;
/// … grows by this with each further one …
const STEP_GROWTH: f64 = 1.5;
/// … up to this.
const STEP_MAX: f64 = 0.25;

/// What the factor was and is, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// What it was.
    pub from: f64,
    /// What it is.
    pub to: f64,
    /// Why.
    pub why: String,
}

/// What has been learned of one provider's pace.
#[derive(Debug)]
pub struct Pace {
    factor: f64,
    /// What was sent before says nothing of the present rate.
    heeded: Instant,
    /// The first reply of the present window.
    since: Option<Instant>,
    replies: u32,
    throttled: u32,
    /// The last throttled reply, cut or step.
    calm: Instant,
    step: f64,
}

impl Pace {
    /// Nothing learned yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { factor: 1.0, heeded: now, since: None, replies: 0, throttled: 0, calm: now, step: STEP }
    }

    /// The part of the configured rates to be used: [`FLOOR`] to 1.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// A reply to a request of `sent`. Returns what follows, if it ends a window.
    pub fn landed(&mut self, sent: Instant, throttled: bool, now: Instant) -> Option<Learned> {
        if sent < self.heeded {
            return None;
        }
        self.since.get_or_insert(now);
        self.replies += 1;
        if throttled {
            self.throttled += 1;
            (self.calm, self.step) = (now, STEP);
        }
        self.judge(now)
    }

    /// Judges a window in which little came, and takes the steps whose time has come, also while nothing is sent.
    pub fn follow(&mut self, now: Instant) -> Option<Learned> {
        let cut = self.judge(now);
        if cut.is_some() {
            return cut;
        }
        let from = self.factor;
        while self.factor < 1.0 && now >= self.calm + CALM {
            self.calm += CALM;
            self.factor = (self.factor * (1.0 + self.step)).min(1.0);
            self.step = (self.step * STEP_GROWTH).min(STEP_MAX);
        }
        let why = || format!("{} s without a throttled reply", CALM.as_secs());
        (self.factor > from).then(|| Learned { from, to: self.factor, why: why() })
    }

    /// When the next step up is due, if nothing is throttled until then.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        (self.factor < 1.0).then(|| self.calm + CALM)
    }

    fn judge(&mut self, now: Instant) -> Option<Learned> {
        let age = now.saturating_duration_since(self.since?);
        if age < WINDOW || (self.replies < REPLIES_MIN && age < WINDOW_MAX) {
            return None;
        }
        self.since = None;
        let (replies, throttled) = (std::mem::take(&mut self.replies), std::mem::take(&mut self.throttled));
        let share = f64::from(throttled) / f64::from(replies.max(1));
        if share <= SHARE_MIN {
            return None;
        }
        let from = self.factor;
        let again = share < SHARE_SMALL && from < 1.0 && now < self.heeded + AGAIN;
        let below = if again { BELOW_AGAIN } else { BELOW };
        self.factor = (from * (1.0 - share).max(LEFT_MIN) * below).max(FLOOR);
        (self.heeded, self.calm, self.step) = (now + SETTLED, now, STEP);
        let why = format!("{throttled} of {replies} replies in {:.1} s were throttled", age.as_secs_f64());
        Some(Learned { from, to: self.factor, why })
    }
}
