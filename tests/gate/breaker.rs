//! The failure breaker and the ramp after it, as tables: what trips, how long it blocks, whom probes let back.

use std::time::{Duration, Instant};

use peakpost::gate::breaker::{Breaker, PROBE_LIFE, PROBES, State};
use peakpost::gate::ramp::Ramp;
use peakpost::gate::{Pass, Word};
use peakpost::observe::Clock;
use peakpost::outcome::Code;

use super::ms;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn start() -> Instant {
    Clock::default().mono()
}

fn hear(breaker: &mut Breaker, word: &Word, times: u32, now: Instant) {
    for _ in 0..times {
        let pass = breaker.pass(now);
        breaker.landed(pass, word, now, 0.0);
    }
}

/// Blocks it by five failures.
fn tripped(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(now);
    hear(&mut breaker, &Word::Failed, 5, now);
    assert_eq!(breaker.state(), State::Block, "five failures and nothing else block");
    breaker
}

/// Waits for the end of the block. Returns when it is.
fn probing(breaker: &mut Breaker, now: Instant) -> Instant {
    let until = breaker.blocked_until(now).expect("it blocks");
    let turned = breaker.follow(until).expect("the block ends at its end");
    assert_eq!((turned.from, turned.to), (State::Block, State::Probe), "{turned:?}");
    until
}

fn probes(breaker: &mut Breaker, now: Instant) -> Vec<Pass> {
    std::iter::from_fn(|| breaker.has_room().then(|| breaker.pass(now))).take(10).collect()
}

#[test]
fn it_blocks_on_the_share_of_failures_with_enough_replies() {
    type Row<'a> = (&'a [(u64, u32, u32)], State, &'a str);
    // Second, well, failed.
    let rows: &[Row<'_>] = &[
        (&[(0, 0, 4)], State::Allow, "four replies are too few, whatever they say"),
        (&[(0, 0, 5)], State::Block, "five are enough, if half of them failed"),
        (&[(0, 3, 2)], State::Allow, "two of five is less than half"),
        (&[(0, 2, 3)], State::Block, "three of five is more"),
        (&[(0, 15, 5)], State::Allow, "with twenty replies the share is 30 %: five are 25"),
        (&[(0, 14, 6)], State::Block, "six are 30"),
        (&[(0, 700, 299)], State::Allow, "many replies, just below"),
        (&[(0, 700, 300)], State::Block, "just there"),
        (&[(0, 100, 0), (9, 0, 42)], State::Allow, "the good ones of nine seconds ago count"),
        (&[(0, 100, 0), (10, 0, 20)], State::Block, "those of ten seconds ago do not"),
        (&[(0, 5_000, 0), (9, 0, 100)], State::Block, "many failed at once, which a good past does not hide"),
        (&[(0, 5_000, 0), (9, 0, 99)], State::Allow, "but it takes a hundred replies"),
        (&[(0, 5_000, 0), (8, 60, 0), (9, 0, 40)], State::Block, "of two seconds, forty of a hundred"),
        (&[(0, 5_000, 0), (8, 61, 0), (9, 0, 39)], State::Allow, "thirty-nine are fewer"),
        (&[(0, 14, 0), (11, 0, 6)], State::Allow, "too few lately: then a minute is looked at, and half is needed"),
        (&[(0, 0, 4), (59, 0, 1)], State::Block, "five failures within a minute"),
        (&[(0, 0, 4), (60, 0, 1)], State::Allow, "not within"),
        (&[(0, 0, 4), (30, 4, 0), (31, 0, 1)], State::Block, "five of nine within a minute"),
    ];
    for (replies, state, why) in rows {
        let begin = start();
        let mut breaker = Breaker::new(begin);
        for (second, well, failed) in *replies {
            hear(&mut breaker, &Word::Well, *well, begin + secs(*second));
            hear(&mut breaker, &Word::Failed, *failed, begin + secs(*second));
        }
        assert_eq!(breaker.state(), *state, "{why}: {replies:?} as (second, well, failed)");
    }
}

