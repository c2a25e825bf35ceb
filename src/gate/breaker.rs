//! The failure breaker: whether a provider is well enough to be sent to.
//!
//! Why: a provider that fails is not helped by more requests, nor are the jobs. Allow counts replies; too many failed
//! ones, or a word that nothing is taken, lead to Block, for a time that grows while it does not get better; then
//! Probe lets a few single messages try, and three good answers lead back to Allow. Every state is a period with a
//! number of its own, which travels with each request and back: what was sent in another period changes nothing. A
//! probe that is given back unsent may be made again, and one that never comes back is written off, so nothing sticks.
//! Must not know: limits, who waits, other providers, how fast it goes after a block (`ramp`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ask::{Pass, Word};

/// Probes that are out at most, and good answers that lead to Allow.
pub const PROBES: usize = 3;
/// A probe that has not come back by then is lost. Requests have their own, shorter timeout.
pub const PROBE_LIFE: Duration = Duration::from_secs(90);
/// The first block …
const BLOCK: Duration = Duration::from_secs(1);
/// … doubles up to this while it does not get better …
const BLOCK_MAX: Duration = Duration::from_secs(10);
/// … and is up to this part longer by chance, so that instances do not come back all at once.
const SPREAD: f64 = 0.2;
/// After so long in Allow it has got better: the next block is a first one.
const BETTER: Duration = Duration::from_secs(60);

/// How failures are judged: over the last so many seconds, with at least so many replies, from this share on.
struct Rule {
    seconds: u64,
    replies: u32,
    share: f64,
}

const RULE: Rule = Rule { seconds: 10, replies: 20, share: 0.3 };
/// Where many go, ten seconds of good ones would hide a fall for too long.
const FALL: Rule = Rule { seconds: 2, replies: 100, share: 0.4 };
/// Where there are too few replies for the other rules.
const FEW: Rule = Rule { seconds: 60, replies: 5, share: 0.5 };

/// A breaker's state. Never "open" or "closed": half the world reads them the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything goes.
    Allow,
    /// Nothing goes.
    Block,
    /// A few single messages go, to see how it is.
    Probe,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Block, Self::Probe];

    /// The word in reports and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
            Self::Probe => "probe",
        }
    }

    /// The number in the history: Allow 0, Block 1, Probe 2.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Block => 1,
            Self::Probe => 2,
        }
    }
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// Why.
    pub why: String,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    Allow { since: Instant },
    Block { until: Instant },
    Probe { well: usize },
}

/// A probe that is out.
#[derive(Clone, Copy, Debug)]
struct Out {
    number: u64,
    period: u64,
    made: Instant,
}

/// One provider's breaker.
#[derive(Debug)]
pub struct Breaker {
    standing: Standing,
    /// The number of the present period.
    period: u64,
    /// Probes that are out, of whatever period.
    out: Vec<Out>,
    /// Probes made.
    made: u64,
    replies: Replies,
    /// The next block, before chance.
    block: Duration,
    /// The latest chance that was handed in: a probe is found lost when nobody hands in one.
    chance: f64,
    /// Why it does not allow.
    why: Option<String>,
    origin: Instant,
}

