//! A limit as an operator writes it: `"600 requests/s"`, `"50_000 messages/s"`, `"100 messages/10s"`.
//!
//! Why: a bare number has burnt every system of this kind; a limit names its unit and its window.
//! Must not know: how a limit is kept (`bucket`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests to the vendor.
    Requests,
    /// Messages, however many share a request.
    Messages,
}

impl Unit {
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
    /// In any stretch of time this long: 1 s to 60 s.
    pub window: Duration,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let hint =
            || format!("`{s}` is not a limit; hint: `600 requests/s`, `50_000 messages/s` or `100 messages/10s`");
        let (count, rest) = s.trim().split_once(' ').ok_or_else(hint)?;
        let (unit, window) = rest.split_once('/').ok_or_else(hint)?;
        let count: u32 = count.replace('_', "").parse().map_err(|_| hint())?;
        let unit = match unit.trim() {
            "requests" | "request" => Unit::Requests,
            "messages" | "message" => Unit::Messages,
            _ => return Err(hint()),
        };
        let window = match window.trim() {
            "s" => 1,
            "min" => 60,
            w => w.strip_suffix('s').and_then(|n| n.parse().ok()).ok_or_else(hint)?,
        };
        if !(1..=1_000_000_000).contains(&count) {
            return Err(format!("`{s}`: the count must be 1 to 1_000_000_000"));
        }
        if !(1..=60).contains(&window) {
            return Err(format!("`{s}`: a window is 1 s to 60 s; longer ones are not supported yet"));
        }
        Ok(Self { count, unit, window: Duration::from_secs(window) })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/", self.count, self.unit.as_str())?;
        match self.window.as_secs() {
            1 => f.write_str("s"),
            secs => write!(f, "{secs}s"),
        }
    }
}
