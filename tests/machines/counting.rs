//! What a worker remembers and what it forgets, whose late word it outlives, and where a release divides its counts.
//!
//! Why: each of these changes a sum, and a sum that is wrong blocks a sender who did nothing, or lets one go on.

use std::collections::BTreeMap;

use peakpost::event::{Happened, Record};
use peakpost::job::{Channel, Lane, Wall};
use peakpost::reputation::count::COHORTS_MAX;
use peakpost::reputation::seen::SEEN_MAX;
use peakpost::reputation::{Cohort, Counter, Counts, Partial, State, Stream, Sums};

use super::reputation::{T0, at, event, rules, stream};

const HOUR: i64 = 3_600;

fn offset(n: usize) -> i64 {
    i64::try_from(n).unwrap()
}

#[test]
fn repeats_are_recognised_among_their_kind_and_memory_is_bounded() {
    let mut counter = Counter::new(&rules());
    assert!(counter.hear(0, &event("complaint", Happened::Complained)));
    assert!(!counter.hear(1, &event("complaint", Happened::Complained)), "told again");
    for kind in [Happened::Opened, Happened::Clicked, Happened::Delivered] {
        assert!(counter.hear(2, &event("first", kind)));
        assert!(!counter.hear(3, &event("first", kind)), "told again");
        for n in 0..SEEN_MAX {
            counter.hear(4 + offset(n), &event(&n.to_string(), kind));
        }
        assert!(counter.hear(i64::MAX - 1, &event("first", kind)), "so many later it is forgotten");
    }
    assert!(!counter.hear(i64::MAX - 1, &event("complaint", Happened::Complained)), "a campaign has pushed it out");
}

fn cohort(start: i64) -> Cohort {
    Cohort { stream: stream(Lane::Marketing, "gmail"), start }
}

fn partial(upto: i64, delivered: u32) -> Partial {
    Partial { upto, counts: Counts { delivered, ..Counts::default() } }
}

/// Somebody was frozen, lost a partition, wakes up and writes what it had counted before.
#[test]
fn an_older_count_changes_nothing_and_the_newer_one_is_published_again() {
    let mut sums = Sums::default();
    assert_eq!(sums.put(cohort(T0), 3, partial(90, 900)), None);
    assert_eq!(sums.put(cohort(T0), 3, partial(50, 500)), Some(90), "whoever owns the partition must hear of it");
    assert_eq!(sums.put(cohort(T0), 4, partial(50, 500)), None, "another partition is another matter");
    assert_eq!(sums.put(cohort(T0), 3, partial(90, 900)), None, "and the newer one again is no late word");

    let now = at(T0 + HOUR);
    let rows: [(&str, &[i64], Option<i64>); 5] = [
        ("in order", &[50, 90], None),
        ("the last is the older one: the newer could be compacted away", &[90, 50], Some(90)),
        ("that was mended", &[90, 50, 90], None),
        ("and again", &[90, 50, 90, 60], Some(90)),
        ("counting went on", &[90, 50, 120], None),
    ];
    for (why, uptos, expected) in rows {
        let mut counter = Counter::new(&rules());
        for upto in uptos {
            counter.restore(cohort(T0), partial(*upto, 1), now);
        }
        assert_eq!(counter.has_changed(), expected.is_some(), "{why}");
        let published: Vec<i64> = counter.take_changed(now).iter().map(|(_, partial)| partial.upto).collect();
        assert_eq!(published, expected.into_iter().collect::<Vec<_>>(), "{why}");
    }

    let mut counter = Counter::new(&rules());
    counter.restore(cohort(T0), partial(90, 900), now);
    for (upto, published, why) in [(120, 0, "it is our own word that is late"), (90, 1, "ours is the newer one")] {
        counter.again(&cohort(T0), upto);
        counter.again(&cohort(T0 + HOUR), upto);
        assert_eq!(counter.take_changed(now), vec![(cohort(T0), partial(90, 900)); published], "{why}");
    }
}

/// A small sender's cohort, one of many.
fn crowd(n: usize, start: i64) -> Cohort {
    let tenant = format!("t{n}");
    Cohort { stream: Stream::new(&tenant, Channel::Email, Lane::Marketing, "mail", "gmail").unwrap(), start }
}

/// A delivery of that cohort.
fn delivered(n: usize, start: i64) -> Record<'static> {
    Record {
        event: format!("mail/{n}-{start}").into(),
        tenant: format!("t{n}").into(),
        sent_ms: Some(start * 1000),
        heard_ms: (T0 + 4 * HOUR) * 1000,
        ..event("", Happened::Delivered)
    }
}

/// As many as may be kept: a fifth each of the five hours from [`T0`] on, in each of which the first ten were complained of.
fn full(now: Wall, more: usize) -> Counter {
    let mut counter = Counter::new(&rules());
    for n in 0..COHORTS_MAX + more {
        let (hour, n) = (offset(n % 5), n / 5);
        let counts = Counts { delivered: 10, complained: u32::from(n < 10), ..Counts::default() };
        counter.restore(crowd(n, T0 + hour * HOUR), Partial { upto: 1, counts }, now);
    }
    counter
}

/// The hours of which an event was counted for these tenants.
fn counted(counter: &mut Counter, tenants: &[usize], now: Wall) -> BTreeMap<usize, Vec<i64>> {
    for tenant in tenants {
        for hour in 0..5 {
            counter.hear(1_000, &delivered(*tenant, T0 + hour * HOUR));
        }
    }
    let mut found = BTreeMap::new();
    for (cohort, _) in counter.take_changed(now) {
        let tenant = cohort.stream.tenant[1..].parse().unwrap();
        found.entry(tenant).or_insert_with(Vec::new).push((cohort.start - T0) / HOUR);
    }
    found
}