/// A job whose own fault sounds like the account's must not take the account from everybody.
#[test]
fn who_is_turned_away_alone_blocks_nobody() {
    for (well, later, state, why) in [
        (100, 0, State::Allow, "others were taken just now"),
        (100, 1, State::Allow, "a second ago"),
        (100, 2, State::Block, "nobody was for two seconds: it is everybody"),
        (1, 0, State::Allow, "one is enough"),
        (0, 0, State::Block, "nobody was"),
    ] {
        let begin = start();
        let mut breaker = Breaker::new(begin);
        hear(&mut breaker, &Word::Well, well, begin);
        hear(&mut breaker, &Word::Down(Code::Credentials), 1, begin + secs(later));
        assert_eq!(breaker.state(), state, "{why}: {well} well, {later} s before");
    }
    let begin = start();
    let mut breaker = Breaker::new(begin);
    hear(&mut breaker, &Word::Well, 60, begin);
    hear(&mut breaker, &Word::Down(Code::Credentials), 40, begin);
    assert_eq!(breaker.state(), State::Block, "forty of a hundred are failures enough");
}

#[test]
fn words_that_are_no_failures_do_not_count_and_one_blocks_at_once() {
    let throttled = |sender: Option<&str>| Word::Throttled { wait: None, sender: sender.map(Into::into) };
    for (word, state, why) in [
        (throttled(None), State::Allow, "too fast is not sick"),
        (throttled(Some("+1")), State::Allow, "nor is one sender's queue"),
        (Word::Nothing, State::Allow, "one job's own endpoint says nothing"),
        (Word::Down(Code::Credentials), State::Block, "one refused key is enough"),
        (Word::Down(Code::Account), State::Block, "so is one word about the account"),
    ] {
        let now = start();
        let mut breaker = Breaker::new(now);
        let times = if state == State::Block { 1 } else { 100 };
        hear(&mut breaker, &word, times, now);
        assert_eq!(breaker.state(), state, "{why}: {word:?}");
        if let Word::Down(code) = word {
            assert_eq!(breaker.why(), Some(code.as_str()), "{why}: and it says so");
        }
    }
}

#[test]
fn blocks_grow_while_it_does_not_get_better() {
    for (chance, longer) in [(0.0, 1.0), (1.0, 1.2), (0.5, 1.1)] {
        let mut now = start();
        let mut breaker = Breaker::new(now);
        for word in [Word::Failed, Word::Down(Code::Account), Word::Failed] {
            for _ in 0..5 {
                let pass = breaker.pass(now);
                breaker.landed(pass, &word, now, chance);
            }
            for block in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
                let until = breaker.blocked_until(now).expect("blocked");
                let found = (until - now).as_secs_f64();
                assert!((found - block * longer).abs() < 1e-6, "blocked for {found} s, expected {block} x {longer}");
                now = probing(&mut breaker, now) + ms(40);
                let pass = breaker.pass(now);
                breaker.landed(pass, &Word::Failed, now, chance);
            }
            // A minute of health, and the next one is a first one.
            now = probing(&mut breaker, now);
            hear(&mut breaker, &Word::Well, 3, now);
            assert_eq!(breaker.state(), State::Allow, "three good answers");
            now += secs(60);
        }
    }
    let now = start();
    let mut breaker = tripped(now);
    let now = probing(&mut breaker, now);
    hear(&mut breaker, &Word::Well, 3, now);
    hear(&mut breaker, &Word::Failed, 5, now + secs(59));
    let until = breaker.blocked_until(now + secs(59)).expect("blocked again");
    assert_eq!(until - now, secs(61), "less than a minute of health: the block goes on growing");
}

#[test]
fn probes_are_few_and_every_one_of_them_counts_once() {
    let now = start();
    let mut breaker = tripped(now);
    assert!(!breaker.has_room(), "nothing goes in a block");
    let now = probing(&mut breaker, now);
    let out = probes(&mut breaker, now);
    assert_eq!(out.len(), PROBES, "so many and no more");
    breaker.released(out[0]);
    breaker.landed(out[1], &Word::Throttled { wait: None, sender: None }, now, 0.0);
    breaker.landed(out[2], &Word::Nothing, now, 0.0);
    let again = probes(&mut breaker, now);
    assert_eq!(again.len(), PROBES, "given back unsent, throttled, meaningless: each may be made again");
    breaker.released(out[0]);
    assert!(!breaker.has_room(), "a pass that is given back twice makes no room twice");
    breaker.landed(again[0], &Word::Well, now, 0.0);
    breaker.landed(again[0], &Word::Well, now, 0.0);
    assert!(!breaker.has_room(), "one good, two out: three in all");
    breaker.landed(again[1], &Word::Well, now, 0.0);
    let turned = breaker.landed(again[2], &Word::Well, now, 0.0).expect("the third good answer");
    assert_eq!((turned.from, turned.to, breaker.state()), (State::Probe, State::Allow, State::Allow));
}

