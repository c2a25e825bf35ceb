//! What scenarios of deferred jobs share: jobs with a time of their own, waiting for ends instead of hops, and the
//! last question with tiers and holds included.
//!
//! Why: a deferred job has several outcomes and only one end; who counts outcomes counts wrong.
//! Must not know: any scenario.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use peakpost::sim::arrivals::{Arrival, Seen};
use peakpost::sim::load::Generated;
use rdkafka::Message;

use super::checker::history::Dump;
use super::checker::watch::Watch;
use super::reckoning::{self, Expected};
use super::{World, kafka};

/// Whether the long runs are asked for.
pub fn full() -> bool {
    std::env::var("PEAKPOST_CRASH").is_ok_and(|how| how == "full")
}

/// Now, in milliseconds since 1970.
pub fn wall_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The job with a further member, given as JSON (`"name":value`).
pub fn with(job: Generated, member: &str) -> Generated {
    let mut payload = job.payload;
    assert_eq!(payload.pop(), Some(b'}'), "a job is an object");
    payload.extend_from_slice(b",");
    payload.extend_from_slice(member.as_bytes());
    payload.extend_from_slice(b"}");
    Generated { payload, ..job }
}

/// The job, not to be sent before this.
pub fn at(job: Generated, ms: i64) -> Generated {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap();
    with(job, &format!(r#""send_at":"{time}""#))
}

/// How a job is called at the vendors and in the account.
pub fn key(job: &Generated) -> String {
    format!("{}/{}", job.tenant, job.id)
}

/// Counts outcomes that are no end; also when the audit's books are closed.
pub struct Tally(Arc<AtomicU64>, Arc<AtomicU64>);

impl Tally {
    pub fn of(audit: &Watch) -> Self {
        Self(Arc::clone(&audit.seen), Arc::clone(&audit.ended))
    }

    /// How many there are, per one of `jobs`.
    pub fn per(&self, jobs: usize) -> f64 {
        self.count() as f64 / jobs as f64
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed) - self.1.load(Ordering::Relaxed)
    }
}

/// Closes the books and asks the last question: each job ended as foretold and went out once, and lanes, tiers and
/// holds are committed to their ends.
pub fn exactly<'j>(
    world: &World,
    audit: Watch,
    jobs: impl IntoIterator<Item = &'j Generated>,
    more: Seen,
) -> (Dump, Seen) {
    let (account, mut seen) = reckoning::close(world, audit);
    seen.messages.extend(more.messages);
    seen.requests.extend(more.requests);
    reckoning::exactly(world, &Expected::of(jobs), &account, &seen);
    (account, seen)
}

/// When a message arrived, in milliseconds since 1970: not before the first, not after the second.
pub fn arrived(world: &World, arrival: &Arrival) -> (i64, i64) {
    let ms = i64::try_from(arrival.at / 1_000_000).unwrap();
    (world.vendors_since.0 + ms, world.vendors_since.1 + ms + 1)
}

/// The value below which this share (0 to 1) of all lies; the list is sorted on the way.
pub fn quantile(values: &mut [i64], share: f64) -> i64 {
    values.sort_unstable();
    let rank = (values.len() as f64 * share).ceil().max(1.0);
    values[format!("{rank:.0}").parse::<usize>().unwrap().min(values.len()) - 1]
}

/// How often each job has an outcome of this kind.
pub fn outcomes(world: &World, kind: &str) -> HashMap<String, usize> {
    let mut jobs = HashMap::new();
    for record in records(world) {
        if record["outcome"] == kind {
            let key = format!("{}/{}", record["tenant"].as_str().unwrap(), record["id"].as_str().unwrap());
            *jobs.entry(key).or_default() += 1;
        }
    }
    jobs
}

/// Everything the outcomes topic holds.
pub fn records(world: &World) -> Vec<serde_json::Value> {
    let all = kafka::read_all(world, &world.topics.outcomes());
    all.iter().map(|message| serde_json::from_slice(message.payload().unwrap()).unwrap()).collect()
}
