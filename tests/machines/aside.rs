//! The head of the line in virtual time: one partition, a window, two or three providers, a hold topic each.
//!
//! What is measured is what the others get, compared with the same line in which the stalled provider takes
//! everything at once; and how much is copied for it.

use std::time::Instant;

use peakpost::job::Home;
use peakpost::lane::aside::Aside;

use super::{ms, start};

const JOBS: (Home, u16) = (0, 0);
const WINDOW: usize = 10_000;
/// Simulated in steps of this length, in milliseconds.
const STEP: u64 = 10;
/// Records read in a step: 50,000 a second.
const READ: usize = 500;
const FREE: f64 = f64::INFINITY;

/// What a provider takes per second, at a time in seconds.
type Takes = Box<dyn Fn(f64) -> f64>;

fn always(per_second: f64) -> Takes {
    Box::new(move |_| per_second)
}

fn hold(provider: usize) -> (Home, u16) {
    (0, 1 + u16::try_from(provider).unwrap())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floored, and a float's cast saturates")]
fn whole(jobs: f64) -> usize {
    jobs.floor() as usize
}

/// One partition without end, read into a shard.
struct World {
    aside: Aside,
    t0: Instant,
    step: u64,
    /// Whose the n-th job is.
    whose: Box<dyn Fn(u64) -> usize>,
    takes: Vec<Takes>,
    read: u64,
    /// Jobs in the window, by provider.
    window: Vec<usize>,
    /// Jobs in the hold topic, and those of them read back.
    held: Vec<usize>,
    back: Vec<usize>,
    budget: Vec<f64>,
    sent: Vec<usize>,
    moved: Vec<usize>,
}

impl World {
    fn new(whose: impl Fn(u64) -> usize + 'static, takes: Vec<Takes>) -> Self {
        let n = takes.len();
        Self {
            aside: Aside::new(n),
            t0: start(),
            step: 0,
            whose: Box::new(whose),
            takes,
            read: 0,
            window: vec![0; n],
            held: vec![0; n],
            back: vec![0; n],
            budget: vec![0.0; n],
            sent: vec![0; n],
            moved: vec![0; n],
        }
    }

    fn depth(&self) -> Vec<usize> {
        self.window.iter().zip(&self.back).map(|(window, back)| window + back).collect()
    }

    fn now(&self) -> Instant {
        self.t0 + ms(self.step * STEP)
    }

    fn turn(&mut self) {
        let now = self.now();
        let room = WINDOW.saturating_sub(self.window.iter().sum());
        let mut came = vec![0; self.takes.len()];
        for _ in 0..room.min(READ) {
            let provider = (self.whose)(self.read);
            self.read += 1;
            self.window[provider] += 1;
            came[provider] += 1;
        }
        for (provider, n) in came.into_iter().enumerate() {
            self.aside.came(JOBS, provider, n, now);
        }
        // Only a full window stands in anybody's way.
        for provider in 0..self.takes.len() {
            if self.window.iter().sum::<usize>() < WINDOW {
                break;
            }
            let n = self.aside.may_move(JOBS, provider, &self.depth(), now).min(self.window[provider]);
            self.window[provider] -= n;
            self.held[provider] += n;
            self.moved[provider] += n;
            self.aside.moved(JOBS, provider, n);
        }
        for provider in 0..self.takes.len() {
            self.hold_returns(provider, now);
            self.send(provider, now);
        }
        self.step += 1;
    }

    /// The hold topic is read back while its provider has little to do.
    fn hold_returns(&mut self, provider: usize, now: Instant) {
        if self.depth()[provider] < 200 {
            let n = self.held[provider].min(READ);
            self.held[provider] -= n;
            self.back[provider] += n;
            self.aside.came(hold(provider), provider, u32::try_from(n).unwrap(), now);
        }
    }

    fn send(&mut self, provider: usize, now: Instant) {
        let rate = (self.takes[provider])(self.step as f64 * STEP as f64 / 1000.0);
        let share = rate * STEP as f64 / 1000.0;
        // What is not used in a step is not saved up.
        let budget = self.budget[provider].min(share.max(1.0)) + share;
        let n = self.depth()[provider].min(whole(budget));
        self.budget[provider] = if budget.is_finite() { budget - n as f64 } else { 0.0 };
        let of_hold = n.min(self.back[provider]);
        self.back[provider] -= of_hold;
        self.window[provider] -= n - of_hold;
        self.sent[provider] += n;
        self.aside.through(provider, u32::try_from(n).unwrap(), now);
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 1000 / STEP {
            self.turn();
        }
    }
}

const A: usize = 0;
const B: usize = 1;

/// Whose the jobs are: a name, and of the n-th job whose.
type Mix = (&'static str, fn(u64) -> usize);

/// As many of A as of B, more, fewer; one by one, by lot, and in campaigns.
const MIXES: [Mix; 9] = [
    ("1:1", |n| usize::from(n % 2 == 1)),
    ("9:1", |n| usize::from(n % 10 == 9)),
    ("99:1", |n| usize::from(n % 100 == 99)),
    ("999:1", |n| usize::from(n % 1000 == 0)),
    ("1:9", |n| usize::from(n % 10 != 0)),
    ("1:1 by lot", |n| usize::from(lot(n).is_multiple_of(2))),
    ("9:1 by lot", |n| usize::from(lot(n).is_multiple_of(10))),
    ("blocks of 3,000", |n| usize::from(n / 3000 % 2 == 0)),
    ("blocks of 20,000", |n| usize::from(n / 20_000 % 2 == 0)),
];

/// Scatters numbers, the same in every run.
const fn lot(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (n ^ (n >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

/// What each provider sent per second in the second half minute, how much of each was sent and moved in the whole.
struct Minute {
    rate: [f64; 2],
    sent: [usize; 2],
    moved: [usize; 2],
}

fn minute(mix: fn(u64) -> usize, a: Takes, b: Takes) -> Minute {
    let mut world = World::new(mix, vec![a, b]);
    world.run(30);
    let before = world.sent.clone();
    world.run(30);
    let rate = [A, B].map(|p| (world.sent[p] - before[p]) as f64 / 30.0);
    Minute { rate, sent: [world.sent[A], world.sent[B]], moved: [world.moved[A], world.moved[B]] }
}

#[test]
fn others_are_reached_behind_a_stalled_provider() {
    let mut bad = Vec::new();
    for (name, mix) in MIXES {
        for b in [20.0, 200.0, 2000.0] {
            let free = minute(mix, always(FREE), always(b));
            assert_eq!(free.moved[A], 0, "{name}: A takes everything at once; nothing of it need be moved");
            for a in [0.0, 1.0, 10.0, 200.0, 1000.0] {
                let found = minute(mix, always(a), always(b));
                let [of_a, of_b] = found.rate;
                let came = free.rate[B];
                let case = format!("{name}, A takes {a}/s: B gets {of_b:.0}/s, free {came:.0}/s; A {of_a:.0}/s");
                if of_b < 0.9 * came {
                    bad.push(case);
                } else if of_a < 0.9 * a && of_b < 0.99 * b {
                    bad.push(format!("{case}: nobody is at its limit"));
                }
            }
        }
    }
    assert!(bad.is_empty(), "the rule holds somebody up:\n{}", bad.join("\n"));
}

/// What is copied is what stood before the jobs that others then sent, and no more.
#[test]
fn only_what_stands_in_the_way_is_copied() {
    for (name, mix, before_each) in [(MIXES[0].0, MIXES[0].1, 1), (MIXES[1].0, MIXES[1].1, 9)] {
        for (a, b) in [(0.0, 100.0), (0.0, 1000.0), (200.0, 1000.0)] {
            let found = minute(mix, always(a), always(b));
            let case = format!("{name}, A takes {a}/s, B {b}/s: sent {:?}, moved {:?}", found.sent, found.moved);
            let in_the_way = found.sent[B] * before_each - found.sent[A];
            // Up to a second of B is read ahead.
            let ahead = before_each * whole(b);
            assert!(found.moved[A] <= in_the_way + ahead, "{case}: {in_the_way} of A stood in the way of B");
            assert_eq!(found.moved[B], 0, "{case}: B was in nobody's way");
        }
    }
}

/// A copy helps nobody here.
#[test]
fn nothing_is_copied_for_nothing() {
    let alone: Mix = ("A alone", |_| A);
    for ((name, mix), a, b, why) in [
        (alone, 0.0, 0.0, "a blocked provider's backlog has nobody behind it"),
        (alone, 10.0, 0.0, "nor a slow one's"),
        (alone, 5000.0, 0.0, "nor a quick one's"),
        (MIXES[0], 10.0, 10.0, "two slow ones, both with enough to do"),
        (MIXES[0], 500.0, 500.0, "two quick ones"),
        (MIXES[5], 10.0, 10.0, "the same by lot"),
        (MIXES[5], 500.0, 500.0, "the same by lot"),
        (MIXES[0], 0.0, 0.0, "nobody takes anything: no order helps"),
        (MIXES[1], 3000.0, 1000.0, "A is quick: all that is read of it goes out within five seconds"),
    ] {
        let found = minute(mix, always(a), always(b));
        assert_eq!(found.moved, [0, 0], "{why}: {name}, A takes {a}/s, B {b}/s; sent {:?}", found.sent);
    }
}

/// A provider that takes nothing has few jobs at hand, but more of them would not help it. That it takes nothing is
/// known after two seconds.
#[test]
fn nobody_makes_room_for_a_blocked_provider() {
    for b in [200.0, 1000.0] {
        // One job in two thousand is A's.
        let mut world = World::new(|n| usize::from(n % 2000 != 0), vec![always(0.0), always(b)]);
        world.run(3);
        let not_known_yet = world.moved[B];
        assert!(not_known_yet <= 64 * 1000, "B takes {b}/s: {not_known_yet} moved before A has a handful");
        world.run(57);
        assert_eq!(world.moved, [0, not_known_yet], "A is blocked, B takes {b}/s: B is moved out of nobody's way");
    }
}

/// A pause is over before moving pays.
#[test]
fn a_short_pause_moves_little() {
    let pausing = |rate: f64| -> Takes { Box::new(move |at| if (30.0..32.0).contains(&at) { 0.0 } else { rate }) };
    for ((name, mix), a, b, most, why) in [
        (MIXES[0], 1000.0, 1000.0, 0, "both have enough to do"),
        (MIXES[1], 900.0, 100.0, 0, "B lives on what was read for it"),
        (MIXES[4], 100.0, 900.0, 0, "A is the small one"),
        (MIXES[7], 1000.0, 1000.0, 0, "in campaigns"),
    ] {
        let found = minute(mix, pausing(a), always(b));
        assert!(found.moved[A] <= most && found.moved[B] <= most, "{why}: {name}: moved {:?}", found.moved);
    }
}

/// The rules one by one.
#[test]
fn credit_is_earned_spent_and_bounded() {
    let (t0, other) = (start(), (1, 0));
    let mut aside = Aside::new(3);
    let blocked = [5000, 0, 0];
    aside.came(JOBS, A, 5000, t0);
    assert_eq!(aside.may_move(JOBS, A, &blocked, t0), 0, "nobody else has come by");
    aside.came(JOBS, B, 2, t0);
    assert_eq!(aside.may_move(JOBS, A, &blocked, t0), 2000, "a thousand for each of B's");
    assert_eq!(aside.may_move(other, A, &blocked, t0), 0, "not from a partition that B does not come by");
    aside.moved(JOBS, A, 1500);
    assert_eq!(aside.may_move(JOBS, A, &blocked, t0), 500, "what is moved is paid for");
    aside.moved(JOBS, A, 9999);
    assert_eq!(aside.may_move(JOBS, A, &blocked, t0), 0, "too much at once is no debt, and no gift");
    aside.came(JOBS, B, 1_000_000, t0);
    assert_eq!(aside.may_move(JOBS, A, &[90_000, 0, 0], t0), 50_000, "so much at most");
    assert_eq!(aside.may_move(JOBS, A, &blocked, t0), 5000, "and no more than there are");
    assert_eq!(aside.may_move(JOBS, A, &[], t0), 0, "none are");
    aside.came(other, B, 1, t0);
    aside.forget(0);
    assert_eq!(aside.may_move(JOBS, A, &blocked, t0), 0, "the home went, and its credit");
    assert_eq!(aside.may_move(other, A, &blocked, t0), 1000, "the other home's is untouched");
    aside.came(other, 99, 1, t0);
    aside.through(99, 1, t0);
    assert_eq!(aside.may_move(other, 99, &blocked, t0), 0, "a provider that is none changes nothing");
}

#[test]
fn somebody_must_starve() {
    let t0 = start();
    let after = |seconds: f64| t0 + ms(1000).mul_f64(seconds);
    let with = |depth: usize| [5000, depth];
    let mut aside = Aside::new(2);
    aside.came(JOBS, A, 5000, t0);
    aside.came(JOBS, B, 100, t0);
    assert_eq!(aside.may_move(JOBS, A, &with(63), t0), 5000, "63 are few for anybody");
    assert_eq!(aside.may_move(JOBS, A, &with(64), t0), 0, "64 are enough while nothing is known of B");
    assert_eq!(aside.may_move(JOBS, A, &with(10), after(2.0)), 5000, "its jobs may still be out");
    assert_eq!(aside.may_move(JOBS, A, &with(10), after(2.1)), 0, "none left for two seconds: B stands still");
    assert_eq!(
        aside.may_move(JOBS, A, &with(0), after(2.1)),
        5000,
        "with none at hand it does not: the last went elsewhere"
    );
    aside.through(B, 1, after(6.0));
    assert_eq!(aside.may_move(JOBS, A, &with(10), after(6.0)), 5000, "one has: it does not");
    assert_eq!(aside.may_move(JOBS, A, &with(0), after(600.0)), 5000, "it came by ten minutes ago");
    assert_eq!(aside.may_move(JOBS, A, &with(0), after(600.1)), 0, "longer ago: it is not missed");
    for n in 0..3000 {
        aside.through(B, 1, after(700.0 + f64::from(n) / 300.0));
    }
    aside.came(JOBS, B, 1, after(710.0));
    assert_eq!(aside.may_move(JOBS, A, &with(280), after(710.0)), 5000, "300 a second want 300 at hand");
    assert_eq!(aside.may_move(JOBS, A, &with(320), after(710.0)), 0, "and no more");
    assert_eq!(aside.may_move(JOBS, A, &with(200), after(711.0)), 5000, "a second after it has run dry it still does");
}

/// The first jobs that leave, many at once, are no rate yet.
#[test]
fn a_moment_is_too_short_to_measure() {
    let t0 = start();
    let mut aside = Aside::new(2);
    aside.came(JOBS, B, 50, t0);
    aside.through(A, 64, t0);
    let kept = 10_000 - aside.may_move(JOBS, A, &[10_000, 0], t0);
    assert!((1200..1400).contains(&kept), "64 in less than a quarter second are some 260 a second: {kept} stay");
}

/// What goes out within five seconds stays, by the rate at which it goes.
#[test]
fn what_goes_out_soon_stays() {
    let t0 = start();
    for (per_second, for_seconds) in [(0_u32, 10), (1, 30), (100, 1), (100, 60), (900, 10)] {
        let mut aside = Aside::new(2);
        aside.came(JOBS, B, 50, t0);
        let mut now = t0;
        for n in 0..per_second * for_seconds {
            now = t0 + ms(u64::from(n * 1000 / per_second));
            aside.through(A, 1, now);
        }
        aside.through(B, 1, now);
        aside.came(JOBS, B, 1, now);
        let kept = 10_000 - aside.may_move(JOBS, A, &[10_000, 0], now);
        let (expected, case) = (5.0 * f64::from(per_second), format!("{per_second}/s for {for_seconds} s"));
        assert!((kept as f64 - expected).abs() <= 0.15 * expected, "{case}: {kept} stay, about {expected} should");
        let paused = 10_000 - aside.may_move(JOBS, A, &[10_000, 0], now + ms(2000));
        // Who is new has no rate to go by after a pause longer than its work.
        let known = for_seconds >= 10;
        assert!(
            !known || paused as f64 >= 0.6 * kept as f64,
            "{case}: after a pause of 2 s only {paused} of {kept} stay"
        );
        aside.through(B, 1, now + ms(15_000));
        let later = 10_000 - aside.may_move(JOBS, A, &[10_000, 0], now + ms(15_000));
        assert!(later as f64 <= 0.06 * expected, "{case}: blocked for 15 s, {later} still stay");
    }
}
