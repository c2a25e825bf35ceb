//! The retry budget in virtual time: what an outage costs a provider, and how the line comes back after it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use peakpost::retry::budget::{Budget, Config};
use proptest::prelude::*;

use super::{ms, start};

const TENTH: Config = Config { ratio: 0.1, floor: 1.0 };
/// What is kept of a calm time at most.
const PURSE: u32 = 101;

/// Simulated in steps of this length.
const STEP: u64 = 10;

#[test]
fn tokens_come_from_first_attempts_from_time_and_from_success() {
    let t0 = start();
    let mut budget = Budget::new(&TENTH, t0);
    assert_eq!(budget.available(t0), 0, "it begins empty: the outage may have begun before us");
    budget.first(9);
    assert_eq!(budget.available(t0), 0, "nine tenths");
    budget.first(1);
    assert_eq!(budget.available(t0), 1, "ten tenths are one, though binary fractions add up to less");
    budget.spend(1);
    assert_eq!(budget.available(t0 + ms(999)), 0, "it failed; nothing comes back");
    assert_eq!(budget.available(t0 + ms(1000)), 0, "first attempts have earned what the floor gives in a second");
    let t0 = t0 + ms(1000);
    assert_eq!(budget.available(t0 + ms(1000)), 1, "without them it gives one a second");
    budget.spend(1);
    budget.accepted(1);
    assert_eq!(budget.available(t0 + ms(1000)), 1, "it was accepted: what it cost is back");
    for _ in 0..9 {
        budget.spend(1);
        budget.accepted(1);
    }
    assert_eq!(budget.available(t0 + ms(1000)), 2, "and ten accepted ones bring another");
    budget.spend(3);
    assert_eq!(budget.available(t0 + ms(1999)), 0, "one too many is a debt");
    assert_eq!(budget.available(t0 + ms(3000)), 1, "paid before the next one goes");
    assert_eq!(budget.available(t0 + ms(2000)), 1, "a time that lies behind changes nothing");
    assert_eq!(budget.available(t0 + ms(3000)), 1, "nor does it count twice");
}

#[test]
fn a_calm_time_is_not_saved_up() {
    let t0 = start();
    let mut budget = Budget::new(&TENTH, t0);
    budget.first(1_000_000);
    assert_eq!(budget.available(t0), PURSE, "a hundred and a second's floor, whatever was earned");
    assert_eq!(budget.available(t0 + Duration::from_secs(86_400)), PURSE, "nor does a quiet day add up");
    budget.spend(PURSE);
    let mut budget = Budget::new(&Config { floor: 50.0, ..TENTH }, t0);
    assert_eq!(budget.available(t0 + ms(60_000)), 150, "a second's floor is kept, whatever the floor is");
    // A thousand mails in one request, and again: what they bring must be there for the next request.
    budget.first(10_000);
    budget.spend(1000);
    budget.accepted(1000);
    assert!(budget.available(t0 + ms(61_500)) >= 1000, "a batch that came back whole can go out whole");
    assert!(budget.available(t0 + ms(90_000)) <= 151, "half a minute later that is forgotten");
}

#[test]
fn the_next_token_is_told() {
    let t0 = start();
    let none = Budget::new(&Config { floor: 0.0, ..TENTH }, t0);
    let due = none.next(t0).expect("an empty purse has none");
    assert_eq!((due - t0).as_secs(), 3599, "without a floor one an hour: a wait has an end");
    let mut budget = Budget::new(&TENTH, t0);
    budget.first(5);
    let due = budget.next(t0).expect("half of one is not one");
    assert!((due - t0).abs_diff(ms(1000)) < ms(1), "the floor brings one a second in all: {:?}", due - t0);
    budget.spend(u32::MAX);
    assert!(budget.next(t0).is_some(), "even such a debt has an end");
}

