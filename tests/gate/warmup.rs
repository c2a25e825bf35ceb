//! Warm-ups: what a new sender may send on each of its days.

use jiff::civil::{Date, date};
use peakpost::gate::warmup::Schedule;
use peakpost::job::{Lane, Wall};
use proptest::prelude::*;

use super::fleet::Fleet;

const START: Date = date(2026, 11, 2);
const DAY: i64 = 86_400_000;

fn at(text: &str) -> Wall {
    Wall(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

#[test]
fn each_day_has_its_cap() {
    let schedule = Schedule::new(START, vec![50, 100, 0, 400]).unwrap();
    for (now, cap, next, why) in [
        ("1969-07-20T20:17:00Z", Some(0), Some("2026-11-02T00:00:00Z"), "long before"),
        ("2026-11-01T23:59:59.999Z", Some(0), Some("2026-11-02T00:00:00Z"), "the last moment before"),
        ("2026-11-02T00:00:00Z", Some(50), Some("2026-11-03T00:00:00Z"), "the first day begins at midnight UTC"),
        ("2026-11-02T23:59:59.999Z", Some(50), Some("2026-11-03T00:00:00Z"), "and lasts a day"),
        ("2026-11-03T12:00:00Z", Some(100), Some("2026-11-04T00:00:00Z"), "the second"),
        ("2026-11-04T12:00:00Z", Some(0), Some("2026-11-05T00:00:00Z"), "a day without"),
        ("2026-11-05T23:59:59.999Z", Some(400), Some("2026-11-06T00:00:00Z"), "the last"),
        ("2026-11-06T00:00:00Z", None, None, "it is over"),
        ("2999-01-01T00:00:00Z", None, None, "for good"),
    ] {
        assert_eq!(schedule.cap(at(now)), cap, "{why}: at {now}");
        assert_eq!(schedule.next(at(now)), next.map(at), "{why}: the change after {now}");
    }
}

#[test]
fn growth_is_a_list() {
    for (first, factor, until, caps, why) in [
        (50, 2.0, 400, &[50, 100, 200, 400][..], "the last day has what was asked for"),
        (50, 2.0, 401, &[50, 100, 200, 400, 401], "and never more"),
        (50, 10.0, 60, &[50, 60], "a leap"),
        (1, 1.5, 4, &[1, 1, 2, 3, 4], "parts of a message wait for the next day"),
    ] {
        let listed = Schedule::new(START, caps.to_vec());
        assert_eq!(Schedule::growth(START, first, factor, until), listed, "{why}: {first} by {factor} to {until}");
    }
}

#[test]
fn what_is_no_warm_up_is_refused_with_a_hint() {
    for (first, factor, until, part, why) in [
        (0, 1.5, 100, "`first` is 0", "nothing grows from nothing"),
        (50, 1.0, 100, "`factor` is 1", "it would never end"),
        (50, 0.5, 100, "`factor` is 0.5", "it would shrink"),
        (50, 10.1, 100, "`factor` is 10.1", "that is no warm-up"),
        (50, f64::NAN, 100, "`factor` is NaN", "not a number"),
        (50, f64::INFINITY, 100, "`factor` is inf", "nor is this"),
        (50, 1.5, 50, "not more than its `first`", "it ends where it begins"),
        (50, 1.5, 49, "not more than its `first`", "it ends before it begins"),
        (50, 1.000_001, 1_000_000, "366 days", "a slip: it would take decades"),
        (50, 1.5, 1_000_000_001, "at most 1000000000", "more than any limit"),
    ] {
        let fault = Schedule::growth(START, first, factor, until).expect_err(why);
        assert!(fault.contains(part), "{why}: `{fault}`, expected `{part}` in it");
        assert!(fault.contains("hint"), "{why}: `{fault}` does not say what to do");
    }
    for (days, part) in [(0, "0 days"), (367, "367 days")] {
        let fault = Schedule::new(START, vec![5; days]).expect_err("days");
        assert!(fault.contains(part) && fault.contains("hint"), "`{fault}`, expected `{part}` in it");
    }
    assert!(Schedule::new(START, vec![5; 366]).is_ok(), "a leap year");
}

/// A warm-up is a budget over 24 hours with the cap of its day: none of them holds more than the larger of its days.
#[test]
fn a_warm_up_grows_by_day() {
    let schedule = Schedule::growth(START, 200, 2.0, 3200).unwrap();
    let start = at("2026-11-02T00:00:00Z").0;
    let mut fleet = Fleet::new("200 messages/day", 4, 1);
    fleet.now = start - DAY;
    fleet.terms.count = schedule.cap(fleet.wall()).unwrap();
    let owner = fleet.start(&[0, 1, 2, 3]);
    let mut sent = 0;
    for day in -1.. {
        let Some(cap) = schedule.cap(fleet.wall()) else { break };
        fleet.terms.count = cap;
        fleet.owners[owner].budget.set_terms(fleet.terms);
        let end = schedule.next(fleet.wall()).unwrap().0;
        assert_eq!(end, start + (day + 1) * DAY, "days are days");
        fleet.backlog(end, &Lane::ALL, 50, 1000);
        let today = u32::try_from(fleet.total()).unwrap() - sent;
        sent += today;
        println!("day {day}: {today} of {cap}");
        assert!(today <= cap, "day {day}: {today} of {cap}");
        assert!(fleet.worst(None) <= u64::from(cap), "a window over two days is within the larger day's cap");
        assert!(f64::from(today) >= 0.95 * f64::from(cap / 2), "day {day}: growth of {cap} was not used: {today}");
    }
    assert_eq!(fleet.now, start + 5 * DAY, "after its last day there is no cap");
}

proptest! {
    #[test]
    fn growth_grows_and_ends(first in 1..1_000_000_u32, factor in 1.001..10.0_f64, until in 2..1_000_000_000_u32) {
        let Ok(schedule) = Schedule::growth(START, first, factor, until) else { return Ok(()) };
        let start = at("2026-11-02T00:00:00Z").0;
        let caps: Vec<u32> = (0..).map_while(|day| schedule.cap(Wall(start + day * DAY))).collect();
        prop_assert_eq!(caps[0], first);
        prop_assert_eq!(caps[caps.len() - 1], until);
        prop_assert!(caps.len() <= 366);
        prop_assert!(caps.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", caps);
        prop_assert!(caps.windows(2).all(|pair| f64::from(pair[1]) <= (f64::from(pair[0]) + 1.0) * factor), "{:?}", caps);
    }
}
