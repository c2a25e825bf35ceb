//! How many retries one provider is spared in one shard.
//!
//! Why: in an outage every job fails and wants to go again; what the provider then bears is little more than its
//! fresh work: a tenth of the first attempts, or a floor where that is more, so that somebody always asks whether it is
//! well. A retry
//! that was accepted pays for itself and for a tenth of another, so after the outage the stream of retries grows by
//! itself, tenfold about every 24 round trips, without any fresh work.
//! Must not know: which jobs wait, backoff, verdicts, other shards.

use std::time::{Duration, Instant};

/// How the budget fills.
#[derive(Clone, Debug)]
pub struct Config {
    /// Retries earned per first attempt, and per accepted retry beyond its own: 0 to 1; 0.1 is a tenth.
    pub ratio: f64,
    /// Retries per second earned by time alone, as far as first attempts do not earn them. What is below one an hour counts as one an hour, so that a wait
    /// always has an end.
    pub floor: f64,
}

/// Tokens kept however long nobody spends them, beside a second's floor: enough that a hundred retries after a calm
/// time need not wait, and nothing to a provider that has just gone down.
const CAP: f64 = 100.0;
/// How long accepted retries raise the cap (an e-th is left after it). Longer than the round trip of a slow vendor.
const MEMORY: Duration = Duration::from_secs(2);
/// One an hour.
const FLOOR_LEAST: f64 = 1.0 / 3600.0;
/// Ten tenths are one, whatever binary fractions make of them.
const ROUNDING: f64 = 1e-6;
/// No wait is told that is longer, in seconds: a year, so that a large debt still ends at a time.
const FAR: f64 = 31_536_000.0;

/// The purse. It begins empty: who starts in the middle of an outage must not begin with a burst.
///
/// It keeps at most 100, a second's floor, and what was accepted of retries in the last two seconds or so. Without
/// the last, a batch that comes back whole (a thousand mails are accepted in one moment) would burn what it gives
/// back, and a recovery in batches would choke. An outage thus meets at most this much beyond its tenth.
#[derive(Clone, Debug)]
pub struct Budget {
    ratio: f64,
    floor: f64,
    tokens: f64,
    /// Tokens that first attempts have earned, of which time has not earned as much yet: at most a second's floor.
    ahead: f64,
    /// Retries accepted up to `at`, the older the less.
    proven: f64,
    /// Retries accepted since.
    fresh: f64,
    /// The moment for which `tokens` and `proven` are reckoned.
    at: Instant,
}

impl Budget {
    /// An empty budget.
    #[must_use]
    pub fn new(config: &Config, now: Instant) -> Self {
        let (ratio, floor) = (config.ratio.clamp(0.0, 1.0), config.floor.max(FLOOR_LEAST));
        Self { ratio, floor, tokens: 0.0, ahead: 0.0, proven: 0.0, fresh: 0.0, at: now }
    }

    /// `n` jobs were sent for the first time.
    pub fn first(&mut self, n: u32) {
        let earned = self.ratio * f64::from(n);
        self.tokens += earned;
        self.ahead += earned;
    }

    /// `n` retries, spent before, were accepted: they cost nothing and earn what a first attempt earns.
    pub fn accepted(&mut self, n: u32) {
        self.tokens += (1.0 + self.ratio) * f64::from(n);
        self.fresh += f64::from(n);
    }

    /// Retries that may go now.
    #[must_use]
    pub fn available(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        self.proven = self.proven * (-passed.div_duration_f64(MEMORY)).exp() + std::mem::take(&mut self.fresh);
        let by_time = self.floor * passed.as_secs_f64();
        self.tokens = (self.tokens + (by_time - self.ahead).max(0.0)).min(CAP + self.floor + self.proven);
        self.ahead = (self.ahead - by_time).clamp(0.0, self.floor);
        whole(self.tokens)
    }

    /// Retries that may go now, or by time alone within a while.
    #[must_use]
    pub fn within(&mut self, span: Duration, now: Instant) -> u32 {
        self.available(now).saturating_add(whole(self.floor * span.as_secs_f64()))
    }

    /// `n` retries go. What is more than was available is a debt, paid before the next one.
    pub fn spend(&mut self, n: u32) {
        self.tokens -= f64::from(n);
    }

    /// `n` retries, spent before, were not sent: throttled, or failed before the write.
    pub fn give_back(&mut self, n: u32) {
        self.tokens += f64::from(n);
    }

    /// When one retry may go if nothing else happens; `None`: one may go now.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let by_time = (self.floor * passed - self.ahead).max(0.0);
        let missing = 1.0 - ROUNDING / 2.0 - (self.tokens + by_time);
        let ahead = (self.ahead - self.floor * passed).max(0.0);
        (missing > ROUNDING / 2.0).then(|| now + Duration::from_secs_f64(((missing + ahead) / self.floor).min(FAR)))
    }
}

/// Whole tokens; none while there is a debt.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floored, and a float's cast saturates")]
fn whole(tokens: f64) -> u32 {
    (tokens + ROUNDING).floor() as u32
}
