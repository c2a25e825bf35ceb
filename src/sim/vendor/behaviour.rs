//! How a simulated vendor behaves beyond its rules: slow, limiting, failing, silent, lying.
//!
//! Why: each knob is a fault that a real vendor has on a bad day; all are off until a test turns them.
//! Must not know: wire formats, HTTP.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// No answer is held back longer than this by [`Latency`].
const LATENCY_CAP_MS: f64 = 60_000.0;

/// A vendor's knobs. The default is a vendor that only applies its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// How long an answer takes.
    pub latency: Latency,
    /// The vendor's own rate limit; what exceeds it is answered 429.
    pub limit: Option<Limit>,
    /// From the moment this is set, every request is answered 429 for so many milliseconds.
    pub throttle_ms: u64,
    /// How the webhook vendor says that it was too fast; the others have one way each.
    pub retry_after: RetryAfter,
    /// Most requests at work at a time; what exceeds them is answered 429. Twilio only: no other vendor here has such
    /// a cap.
    pub concurrency: Option<u32>,
    /// Goes down and comes back, over and over.
    pub flap: Option<Flap>,
    /// Share of requests (0 to 1) answered 500 or 503. Their messages are not sent.
    pub error_rate: f64,
    /// Share of requests (0 to 1) that are taken and not answered; the connection closes after `hang_ms`.
    pub hang_rate: f64,
    /// How long a hanging request is held, in milliseconds, at most an hour.
    pub hang_ms: u64,
    /// Share of requests (0 to 1) that are taken and whose connection is closed at once, without an answer.
    pub lose_answer_rate: f64,
    /// What is answered instead of the truth to requests that were taken.
    pub lie: Option<Lie>,
}

/// Log-normal time to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// The median, in milliseconds. 0 answers at once.
    pub median_ms: f64,
    /// Standard deviation of the logarithm. 0 makes the latency fixed.
    pub sigma: f64,
}

/// At most `count` in any window `[t, t + window_ms)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How many.
    pub count: u32,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// Of what.
    pub unit: Unit,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Requests, whatever they carry.
    Requests,
    /// Messages.
    Messages,
}

/// Well for `on_ms`, then every request answered 500 or 503 for `off_ms`, and again, from the moment this is set.
/// 1 ms to an hour each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// How long it is well, in milliseconds.
    pub on_ms: u64,
    /// How long it is down, in milliseconds.
    pub off_ms: u64,
}

impl Flap {
    /// Whether it is down, so many nanoseconds after it was set.
    fn is_down(self, age: u64) -> bool {
        age / 1_000_000 % (self.on_ms + self.off_ms) >= self.on_ms
    }
}

/// Forms of "too fast": those of `Retry-After` (RFC 9110 §10.2.3), odd ones, resets, and vendors' own words as a
/// gateway passes them on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// Whole seconds, rounded up.
    #[default]
    Seconds,
    /// An HTTP date, rounded up to the second.
    HttpDate,
    /// The same as RFC 850 wrote it.
    Rfc850,
    /// The same as C's `asctime` writes it.
    Asctime,
    /// No header.
    Missing,
    /// `-1`.
    Negative,
    /// An HTTP date an hour ago.
    Past,
    /// A billion seconds.
    Absurd,
    /// More seconds than 64 bits hold.
    Overflow,
    /// Bytes that are no ASCII.
    NotText,
    /// Two headers, `0` and the seconds.
    Twice,
    /// `X-RateLimit-Reset` in Unix seconds.
    ResetUnix,
    /// `X-RateLimit-Reset` in Unix milliseconds.
    ResetMs,
    /// `RateLimit-Reset` in seconds from now.
    ResetDelta,
    /// Mailgun: a date in the body.
    Mailgun,
    /// Amazon SES: 429 by exception, its rate.
    SesRate,
    /// Amazon SES: 429 by exception, its daily quota.
    SesQuota,
    /// Amazon SES: 400 by exception.
    SesThrottling,
    /// FCM: its quota, without a time.
    Fcm,
    /// APNs: too many to one device.
    Apns,
    /// Twilio: 400, the sender's queue is full.
    TwilioQueue,
}

/// An answer that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// 200 with a login page in HTML, as from a captive proxy.
    Html,
    /// The right status with half a JSON document.
    HalfJson,
    /// The right status with 16 MiB of spaces.
    Huge,
}

