//! Counts by cohort, what they mean, and how they are added up: tables, and orders of arrival shuffled.
//!
//! Why: a block that is wrong costs a campaign, one that does not come costs the season; and if two instances counted
//! differently, one would send on.

use std::time::Duration;

use peakpost::event::{Happened, Record, VERSION};
use peakpost::feedback::workers::suppress;
use peakpost::job::{Channel, Lane, Wall};
use peakpost::outcome::Cause;
use peakpost::recipient::suppression::Scope;
use peakpost::reputation::cohort::window_of;
use peakpost::reputation::{
    Cohort, Config, Counter, Counts, Partial, Sending, SignalConfig, SoftBounces, State, Stream, Sums, wilson,
};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const HOUR: i64 = 3_600;
/// When everything here is sent: the start of an hour, in seconds.
pub const T0: i64 = 1_764_306_000 / HOUR * HOUR;

/// As shipped.
pub fn rules() -> Config {
    Config {
        window: Duration::from_secs(3_600),
        cool_down: Duration::from_secs(24 * 3_600),
        ramp_step: Duration::from_secs(3_600),
        complaints: SignalConfig { warn: 0.0008, block: 0.001, least: 5 },
        severe: 0.003,
        hard_bounces: SignalConfig { warn: 0.05, block: 0.1, least: 50 },
        unsubscribes: SignalConfig { warn: 0.01, block: 0.02, least: 50 },
    }
}

pub fn stream(lane: Lane, mailbox: &str) -> Stream {
    Stream::new("acme", Channel::Email, lane, "mail", mailbox).unwrap()
}

pub fn at(seconds: i64) -> Wall {
    Wall(seconds * 1000)
}

fn counts(delivered: u32, hard: u32, complained: u32, unsubscribed: u32) -> Counts {
    Counts { delivered, hard, blocked: 0, complained, unsubscribed }
}

/// Sums with these cohorts of one stream: hours after [`T0`], and what was counted.
fn sums(lane: Lane, cohorts: &[(i64, Counts)]) -> Sums {
    let mut sums = Sums::default();
    for (hour, counts) in cohorts {
        let cohort = Cohort { stream: stream(lane, "gmail"), start: T0 + hour * HOUR };
        sums.put(cohort, 0, Partial { upto: 1, counts: *counts });
    }
    sums
}

fn state(sums: &Sums, lane: Lane, hours: f64) -> State {
    let now = Wall(T0 * 1000 + i64::try_from(Duration::from_secs_f64(hours * 3_600.0).as_millis()).unwrap());
    sums.standing(&stream(lane, "gmail"), &rules(), now).at(now, rules().ramp_step)
}

#[test]
fn the_bound_is_wilsons() {
    // By hand, or with any table of Wilson's interval at z = 3.1.
    let rows = [
        (0, 0, 0.0),
        (0, 1000, 0.0),
        (5, 1000, 0.001_366),
        (40, 10_000, 0.002_458),
        (5, 5, 0.342_24),
        (9, 5, 0.342_24),
    ];
    for (bad, of, expected) in rows {
        let lower = wilson::lower(bad, of);
        assert!((lower - expected).abs() < 5e-5, "{bad} of {of}: {lower}, expected {expected}");
    }
}

#[test]
fn what_counts_mean() {
    use Lane::{Marketing, Transactional};
    let rows = [
        (Marketing, counts(1_000, 0, 4, 0), "allow", "four complaints may be chance, whatever the rate"),
        (Marketing, counts(1_000, 0, 5, 0), "block", "five in a thousand are not"),
        (Marketing, counts(2_000, 0, 5, 0), "allow", "five in two thousand are"),
        (Marketing, counts(100_000, 0, 50, 0), "allow", "0.05 %"),
        (Marketing, counts(100_000, 0, 120, 0), "warn", "0.12 %, which may well be 0.09 %"),
        (Marketing, counts(100_000, 0, 140, 0), "block", "0.14 % is over 0.1 % with certainty"),
        (Transactional, counts(100_000, 0, 140, 0), "warn", "a code goes on where a campaign must not"),
        (Transactional, counts(100_000, 0, 400, 0), "block", "until all mail is lost"),
        (Marketing, counts(3, 0, 5, 0), "allow", "more complaints than deliveries: deliveries are still to come"),
        (Marketing, counts(0, 0, 50, 0), "allow", "a vendor that does not tell of deliveries cannot be judged"),
        (Marketing, counts(880, 120, 0, 0), "warn", "12 % hard bounces, which may well be 9 %"),
        (Marketing, counts(800, 200, 0, 0), "block", "20 % hard bounces: a list that was bought"),
        (Transactional, counts(800, 200, 0, 0), "warn", "wrong addresses do not stop codes"),
        (Marketing, counts(10, 40, 0, 0), "allow", "too few to say"),
        (Marketing, counts(10_000, 0, 0, 150), "warn", "1.5 % leave"),
        (Marketing, counts(10_000, 0, 0, 300), "block", "3 % leave: complaints will follow, and Gmail tells of none"),
    ];
    for (lane, counts, expected, why) in rows {
        let state = state(&sums(lane, &[(0, counts)]), lane, 1.0);
        assert_eq!(state.as_str(), expected, "{lane} {counts:?}: {why}; it is {state:?}");
    }
}

