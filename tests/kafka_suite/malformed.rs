//! Records that are no jobs among many that are.
//!
//! Why: what upstream gets wrong must end as a dead letter with its bytes, its headers and the reason, and must
//! take nothing else with it.
//! Must not know: how records are read.

use std::collections::HashMap;

use peakpost::job::Lane;
use peakpost::sim::load::{Expect, Generated, KINDS, Mix, malformed};
use rdkafka::Message;
use rdkafka::message::{Headers, OwnedMessage};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later::Tally;
use crate::support::reckoning::{self, Expected};
use crate::support::{World, kafka};

fn header<'m>(message: &'m OwnedMessage, name: &str) -> &'m str {
    let found = message.headers().and_then(|headers| headers.iter().find(|h| h.key == name));
    found.and_then(|h| h.value).map_or("", |value| std::str::from_utf8(value).unwrap())
}

/// A malformed record after every so many good jobs, in both lanes.
fn mixed(world: &World, good: usize, bad: usize) -> Vec<Generated> {
    let mix = Mix { no_consent: 0.0, no_unsubscribe: 0.0, expired: 0.0, malformed: 0.0, ..Mix::peak() };
    let mut jobs = Vec::with_capacity(good + bad);
    for (n, job) in world.jobs(12, mix).take(good).enumerate() {
        jobs.push(job);
        if n % (good / bad) == 0 {
            let n = (n / (good / bad)) as u64;
            let (payload, reason, field) = malformed(n);
            let lane = Lane::ALL[usize::from(!n.is_multiple_of(3))];
            let (key, id, expect) = (format!("malformed-{n}"), String::new(), Expect::Dead { reason, field });
            jobs.push(Generated { lane, key, tenant: "", id, payload, expect });
        }
    }
    jobs
}

/// 1,000 malformed records of every kind among 100,000 good ones.
#[test]
fn what_is_no_job_is_a_dead_letter_and_nothing_else_suffers() {
    let world = World::new("malformed");
    let (good, bad) = world.scale((100_000, 1_000), (8_000, 200));
    assert!(KINDS >= 20 && bad as u64 >= KINDS, "every kind comes at least once");
    let jobs = mixed(&world, good, bad);
    let audit = world.audit();
    let deferrals = Tally::of(&audit);
    let mut daemon = Daemon::ready(&world, "daemon", &Settings::default());
    kafka::enqueue(&world, &jobs, |_| None);
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    daemon.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    // What was enqueued, by its bytes: how often, and what must be said of it.
    let mut owed: HashMap<&[u8], (i64, &str, &str)> = HashMap::new();
    let mut reasons: HashMap<Box<str>, u64> = HashMap::new();
    for job in &jobs {
        if let Expect::Dead { reason, field } = job.expect {
            owed.entry(&job.payload).or_insert((0, reason, field)).0 += 1;
            *reasons.entry(reason.into()).or_default() += 1;
        }
    }
    assert_eq!(account.invalid(), reasons, "outcomes of malformed records, by reason");
    let letters = kafka::read_all(&world, &world.topics.dead());
    for letter in &letters {
        let bytes = letter.payload().unwrap_or_default();
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        let owed = owed.get_mut(bytes).unwrap_or_else(|| panic!("a letter nobody wrote, or other bytes: {start}"));
        owed.0 -= 1;
        let said = (header(letter, "peakpost-reason"), header(letter, "peakpost-field"));
        assert_eq!(said, (owed.1, owed.2), "reason and field of: {start}");
        let trace = header(letter, kafka::TRACE.0);
        assert_eq!(trace.as_bytes(), kafka::TRACE.1, "upstream's own header was not kept: {start}");
    }
    assert!(owed.values().all(|(left, ..)| *left == 0), "letters are missing or came twice");
    println!("   {} letters of {KINDS} kinds, {good} good jobs, {} deferrals", letters.len(), deferrals.count());
    world.finish();
}
