//! The load generator against the job contract.
//!
//! Why: a generator that makes jobs nobody takes, or foretells the wrong end, makes every run meaningless.
//! Must not know: the line behind the contract.

use std::collections::{HashMap, HashSet};

use peakpost::job::receipt::Why;
use peakpost::job::{
    Channel, Coordinates, Headers, Incoming, Invalid, Job, Lane, Malformed, Receipt, Source, Wall, Way,
};
use peakpost::sim::load::{Expect, Generator, KINDS, Mix, Shape, Targets, malformed};

fn targets(prefix: &str) -> Targets {
    Targets { webhook_base_url: "http://127.0.0.1:4000".to_owned(), prefix: prefix.to_owned() }
}

fn generator(seed: u64, mix: Mix) -> Generator {
    Generator::new(seed, mix, targets("run-1")).unwrap()
}

/// Reads a record and hands `look` what came of it.
fn parse<T>(lane: Lane, payload: &[u8], look: impl FnOnce(Result<&Job, &Invalid>) -> T) -> T {
    let receipt = Receipt::new(Coordinates { from: Source::Jobs(lane), home: 0, offset: 0 }, 1, 0, 0);
    match Job::parse(Incoming {
        bytes: payload.into(),
        headers: Headers::new(),
        enqueued: Wall(0),
        lane,
        way: Way::default(),
        receipt,
    }) {
        Ok(job) => {
            let seen = look(Ok(&job));
            let _given_back = job.into_receipt().abandon(Why::Shutdown);
            seen
        }
        Err(malformed) => {
            let Malformed { incoming: Incoming { bytes, receipt, .. }, invalid } = *malformed;
            assert_eq!(&*bytes, payload, "a dead letter keeps the record's bytes");
            let _given_back = receipt.abandon(Why::Shutdown);
            look(Err(&invalid))
        }
    }
}

#[test]
fn each_kind_of_malformed_record_is_turned_away_for_its_reason() {
    let mut wrong = Vec::new();
    for n in 0..KINDS {
        let (payload, reason, field) = malformed(n);
        let start = String::from_utf8_lossy(&payload[..payload.len().min(160)]).into_owned();
        parse(Lane::Marketing, &payload, |parsed| match parsed {
            Ok(_) => wrong.push(format!("{n}: taken, not {reason} in `{field}`: {start}")),
            Err(got) if (got.reason.as_str(), got.field.as_str()) != (reason, field) => {
                wrong.push(format!("{n}: {got}; expected {reason} in `{field}`: {start}"));
            }
            Err(_) => {}
        });
    }
    assert!(KINDS >= 20 && wrong.is_empty(), "mend the row or the contract:\n{}", wrong.join("\n"));
}

#[test]
fn every_job_is_what_the_generator_says_it_is() {
    let (mut ids, mut recipients) = (HashSet::new(), HashSet::new());
    for g in generator(7, Mix::peak()).take(20_000) {
        assert!(ids.insert(g.id.clone()), "id {} came twice", g.id);
        assert!(recipients.insert(g.key.clone()), "recipient {} came twice", g.key);
        parse(g.lane, &g.payload, |parsed| match (g.expect, parsed) {
            (Expect::Dead { reason, field }, Err(got)) => {
                assert_eq!((got.reason.as_str(), got.field.as_str()), (reason, field), "{got}");
            }
            (Expect::Dead { reason, field }, Ok(_)) => panic!("{} was taken, not {reason} in `{field}`", g.id),
            (expect, Err(got)) => panic!("{expect:?} but {got}: {}", String::from_utf8_lossy(&g.payload)),
            (expect, Ok(job)) => agrees(&g.id, &g.key, g.tenant, expect, job),
        });
    }
}

