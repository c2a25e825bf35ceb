//! The complaint breaker in virtual time: campaigns of hours to four mailbox providers, complaints that come hours later.
//!
//! Why: whether a threshold blocks those who deserve it and nobody else is no matter of opinion: it is looked at after
//! every complaint of every cohort, and chance has as many tries. With `-- --nocapture` it prints what it found.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times and counts of a simulation, all small"
)]

use peakpost::job::{Lane, Wall};
use peakpost::reputation::{Cohort, Counts, Partial, State, Sums};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::reputation::{T0, at, rules, stream};

/// What part of a campaign each has.
const MAILBOXES: [(&str, f64); 4] = [("gmail", 0.5), ("yahoo", 0.2), ("microsoft", 0.2), ("other", 0.1)];
/// How long a campaign takes: so many cohorts, or until it is blocked.
const HOURS: i64 = 8;
/// From a complaint to a verdict that every instance has: the vendor's batching, the worker's second, the reader's.
const FEED: f64 = 3.0;
/// Campaigns of a good sender …
const RUNS: u64 = 1_000;
/// … and of a bad one.
const BAD_RUNS: u64 = 200;

/// How one stream of a campaign ended.
#[derive(Clone, Copy)]
struct Ended {
    blocked: bool,
    /// Delivered when the sums allowed a block.
    delivered: f64,
    /// What went out after that, while the word went round.
    after: f64,
}

/// Sends to one mailbox provider at an even pace, with complaints by chance, until it is blocked or all is over.
fn one(rng: &mut SmallRng, mailbox: &str, per_hour: f64, rate: f64, mean_delay: f64) -> Ended {
    let total = per_hour * HOURS as f64;
    let mut complaints = Vec::new();
    let mut sent = 0.0_f64;
    loop {
        // The gap to the next who will complain.
        sent += -(1.0 - rng.random::<f64>()).ln() / rate;
        if sent >= total {
            break;
        }
        let at = sent / per_hour * 3_600.0;
        complaints.push((at - (1.0 - rng.random::<f64>()).ln() * mean_delay, at));
    }
    complaints.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (rules, stream) = (rules(), stream(Lane::Marketing, mailbox));
    let (mut sums, mut complained) = (Sums::default(), [0_u32; HOURS as usize]);
    for (n, (heard, sent)) in complaints.iter().enumerate() {
        complained[(sent / 3_600.0) as usize] += 1;
        for (hour, complained) in (0_i64..).zip(complained) {
            let elapsed = (heard / 3_600.0 - hour as f64).clamp(0.0, 1.0);
            let counts = Counts { delivered: (elapsed * per_hour) as u32, complained, ..Counts::default() };
            let cohort = Cohort { stream: stream.clone(), start: T0 + hour * 3_600 };
            sums.put(cohort, 0, Partial { upto: n as i64 + 1, counts });
        }
        let now = Wall(at(T0).0 + (heard * 1_000.0) as i64);
        if let State::Block { .. } = sums.standing(&stream, &rules, now).at(now, rules.ramp_step) {
            let delivered = (heard / 3_600.0 * per_hour).min(total);
            let after = (per_hour / 3_600.0 * FEED).min(total - delivered);
            return Ended { blocked: true, delivered, after };
        }
    }
    Ended { blocked: false, delivered: total, after: 0.0 }
}

/// The streams of one campaign.
fn campaign(seed: u64, rate: f64, per_hour: f64, mean_delay: f64) -> [Ended; 4] {
    let mut rng = SmallRng::seed_from_u64(seed);
    MAILBOXES.map(|(mailbox, part)| one(&mut rng, mailbox, per_hour * part, rate, mean_delay))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// At half the rate that blocks, over all mailbox providers and cohorts of a campaign.
#[test]
fn a_good_sender_is_not_blocked() {
    // Complaints that come at once are the worst case, and nobody's: each of 32 cohorts is judged at its smallest.
    for (per_hour, mean_delay, most) in
        [(1_000.0, 4.0, 10), (10_000.0, 4.0, 10), (60_000.0, 4.0, 10), (10_000.0, 0.0, 30)]
    {
        let false_blocks = (0..RUNS)
            .filter(|seed| campaign(*seed, 0.0005, per_hour, mean_delay * 3_600.0).iter().any(|s| s.blocked))
            .count();
        println!(
            "   0.05 %, {per_hour}/h for {HOURS} h, complaints after {mean_delay} h: {false_blocks} of {RUNS} campaigns blocked"
        );
        assert!(
            false_blocks < most,
            "{false_blocks} of {RUNS} campaigns at 0.05 % are blocked: fewer than {most} may be"
        );
    }
}

/// At 0.4 % every campaign of some size is blocked at its largest mailbox provider.
#[test]
fn a_bad_sender_is_blocked() {
    for (per_hour, mean_delay, most) in
        [(10_000.0, 0.0, 3_000.0), (10_000.0, 4.0, 30_000.0), (60_000.0, 4.0, 120_000.0)]
    {
        let runs: Vec<[Ended; 4]> =
            (0..BAD_RUNS).map(|seed| campaign(seed, 0.004, per_hour, mean_delay * 3_600.0)).collect();
        let largest = || runs.iter().map(|streams| streams[0]);
        let blocked = largest().filter(|stream| stream.blocked).count();
        let delivered = median(largest().map(|stream| stream.delivered));
        let of = per_hour * MAILBOXES[0].1 * HOURS as f64;
        println!(
            "   0.4 %, {per_hour}/h, complaints after {mean_delay} h: {blocked} of {BAD_RUNS} blocked at gmail, median delivered \
             there until then {delivered:.0} of {of:.0}; {:.0} more while the word went round; all streams: {:.0} of {:.0}",
            median(largest().map(|stream| stream.after)),
            median(runs.iter().map(|streams| streams.iter().map(|s| s.delivered).sum())),
            per_hour * HOURS as f64,
        );
        assert!(blocked * 100 >= 99 * runs.len(), "{blocked} of {BAD_RUNS} blocked: a sender at 0.4 % goes on");
        assert!(delivered <= most, "median {delivered:.0} delivered until the block, at most {most}");
    }
}
