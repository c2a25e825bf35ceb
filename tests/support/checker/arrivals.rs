//! What reached the vendors, held against outcomes, kills and limits.
//!
//! Why: the vendors' own log is the only truth about what was sent.
//! Must not know: how a run was made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use peakpost::sim::arrivals::{Seen, Vendor, windows_over};
use peakpost::sim::load::Expect;

use super::history::History;
use super::{Fault, Verdict, Weather, verdict};

fn sent_keys(seen: &Seen) -> HashSet<&str> {
    seen.messages.iter().filter(|a| a.sent).map(|a| &*a.key).collect()
}

/// Jobs that are lost: without a terminal outcome, or accepted and never sent.
pub fn lost(history: &History) -> Vec<String> {
    let sent = sent_keys(&history.seen);
    let terminal = history.dump.counting().filter(|e| e.is_terminal());
    let ended: HashMap<&str, &str> = terminal.map(|e| (&*e.key, &*e.kind)).collect();
    let state = |key: &str| match ended.get(key) {
        None => Some(format!("{key}: no terminal outcome")),
        Some(&"accepted") if !sent.contains(key) => Some(format!("{key}: accepted, and never sent")),
        Some(_) => None,
    };
    history.expected.0.keys().filter_map(|key| state(key)).collect()
}

/// Fails unless the vendors have taken every job that must be accepted, and no other.
pub fn sent(history: &History) -> Verdict {
    let accepted = history.expected.0.iter().filter(|(_, expect)| **expect == Expect::Accepted);
    let accepted: HashSet<&str> = accepted.map(|(key, _)| key.as_str()).collect();
    let sent = sent_keys(&history.seen);
    let missing = accepted.difference(&sent).map(|key| format!("{key}: must be sent, and was not"));
    let forbidden = sent.difference(&accepted).map(|key| format!("{key}: was sent, and must not be"));
    let found = missing.chain(forbidden).collect();
    verdict("the wrong jobs were sent", accepted.len(), found, "sent but forbidden: which rule let it pass?")
}

/// A job that was sent more than once: when, in order.
#[derive(Debug)]
pub struct Twice<'h> {
    pub key: &'h str,
    pub at: Vec<u64>,
}

/// Jobs that were sent more than once.
pub fn twice(seen: &Seen) -> Vec<Twice<'_>> {
    let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for arrival in seen.messages.iter().filter(|a| a.sent) {
        times.entry(&arrival.key).or_default().push(arrival.at);
    }
    times.into_iter().filter(|(_, at)| at.len() > 1).map(|(key, at)| Twice { key, at }).collect()
}

/// Fails when a job was sent again without a kill or freeze between the two, or one of these has more jobs sent again
/// to its name than were in flight. Each repeated arrival is put down to the first blow between it and the arrival that
/// it repeats. Returns the most that any has to its name.
pub fn bounded(history: &History, weather: &Weather) -> Verdict {
    let mut by_blow = vec![0_usize; weather.blows.len()];
    let mut found = Vec::new();
    let again = twice(&history.seen);
    for Twice { key, at } in &again {
        for pair in at.windows(2) {
            match weather.blows.iter().position(|blow| blow.until >= pair[0] && blow.from <= pair[1]) {
                Some(blow) => by_blow[blow] += 1,
                None => found.push(format!("{key}: at {pair:?} ns, and nothing happened between")),
            }
        }
    }
    let worst = by_blow.iter().copied().max().unwrap_or(0);
    for (blow, count) in by_blow.iter().enumerate().filter(|(_, count)| **count > weather.in_flight) {
        found.push(format!("{count} after blow {blow}, and at most {} were in flight", weather.in_flight));
    }
    verdict("jobs were sent twice without cause", worst, found, "who sent it again, and what could it have known?")
}

/// A provider's limit, as it was configured.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub vendor: Vendor,
    /// Messages count, not requests.
    pub messages: bool,
    pub count: usize,
    pub window: Duration,
}

/// Fails when a sliding window of arrivals at a vendor holds more than its limit. A permit and its arrival may be
/// `jitter` apart; when this machine stood still for longer, windows are judged that much shorter.
pub fn within_rate(seen: &Seen, limit: Limit, stall: Duration, jitter: Duration) -> Verdict {
    let window = limit.window.saturating_sub(stall.saturating_sub(jitter));
    let of_vendor = seen.requests.iter().filter(|r| r.vendor == limit.vendor);
    let times = of_vendor.flat_map(|r| {
        let count = if limit.messages { r.messages as usize } else { 1 };
        std::iter::repeat_n(r.at, count)
    });
    let times: Vec<u64> = times.collect();
    match windows_over(&times, limit.count, window) {
        0 => Ok(times.len() as u64),
        count => {
            let examples = vec![format!("{limit:?}, judged by {window:?} (the machine stood still for {stall:?})")];
            Err(Fault { what: "windows over the limit", count, examples, hint: "what was sent without its tokens?" })
        }
    }
}
