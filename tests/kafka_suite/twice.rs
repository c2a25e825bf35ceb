//! Upstream enqueues an id again: in the same lane, in the other, at once, while the first is out, when it is through,
//! while it waits for its time, and after a restart.
//!
//! Why: upstream's own producers retry, and its jobs are run again by people. Whoever gets the message must not notice.
//! Must not know: how ids are remembered.

use std::collections::HashMap;

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Seen, Vendor};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Latency};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later::{self, key, wall_ms};
use crate::support::reckoning;
use crate::support::{PARTITIONS, PATIENCE, World, kafka, until};

/// The same record in the other lane.
fn other_lane(job: &Generated) -> Generated {
    let lane = if job.lane == Lane::Marketing { Lane::Transactional } else { Lane::Marketing };
    Generated { lane, ..job.clone() }
}

/// Each id has its partition, whatever the lane.
fn place(job: &Generated) -> Option<i32> {
    let n: i32 = job.id.rsplit_once('-')?.1.parse().ok()?;
    Some(n % i32::from(PARTITIONS))
}

/// Waits until so many `duplicate` outcomes are there.
fn wait_for_repeats(daemon: &Daemon, repeats: usize) {
    let counted = || daemon.metric("peakpost_outcomes_total", &["outcome=\"duplicate\""]);
    let enough = || (counted() > repeats as f64 - 0.5).then_some(());
    until(PATIENCE, "every repeat is turned away", enough, || format!("{} of {repeats}", counted()));
}

#[test]
fn an_id_that_comes_again_is_sent_once() {
    let world = World::alone_with("twice", &["1s", "3s"]);
    let count = world.size(20_000, 3_000, 900);
    let soon = wall_ms() + 6_000;
    let mix = Mix::only(Lane::Marketing, Shape::Webhook);
    // Every fifth waits for its time.
    let jobs = world.jobs(51, mix).take(count).enumerate();
    let jobs: Vec<Generated> = jobs.map(|(n, job)| if n % 5 == 4 { later::at(job, soon) } else { job }).collect();
    let part = |rest: usize| jobs.iter().enumerate().filter(move |(n, _)| n % 6 == rest).map(|(_, job)| job);
    let slow = Behaviour { latency: Latency { median_ms: 150.0, sigma: 0.0 }, ..Behaviour::default() };
    world.vendors.set_behaviour(Vendor::Webhook, slow).unwrap();
    let audit = world.audit();
    let mut first = Daemon::ready(&world, "first", &Settings::default());
    // At once: the one after the other, and the other lane's at the same time. What goes out takes its time, so most
    // of these meet a job that is queued or out.
    let mut again: Vec<Generated> = part(0).chain(part(1)).cloned().collect();
    again.extend(part(1).chain(part(2)).map(other_lane));
    let both: Vec<&Generated> = jobs.iter().chain(&again).collect();
    kafka::enqueue(&world, both.iter().copied(), place);
    // While they are out, or wait in a tier.
    until(PATIENCE, "requests are out", || (out(&first) > 0.0).then_some(()), || first.child.last_words());
    let meanwhile: Vec<Generated> = part(3).cloned().chain(part(3).map(other_lane)).collect();
    kafka::enqueue(&world, &meanwhile, place);
    reckoning::wait_for(&audit, count as u64, &mut [&mut first]);
    // When they are through.
    let afterwards: Vec<Generated> = part(0).cloned().chain(part(4).map(other_lane)).collect();
    kafka::enqueue(&world, &afterwards, place);
    wait_for_repeats(&first, again.len() + meanwhile.len() + afterwards.len());
    first.stop();
    // Before a restart is over, and after it.
    let second_run: Vec<Generated> = part(1).cloned().chain(part(4).cloned()).collect();
    kafka::enqueue(&world, &second_run, place);
    let second = Daemon::ready(&world, "second", &Settings::default());
    let third_run: Vec<Generated> = part(5).cloned().chain(part(5).map(other_lane)).collect();
    kafka::enqueue(&world, &third_run, place);
    wait_for_repeats(&second, second_run.len() + third_run.len());
    second.stop();
    let extra = [&again, &meanwhile, &afterwards, &second_run, &third_run];
    let mut repeats: HashMap<String, usize> = HashMap::new();
    extra.into_iter().flatten().for_each(|job| *repeats.entry(key(job)).or_default() += 1);
    assert!(repeats.len() == jobs.len(), "every id comes again: {} of {}", repeats.len(), jobs.len());
    let said = later::outcomes(&world, "duplicate");
    later::exactly(&world, audit, &jobs, Seen::default());
    let wrong: Vec<_> = repeats.iter().filter(|(key, n)| said.get(*key) != Some(n)).take(5).collect();
    let total: usize = repeats.values().sum();
    println!("   {count} ids in {} records: {total} turned away", jobs.len() + total);
    assert!(wrong.is_empty(), "repeats without an outcome of their own: {wrong:?} and perhaps more");
    assert_eq!(said.values().sum::<usize>(), total, "more were turned away than came again");
    world.finish();
}

fn out(daemon: &Daemon) -> f64 {
    daemon.metric("peakpost_in_flight_requests", &["provider=\"hook\""])
}
