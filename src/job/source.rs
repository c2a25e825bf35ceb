//! Where jobs are read from: the lanes' topics, the delay tiers, the providers' holds.
//!
//! Why: a deferred job comes back through another topic than the one that asked for it; what is owed, committed
//! and restored is counted for each of them alike.
//! Must not know: topic names (`topic`), who reads.

use std::fmt;
use std::time::Duration;

use super::Lane;

/// A topic that jobs are read from. Tiers and holds are numbered as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A lane's jobs topic, which upstream writes.
    Jobs(Lane),
    /// A lane's delay tier: every record of it waits equally long.
    Delay(Lane, u8),
    /// A lane's jobs that were put aside for a provider until it has room.
    Hold(Lane, u16),
}

impl Source {
    /// The lane whose jobs it carries. Each lane has its own, so that no code waits behind a campaign.
    #[must_use]
    pub fn lane(self) -> Lane {
        match self {
            Self::Jobs(lane) | Self::Delay(lane, _) | Self::Hold(lane, _) => lane,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(lane) => write!(f, "{lane}"),
            Self::Delay(lane, tier) => write!(f, "{lane} delay tier {tier}"),
            Self::Hold(lane, provider) => write!(f, "{lane} hold {provider}"),
        }
    }
}

/// How many sources of each kind there are; gives each a number, lanes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Delay tiers.
    pub tiers: u8,
    /// Providers.
    pub holds: u16,
}

impl Layout {
    /// Sources of one lane that peakpost itself writes.
    fn later_of_lane(self) -> usize {
        usize::from(self.tiers) + usize::from(self.holds)
    }

    /// There are always the lanes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        false
    }

    /// The number of a source, from 0 to `len`.
    #[must_use]
    pub fn index(self, source: Source) -> usize {
        let later = |lane: Lane| Lane::ALL.len() + lane.index() * self.later_of_lane();
        match source {
            Source::Jobs(lane) => lane.index(),
            Source::Delay(lane, tier) => later(lane) + usize::from(tier),
            Source::Hold(lane, provider) => later(lane) + usize::from(self.tiers) + usize::from(provider),
        }
    }

    /// Every source, in the order of their numbers.
    pub fn all(self) -> impl Iterator<Item = Source> {
        Lane::ALL.into_iter().map(Source::Jobs).chain(self.later())
    }

    /// Those that peakpost itself writes.
    pub fn later(self) -> impl Iterator<Item = Source> {
        Lane::ALL.into_iter().flat_map(move |lane| {
            let tiers = (0..self.tiers).map(move |tier| Source::Delay(lane, tier));
            tiers.chain((0..self.holds).map(move |provider| Source::Hold(lane, provider)))
        })
    }
}

/// The tiers of the shipped configuration, by name.
pub const SHIPPED_TIERS: [&str; 7] = ["10s", "1m", "5m", "20m", "1h", "4h", "12h"];

/// How long each delay tier waits, shortest first. What is nearer than the shortest waits in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers(pub Vec<Duration>);

impl Tiers {
    /// Waits up to this are kept in memory: the shortest tier's.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        self.0.first().copied().unwrap_or(Duration::MAX)
    }

    /// The tier for a wait that must not end early and is looked at again when its tier is over: the longest that
    /// is not longer than the wait. `None`: it waits in memory.
    #[must_use]
    pub fn within(&self, wait: Duration) -> Option<u8> {
        let count = self.0.iter().take_while(|tier| **tier <= wait).count();
        u8::try_from(count).ok()?.checked_sub(1)
    }

    /// The tier for a wait that may be rounded: the nearest, by ratio. `None`: it waits in memory.
    #[must_use]
    pub fn nearest(&self, wait: Duration) -> Option<u8> {
        let below = self.within(wait)?;
        let (under, over) = (self.0[usize::from(below)], self.0.get(usize::from(below) + 1));
        // Nearer in ratio: wait² against the product of the two.
        let up = over.is_some_and(|over| wait.as_secs_f64().powi(2) > under.as_secs_f64() * over.as_secs_f64());
        Some(below + u8::from(up))
    }

    /// The tier for a wait that must not be shortened: the shortest that is not shorter, or the longest of all.
    /// `None`: it waits in memory.
    #[must_use]
    pub fn beyond(&self, wait: Duration) -> Option<u8> {
        let below = self.within(wait)?;
        let longest = u8::try_from(self.0.len() - 1).unwrap_or(u8::MAX);
        Some(if self.wait(below) == wait { below } else { (below + 1).min(longest) })
    }

    /// How long a tier waits.
    #[must_use]
    pub fn wait(&self, tier: u8) -> Duration {
        self.0.get(usize::from(tier)).copied().unwrap_or_default()
    }
}