/// A block holds until a day after the end of its cohort, then it ramps; nothing but time and the sums is needed to know.
#[test]
fn a_block_and_its_way_back() {
    let bad = sums(Lane::Marketing, &[(0, counts(10_000, 0, 60, 0))]);
    let rows = [
        (0.5, "block", None),
        (24.99, "block", None),
        (25.0, "ramp", Some(0.01)),
        (25.99, "ramp", Some(0.01)),
        (26.0, "ramp", Some(0.1)),
        (27.0, "allow", None),
    ];
    for (hours, expected, part) in rows {
        let state = state(&bad, Lane::Marketing, hours);
        assert_eq!(state.as_str(), expected, "{hours} h after: {state:?}");
        if let State::Ramp { share, .. } = state {
            assert_eq!(Some(share), part, "{hours} h after");
        }
    }
}

#[test]
fn cohorts_are_judged_together_and_apart() {
    let small = |n: i64| (0..n).map(|hour| (hour, counts(250, 0, 1, 0))).collect::<Vec<_>>();
    let good = counts(50_000, 0, 10, 0);
    let rows = [
        (small(3), 4.0, "allow", "three complaints are too few"),
        (small(8), 9.0, "block", "a small sender at 0.4 % complains once an hour, and is found out in time"),
        (vec![(0, counts(10_000, 0, 60, 0)), (1, good)], 2.0, "block", "a good hour does not hide a bad one"),
        (
            vec![(0, counts(10_000, 0, 60, 0)), (25, good)],
            26.5,
            "ramp",
            "what is sent after the block is not judged with its cause",
        ),
        (
            vec![(0, counts(10_000, 0, 60, 0)), (25, counts(300, 0, 6, 0))],
            26.5,
            "block",
            "a ramp that goes wrong is a block",
        ),
        (vec![(30, counts(10_000, 0, 60, 0))], 1.0, "allow", "a cohort of tomorrow is a wrong clock's"),
    ];
    for (cohorts, hours, expected, why) in rows {
        let state = state(&sums(Lane::Marketing, &cohorts), Lane::Marketing, hours);
        assert_eq!(state.as_str(), expected, "{why}; it is {state:?}");
    }
}

#[test]
fn a_release_lifts_what_was_before_by_the_ramp() {
    let mut sums = sums(Lane::Marketing, &[(0, counts(10_000, 0, 60, 0))]);
    let released = at(T0 + 2 * HOUR);
    sums.release(stream(Lane::Marketing, "gmail"), released);
    // An older word that comes late changes nothing.
    sums.release(stream(Lane::Marketing, "gmail"), at(T0 + HOUR));
    for (hours, expected) in [(2.0, "ramp"), (2.9, "ramp"), (3.5, "ramp"), (4.0, "allow"), (20.0, "allow")] {
        let state = state(&sums, Lane::Marketing, hours);
        assert_eq!(state.as_str(), expected, "released at 2 h, {hours} h after the cohort: {state:?}");
    }
    let again = Cohort { stream: stream(Lane::Marketing, "gmail"), start: T0 + 2 * HOUR };
    sums.put(again, 0, Partial { upto: 9, counts: counts(1_000, 0, 6, 0) });
    let state = state(&sums, Lane::Marketing, 3.0);
    assert_eq!(state.as_str(), "block", "what is sent after the release is judged again: {state:?}");
}

#[test]
fn a_release_without_a_block_slows_nobody_down() {
    let mut sums = sums(Lane::Marketing, &[(0, counts(10_000, 0, 2, 0))]);
    sums.release(stream(Lane::Marketing, "gmail"), at(T0 + HOUR));
    assert_eq!(state(&sums, Lane::Marketing, 1.1), State::Allow);
}