impl Breaker {
    /// A provider of which nothing bad is known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            standing: Standing::Allow { since: now },
            period: 0,
            out: Vec::new(),
            made: 0,
            replies: Replies::default(),
            block: BLOCK,
            chance: 0.0,
            why: None,
            origin: now,
        }
    }

    /// The state, as of the last [`Self::follow`].
    #[must_use]
    pub fn state(&self) -> State {
        match self.standing {
            Standing::Allow { .. } => State::Allow,
            Standing::Block { .. } => State::Block,
            Standing::Probe { .. } => State::Probe,
        }
    }

    /// The end of the present block.
    #[must_use]
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        match self.standing {
            Standing::Block { until } if until > now => Some(until),
            _ => None,
        }
    }

    /// Why it blocks or probes.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Whether a permit may be made now; in Probe for one message.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match self.standing {
            Standing::Allow { .. } => true,
            Standing::Block { .. } => false,
            Standing::Probe { well } => {
                let of_this = self.out.iter().filter(|out| out.period == self.period).count();
                self.out.len() < PROBES && well + of_this < PROBES
            }
        }
    }

    /// When the next probe counts as lost.
    #[must_use]
    pub fn next_lost(&self) -> Option<Instant> {
        self.out.iter().map(|out| out.made + PROBE_LIFE).min()
    }

    /// What a permit made now travels with: there is room for it. In Probe it is a probe.
    pub fn pass(&mut self, now: Instant) -> Pass {
        let probe = (self.state() == State::Probe).then(|| {
            self.made += 1;
            self.out.push(Out { number: self.made, period: self.period, made: now });
            self.made
        });
        Pass { period: self.period, probe }
    }

    /// A permit was not used: its probe, if it was one, may be made again. Returns whether it was one that is out.
    pub fn released(&mut self, pass: Pass) -> bool {
        let before = self.out.len();
        self.out.retain(|out| Some(out.number) != pass.probe);
        self.out.len() < before
    }

    /// A request has ended. `chance`: 0 to 1.
    pub fn landed(&mut self, pass: Pass, word: &Word, now: Instant, chance: f64) -> Option<Turned> {
        self.chance = chance;
        // Lost ones first: what has come back too late is none of the present period's any more.
        let lost = self.lose(now);
        let of_probe = self.released(pass);
        let probing = matches!(self.standing, Standing::Probe { .. });
        if lost.is_some() || pass.period != self.period || probing != of_probe {
            return lost;
        }
        match (self.standing, word) {
            (Standing::Block { .. }, _) | (_, Word::Throttled { .. } | Word::Nothing) => None,
            // One job can be turned away in such words while others are taken: then it is one failure.
            (Standing::Allow { .. }, Word::Down(_)) if self.replies.well(self.second(now)) => self.failed(now),
            (_, Word::Down(code)) => Some(self.turn_to_block(code.as_str(), now)),
            (Standing::Allow { .. }, Word::Well) => {
                self.replies.count(self.second(now), false);
                None
            }
            (Standing::Allow { .. }, Word::Failed) => self.failed(now),
            (Standing::Probe { .. }, Word::Failed) => Some(self.turn_to_block("a probe failed", now)),
            (Standing::Probe { well }, Word::Well) if well + 1 < PROBES => {
                self.standing = Standing::Probe { well: well + 1 };
                None
            }
            (Standing::Probe { .. }, Word::Well) => {
                let why = format!("{PROBES} probes were answered well");
                (self.why, self.replies) = (None, Replies::default());
                Some(self.turn(Standing::Allow { since: now }, why))
            }
        }
    }

    /// One more failure while it allows.
    fn failed(&mut self, now: Instant) -> Option<Turned> {
        let second = self.second(now);
        self.replies.count(second, true);
        let why = self.replies.verdict(second)?;
        Some(self.turn_to_block(&why, now))
    }

    /// Lets time pass: blocks end, probes are lost.
    pub fn follow(&mut self, now: Instant) -> Option<Turned> {
        if let Some(lost) = self.lose(now) {
            return Some(lost);
        }
        match self.standing {
            Standing::Block { until } if until <= now => {
                Some(self.turn(Standing::Probe { well: 0 }, "the block is over".to_owned()))
            }
            _ => None,
        }
    }

    /// Writes off probes that do not come back. One of this period has failed.
    fn lose(&mut self, now: Instant) -> Option<Turned> {
        let period = self.period;
        let mut failed = false;
        self.out.retain(|out| {
            let lost = out.made + PROBE_LIFE <= now;
            failed |= lost && out.period == period;
            !lost
        });
        let why = || format!("a probe did not come back in {} s", PROBE_LIFE.as_secs());
        failed.then(|| self.turn_to_block(&why(), now))
    }

    fn turn_to_block(&mut self, why: &str, now: Instant) -> Turned {
        if let Standing::Allow { since } = self.standing
            && now.saturating_duration_since(since) >= BETTER
        {
            self.block = BLOCK;
        }
        let time = self.block.mul_f64(1.0 + SPREAD * self.chance.clamp(0.0, 1.0));
        self.block = (self.block * 2).min(BLOCK_MAX);
        self.why = Some(why.to_owned());
        self.turn(Standing::Block { until: now + time }, format!("{why}; blocked for {:.1} s", time.as_secs_f64()))
    }

    fn turn(&mut self, to: Standing, why: String) -> Turned {
        let from = self.state();
        self.standing = to;
        self.period += 1;
        Turned { from, to: self.state(), why }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs()
    }
}

/// Replies of the last minute, by the second.
#[derive(Debug, Default)]
struct Replies {
    /// Second, well, failed; ascending.
    slots: VecDeque<(u64, u32, u32)>,
}

impl Replies {
    fn count(&mut self, second: u64, failed: bool) {
        while self.slots.front().is_some_and(|(then, ..)| then + FEW.seconds <= second) {
            self.slots.pop_front();
        }
        if self.slots.back().is_none_or(|(last, ..)| *last < second) {
            self.slots.push_back((second, 0, 0));
        }
        if let Some((_, well, bad)) = self.slots.back_mut() {
            *well += u32::from(!failed);
            *bad += u32::from(failed);
        }
    }

    /// Whether somebody was answered well just now.
    fn well(&self, second: u64) -> bool {
        self.slots.iter().any(|(then, well, _)| then + FALL.seconds > second && *well > 0)
    }

    /// Why they are too bad, if they are.
    fn verdict(&self, second: u64) -> Option<String> {
        let too_few = self.last(RULE.seconds, second).0 < RULE.replies;
        let rules: &[Rule] = if too_few { &[FEW] } else { &[FALL, RULE] };
        rules.iter().find_map(|rule| {
            let (all, failed) = self.last(rule.seconds, second);
            let bad = all >= rule.replies && f64::from(failed) >= rule.share * f64::from(all);
            bad.then(|| format!("{failed} of {all} replies in {} s failed", rule.seconds))
        })
    }

    /// All replies and failed ones of the last so many seconds.
    fn last(&self, seconds: u64, second: u64) -> (u32, u32) {
        let late = self.slots.iter().filter(|(then, ..)| then + seconds > second);
        late.fold((0, 0), |(all, failed), (_, well, bad)| (all + well + bad, failed + bad))
    }
}
