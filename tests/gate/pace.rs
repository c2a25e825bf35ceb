//! The rate factor: what throttled replies take, and how it comes back.

use std::time::{Duration, Instant};

use peakpost::gate::pace::{FLOOR, Pace};
use peakpost::observe::Clock;

use super::ms;

/// `replies` to requests sent now, evenly over `over`; the first `throttled` of them were too fast.
fn window(pace: &mut Pace, begin: Instant, replies: u32, throttled: u32, over: Duration) -> Instant {
    let end = begin + over;
    for n in 0..replies {
        let at = if n + 1 == replies { end } else { begin + over * n / replies };
        pace.landed(at, n < throttled, at);
    }
    end
}

#[test]
fn a_cut_takes_the_share_that_was_throttled_and_a_little_more() {
    for (replies, throttled, over, factor, why) in [
        (600, 540, 1000, 0.2955, "ten times too fast: the most that one cut takes"),
        (600, 300, 1000, 0.4925, "twice too fast"),
        (600, 6, 1000, 0.975_15, "a little too fast"),
        (600, 3, 1000, 1.0, "half a percent is no reason"),
        (600, 0, 1000, 1.0, "nothing was throttled"),
        (600, 300, 900, 1.0, "less than a second says nothing yet"),
        (19, 19, 5000, 1.0, "nor do nineteen replies"),
        (20, 10, 5000, 0.4925, "twenty do"),
        (4, 2, 10_000, 0.4925, "after ten seconds so do four"),
    ] {
        let begin = Clock::default().mono();
        let mut pace = Pace::new(begin);
        window(&mut pace, begin, replies, throttled, ms(over));
        let found = pace.factor();
        assert!(
            (found - factor).abs() < 1e-9,
            "{why}: {throttled} of {replies} in {over} ms gave {found}, not {factor}"
        );
    }
}

/// The vendor's own window is full for so long after a cut.
const SETTLED: Duration = Duration::from_secs(1);

/// What was sent before a cut, or just after it, is throttled for the rate of then.
#[test]
fn replies_to_requests_from_before_a_cut_do_not_cut_again() {
    let begin = Clock::default().mono();
    let mut pace = Pace::new(begin);
    let cut = window(&mut pace, begin, 600, 300, ms(1000));
    for sent in [cut.checked_sub(ms(1)).unwrap(), cut + ms(999)] {
        for n in 0..5000 {
            let found = pace.landed(sent, true, cut + ms(n));
            assert_eq!(found, None, "a reply {n} ms late cut again; see Pace::landed");
        }
    }
    let later = window(&mut pace, cut + SETTLED, 600, 300, ms(1000));
    assert!((pace.factor() - 0.4925 * 0.4925).abs() < 1e-9, "replies to what was sent since do: {}", pace.factor());
    assert!(pace.follow(later).is_none(), "and it is told once");
}

/// A vendor that stops everything until its next second throttles a few of what it is sent, ten times too much or not.
#[test]
fn a_small_share_that_comes_again_at_once_takes_more() {
    for (calm, factor, why) in [
        (0, 0.886_5 * 0.81, "at once"),
        (1, 0.886_5 * 0.81, "after a second of stop"),
        (2, 0.886_5 * 0.886_5, "later the share is believed again"),
        (10, 0.886_5 * 1.02 * 0.886_5, "and after a step up"),
    ] {
        let begin = Clock::default().mono();
        let mut pace = Pace::new(begin);
        let later = window(&mut pace, begin, 600, 60, ms(1000)) + SETTLED + Duration::from_secs(calm);
        pace.follow(later);
        window(&mut pace, later, 600, 60, ms(1000));
        assert!((pace.factor() - factor).abs() < 1e-9, "{why}: {} is not {factor}", pace.factor());
    }
}

#[test]
fn however_bad_it_is_something_goes() {
    let mut now = Clock::default().mono();
    let mut pace = Pace::new(now);
    for _ in 0..50 {
        now = window(&mut pace, now, 100, 100, ms(1000));
    }
    assert!(pace.factor() >= FLOOR, "{} is below the floor", pace.factor());
    assert!(pace.factor() <= FLOOR + f64::EPSILON, "{} is above it", pace.factor());
}

/// Steps come in calm alone, grow, and end at exactly 1, whether anything is sent or not.
#[test]
fn it_comes_back_in_steps_that_grow_while_it_is_calm() {
    let begin = Clock::default().mono();
    let mut pace = Pace::new(begin);
    let cut = window(&mut pace, begin, 600, 540, ms(1000));
    let mut expected = 0.2955;
    for (n, step) in (1..).zip([0.02, 0.03, 0.045, 0.0675, 0.10125, 0.151_875, 0.227_812_5, 0.25]) {
        let due = cut + Duration::from_secs(10 * n);
        assert_eq!(pace.next(), Some(due), "step {n} has its time");
        assert_eq!(pace.follow(due.checked_sub(ms(1)).unwrap()), None, "step {n} came early");
        let learned = pace.follow(due).unwrap_or_else(|| panic!("step {n} did not come"));
        expected *= 1.0 + step;
        assert!((learned.to - expected).abs() < 1e-9, "step {n}: {learned:?}, expected {expected}");
    }
    let calm = cut + Duration::from_secs(85);
    pace.landed(calm, true, calm);
    assert_eq!(pace.follow(calm + ms(9_999)), None, "one throttled reply makes the calm begin anew");
    let learned = pace.follow(calm + ms(10_000)).unwrap();
    // That one alone was a window of one reply after ten seconds.
    assert!(learned.to < learned.from, "a lonely throttled reply is judged after ten seconds: {learned:?}");
    let learned = pace.follow(calm + Duration::from_secs(3600)).unwrap();
    assert_eq!(learned.to.to_bits(), 1.0_f64.to_bits(), "an idle hour ends at exactly 1: {learned:?}");
    assert_eq!(pace.next(), None, "there is no step beyond");
}
