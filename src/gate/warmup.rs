//! A warm-up: how many messages a new sender may send on each of its first days.
//!
//! Why: a mailbox provider trusts nobody it does not know; who begins at full speed is blocked for weeks.
//! Must not know: how a cap is kept (`budget`), what happens to a message beyond it.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::job::Wall;

/// Longest schedule, in days. No warm-up takes a year; a slip in `factor` would.
const DAYS_MAX: usize = 366;
/// Largest cap of a day, as of any limit.
const CAP_MAX: u32 = 1_000_000_000;

/// Messages per UTC day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    start: Date,
    caps: Vec<u32>,
}

impl Schedule {
    /// The days as they are listed, from `start` on. 0 is a day without.
    ///
    /// # Errors
    /// No day or more than 366, or a cap over 1,000,000,000.
    pub fn new(start: Date, caps: Vec<u32>) -> Result<Self, String> {
        if !(1..=DAYS_MAX).contains(&caps.len()) {
            return Err(format!("a warm-up has {} days; hint: list 1 to {DAYS_MAX}", caps.len()));
        }
        if let Some(cap) = caps.iter().find(|cap| **cap > CAP_MAX) {
            return Err(format!("a warm-up's day has {cap} messages; hint: at most {CAP_MAX}"));
        }
        Ok(Self { start, caps })
    }

    /// `first` messages on the first day, `factor` times as many on each that follows; the first day that would have
    /// `until` or more has `until`, and is the last.
    ///
    /// # Errors
    /// What is out of range, and what it may be.
    pub fn growth(start: Date, first: u32, factor: f64, until: u32) -> Result<Self, String> {
        if first == 0 {
            return Err("a warm-up's `first` is 0; hint: at least 1 message on the first day".to_owned());
        }
        if !(factor > 1.0 && factor <= 10.0) {
            return Err(format!("a warm-up's `factor` is {factor}; hint: more than 1, at most 10; 1.5 is usual"));
        }
        if until <= first {
            return Err(format!(
                "a warm-up's `until` {until} is not more than its `first` {first}; hint: where it ends"
            ));
        }
        let mut cap = f64::from(first);
        let mut caps = Vec::new();
        while cap < f64::from(until) && caps.len() < DAYS_MAX {
            caps.push(whole(cap));
            cap *= factor;
        }
        caps.push(until);
        if caps.len() > DAYS_MAX {
            let hint = format!("hint: a larger `factor` or `first`, so that it ends within {DAYS_MAX} days");
            return Err(format!("a warm-up from {first} by {factor} a day does not reach {until} in time; {hint}"));
        }
        Self::new(start, caps)
    }

    /// The cap of the UTC day: 0 before the schedule begins, none after it has ended.
    #[must_use]
    pub fn cap(&self, now: Wall) -> Option<u32> {
        match usize::try_from(self.day(now)) {
            Ok(day) => self.caps.get(day).copied(),
            Err(_) => Some(0),
        }
    }

    /// When the cap may be another: the next UTC midnight, or the first day's. None: the schedule has ended.
    #[must_use]
    pub fn next(&self, now: Wall) -> Option<Wall> {
        let day = self.day(now);
        let next = match usize::try_from(day) {
            Ok(past) if past >= self.caps.len() => return None,
            Ok(_) => day + 1,
            Err(_) => 0,
        };
        Some(midnight(self.start.saturating_add(next.days())))
    }

    /// Days since the first one.
    fn day(&self, now: Wall) -> i64 {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        (now.0.saturating_sub(midnight(self.start).0)).div_euclid(DAY_MS)
    }
}

/// When a UTC day begins.
fn midnight(day: Date) -> Wall {
    Wall(day.to_zoned(TimeZone::UTC).map_or(i64::MAX, |begin| begin.timestamp().as_millisecond()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than a u32, and positive")]
fn whole(cap: f64) -> u32 {
    cap as u32
}