#[test]
fn where_there_is_no_room_the_harmless_and_the_old_go_first() {
    let now = at(T0 + 4 * HOUR);
    // More than may be kept is what a worker may find when it takes over.
    for more in [0, COHORTS_MAX / 5] {
        let mut counter = full(now, more);
        let newcomer = COHORTS_MAX;
        assert!(counter.hear(1_000, &delivered(newcomer, T0 + 4 * HOUR)));
        assert_eq!(counter.take_changed(now).len(), 1, "who begins now is counted");
        let dropped = counter.take_dropped();
        assert!(dropped.cohorts >= more as u64 + 1_000 && dropped.events == 0, "room was made: {dropped:?}");
        let (harmless, bad) = (100, 5);
        let found = counted(&mut counter, &[harmless, bad], now);
        assert_eq!(found[&bad], [0, 1, 2, 3, 4], "who is complained of is not forgotten for others");
        let left: &[i64] = if more == 0 { &[1, 2, 3, 4] } else { &[2, 3, 4] };
        assert_eq!(found[&harmless], left, "the oldest has gone, and does not come back without its deliveries");
        assert_eq!(counter.take_dropped().events, 5 - left.len() as u64, "which is told");
    }
}

#[test]
fn where_all_is_of_one_hour_the_next_hour_is_counted_again() {
    let now = at(T0 + 4 * HOUR);
    let mut counter = Counter::new(&rules());
    for n in 0..COHORTS_MAX {
        counter.restore(crowd(n, T0), partial(1, 10), now);
    }
    let late = COHORTS_MAX;
    counter.hear(1, &delivered(late, T0));
    assert!(!counter.has_changed(), "nobody goes for one of the same hour");
    assert_eq!(counter.take_dropped().events, 1);
    counter.hear(2, &delivered(late, T0 + HOUR));
    assert!(counter.has_changed(), "the oldest go for the next hour");
    assert!(counter.take_dropped().cohorts > 0);
    counter.take_changed(now);
    counter.hear(3, &Record { event: "mail/again".into(), ..delivered(late, T0) });
    assert!(!counter.has_changed(), "who was not counted from the beginning looks worse than it is: not at all");
}

/// What a stream sends after its release is judged without what was before, in the same hour.
#[test]
fn a_release_begins_a_cohort_of_its_own() {
    let release = Wall((T0 + 1_800) * 1000 + 500);
    let split = T0 + 1_801;
    let rows = [
        (None, T0 + 1_900, T0, "without a release the hour is one"),
        (Some(release), T0 + 1_800, T0, "sent before it"),
        (Some(release), split, split, "sent after it"),
        (Some(release), T0 + 3_599, split, "to the hour's end"),
        (Some(release), T0 + HOUR, T0 + HOUR, "the next hour is one again"),
        (Some(at(T0 - HOUR)), T0 + 5, T0, "a release of an earlier hour"),
        (Some(at(T0)), T0, T0, "at the hour itself"),
    ];
    for (released, sent, expected, why) in rows {
        let mut counter = Counter::new(&rules());
        if let Some(released) = released {
            counter.released(stream(Lane::Marketing, "gmail"), released);
            counter.released(stream(Lane::Marketing, "yahoo"), at(sent));
            // An older word that comes late.
            counter.released(stream(Lane::Marketing, "gmail"), at(T0 - 2 * HOUR));
        }
        let heard =
            Record { sent_ms: Some(sent * 1000), heard_ms: (T0 + HOUR) * 1000, ..event("1", Happened::Delivered) };
        counter.hear(0, &heard);
        let starts: Vec<i64> = counter.take_changed(at(T0 + HOUR)).iter().map(|(cohort, _)| cohort.start).collect();
        assert_eq!(starts, [expected], "{why}");
    }
}

#[test]
fn who_goes_on_as_before_a_release_is_blocked_in_the_same_hour() {
    let (stream, release) = (stream(Lane::Marketing, "gmail"), at(T0 + 600));
    let (mut counter, mut sums) = (Counter::new(&rules()), Sums::default());
    let state = |counter: &mut Counter, sums: &mut Sums, now: i64| {
        for (cohort, partial) in counter.take_changed(at(now)) {
            sums.put(cohort, 0, partial);
        }
        sums.standing(&stream, &rules(), at(now)).at(at(now), rules().ramp_step)
    };
    let tell = |counter: &mut Counter, from: i64, sent: i64, complaints: i64| {
        for n in from..from + 1_000 {
            let happened = if n < from + complaints { Happened::Complained } else { Happened::Delivered };
            counter.hear(n, &Record { sent_ms: Some(sent * 1000), ..event(&n.to_string(), happened) });
        }
    };
    tell(&mut counter, 0, T0 + 60, 10);
    assert!(matches!(state(&mut counter, &mut sums, T0 + 300), State::Block { .. }));
    counter.released(stream.clone(), release);
    sums.release(stream.clone(), release);
    assert!(matches!(state(&mut counter, &mut sums, T0 + 601), State::Ramp { .. }), "it comes back by the ramp");
    // Complaints of what was sent before come for hours.
    tell(&mut counter, 1_000, T0 + 90, 50);
    assert!(matches!(state(&mut counter, &mut sums, T0 + 900), State::Ramp { .. }), "they were forgiven");
    tell(&mut counter, 2_000, T0 + 1_200, 10);
    let state = state(&mut counter, &mut sums, T0 + 1_500);
    assert!(matches!(state, State::Block { .. }), "what is sent since is as bad: {state:?}");
}
