//! SIGKILL again and again while a day's budget is spent.
//!
//! Why: what was spent of a budget must outlive the process that spent it: a day's limit that is forgotten with a crash is
//! passed by a daemon that restarts all night; one that a crash eats up is a campaign that does not go out.
//! Must not know: how it is written down what was spent.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::load::{Mix, Shape};
use rand::Rng;

use crate::plan::{self, full_or};
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::{PATIENCE, World, kafka, reckoning, until};

/// Requests a day to the account of callbacks.
const FULL: (&str, usize) = ("24_000 requests/day", 24_000);
const SMALL: (&str, usize) = ("4_800 requests/day", 4_800);
/// More jobs than the budget has room for, so that every home has enough of them.
const MORE: (usize, usize) = (8, 5);
/// What one kill may waste, as a part of the budget.
const WASTE: f64 = 0.01;
/// Nothing more is sent when nothing was sent for so long.
const CALM: Duration = Duration::from_secs(5);

#[test]
fn a_day_budget_outlives_every_kill() {
    let _turn = plan::turn();
    let ((limit, budget), kills) = (full_or(FULL, SMALL), full_or(20_usize, 3));
    let world = World::new("day");
    plan::slow_vendors(&world, 40.0);
    let settings = Settings { hook: limit, ..plan::settings(&world) };
    let count = budget * MORE.0 / MORE.1;
    let jobs: Vec<_> = world.jobs(300, Mix::only(Lane::Transactional, Shape::Webhook)).take(count).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    let audit = world.audit();
    let arrived = || world.vendors.arrivals().requests.len();
    let mut dice = plan::dice(300);
    // The kills are spread over what can be sent in spite of them.
    let share = budget * 4 / 5 / kills;
    for kill in 1..=kills {
        let mut daemon = Daemon::ready(&world, &format!("daemon-{kill}"), &settings);
        let at = share * kill - dice.random_range(0..share / 2);
        let enough = || (arrived() >= at).then_some(());
        until(PATIENCE, "enough has been sent for the next kill", enough, || daemon.child.last_words());
        daemon.child.signal("KILL");
        daemon.child.wait(PATIENCE);
    }
    let last = Daemon::ready(&world, "daemon-last", &settings);
    let mut seen = (arrived(), Instant::now());
    let calm = || {
        let now = arrived();
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        (seen.1.elapsed() >= CALM).then_some(())
    };
    until(PATIENCE * 2, "the budget is spent", calm, || last.child.last_words());
    let bound = last.metric("peakpost_gate_bound_seconds_total", &["provider=\"hook\"", "by=\"budget\""]);
    let ended = audit.ended.load(Ordering::Relaxed);
    drop(last);
    let (_, seen) = reckoning::close(&world, audit);
    let sent = seen.requests.len();
    let wasted = budget as f64 - sent as f64;
    let allowed = budget as f64 * WASTE * kills as f64;
    println!("== day budget: {kills} kills; {sent} requests of {budget}, {ended} of {count} jobs ended");
    println!("   wasted {:.2} % of the budget per kill, at most 1 %", wasted / budget as f64 / kills as f64 * 100.0);
    assert!(sent <= budget, "{sent} requests of {budget} a day: what a killed process had spent was forgotten");
    assert!(wasted <= allowed, "{wasted} of {budget} were wasted by {kills} kills, at most {allowed}");
    assert!(bound > 0.0, "it was the budget that ended it; hint: gate_bound_seconds_total");
    world.finish();
}
