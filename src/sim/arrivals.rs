//! What arrived at the simulated vendors, and the checks that judge a run by it.
//!
//! Why: the vendor's own log is the only truth about sends. Rate, duplicates and losses are counted from it by
//! pure functions, so that a test, a soak run and a person with a file reach the same figures.
//! Must not know: how the arrivals were made or collected.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whose wire format the request spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Signed HTTP callbacks.
    Webhook,
    /// `SendGrid` v3 mail/send.
    SendGrid,
    /// Twilio Messages.
    Twilio,
}

impl Vendor {
    /// Every vendor, in the order of [`Vendor::index`].
    pub const ALL: [Self; 3] = [Self::Webhook, Self::SendGrid, Self::Twilio];

    /// Position in [`Vendor::ALL`], for tables indexed by vendor.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word in paths and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::SendGrid => "sendgrid",
            Self::Twilio => "twilio",
        }
    }
}

impl std::str::FromStr for Vendor {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|vendor| vendor.as_str() == s)
            .ok_or_else(|| format!("unknown vendor `{s}`; hint: webhook, sendgrid or twilio"))
    }
}

/// One message in one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// When: nanoseconds on a monotonic clock since the simulator started. The moment its request had been read.
    pub at: u64,
    /// Which request carried it.
    pub request: u64,
    /// Whom it was sent to.
    pub vendor: Vendor,
    /// `tenant/id` of the job; empty when the request did not say.
    pub key: Box<str>,
    /// HTTP status it was answered with; 0 when no answer was given.
    pub answer: u16,
    /// Whether the vendor would have sent it: taken, and the answer given, lost or withheld.
    pub sent: bool,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestArrival {
    /// When, as in [`Arrival::at`].
    pub at: u64,
    /// Whom it was sent to.
    pub vendor: Vendor,
    /// HTTP status; 0 when no answer was given.
    pub answer: u16,
    /// Messages it carried; 0 when its body could not be read.
    pub messages: u32,
    /// On the clock of `at`: until when a throttling answer asked the client to wait; 0 when none did.
    pub until: u64,
}

/// Everything that arrived, both lists in the order of their times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// One entry per message.
    pub messages: Vec<Arrival>,
    /// One entry per request.
    pub requests: Vec<RequestArrival>,
}

/// Reads arrivals written as JSON lines (the simulator's file, `GET /arrivals`).
///
/// # Errors
/// Names the line that is no arrival.
pub fn from_json_lines(text: &str) -> Result<Vec<Arrival>, String> {
    let read = |(i, line): (usize, &str)| serde_json::from_str(line).map_err(|e| format!("line {}: {e}", i + 1));
    text.lines().enumerate().map(read).collect()
}

/// The most entries of `times` (ascending nanoseconds) in any window `[t, t + window)`.
#[must_use]
pub fn max_in_window(times: &[u64], window: Duration) -> usize {
    counts(times, window).max().unwrap_or(0)
}

/// How many windows `[t, t + window)`, one begun at each entry of `times` (ascending nanoseconds), hold more
/// than `limit` entries. A rate was kept exactly when this is 0.
#[must_use]
pub fn windows_over(times: &[u64], limit: usize, window: Duration) -> usize {
    counts(times, window).filter(|&n| n > limit).count()
}

/// For each entry the entries from it on that share its window. No window holds more than one begun at an
/// entry, so these suffice.
fn counts(times: &[u64], window: Duration) -> impl Iterator<Item = usize> {
    let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
    let mut end = 0;
    times.iter().enumerate().map(move |(start, &t)| {
        // A window of no length holds nothing, not even its own start.
        end = end.max(start);
        while end < times.len() && times[end] - t < window {
            end += 1;
        }
        end - start
    })
}

/// Jobs sent more than once, with how often, by key. What the vendor turned away does not count;
/// messages that named no job count together, under the empty key.
#[must_use]
pub fn duplicates(arrivals: &[Arrival]) -> Vec<(&str, usize)> {
    let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
    for arrival in arrivals.iter().filter(|a| a.sent) {
        *sent.entry(&arrival.key).or_default() += 1;
    }
    sent.into_iter().filter(|&(_, n)| n > 1).collect()
}

/// Keys that should have been sent and were not, ascending.
#[must_use]
pub fn missing<'e>(expected: &'e BTreeSet<String>, arrivals: &[Arrival]) -> Vec<&'e str> {
    let sent: HashSet<&str> = arrivals.iter().filter(|a| a.sent).map(|a| &*a.key).collect();
    expected.iter().map(String::as_str).filter(|key| !sent.contains(key)).collect()
}

/// Requests that came to a vendor after it had asked to wait and before that wait was over. Those within
/// `grace` of the throttling answer were on their way and do not count. `requests` in the order of their times.
#[must_use]
pub fn heedless(requests: &[RequestArrival], grace: Duration) -> usize {
    let grace = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
    let mut heedless = 0;
    let mut closed = [(u64::MAX, 0); Vendor::ALL.len()];
    for request in requests {
        let (from, until) = &mut closed[request.vendor.index()];
        if request.at > *from && request.at < *until {
            heedless += 1;
        }
        // A later word extends the wait; it gives no new grace while the old one runs.
        if request.until > *until {
            if request.at >= *until {
                *from = request.at.saturating_add(grace);
            }
            *until = request.until;
        }
    }
    heedless
}