/// A late reply says how it was, not how it is.
#[test]
fn what_was_sent_in_another_period_changes_nothing() {
    let now = start();
    let mut breaker = Breaker::new(now);
    let old: Vec<Pass> = (0..100).map(|_| breaker.pass(now)).collect();
    hear(&mut breaker, &Word::Failed, 5, now);
    let until = breaker.blocked_until(now);
    let late = |breaker: &mut Breaker, passes: &[Pass], word: &Word, at: Instant, when: &str| {
        for pass in passes {
            assert_eq!(breaker.landed(*pass, word, at, 1.0), None, "{when}: a late {word:?} turned it");
        }
    };
    late(&mut breaker, &old, &Word::Failed, now, "in the block");
    late(&mut breaker, &old, &Word::Well, now, "in the block");
    assert_eq!(breaker.blocked_until(now), until, "and does not lengthen it");
    let now = probing(&mut breaker, now);
    late(&mut breaker, &old, &Word::Well, now, "while it probes: they are not the probes'");
    late(&mut breaker, &old, &Word::Failed, now, "while it probes");
    let first = probes(&mut breaker, now);
    breaker.landed(first[0], &Word::Failed, now, 0.0).expect("a failed probe blocks again");
    let now = probing(&mut breaker, now);
    assert_eq!(probes(&mut breaker, now).len(), 1, "two of the first period's probes are still out, so one more goes");
    late(&mut breaker, &first, &Word::Failed, now, "probes of the period before");
    let rest = probes(&mut breaker, now);
    assert_eq!(rest.len(), 2, "they are back: now three may be out");
    let now = now + PROBE_LIFE;
    let lost = breaker.follow(now).expect("probes that do not come back have failed");
    assert_eq!(lost.to, State::Block, "{lost:?}");
    let now = probing(&mut breaker, now);
    late(&mut breaker, &rest, &Word::Well, now, "a probe that was given up");
    hear(&mut breaker, &Word::Well, 3, now);
    late(&mut breaker, &old, &Word::Failed, now, "in good health");
    late(&mut breaker, &first, &Word::Down(Code::Account), now, "in good health");
    assert_eq!(breaker.state(), State::Allow);
}

#[test]
fn a_ramp_doubles_every_second() {
    let begin = start();
    let mut ramp = Ramp::default();
    assert_eq!(ramp.follow(begin), None, "there is none");
    ramp.begin(begin + secs(10), "after a stop");
    ramp.begin(begin + secs(5), "after a block");
    let mut found = Vec::new();
    for tenth in 0..200_u64 {
        let now = begin + ms(tenth * 100);
        let before = ramp.value();
        if let Some((from, after)) = ramp.follow(now) {
            assert!((from - before).abs() < f64::EPSILON && after == "after a stop", "{from} {after}");
            found.push((tenth, (ramp.value() * 1000.0).round()));
        }
        assert!(ramp.next(now).is_none_or(|next| next > now), "a step is due in the past");
    }
    let expected = [(0, 50.0), (110, 100.0), (120, 200.0), (130, 400.0), (140, 800.0), (150, 1000.0)];
    assert_eq!(found, expected, "tenths of a second, thousandths of the rate; it begins at the later of two ends");
    assert_eq!(ramp.next(begin + secs(20)), None, "and then it is over");
    ramp.begin(begin + secs(20), "after a block");
    ramp.follow(begin + secs(3600));
    assert!((ramp.value() - 1.0).abs() < f64::EPSILON, "nobody looked for an hour: it is over all the same");
}