proptest! {
    /// Whoever sleeps until the time that was told finds a token then, and would not have found one much before.
    #[test]
    fn the_time_that_is_told_is_right(floor in 0.01..200.0_f64, first in 0..30_u32, spent in 0..50_u32, idle in 0..5_000_u64) {
        let t0 = start();
        let mut budget = Budget::new(&Config { floor, ..TENTH }, t0);
        budget.first(first);
        budget.spend(spent);
        let now = t0 + ms(idle);
        match budget.next(now) {
            None => prop_assert!(budget.available(now) >= 1, "`next` says there is one"),
            Some(due) => {
                prop_assert!(due >= now);
                prop_assert_eq!(budget.clone().available(now), 0, "`next` says there is none");
                if let Some(early) = due.checked_sub(ms(1)).filter(|early| *early > now) {
                    prop_assert_eq!(budget.clone().available(early), 0, "one would have been there sooner");
                }
                prop_assert!(budget.available(due) >= 1, "it was promised for {:?}", due - now);
                prop_assert_eq!(budget.next(due), None);
            }
        }
    }
}

/// An endless supply of failed jobs, everything fails, for ten minutes: how many retries the provider sees.
fn retries_in_an_outage(budget: &mut Budget, t0: Instant, first_per_second: f64) -> (u32, u32) {
    let (mut first, mut retries, mut due) = (0, 0, 0.0);
    for step in 0..600_000 / STEP {
        due += first_per_second * STEP as f64 / 1000.0;
        while due >= 1.0 {
            due -= 1.0;
            budget.first(1);
            first += 1;
        }
        let n = budget.available(t0 + ms(step * STEP));
        budget.spend(n);
        retries += n;
    }
    (first, retries)
}

#[test]
fn an_outage_costs_a_tenth_or_the_floor() {
    for floor in [1.0, 20.0] {
        for rate in [0.0, 0.1, 1.0, 10.0, 100.0, 1000.0, 5000.0] {
            let t0 = start();
            let mut budget = Budget::new(&Config { floor, ..TENTH }, t0);
            let (first, retries) = retries_in_an_outage(&mut budget, t0, rate);
            let bound = (f64::from(first) * 0.1).max(floor * 600.0);
            let case = format!("{rate} first attempts/s, floor {floor}/s: {first} first attempts, {retries} retries");
            assert!(f64::from(retries) <= bound + 1.0, "{case}: at most {bound}");
            assert!(f64::from(retries) >= bound - floor - 2.0, "{case}: what it may it should, nearly {bound}");
        }
    }
}

/// What a calm time may add to that: the purse, and what came back within the last seconds.
#[test]
fn an_outage_after_a_busy_time_costs_little_more() {
    for (per_second, extra) in [(0, PURSE), (100, PURSE + 300), (5000, PURSE + 15_000)] {
        let t0 = start();
        let mut budget = Budget::new(&TENTH, t0);
        for step in 0..3000 {
            budget.first(100);
            let n = budget.available(t0 + ms(step * STEP)).min(per_second / 100);
            budget.spend(n);
            budget.accepted(n);
        }
        let (first, retries) = retries_in_an_outage(&mut budget, t0 + ms(3000 * STEP), 100.0);
        let bound = first / 10 + 600 + extra;
        assert!(retries <= bound, "{per_second} retries/s accepted before: {retries} retries, at most {bound}");
    }
}

/// The first, if it is due.
fn due<T>(out: &mut VecDeque<T>, is_due: impl FnOnce(&T) -> bool) -> Option<T> {
    out.front().is_some_and(is_due).then(|| out.pop_front())?
}