/// The job asks for what `expect` foretells.
fn agrees(id: &str, key: &str, tenant: &str, expect: Expect, job: &Job) {
    let spec = job.spec();
    assert_eq!((&*spec.id, &*spec.to, &*spec.tenant), (id, key, tenant), "names differ");
    let marketing = job.lane == Lane::Marketing;
    let consent = !marketing || spec.channel != Channel::Sms || spec.consent.is_some();
    let unsubscribe = !marketing || spec.channel != Channel::Email || spec.unsubscribe.is_some();
    let expected = match (spec.expires_at.is_some(), consent, unsubscribe) {
        (true, true, true) => Expect::Expired,
        (false, false, true) => Expect::Refused("no_consent"),
        (false, true, false) => Expect::Refused("no_unsubscribe"),
        (false, true, true) => Expect::Accepted,
        two => panic!("{id} has two faults {two:?}; a job must have one at most, or its end cannot be foretold"),
    };
    assert_eq!(expect, expected, "{id}");
    if spec.channel == Channel::Sms {
        let magic = ["0001", "0002", "0003", "0004", "0008", "0009"].iter().any(|end| key.ends_with(end));
        assert!(!magic, "{key} means something to the simulated vendor");
    }
}

#[test]
fn shares_are_kept() {
    const N: u32 = 40_000;
    let mut counts: HashMap<(Lane, &str), u32> = HashMap::new();
    for g in generator(3, Mix::peak()).take(N as usize) {
        let what = match g.expect {
            Expect::Accepted => parse(g.lane, &g.payload, |job| job.unwrap().spec().channel.as_str()),
            Expect::Refused(reason) | Expect::Suppressed(reason) => reason,
            Expect::Expired => "expired",
            Expect::Dead { .. } => "dead",
        };
        *counts.entry((g.lane, what)).or_default() += 1;
    }
    // Good jobs are 98 % of all. Bounds are at least four standard deviations wide.
    let check = |lane, what, share: f64| {
        let (got, n) = (f64::from(counts.get(&(lane, what)).copied().unwrap_or(0)), f64::from(N));
        let slack = 4.0 * (share * (1.0 - share) / n).sqrt();
        assert!((got / n - share).abs() < slack, "{lane} {what}: {got} of {n}, expected about {share}");
    };
    check(Lane::Marketing, "email", 0.98 * 0.70);
    check(Lane::Marketing, "sms", 0.98 * 0.10);
    check(Lane::Marketing, "webhook", 0.98 * 0.10);
    check(Lane::Transactional, "email", 0.98 * 0.05);
    check(Lane::Transactional, "sms", 0.98 * 0.03);
    check(Lane::Transactional, "webhook", 0.98 * 0.02);
    check(Lane::Marketing, "no_consent", 0.005);
    check(Lane::Marketing, "no_unsubscribe", 0.005);
    check(Lane::Marketing, "dead", 0.0025);
}

#[test]
fn a_seed_makes_the_same_jobs_again() {
    let run = |seed| generator(seed, Mix::peak()).take(500).collect::<Vec<_>>();
    assert!(run(5) == run(5), "the same seed made other jobs; look for randomness that is not seeded");
    assert!(run(5) != run(6), "two seeds made the same jobs");
}

#[test]
fn what_cannot_be_used_is_refused() {
    let none = Mix { shares: Vec::new(), ..Mix::peak() };
    let too_many = Mix { malformed: 0.995, ..Mix::peak() };
    let good = Mix::only(Lane::Transactional, Shape::Sms);
    let quoted = Targets { webhook_base_url: "http://h/\"".to_owned(), prefix: "r".to_owned() };
    for (why, mix, targets) in [
        ("no jobs at all", none, targets("r")),
        ("more bad jobs than jobs", too_many, targets("r")),
        ("a prefix that would break the JSON", good.clone(), targets("r\"")),
        ("a URL that would break the JSON", good.clone(), quoted),
    ] {
        assert!(Generator::new(1, mix, targets).is_err(), "{why} was taken");
    }
    assert!(generator(1, good).take(50).all(|g| g.lane == Lane::Transactional && g.expect == Expect::Accepted));
}
