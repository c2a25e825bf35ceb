//! What a gate remembers of itself: its latest changes, and who was kept waiting by what.
//!
//! Why: whoever asks "why is it slow" asks a little later; what was said of it is bounded.
//! Must not know: limits, what changes them, who asks.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::report::{Bound, By, Change};

/// Changes that are remembered.
const REMEMBERED: usize = 256;
/// What is said of "now" looks back over one to two of these.
const LATELY: Duration = Duration::from_secs(5);

/// What was, for those who ask later. Bounded.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// Of the latest, those nobody has taken yet.
    new: usize,
    bound: Option<(Bound, Instant)>,
    kept: BTreeMap<By, Duration>,
    /// Lately, and before that: who was kept by what, and what was granted.
    lately: [Stretch; 2],
}

#[derive(Debug, Default)]
struct Stretch {
    since: Option<Instant>,
    kept: BTreeMap<Bound, Duration>,
    granted: u64,
}

impl History {
    pub(super) fn note(&mut self, change: Change) {
        if (change.from - change.to).abs() < f64::EPSILON {
            return;
        }
        if self.changes.len() == REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.new = (self.new + 1).min(REMEMBERED);
    }

    pub(super) fn take_new(&mut self) -> Vec<Change> {
        let from = self.changes.len() - std::mem::take(&mut self.new);
        self.changes.iter().skip(from).cloned().collect()
    }

    pub(super) fn take_kept(&mut self) -> Vec<(By, Duration)> {
        std::mem::take(&mut self.kept).into_iter().collect()
    }

    /// From now on somebody is kept waiting by this, or nobody.
    pub(super) fn bound(&mut self, bound: Option<Bound>, now: Instant) {
        self.roll(now);
        if let Some((by, since)) = self.bound {
            let time = now.saturating_duration_since(since);
            *self.kept.entry(by.by).or_default() += time;
            *self.lately[0].kept.entry(by).or_default() += time;
        }
        self.bound = bound.map(|bound| (bound, now));
    }

    pub(super) fn granted(&mut self, messages: u32, now: Instant) {
        self.roll(now);
        self.lately[0].granted += u64::from(messages);
    }

    fn roll(&mut self, now: Instant) {
        let since = *self.lately[0].since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= LATELY {
            let old = std::mem::take(&mut self.lately[0]);
            // After a long rest nothing of the old is told.
            let idle = Stretch { since: now.checked_sub(LATELY), ..Stretch::default() };
            self.lately[1] = if passed >= 2 * LATELY { idle } else { old };
            self.lately[0].since = Some(now);
        }
    }

    /// What bound lately, the longest first, as parts of the time; messages granted a second; and of how many
    /// seconds this is said.
    pub(super) fn lately(&self, now: Instant) -> (Vec<(Bound, f64)>, f64, f64) {
        let [present, before] = &self.lately;
        let since = before.since.or(present.since).unwrap_or(now);
        let time = now.saturating_duration_since(since).as_secs_f64().max(0.001);
        let mut kept: BTreeMap<Bound, Duration> = present.kept.clone();
        for (bound, passed) in &before.kept {
            *kept.entry(*bound).or_default() += *passed;
        }
        if let Some((bound, since)) = self.bound {
            *kept.entry(bound).or_default() += now.saturating_duration_since(since);
        }
        let mut kept: Vec<(Bound, f64)> =
            kept.into_iter().map(|(bound, passed)| (bound, (passed.as_secs_f64() / time).min(1.0))).collect();
        kept.sort_by(|a, b| b.1.total_cmp(&a.1));
        (kept, (present.granted + before.granted) as f64 / time, time)
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        self.changes.iter().cloned().collect()
    }
}
