//! What gates granted, held against their limits and against what arrived.
//!
//! Why: between a permit and its arrival lies a machine that may be busy; what the gate itself did is judged without
//! any allowance. Read from the log lines of `peakpost::permit` (level trace). A process that was killed takes its
//! last few lines with it, so only one that ended in order has told everything.
//! Must not know: how a gate counts.

use std::collections::HashMap;

use peakpost::sim::arrivals::{Seen, Vendor, windows_over};

use super::arrivals::Limit;
use super::{Fault, Verdict, verdict};

/// One permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Nanoseconds since 1970.
    pub at: u64,
    pub provider: String,
    pub requests: u64,
    pub messages: u64,
}

/// The permits that logs tell of, by their times.
pub fn grants<'l>(logs: impl IntoIterator<Item = &'l str>) -> Vec<Grant> {
    let lines = logs.into_iter().flat_map(str::lines).filter(|line| line.contains("TRACE peakpost::permit:"));
    let mut grants: Vec<Grant> = lines.filter_map(grant).collect();
    grants.sort_by_key(|grant| grant.at);
    grants
}

/// `None` for a line that a kill cut off.
fn grant(line: &str) -> Option<Grant> {
    let at: jiff::Timestamp = line.split_whitespace().next()?.parse().ok()?;
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        Some(rest.split_whitespace().next()?.trim_matches('"'))
    };
    Some(Grant {
        at: at.as_nanosecond().try_into().ok()?,
        provider: field("provider")?.to_owned(),
        requests: field("requests")?.parse().ok()?,
        messages: field("messages")?.parse().ok()?,
    })
}

/// Fails when a gate granted more in a sliding window than its provider's limit.
pub fn within_rate(grants: &[Grant], provider: &str, limit: Limit) -> Verdict {
    let of_provider = grants.iter().filter(|grant| grant.provider == provider);
    let times = of_provider.flat_map(|grant| {
        let count = if limit.messages { grant.messages } else { grant.requests };
        std::iter::repeat_n(grant.at, usize::try_from(count).unwrap())
    });
    let times: Vec<u64> = times.collect();
    match windows_over(&times, limit.count, limit.window) {
        0 => Ok(times.len() as u64),
        count => {
            let examples = vec![format!("{provider}: {limit:?}")];
            Err(Fault { what: "windows of permits over the limit", count, examples, hint: "the gate itself" })
        }
    }
}

/// Fails when more reached a vendor than the gate of its provider granted.
pub fn permitted(seen: &Seen, grants: &[Grant], providers: &[(&str, Vendor)]) -> Verdict {
    let mut most: HashMap<&str, (u64, u64)> = HashMap::new();
    for grant in grants {
        let sum = most.entry(&grant.provider).or_default();
        (sum.0, sum.1) = (sum.0 + grant.requests, sum.1 + grant.messages);
    }
    let mut found = Vec::new();
    for (provider, vendor) in providers {
        let arrived = seen.requests.iter().filter(|r| r.vendor == *vendor);
        let (requests, messages) = arrived.fold((0, 0), |(n, m), r| (n + 1, m + u64::from(r.messages)));
        let (granted, granted_messages) = most.get(provider).copied().unwrap_or_default();
        if requests > granted || messages > granted_messages {
            found.push(format!(
                "{provider}: {requests} requests with {messages} messages, permits for {granted} with {granted_messages}"
            ));
        }
    }
    verdict("requests went out without a permit", seen.requests.len(), found, "only a gate makes permits")
}
