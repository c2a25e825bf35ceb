//! What a stream's sums mean: nothing, a warning, a block and its ramp.
//!
//! Why: every cohort is judged by itself, and together with those before it, because a small sender never complains enough
//! within an hour. What follows holds until a time that is written in the sums as well, so that nobody has to remember a
//! block, and nobody can lose one.

use std::fmt;
use std::time::Duration;

use super::cohort::Counts;
use super::{Config, SignalConfig, millis, seconds, wilson};
use crate::job::{Lane, Wall};

/// What goes in each step of a ramp.
const RAMP: [f64; 2] = [0.01, 0.1];
/// A cohort that begins later than this is a wrong clock's, in seconds.
const AHEAD: i64 = 3_600;

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Complaints in delivered.
    Complaints,
    /// Hard bounces in all that arrived or did not.
    HardBounces,
    /// Unsubscribes in delivered.
    Unsubscribes,
}

impl Signal {
    /// The word for people and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complaints => "complaints",
            Self::HardBounces => "hard bounces",
            Self::Unsubscribes => "unsubscribes",
        }
    }
}

/// Why: in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Why {
    /// What was counted.
    pub signal: Signal,
    /// So many …
    pub bad: u32,
    /// … out of so many.
    pub of: u32,
    /// Sent from then on.
    pub since: Wall,
    /// The threshold that lies below all that can reasonably be behind it.
    pub over: f64,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, bad, of, since, over } = self;
        let rate = f64::from(*bad) / f64::from(*of).max(1.0) * 100.0;
        let (signal, over) = (signal.as_str(), over * 100.0);
        write!(f, "{bad} {signal} in {of} sent since {since}: {rate:.3} %, with certainty over {over:.3} %")
    }
}

/// What holds for a stream at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// Everything goes.
    Allow,
    /// Everything goes; somebody should look.
    Warn(Why),
    /// Nothing goes.
    Block {
        /// Its cause was sent from then on.
        since: Wall,
        /// Until then.
        until: Wall,
        /// Why.
        why: Why,
    },
    /// A part goes, always of the same jobs.
    Ramp {
        /// Which part.
        share: f64,
        /// More from then on.
        until: Wall,
        /// Why it was blocked.
        why: Why,
    },
}

impl State {
    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn(_) => "warn",
            Self::Block { .. } => "block",
            Self::Ramp { .. } => "ramp",
        }
    }
}

/// What follows from a stream's sums, for every moment from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// The end of the block, and why.
    pub block: Option<(Wall, Why)>,
    /// What is to be looked at.
    pub warn: Option<Why>,
}

impl Standing {
    /// What holds at a moment.
    #[must_use]
    pub fn at(&self, now: Wall, ramp_step: Duration) -> State {
        let calm = self.warn.map_or(State::Allow, State::Warn);
        let Some((end, why)) = self.block else { return calm };
        if now < end {
            return State::Block { since: why.since, until: end, why };
        }
        let mut until = end;
        for share in RAMP {
            until = Wall(until.0.saturating_add(millis(ramp_step)));
            if now < until {
                return State::Ramp { share, until, why };
            }
        }
        calm
    }

    /// From when on a job goes; `None`: nothing holds it. `place`: where it stands in a ramp, 0 to 1, those below the share
    /// that goes first.
    #[must_use]
    pub fn goes_at(&self, place: f64, ramp_step: Duration) -> Option<Wall> {
        let (end, _) = self.block?;
        let steps = RAMP.iter().filter(|share| place >= **share);
        Some(steps.fold(end, |at, _| Wall(at.0.saturating_add(millis(ramp_step)))))
    }
}

/// Judges a stream's cohorts, the oldest first, each with the start of its window in seconds. `released`: an operator
/// lifted what was before; cohorts begun earlier hold nothing any more, but all comes back by the ramp.
#[must_use]
pub fn decide(cohorts: &[(i64, Counts)], lane: Lane, released: Option<Wall>, config: &Config, now: Wall) -> Standing {
    let now_s = now.0.div_euclid(1000);
    let known = now_s.saturating_sub(seconds(config.horizon()))..=now_s + AHEAD;
    let lifted = |start: i64| released.is_some_and(|at| start.saturating_mul(1000) < at.0);
    let counted = || cohorts.iter().copied().filter(|(start, _)| known.contains(start));
    let old: Vec<_> = counted().filter(|(start, _)| lifted(*start)).collect();
    let new: Vec<_> = counted().filter(|(start, _)| !lifted(*start)).collect();
    let mut standing = judge_all(&new, lane, config, now);
    if let (Some((end, why)), Some(released)) = (judge_all(&old, lane, config, now).block, released) {
        let end = end.min(released);
        if standing.block.is_none_or(|(other, _)| other < end) {
            standing.block = Some((end, why));
        }
    }
    standing
}

/// Every cohort by itself, and together with those before it that are no further away than a block lasts: what is sent
/// after a block is never judged with its cause.
fn judge_all(cohorts: &[(i64, Counts)], lane: Lane, config: &Config, now: Wall) -> Standing {
    let mut standing = Standing::default();
    let (mut first, mut sum) = (0, Vec::new());
    for (at, (start, own)) in cohorts.iter().enumerate() {
        sum.push(*own);
        while start - cohorts[first].0 >= seconds(config.cool_down) && first < at {
            first += 1;
        }
        let together = sum[first..].iter().copied().fold(Counts::default(), Counts::and);
        let end =
            Wall(start.saturating_add(config.window_s()).saturating_mul(1000).saturating_add(millis(config.cool_down)));
        for (since, counts) in [(*start, *own), (cohorts[first].0, together)] {
            let (block, warn) = judge(counts, lane, Wall(since.saturating_mul(1000)), config);
            if let Some(why) = block.filter(|_| standing.block.is_none_or(|(other, _)| other < end)) {
                standing.block = Some((end, why));
            }
            standing.warn = warn.filter(|_| now < end).or(standing.warn);
        }
    }
    standing
}

/// What a count by itself means: the block, the warning.
fn judge(counts: Counts, lane: Lane, since: Wall, config: &Config) -> (Option<Why>, Option<Why>) {
    let Counts { delivered, hard, blocked, complained, unsubscribed } = counts;
    let tried = delivered.saturating_add(hard).saturating_add(blocked);
    let signals = [
        (Signal::Complaints, complained, delivered, config.complaints),
        (Signal::HardBounces, hard, tried, config.hard_bounces),
        (Signal::Unsubscribes, unsubscribed, delivered, config.unsubscribes),
    ];
    let (mut block, mut warn) = (None, None);
    for (signal, bad, of, SignalConfig { warn: warns, block: blocks, least }) in signals {
        // More complaints than deliveries: the vendor does not tell of deliveries, or they are still to come.
        if bad < least.max(1) || bad > of {
            continue;
        }
        // What a person waits for is worth more than some reputation, up to the point where all is lost.
        let blocks = match (lane, signal) {
            (Lane::Marketing, _) => blocks,
            (Lane::Transactional, Signal::Complaints) => config.severe,
            (Lane::Transactional, _) => f64::INFINITY,
        };
        let lower = wilson::lower(bad, of);
        let why = |over| Some(Why { signal, bad, of, since, over });
        if lower > blocks {
            block = block.or(why(blocks));
        } else if lower > warns {
            warn = warn.or(why(warns));
        }
    }
    (block, warn)
}
