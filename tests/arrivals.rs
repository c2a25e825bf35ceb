//! The checks that judge a run by what arrived.
//!
//! Why: a check that miscounts at the edge of a window passes a dispatcher that breaks its limit.
//! Must not know: the simulator's server.

use std::collections::BTreeSet;
use std::time::Duration;

use peakpost::sim::arrivals::{
    Arrival, RequestArrival, Vendor, duplicates, from_json_lines, heedless, max_in_window, missing, windows_over,
};
use proptest::prelude::*;

const fn ns(n: u64) -> Duration {
    Duration::from_nanos(n)
}

#[test]
fn windows_are_half_open() {
    fn check(why: &str, times: &[u64], window: u64, most: usize, limit: usize, over: usize) {
        let window = ns(window);
        assert_eq!(
            max_in_window(times, window),
            most,
            "{why}: most in {window:?} of {times:?}; check the window's edge"
        );
        assert_eq!(windows_over(times, limit, window), over, "{why}: windows over {limit} in {times:?}");
    }
    check("nothing arrived", &[], 10, 0, 0, 0);
    check("one is one", &[5], 10, 1, 1, 0);
    check("a limit of none is broken by one", &[5], 10, 1, 0, 1);
    check("the far edge is outside", &[0, 10], 10, 1, 1, 0);
    check("one nanosecond before the far edge is inside", &[0, 9], 10, 2, 1, 1);
    check("the near edge is inside", &[0, 0], 10, 2, 1, 1);
    check("the limit itself is allowed", &[0, 3, 6], 10, 3, 3, 0);
    check("each window over the limit counts", &[0, 1, 2, 3], 3, 3, 2, 2);
    check("bursts on both sides of a calendar edge are one window", &[98, 99, 100, 101], 10, 4, 3, 1);
    check("a window slides, it does not jump", &[0, 6, 9, 12], 10, 3, 2, 2);
    check("a window of no length is empty", &[1, 1, 2], 0, 0, 0, 0);
    check("the end of time does not overflow", &[u64::MAX - 1, u64::MAX], 2, 2, 1, 1);
}

proptest! {
    #[test]
    fn agrees_with_counting_every_window(
        mut times in prop::collection::vec(0..200_u64, 0..60), limit in 0..8_usize, window in 0..60_u64,
    ) {
        times.sort_unstable();
        // The definition, word by word: from each entry on, those less than a window later.
        let begun = |i: usize| times[i..].iter().filter(|&&t| t - times[i] < window).count();
        let naive: Vec<usize> = (0..times.len()).map(begun).collect();
        prop_assert_eq!(max_in_window(&times, ns(window)), naive.iter().copied().max().unwrap_or(0));
        prop_assert_eq!(windows_over(&times, limit, ns(window)), naive.iter().filter(|&&n| n > limit).count());
        // No window anywhere, begun at an entry or not, holds more than the largest begun at one.
        let anywhere = (0..260_u64).map(|from| times.iter().filter(|&&t| t >= from && t - from < window).count()).max();
        prop_assert_eq!(max_in_window(&times, ns(window)), anywhere.unwrap_or(0));
    }
}

fn arrival(key: &str, answer: u16, sent: bool) -> Arrival {
    Arrival { at: 1, request: 2, vendor: Vendor::Twilio, key: key.into(), answer, sent }
}

#[test]
fn only_what_was_sent_counts() {
    let arrivals = [
        arrival("shop/1", 202, true),
        arrival("shop/2", 429, false),
        arrival("shop/2", 202, true),
        arrival("shop/3", 0, true),
        arrival("shop/3", 202, true),
        arrival("shop/3", 500, false),
        arrival("shop/4", 400, false),
    ];
    // A refused try and a later yes are one send; a lost answer and a later yes are two.
    assert_eq!(duplicates(&arrivals), [("shop/3", 2)]);
    let expected: BTreeSet<String> = ["shop/1", "shop/4", "shop/9"].map(str::to_owned).into();
    assert_eq!(missing(&expected, &arrivals), ["shop/4", "shop/9"], "refused and unseen jobs are missing");
}

#[test]
fn a_wait_that_was_asked_for_is_kept() {
    fn check(why: &str, requests: &[(u64, u64)], grace: u64, count: usize) {
        let request = |&(at, until)| RequestArrival { at, vendor: Vendor::SendGrid, answer: 0, messages: 1, until };
        let requests: Vec<_> = requests.iter().map(request).collect();
        assert_eq!(heedless(&requests, ns(grace)), count, "{why}: {requests:?}");
    }
    check("nobody asked", &[(0, 0), (1, 0)], 0, 0);
    check("waited to the moment", &[(10, 50), (50, 0)], 0, 0);
    check("came one nanosecond early", &[(10, 50), (49, 0)], 0, 1);
    check("was on its way", &[(10, 50), (15, 0)], 5, 0);
    check("was not on its way any more", &[(10, 50), (16, 0)], 5, 1);
    check("a second refusal gives no second grace", &[(10, 50), (12, 90), (16, 0)], 5, 1);
    check("a shorter wait does not shorten", &[(10, 50), (12, 20), (30, 0)], 5, 1);
    check("a new wait after the old one has its own grace", &[(10, 50), (60, 90), (64, 0), (70, 0)], 5, 1);
}

#[test]
fn json_lines_read_back() {
    let all = [arrival("shop/a \"b\"", 202, true), arrival("", 0, false)];
    let text: String = all.iter().map(|a| serde_json::to_string(a).unwrap() + "\n").collect();
    assert_eq!(from_json_lines(&text).unwrap(), all);
    assert!(from_json_lines("{\"at\":1}\n").unwrap_err().starts_with("line 1"), "the line is named");
}
