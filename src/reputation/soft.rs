//! Recipients to whom nothing gets through, again and again.
//!
//! Why: a full mailbox is no reason to give somebody up, five full mailboxes in a row are.

use std::collections::HashMap;

use crate::job::Channel;

/// So many soft bounces without a delivery between them …
pub const SOFT_MAX: usize = 5;
/// … within so long: 72 hours, in milliseconds.
pub const SOFT_WITHIN: i64 = 72 * 3_600_000;
/// Recipients remembered per partition; when there are more, the older half is forgotten.
const KEPT: usize = 50_000;

/// What one partition of the events says of those who could not be reached: all that is said of one recipient is there.
#[derive(Debug, Default)]
pub struct SoftBounces {
    /// When, in milliseconds, the earliest first. What happened at one time is one bounce: events may be read again.
    of: HashMap<(Channel, Box<str>), Vec<i64>>,
}

impl SoftBounces {
    /// One more. `true`: that was one too many.
    pub fn bounced(&mut self, channel: Channel, recipient: &str, at_ms: i64) -> bool {
        if self.of.len() >= KEPT {
            self.forget_older_half();
        }
        let times = self.of.entry((channel, recipient.into())).or_default();
        if let Err(place) = times.binary_search(&at_ms) {
            times.insert(place, at_ms);
        }
        let latest = times.last().copied().unwrap_or(at_ms);
        times.retain(|time| latest.saturating_sub(*time) <= SOFT_WITHIN);
        if times.len() > SOFT_MAX {
            times.remove(0);
        }
        times.len() == SOFT_MAX
    }

    /// Something got through.
    pub fn delivered(&mut self, channel: Channel, recipient: &str) {
        if !self.of.is_empty() {
            self.of.remove(&(channel, recipient.into()));
        }
    }

    fn forget_older_half(&mut self) {
        let latest = |times: &Vec<i64>| times.last().copied().unwrap_or(i64::MIN);
        let mut all: Vec<i64> = self.of.values().map(latest).collect();
        let middle = all.len() / 2;
        let (_, middle, _) = all.select_nth_unstable(middle);
        let middle = *middle;
        self.of.retain(|_, times| latest(times) > middle);
    }
}
