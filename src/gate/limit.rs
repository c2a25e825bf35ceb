//! A limit as an operator writes it: `"600 requests/s"`, `"50_000 messages/s"`, `"1_000_000 messages/day"`.
//!
//! Why: a bare number has burnt every system of this kind; a limit names its unit and its window.
//! Must not know: how a limit is kept (`bucket`, `budget`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest window that a bucket keeps. It begins empty after a restart, which costs at most a window; a limit
/// over a longer one is a budget, which is written down.
const BUCKET_WINDOW_MAX: Duration = Duration::from_secs(60);
/// The longest window: a month, however it is counted.
const WINDOW_MAX_SECS: u64 = 31 * DAY;
const DAY: u64 = 24 * 60 * 60;

/// Words for windows, the longest first: after a number, for one, seconds.
const WORDS: [(&str, &str, u64); 4] = [("d", "day", DAY), ("h", "h", 60 * 60), ("min", "min", 60), ("s", "s", 1)];

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests to the vendor.
    Requests,
    /// Messages, however many share a request.
    Messages,
}

impl Unit {
    /// A number for each: 0, 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Requests => 0,
            Self::Messages => 1,
        }
    }

    /// The word in configuration and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Messages => "messages",
        }
    }
}

/// At most `count` of `unit` in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How many: 1 to 1,000,000,000.
    pub count: u32,
    /// Of what.
    pub unit: Unit,
    /// In any stretch of time this long: 1 s to 31 days, in whole seconds.
    pub window: Duration,
}

impl Limit {
    /// Whether it is kept as a budget: its window is longer than 60 s.
    #[must_use]
    pub fn is_budget(&self) -> bool {
        self.window > BUCKET_WINDOW_MAX
    }
}

/// A window as an operator writes it, in the largest unit that fits: `s`, `10s`, `min`, `12h`, `day`, `30d`.
pub(super) fn window_text(window: Duration) -> String {
    let secs = window.as_secs();
    let fits = WORDS.iter().find(|(_, _, unit)| secs.is_multiple_of(*unit));
    let &(many, one, unit) = fits.unwrap_or(&("s", "s", 1));
    if secs == unit { one.to_owned() } else { format!("{}{many}", secs / unit) }
}

/// Seconds of a window as an operator writes it.
fn window_secs(text: &str) -> Option<u64> {
    if let Some((_, _, unit)) = WORDS.iter().find(|(_, one, _)| *one == text) {
        return Some(*unit);
    }
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (_, _, unit) = WORDS.iter().find(|(many, _, _)| *many == &text[number.len()..])?;
    Some(number.parse::<u64>().ok()?.saturating_mul(*unit))
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let hint =
            || format!("`{s}` is not a limit; hint: `600 requests/s`, `100 messages/10s` or `1_000_000 messages/day`");
        let (count, rest) = s.trim().split_once(' ').ok_or_else(hint)?;
        let (unit, window) = rest.split_once('/').ok_or_else(hint)?;
        let count: u32 = count.replace('_', "").parse().map_err(|_| hint())?;
        let unit = match unit.trim() {
            "requests" | "request" => Unit::Requests,
            "messages" | "message" => Unit::Messages,
            _ => return Err(hint()),
        };
        let window = window_secs(window.trim()).ok_or_else(hint)?;
        if !(1..=1_000_000_000).contains(&count) {
            return Err(format!("`{s}`: the count must be 1 to 1_000_000_000"));
        }
        if !(1..=WINDOW_MAX_SECS).contains(&window) {
            return Err(format!("`{s}`: a window is 1 s to 31 days"));
        }
        Ok(Self { count, unit, window: Duration::from_secs(window) })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.count, self.unit.as_str(), window_text(self.window))
    }
}