/// What a second of a recovery accepted, second by second. No fresh work; requests of `batch` jobs; every request is
/// accepted a round trip later; the gate lets `limit` through per second.
fn recovery(mut waiting: u32, limit: u32, rtt: u64, batch: u32) -> Vec<u32> {
    let t0 = start();
    let mut budget = Budget::new(&TENTH, t0);
    let mut out: VecDeque<(Instant, u32)> = VecDeque::new();
    let (mut accepted, mut gate) = (vec![0; 60], 0.0);
    for step in 0..60_000 / STEP {
        let now = t0 + ms(step * STEP);
        while let Some((_, n)) = due(&mut out, |(at, _)| *at <= now) {
            budget.accepted(n);
            accepted[usize::try_from(step * STEP / 1000).unwrap()] += n;
        }
        // A bucket as the gate's: no more than one request's worth is saved up.
        gate = f64::min(gate + f64::from(limit) * STEP as f64 / 1000.0, f64::from(batch.max(limit / 50)));
        loop {
            let n = budget.available(now).min(batch).min(waiting);
            if n == 0 || f64::from(n) > gate {
                break;
            }
            gate -= f64::from(n);
            waiting -= n;
            budget.spend(n);
            out.push_back((now + ms(rtt), n));
        }
    }
    accepted
}

#[test]
fn after_an_outage_the_line_comes_back_by_itself() {
    for (waiting, limit, rtt, batch, within, why) in [
        (10_000, 1000, 50, 1, 30, "single sends"),
        (10_000, 1000, 300, 1, 30, "single sends to a slow vendor"),
        (10_000, 1000, 5, 1, 30, "single sends to a quick one"),
        (200_000, 5000, 300, 1000, 30, "mails in batches"),
        (200_000, 5000, 50, 100, 30, "smaller batches"),
        (40_000, 1000, 300, 1000, 30, "a batch a second: its tokens wait for the gate, not the other way round"),
    ] {
        let accepted = recovery(waiting, limit, rtt, batch);
        let case = format!("{why}: {waiting} jobs wait, {limit}/s, {rtt} ms, {batch} a request: {accepted:?}");
        let good = |n: &u32| f64::from(*n) >= 0.95 * f64::from(limit);
        let first = accepted.iter().position(good).unwrap_or(usize::MAX);
        assert!(first < within, "{case}: the limit is not reached within {within} s");
        let sent: u32 = accepted.iter().sum();
        assert_eq!(sent, waiting, "{case}: all of them are through within a minute");
        let leaks = accepted.iter().any(|n| *n > limit + batch.max(limit / 50));
        assert!(!leaks, "{case}: the model's gate leaks; mend this test");
        // From then on until all are through it stays there.
        let (mut left, mut full) = (waiting - accepted[..=first].iter().sum::<u32>(), Vec::new());
        for n in &accepted[first + 1..] {
            if left > 2 * limit {
                full.push(*n);
            }
            left -= n;
        }
        let mean = f64::from(full.iter().sum::<u32>()) / full.len().max(1) as f64;
        assert!(full.is_empty() || mean >= 0.95 * f64::from(limit), "{case}: it falls back to {mean}");
    }
}

/// While every retry is accepted none waits for long, with much work or little.
#[test]
fn a_well_provider_is_not_held_back() {
    for (per_second, failing) in [(1, 1.0), (10, 0.2), (100, 0.01), (100, 0.5), (1000, 0.05), (1000, 1.0)] {
        let t0 = start();
        let mut budget = Budget::new(&TENTH, t0);
        let (mut waiting, mut out) = (VecDeque::new(), VecDeque::new());
        let (mut first, mut failed, mut longest) = (0.0, 0.0, Duration::ZERO);
        for step in 0..120_000 / STEP {
            let now = t0 + ms(step * STEP);
            first += f64::from(per_second) * STEP as f64 / 1000.0;
            while first >= 1.0 {
                first -= 1.0;
                failed += failing;
                budget.first(1);
                if failed >= 1.0 {
                    failed -= 1.0;
                    waiting.push_back(now);
                }
            }
            while due(&mut out, |at: &Instant| *at <= now).is_some() {
                budget.accepted(1);
            }
            let n = budget.available(now).min(u32::try_from(waiting.len()).unwrap());
            budget.spend(n);
            for since in waiting.drain(..n as usize) {
                out.push_back(now + ms(300));
                // The first half minute is the recovery of an empty purse.
                if step * STEP > 30_000 {
                    longest = longest.max(now - since);
                }
            }
        }
        assert!(longest <= ms(100), "{per_second}/s, {failing} of them fail at first: one waited {longest:?}");
    }
}
