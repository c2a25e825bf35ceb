//! The reckoning: what was enqueued, held against the outcomes and against the vendors' own log of arrivals.
//!
//! Why: every scenario ends with the same question, asked once and strictly: did each job end as foretold, once,
//! and was each accepted one sent, once?
//! Must not know: how the run was made.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peakpost::sim::arrivals::{Seen, duplicates};
use peakpost::sim::demo::audit::{Account, Audit};
use peakpost::sim::load::{Expect, Generated};

use super::daemon::Daemon;
use super::{PATIENCE, World, kafka, until};

/// Jobs by `tenant/id` with the end they must come to.
#[derive(Default)]
pub struct Expected(pub HashMap<String, Expect>);

impl Expected {
    pub fn of<'j>(jobs: impl IntoIterator<Item = &'j Generated>) -> Self {
        let good = |job: &&Generated| !matches!(job.expect, Expect::Dead { .. });
        let entry = |job: &Generated| (format!("{}/{}", job.tenant, job.id), job.expect);
        Self(jobs.into_iter().filter(good).map(entry).collect())
    }
}

/// Waits until so many outcomes are there. Fails when none comes for a while, or a daemon ends by itself.
pub fn wait_for(audit: &Audit, outcomes: u64, daemons: &mut [&mut Daemon]) {
    let mut moved = (0, Instant::now());
    loop {
        let seen = audit.seen.load(Ordering::Relaxed);
        if seen >= outcomes {
            return;
        }
        let words: Vec<String> = daemons.iter().map(|daemon| daemon.child.last_words()).collect();
        for daemon in daemons.iter_mut() {
            assert!(daemon.child.ended().is_none(), "a daemon ended by itself; {}", words.join("\n"));
        }
        if seen != moved.0 {
            moved = (seen, Instant::now());
        }
        let still = moved.1.elapsed();
        assert!(still < PATIENCE, "no outcome for {still:?} at {seen} of {outcomes}; {}", words.join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Closes the books once every daemon has ended: everything of the outcomes topic is read.
pub fn close(world: &World, audit: Audit) -> (Account, Seen) {
    let written = kafka::count(world, &world.topics.outcomes());
    let all_read = || (audit.seen.load(Ordering::Relaxed) >= written).then_some(());
    until(PATIENCE, "all outcomes are read", all_read, || format!("{written} were written"));
    let account = audit.finish();
    assert_eq!(account.gaps, 0, "outcomes were trimmed before they were read; hint: enqueue less");
    (account, world.vendors.take_arrivals())
}

/// Fails unless each job has the one outcome it must have, the accepted were sent once and nothing else was, and
/// everything is committed.
pub fn exactly(world: &World, expected: &Expected, account: &Account, seen: &Seen) {
    let twice = duplicates(&seen.messages);
    assert!(twice.is_empty(), "{} jobs were sent twice: {:?}", twice.len(), &twice[..twice.len().min(5)]);
    outcomes(expected, account);
    sent(expected, seen);
    kafka::all_committed(world);
}

/// Fails unless each job has exactly one terminal outcome, and it is the foretold one.
pub fn outcomes(expected: &Expected, account: &Account) {
    assert_eq!(account.repeated, 0, "jobs have more than one terminal outcome");
    let mut wrong = Vec::new();
    for (key, expect) in &expected.0 {
        let said = account.jobs.get(key.as_str()).map(|(outcome, reason)| (&**outcome, &**reason));
        let right = match (expect, said) {
            (Expect::Accepted, Some((outcome, _))) => outcome == "accepted",
            (Expect::Expired, Some((outcome, _))) => outcome == "expired",
            (Expect::Refused(why), Some((outcome, reason))) => outcome == "refused" && reason == *why,
            _ => false,
        };
        if !right {
            wrong.push(format!("{key}: {said:?}, must be {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} outcomes are wrong or missing: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert_eq!(account.jobs.len(), expected.0.len(), "there are outcomes of jobs that nobody enqueued");
}

/// Fails unless the vendors have taken every job that must be accepted, and no other.
pub fn sent(expected: &Expected, seen: &Seen) {
    let accepted = expected.0.iter().filter(|(_, expect)| **expect == Expect::Accepted);
    let accepted: HashSet<&str> = accepted.map(|(key, _)| key.as_str()).collect();
    let sent: HashSet<&str> = seen.messages.iter().filter(|a| a.sent).map(|a| &*a.key).collect();
    let lost: Vec<&&str> = accepted.difference(&sent).take(5).collect();
    let forbidden: Vec<&&str> = sent.difference(&accepted).take(5).collect();
    assert!(lost.is_empty(), "accepted but never sent: {lost:?} and perhaps more");
    assert!(forbidden.is_empty(), "sent but must not be: {forbidden:?} and perhaps more");
}
