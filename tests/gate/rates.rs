//! No window over any limit, and next to nothing of a limit unused: a million units, late wake-ups, restarts.

use std::time::Duration;

use peakpost::gate::limit::{Limit, Unit};
use peakpost::job::Lane;
use peakpost::observe::Clock;
use peakpost::sim::arrivals::{max_in_window, windows_over};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::alone::Alone;
use super::world::{Granted, Wants, World};
use super::{config, ms};

/// Limits, what shards ask for, for how many seconds.
const ROWS: &[(&[&str], Wants, u64, &str)] = &[
    (&["600 requests/s"], Wants::Singles, 900, "a vendor that counts requests, one message each"),
    (&["50_000 messages/s"], Wants::Batches, 60, "a vendor that counts messages, large batches"),
    (&["100 messages/10s"], Wants::Both, 3600, "a long window"),
    (&["1 messages/s"], Wants::Singles, 2000, "the smallest limit: its bucket holds one"),
    (&["600 requests/s", "50_000 messages/s"], Wants::Batches, 60, "two units at once, messages bind"),
    (&["600 requests/s", "50_000 messages/s"], Wants::Singles, 100, "two units at once, requests bind"),
    (&["20 messages/s", "100 messages/10s"], Wants::Both, 1800, "a short and a long window of the same unit"),
    (&["3_000 messages/min"], Wants::Both, 7200, "the longest window"),
];

/// Four restarts over the run, and in its middle a crash loop: fifty more, a few milliseconds apart.
fn restarts(world: &mut World, span: Duration, rng: &mut SmallRng) {
    for _ in 0..4 {
        world.restart_at(span.mul_f64(rng.random()));
    }
    let mut at = span / 2;
    for _ in 0..50 {
        at += rng.random_range(ms(1)..=ms(40));
        world.restart_at(at);
    }
}

fn units(grant: &Granted, unit: Unit) -> u32 {
    match unit {
        Unit::Requests => grant.requests,
        Unit::Messages => grant.messages,
    }
}

/// When each unit was granted, ascending.
pub fn times(log: &[Granted], unit: Unit) -> Vec<u64> {
    log.iter().flat_map(|g| std::iter::repeat_n(g.at, units(g, unit) as usize)).collect()
}

/// Every way for units to arrive up to `jitter` after their grants that could crowd a window. Returns how many
/// windows were looked at.
pub fn no_window_over(limit: Limit, granted: &[u64], jitter: Duration, why: &str, rng: &mut SmallRng) -> usize {
    let count = limit.count as usize;
    let check = |times: &[u64], window: Duration, how: &str| {
        let over = windows_over(times, count, window);
        let most = max_in_window(times, window);
        assert_eq!(over, 0, "{why}: `{limit}` was broken in {over} windows, {most} in the worst, {how}; see bucket.rs");
        times.len()
    };
    let late = u64::try_from(jitter.as_nanos()).unwrap();
    let mut seen = check(granted, limit.window, "as granted");
    // The worst case: what is granted up to J before a window begins arrives in it, what is granted within too.
    seen += check(granted, limit.window + jitter, "if everything before a window's begin came late and all after not");
    let mut spread: Vec<u64> = granted.iter().map(|at| at + rng.random_range(0..=late)).collect();
    spread.sort_unstable();
    seen += check(&spread, limit.window, "with arrivals anywhere within the jitter");
    // A stalled network: now and then everything of the last 50 ms arrives at the same instant.
    let beat = u64::try_from(limit.window.as_nanos()).unwrap();
    let stalled = |at: &u64| at.next_multiple_of(beat).min(at + late);
    let mut clumped: Vec<u64> =
        granted.iter().map(|at| if at.next_multiple_of(beat) - at <= late { stalled(at) } else { *at }).collect();
    clumped.sort_unstable();
    seen + check(&clumped, limit.window, "with arrivals in clumps")
}

/// The share of `rate` that was used in lives of at least five windows: what a crash loop loses is its own.
fn used(world: &World, limit: Limit, rate: f64) -> f64 {
    let long = |life: &&super::world::Life| u128::from(life.until - life.from) >= 5 * limit.window.as_nanos();
    let lives: Vec<_> = world.lives.iter().filter(long).collect();
    let within = |g: &&Granted| lives.iter().any(|life| (life.from..life.until).contains(&g.at));
    let granted: u64 = world.log.iter().filter(within).map(|g| u64::from(units(g, limit.unit))).sum();
    let time: Duration = lives.iter().map(|life| Duration::from_nanos(life.until - life.from)).sum();
    granted as f64 / (rate * time.as_secs_f64())
}

#[test]
fn no_sliding_window_is_over_a_limit_and_next_to_nothing_is_wasted() {
    let mut total = 0;
    let mut windows = 0;
    for (seed, &(limits, wants, secs, why)) in (1..).zip(ROWS) {
        let config = config(limits, 2000);
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut world = World::new(&config, wants, &Lane::ALL, seed);
        restarts(&mut world, Duration::from_secs(secs), &mut rng);
        world.run(Duration::from_secs(secs));
        let mut best: f64 = 0.0;
        let mut most = 0;
        for (limit, rate) in Alone::new(&config, Clock::default().mono()).rates() {
            let granted = times(&world.log, limit.unit);
            windows += no_window_over(limit, &granted, config.jitter, why, &mut rng);
            most = most.max(granted.len());
            let used = used(&world, limit, rate);
            assert!(used <= 1.001, "{why}: {used:.4} of {rate:.1}/s were used of `{limit}`: more than there is");
            best = best.max(used);
            println!("`{limit}`: {} units, {:.2} % of {rate:.1}/s used; {why}", granted.len(), used * 100.0);
        }
        total += most;
        assert!(
            best >= 0.95,
            "{why}: only {:.2} % of the binding limit were used under constant backlog",
            best * 100.0
        );
        assert!(world.lives.len() > 50, "{why}: the run held only {} restarts", world.lives.len() - 1);
    }
    println!("{total} units, {windows} windows");
    assert!(total >= 1_000_000, "{total} units are too few to say anything; lengthen the runs");
}

/// The usable rate is known before anything is sent: operators see it in `peakpost check`.
#[test]
fn usable_rates_are_what_the_page_on_limits_says() {
    for (text, rate, why) in [
        ("600 requests/s", 543.8, "a burst of 30 and 50 ms of jitter cost 9 %"),
        ("50_000 messages/s", 45_239.0, "the same share of a large limit"),
        ("1 messages/s", 0.952, "only the jitter"),
        ("100 messages/10s", 9.552, "on a long window jitter costs little"),
    ] {
        let gate = Alone::new(&config(&[text], 8), Clock::default().mono());
        let found: Vec<f64> = gate.rates().map(|(_, rate)| rate).collect();
        assert!((found[0] / rate - 1.0).abs() < 0.001, "{why}: `{text}` gives {found:?}, expected {rate}");
    }
}