impl Behaviour {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Names the first field that does not.
    pub fn check(&self) -> Result<(), String> {
        let rates = [
            ("error_rate", self.error_rate),
            ("hang_rate", self.hang_rate),
            ("lose_answer_rate", self.lose_answer_rate),
        ];
        if let Some((name, rate)) = rates.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            return Err(format!("`{name}` is {rate}; hint: a share from 0 to 1"));
        }
        let Latency { median_ms, sigma } = self.latency;
        if !(0.0..=LATENCY_CAP_MS).contains(&median_ms) || !(0.0..=10.0).contains(&sigma) {
            return Err(format!("`latency` is {median_ms} ms, sigma {sigma}; hint: 0 to 60000 ms, sigma 0 to 10"));
        }
        if self.hang_ms > 3_600_000 || self.throttle_ms > 3_600_000 {
            return Err("`hang_ms` or `throttle_ms` is over an hour (3600000)".to_owned());
        }
        if self.concurrency == Some(0) {
            return Err("`concurrency` is 0; hint: at least 1, or leave it out".to_owned());
        }
        let hour = 1..=3_600_000;
        if self.flap.is_some_and(|Flap { on_ms, off_ms }| !hour.contains(&on_ms) || !hour.contains(&off_ms)) {
            return Err("`flap` needs `on_ms` and `off_ms` of 1 ms to an hour (3600000)".to_owned());
        }
        match self.limit {
            Some(Limit { count, window_ms, .. }) if count == 0 || !(1..=86_400_000).contains(&window_ms) => {
                Err("`limit` needs a count of at least 1 and a window of 1 ms to a day".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The vendor's rules decide.
    Rules,
    /// Too fast; the next try makes sense after this many nanoseconds (0: when another request has its answer).
    Throttle(u64),
    /// This status; nothing is sent.
    Fail(u16),
    /// Taken; no answer, the connection closes after this time.
    Silence(Duration),
}

/// A vendor at work: its knobs and what they need to remember.
pub(super) struct Mood {
    pub(super) behaviour: Behaviour,
    /// When that was set.
    since: u64,
    throttled_until: u64,
    window: Window,
    /// Requests that were let in and are not answered yet.
    at_work: u32,
    rng: SmallRng,
}

impl Mood {
    pub(super) fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        let (behaviour, window) = (Behaviour::default(), Window::default());
        Self { behaviour, since: 0, throttled_until: 0, window, at_work: 0, rng }
    }

    /// Times are nanoseconds since the simulator started.
    pub(super) fn set(&mut self, behaviour: Behaviour, now: u64) {
        self.throttled_until = now + behaviour.throttle_ms * 1_000_000;
        self.behaviour = behaviour;
        self.since = now;
    }

    pub(super) fn throttle_until(&mut self, until: u64) {
        self.throttled_until = until;
    }

    /// Decides about a request of so many messages at `now`; `now` never goes back. What is not throttled is at work
    /// until [`Mood::answered`].
    pub(super) fn decide(&mut self, now: u64, messages: u32) -> Fate {
        let fate = self.fate(now, messages);
        self.at_work += u32::from(!matches!(fate, Fate::Throttle(_)));
        fate
    }

    /// A request that was not throttled has its answer, or its client has gone.
    pub(super) fn answered(&mut self) {
        self.at_work -= 1;
    }

    /// Requests at work now.
    pub(super) fn at_work(&self) -> u32 {
        self.at_work
    }

    fn fate(&mut self, now: u64, messages: u32) -> Fate {
        if self.behaviour.flap.is_some_and(|flap| flap.is_down(now - self.since)) {
            return self.fail();
        }
        if now < self.throttled_until {
            return Fate::Throttle(self.throttled_until - now);
        }
        if self.behaviour.concurrency.is_some_and(|most| self.at_work >= most) {
            return Fate::Throttle(0);
        }
        if let Some(limit) = self.behaviour.limit {
            let weight = if limit.unit == Unit::Requests { 1 } else { messages };
            if let Err(wait) = self.window.take(&limit, now, weight) {
                return Fate::Throttle(wait);
            }
        }
        if self.draw(self.behaviour.error_rate) {
            return self.fail();
        }
        if self.draw(self.behaviour.hang_rate) {
            return Fate::Silence(Duration::from_millis(self.behaviour.hang_ms));
        }
        if self.draw(self.behaviour.lose_answer_rate) {
            return Fate::Silence(Duration::ZERO);
        }
        Fate::Rules
    }

    /// How long the next answer takes.
    pub(super) fn latency(&mut self) -> Duration {
        let Latency { median_ms, sigma } = self.behaviour.latency;
        if median_ms == 0.0 {
            return Duration::ZERO;
        }
        let ms = if sigma == 0.0 { median_ms } else { median_ms * (sigma * self.normal()).exp() };
        Duration::from_secs_f64(ms.min(LATENCY_CAP_MS) / 1000.0)
    }

    /// What the limit leaves at `now`, for vendors that tell: (count, left, nanoseconds until all is free).
    pub(super) fn left(&mut self, now: u64) -> Option<(u32, u32, u64)> {
        let limit = self.behaviour.limit?;
        self.window.forget(&limit, now);
        let left = u64::from(limit.count).saturating_sub(self.window.sum);
        let free = self.window.admitted.back().map_or(0, |&(at, _)| at + span(&limit) - now);
        Some((limit.count, u32::try_from(left).unwrap_or(u32::MAX), free))
    }

    fn fail(&mut self) -> Fate {
        Fate::Fail(if self.rng.random() { 500 } else { 503 })
    }

    fn draw(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.rng.random::<f64>() < rate
    }

    /// A standard normal number (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (u, v): (f64, f64) = (1.0 - self.rng.random::<f64>(), self.rng.random());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// What was admitted within the last window: an exact log, no buckets.
#[derive(Default)]
struct Window {
    admitted: VecDeque<(u64, u32)>,
    sum: u64,
}

fn span(limit: &Limit) -> u64 {
    limit.window_ms * 1_000_000
}

impl Window {
    fn forget(&mut self, limit: &Limit, now: u64) {
        while let Some(&(at, weight)) = self.admitted.front().filter(|(at, _)| at + span(limit) <= now) {
            debug_assert!(at <= now, "the clock went back");
            self.sum -= u64::from(weight);
            self.admitted.pop_front();
        }
    }

    /// Admits, or says in how many nanoseconds there is room. What alone exceeds the limit never has room; it
    /// is told a whole window.
    fn take(&mut self, limit: &Limit, now: u64, weight: u32) -> Result<(), u64> {
        self.forget(limit, now);
        let over = (self.sum + u64::from(weight)).saturating_sub(u64::from(limit.count));
        if over == 0 {
            self.admitted.push_back((now, weight));
            self.sum += u64::from(weight);
            return Ok(());
        }
        let mut freed = 0;
        for &(at, weight) in &self.admitted {
            freed += u64::from(weight);
            if freed >= over {
                return Err(at + span(limit) - now);
            }
        }
        Err(span(limit))
    }
}
