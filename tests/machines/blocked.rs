//! What a block costs those who wait: how often they look again, how late they notice a release, and when they are bothered.
//!
//! Why: every look is two records in Kafka for every job of a campaign, and a pass over every queue of every shard; and who
//! looks too seldom sleeps through the operator's word.

use std::time::Duration;

use peakpost::config::Config as Shipped;
use peakpost::job::source::Tiers;
use peakpost::job::{Channel, Lane, Wall};
use peakpost::reputation::{Cohort, Counts, LOOK, Partial, Sending, Stream, Sums, Verdicts};

use super::reputation::{T0, at, rules, stream};

const HOUR: i64 = 3_600;

const SENDING: Sending<'_> =
    Sending { tenant: "acme", channel: Channel::Email, lane: Lane::Marketing, provider: "mail", mailbox: "gmail" };

fn bad() -> Stream {
    stream(Lane::Marketing, "gmail")
}

/// What was heard of the hour that began so many hours after [`T0`].
fn heard(sums: &mut Sums, hour: i64, upto: i64, delivered: u32, complained: u32) {
    let counts = Counts { delivered, complained, ..Counts::default() };
    sums.put(Cohort { stream: bad(), start: T0 + hour * HOUR }, 0, Partial { upto, counts });
}

fn blocked() -> Sums {
    let mut sums = Sums::default();
    heard(&mut sums, 0, 1, 10_000, 60);
    sums
}

/// Jobs by their places in a ramp: the first, some in each step, the last.
fn keys() -> impl Iterator<Item = u64> {
    // 0, one in 200, one in 20, a half, 1.
    [0, u32::MAX / 200, u32::MAX / 20, u32::MAX / 2, u32::MAX].into_iter().map(|place| u64::from(place) << 32)
}

/// A job's looks, each as late as its tier makes it, until it goes: when, and after how many hops. `released`: an operator
/// lifts the block then.
fn waits(tiers: &Tiers, key: u64, from: Wall, released: Option<Wall>) -> (Wall, u32) {
    let held = blocked().verdicts(&rules(), from);
    let mut lifted = blocked();
    lifted.release(bad(), released.unwrap_or(from));
    let lifted = lifted.verdicts(&rules(), from);
    let (mut now, mut hops) = (from, 0);
    loop {
        let verdicts = if released.is_some_and(|at| at <= now) { &lifted } else { &held };
        let Some(until) = verdicts.wait(&SENDING, key, now) else { return (now, hops) };
        let wait = Duration::from_millis(u64::try_from(until.0 - now.0).unwrap());
        let tier = tiers.nearest(wait).unwrap_or(0);
        now = Wall(now.0 + i64::try_from(tiers.wait(tier).as_millis()).unwrap());
        hops += 1;
    }
}

fn shipped() -> Tiers {
    Shipped::from_parts("", std::iter::empty()).unwrap().rules.tiers
}

fn hours(from: Wall, to: Wall) -> f64 {
    (to.0 - from.0) as f64 / 3_600_000.0
}

/// A block of a day is few hops, whenever in it a job comes and wherever it stands in the ramp; it goes when the ramp lets it,
/// and hardly later.
#[test]
fn a_day_s_block_is_a_few_hops() {
    let tiers = shipped();
    let (mut most, mut latest, mut first_hour) = (0, 0.0_f64, Vec::new());
    for key in keys() {
        for minute in 30..27 * 60 {
            let from = at(T0 + minute * 60);
            let (went, hops) = waits(&tiers, key, from, None);
            let verdicts = blocked().verdicts(&rules(), from);
            // Asked at every moment, not only when a tier ends.
            let opens = [25, 26, 27].map(|hour| at(T0 + hour * HOUR));
            let opens = opens.into_iter().find(|at| verdicts.wait(&SENDING, key, *at).is_none()).unwrap();
            (most, latest) = (most.max(hops), latest.max(hours(opens.max(from), went)));
            if minute < 90 {
                first_hour.push(hops);
            }
        }
    }
    let mean = f64::from(first_hour.iter().sum::<u32>()) / first_hour.len() as f64;
    println!(
        "   at most {most} hops, {mean:.1} in the mean for a whole block; at most {latest:.1} h later than the ramp allows"
    );
    assert!(
        most <= 11 && mean < 9.0,
        "{most} hops, two records each for every job of the campaign; hint: Verdicts::wait, LOOK"
    );
    assert!(latest <= 2.0, "{latest:.1} h too late; hint: a tier is at most twice as long as the wait it is taken for");
}

/// The operator's word reaches whoever waits within the time that the README names, whenever it comes.
#[test]
fn a_release_is_noticed_in_time() {
    let tiers = shipped();
    let mut latest = 0.0_f64;
    for key in keys() {
        for came in (30..240).step_by(7) {
            for released in (came..25 * 60).step_by(11) {
                let (from, released) = (at(T0 + came * 60), at(T0 + released * 60));
                latest = latest.max(hours(released, waits(&tiers, key, from, Some(released)).0));
            }
        }
    }
    println!("   all of it went at most {latest:.1} h after its release");
    let most = LOOK.as_secs_f64() / 3_600.0;
    assert!(latest <= most, "{latest:.1} h after the release, at most {most} h; hint: Verdicts::wait, LOOK");
}

/// What is heard, when it matters, whether the answers stay, why.
type Row = (fn(&mut Sums), Wall, bool, &'static str);

/// News is what changes an answer. A blocked stream's counts change with every complaint that still comes in.
#[test]
fn counts_alone_are_no_news() {
    let now = at(T0 + 2 * HOUR);
    let told = |change: fn(&mut Sums), now: Wall| -> (Verdicts, bool) {
        let mut sums = blocked();
        let before = sums.verdicts(&rules(), now);
        change(&mut sums);
        let after = sums.verdicts(&rules(), now);
        let alike = after.holds_alike(&before, now);
        assert_eq!(alike, before.holds_alike(&after, now), "either way round");
        (after, alike)
    };
    let rows: &[Row] = &[
        (|sums| heard(sums, 0, 2, 10_500, 75), now, true, "more complaints of the hour that is blocked already"),
        (|sums| heard(sums, 1, 1, 500_000, 3), now, true, "an hour that is well"),
        (|sums| heard(sums, 1, 1, 10_000, 60), now, false, "a bad hour makes the block longer"),
        (|sums| sums.release(bad(), at(T0 + 2 * HOUR)), now, false, "a release"),
        (
            |sums| {
                let cohort = Cohort { stream: stream(Lane::Marketing, "yahoo"), start: T0 };
                let counts = Counts { delivered: 10_000, complained: 60, ..Counts::default() };
                sums.put(cohort, 0, Partial { upto: 1, counts });
            },
            now,
            false,
            "another stream is blocked",
        ),
        (|sums| _ = sums.forget(&rules(), at(T0 + 100 * HOUR)), at(T0 + 40 * HOUR), true, "what is over is forgotten"),
    ];
    for (change, now, alike, why) in rows {
        let (after, was_alike) = told(*change, *now);
        assert_eq!(was_alike, *alike, "{why}: {after:?}");
    }
    let (more, _) = told(|sums| heard(sums, 0, 2, 10_500, 75), now);
    assert_ne!(more, blocked().verdicts(&rules(), now), "whoever reads the numbers sees the new ones");
}