/// What each partition says is absolute, so that order and repetition do not matter: two instances decide alike, and so
/// does one that reads all of it again.
#[test]
fn the_order_of_arrival_does_not_matter() {
    let mut rng = SmallRng::seed_from_u64(61);
    let mut records = Vec::new();
    for partition in 0..12 {
        for hour in 0..3 {
            let mut counts = Counts::default();
            for upto in 1..6 {
                counts = counts.and(self::counts(rng.random_range(50..200), 1, rng.random_range(0..2), 0));
                let cohort = Cohort { stream: stream(Lane::Marketing, "gmail"), start: T0 + hour * HOUR };
                records.push((cohort, partition, Partial { upto: upto * 100, counts }));
            }
        }
    }
    let now = at(T0 + 4 * HOUR);
    let heard = |records: &[(Cohort, u16, Partial)]| {
        let mut sums = Sums::default();
        for (cohort, partition, partial) in records {
            sums.put(cohort.clone(), *partition, *partial);
        }
        sums.verdicts(&rules(), now)
    };
    let first = heard(&records);
    assert!(first.holds_any(now), "this shows nothing unless somebody is blocked; hint: more complaints");
    for _ in 0..100 {
        records.shuffle(&mut rng);
        assert_eq!(heard(&records), first, "another instance, or a restart, must decide alike");
    }
    let twice: Vec<_> = records.iter().chain(&records).cloned().collect();
    assert_eq!(heard(&twice), first, "hearing it twice changes nothing");
}

#[test]
fn whoever_sends_is_told_how_long_to_wait() {
    let mut sums = sums(Lane::Marketing, &[(0, counts(10_000, 0, 60, 0))]);
    let now = at(T0 + HOUR);
    let verdicts = sums.verdicts(&rules(), now);
    let sending =
        Sending { tenant: "acme", channel: Channel::Email, lane: Lane::Marketing, provider: "mail", mailbox: "gmail" };
    let rows = [
        (sending, Some(now.0 + 4 * HOUR * 1000), "the blocked stream looks again now and then, or it misses a release"),
        (Sending { lane: Lane::Transactional, ..sending }, None, "another lane"),
        (Sending { mailbox: "yahoo", ..sending }, None, "another mailbox provider"),
        (Sending { provider: "spare", ..sending }, None, "another provider"),
        (Sending { tenant: "other", ..sending }, None, "another tenant"),
        (Sending { channel: Channel::Sms, ..sending }, None, "another channel"),
    ];
    for (sending, expected, why) in rows {
        assert_eq!(verdicts.wait(&sending, 7, now), expected.map(Wall), "{why}");
    }
    let ramp = at(T0 + 26 * HOUR);
    let keys = || (0..20_000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let goes = |now| keys().filter(|key| verdicts.wait(&sending, *key, now).is_none()).collect::<Vec<_>>();
    let (one, ten) = (goes(at(T0 + 25 * HOUR)), goes(ramp));
    assert!((100..400).contains(&one.len()), "{} of 20,000 on the first step: 1 % is 200", one.len());
    assert!((1_700..2_300).contains(&ten.len()), "{} of 20,000 on the second: 10 % are 2,000", ten.len());
    assert!(one.iter().all(|key| ten.contains(key)), "who was let go stays let go");
    assert_eq!(goes(at(T0 + 27 * HOUR)).len(), 20_000, "then all go");
    sums.forget(&rules(), at(T0 + 60 * HOUR));
    assert_eq!(sums.cohorts(), 0, "what can hold nothing any more is forgotten");
}

#[test]
fn keys_and_values_are_read_as_they_were_written() {
    for stream in ["acme/email/marketing/mail/gmail", "a.b_c-d/sms/transactional/twilio-main/-"] {
        let cohort = Cohort { stream: stream.parse().unwrap(), start: T0 };
        assert_eq!(cohort.stream.to_string(), stream);
        assert_eq!(Cohort::parse(&cohort.key(11)), Ok((cohort, 11)));
    }
    let partial = Partial { upto: 77, counts: counts(5, 4, 3, 2) };
    assert_eq!(Partial::parse(&partial.value()), Ok(partial));
    let wrong = [
        "",
        "acme/email/marketing/mail",
        "acme/mail/marketing/mail/gmail",
        "a b/email/marketing/mail/gmail",
        "-/email/marketing/mail/-",
    ];
    for text in wrong {
        assert!(text.parse::<Stream>().is_err(), "`{text}` is no stream");
    }
    assert_eq!(
        Stream::new("a/b", Channel::Email, Lane::Marketing, "mail", "gmail"),
        None,
        "it would be read as another"
    );
}

/// An event of the stream of acme at gmail, sent at [`T0`].
pub fn event(id: &str, happened: Happened) -> Record<'static> {
    Record {
        v: VERSION,
        event: format!("mail/{id}").into(),
        happened,
        provider: "mail".into(),
        channel: Channel::Email,
        recipient: "00".into(),
        mailbox: "gmail".into(),
        id: "job".into(),
        tenant: "acme".into(),
        campaign: "".into(),
        lane: Some(Lane::Marketing),
        sent_ms: Some(T0 * 1000 + 5_000),
        at_ms: T0 * 1000 + 60_000,
        heard_ms: T0 * 1000 + 61_000,
        vendor_id: "".into(),
        detail: "".into(),
    }
}

#[test]
fn what_is_counted_and_what_is_not() {
    let plain = || event("1", Happened::Complained);
    let late = 60 * HOUR * 1000;
    let rows = [
        (plain(), 1, "a complaint"),
        (event("1", Happened::Opened), 0, "an opening says nothing of a reputation"),
        (Record { lane: None, ..plain() }, 0, "no lane was echoed"),
        (Record { sent_ms: None, ..plain() }, 0, "nobody knows when it was sent"),
        (Record { tenant: "".into(), ..plain() }, 0, "nobody's"),
        (Record { tenant: "a/b".into(), ..plain() }, 0, "no tenant is called so; its key would be read as another's"),
        (Record { heard_ms: T0 * 1000 + late, ..plain() }, 0, "too late to matter, and its cohort may be forgotten"),
        (Record { heard_ms: (T0 - 2 * HOUR) * 1000, ..plain() }, 0, "sent after it was heard of: a wrong clock"),
    ];
    for (event, expected, why) in rows {
        let mut counter = Counter::new(&rules());
        assert!(counter.hear(0, &event), "it is new");
        let changed = counter.take_changed(at(T0));
        assert_eq!(changed.len(), expected, "{why}: {changed:?}");
    }
    assert_eq!(window_of(at(T0 + 59), HOUR), T0);
    assert_eq!(window_of(Wall(-1), HOUR), -HOUR, "before 1970 the window begins before as well");
}

/// Workers die and are followed by others, who read from the last commit, or publish and do not come to commit; vendors
/// repeat themselves all the while. The sums are those of every event counted once.
#[test]
fn replays_and_repeats_change_nothing() {
    let kinds = [Happened::Delivered, Happened::Complained, Happened::BouncedHard, Happened::Unsubscribed];
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut log: Vec<Record<'static>> = (0..300)
            .map(|n| {
                let of_hour = T0 * 1000 + rng.random_range(0..3) * HOUR * 1000;
                Record {
                    sent_ms: Some(of_hour),
                    heard_ms: T0 * 1000 + 4 * HOUR * 1000,
                    ..event(&n.to_string(), kinds[n % 4])
                }
            })
            .collect();
        let mut once = Counter::new(&rules());
        for (offset, event) in log.iter().enumerate() {
            assert!(once.hear(i64::try_from(offset).unwrap(), event));
        }
        let total =
            |published: &[(Cohort, Partial)]| published.iter().fold(Counts::default(), |sum, (_, p)| sum.and(p.counts));
        let all = once.take_changed(at(T0 + 4 * HOUR));
        log.extend(log.clone());
        log.extend(log[..300].to_vec());
        log.shuffle(&mut rng);
        // What the topic holds: the latest by key; and where the group has committed.
        let mut topic: std::collections::BTreeMap<Cohort, Partial> = std::collections::BTreeMap::new();
        let mut committed = 0;
        while committed < log.len() {
            let mut worker = Counter::new(&rules());
            for (cohort, partial) in &topic {
                worker.restore(cohort.clone(), *partial, at(T0 + 4 * HOUR));
            }
            for event in &log[..committed] {
                worker.remember(event);
            }
            let mut position = committed;
            loop {
                let step = rng.random_range(1..80).min(log.len() - position);
                for (offset, event) in log.iter().enumerate().skip(position).take(step) {
                    worker.hear(i64::try_from(offset).unwrap(), event);
                }
                position += step;
                if rng.random_bool(0.2) {
                    break;
                }
                topic.extend(worker.take_changed(at(T0 + 4 * HOUR)));
                if rng.random_bool(0.3) {
                    break;
                }
                committed = position;
                if position == log.len() {
                    break;
                }
            }
        }
        let got: Vec<(Cohort, Partial)> = topic.into_iter().collect();
        assert_eq!(total(&got), total(&all), "seed {seed}: every event is counted once");
    }
}

#[test]
fn five_soft_bounces_in_a_row_are_too_many() {
    const HOUR: i64 = 3_600_000;
    let mut soft = SoftBounces::default();
    let mut bounced = |hours: &[i64]| -> Vec<bool> {
        hours.iter().map(|hour| soft.bounced(Channel::Email, "one", hour * HOUR)).collect()
    };
    assert_eq!(bounced(&[0, 1, 30, 31, 60]), [false, false, false, false, true], "five within three days");
    assert_eq!(bounced(&[61]), [true], "and it goes on");
    assert_eq!(bounced(&[140]), [false], "what was days ago does not count");
    assert_eq!(bounced(&[140, 140, 140, 140, 140]), [false; 5], "one event read again is one bounce");
    assert_eq!(bounced(&[141, 142, 143]), [false; 3]);
    soft.delivered(Channel::Email, "one");
    assert!(!soft.bounced(Channel::Email, "one", 144 * HOUR), "a delivery begins anew");
    assert!(!soft.bounced(Channel::Sms, "one", 145 * HOUR), "another channel, another recipient");
}

/// Whose fault it was decides how far it goes.
#[test]
fn who_must_not_be_written_to_any_more() {
    use Happened::{
        BouncedBlocked, BouncedHard, BouncedSoft, Clicked, Complained, Delivered, Opened, Unsubscribed,
        VendorSuppressed,
    };
    let mail = |happened| Record { recipient: "00112233445566778899aabbccddeeff".into(), ..event("1", happened) };
    let text = |happened| Record { channel: Channel::Sms, mailbox: "".into(), ..mail(happened) };
    let rows = [
        (mail(BouncedHard), Some((Cause::HardBounce, Scope::All, None)), "nobody is there, whoever writes"),
        (
            mail(VendorSuppressed),
            Some((Cause::Vendor, Scope::Marketing, Some("acme"))),
            "they left what this account sent: their receipts are another matter",
        ),
        (
            Record { lane: Some(Lane::Transactional), ..mail(VendorSuppressed) },
            Some((Cause::Vendor, Scope::All, Some("acme"))),
            "not even that is sent",
        ),
        (text(VendorSuppressed), Some((Cause::Vendor, Scope::All, Some("acme"))), "they answered STOP to this tenant"),
        (
            mail(Complained),
            Some((Cause::Complaint, Scope::Marketing, Some("acme"))),
            "receipts go on, and so do others",
        ),
        (mail(Unsubscribed), Some((Cause::Unsubscribe, Scope::Marketing, Some("acme"))), "of the kind, of this tenant"),
        (text(Unsubscribed), Some((Cause::Unsubscribe, Scope::All, Some("acme"))), "STOP means all of it"),
        (
            Record { tenant: "".into(), ..text(Unsubscribed) },
            Some((Cause::Unsubscribe, Scope::All, None)),
            "nobody knows whose it was",
        ),
        (Record { recipient: "".into(), ..mail(Complained) }, None, "nobody knows who it was"),
        (mail(BouncedSoft), None, "once"),
        (mail(BouncedBlocked), None, "not the address's fault"),
        (mail(Delivered), None, "all is well"),
        (mail(Opened), None, "all is well"),
        (mail(Clicked), None, "all is well"),
    ];
    for (event, expected, why) in rows {
        let found = suppress::after(&event, &mut SoftBounces::default());
        let said = found.as_ref().map(|s| (s.reason, s.scope, s.tenant.as_deref()));
        assert_eq!(said, expected, "{:?}: {why}", event.happened);
        assert!(
            found.is_none_or(|s| s.by == "mail".into() && s.at == Wall(event.at_ms)),
            "{why}: who said so, and when"
        );
    }
    let mut soft = SoftBounces::default();
    let mut bounced = |at_ms| suppress::after(&Record { at_ms, ..mail(BouncedSoft) }, &mut soft);
    assert!((1..5).all(|at| bounced(at).is_none()), "four are bad luck");
    assert_eq!(bounced(5).map(|s| (s.reason, s.scope, s.tenant)), Some((Cause::SoftBounces, Scope::All, None)));
}
