//! Several daemons share the homes: nothing is lost and nothing sent twice while they come and go.
//!
//! Why: in a peak instances are added, and every one of them is restarted sooner or later.
//! Must not know: how homes are divided.

use std::sync::atomic::Ordering;

use peakpost::job::Lane;
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::{PARTITIONS, PATIENCE, World, kafka, until};

/// 100,000 jobs by a foreign client, two daemons, one of them stopped midway and a third in its place.
#[test]
fn a_daemon_leaves_and_another_joins_midway() {
    let world = World::new("leave-join");
    let mix = Mix { malformed: 0.0, ..Mix::peak() };
    let jobs: Vec<Generated> = world.jobs(11, mix).take(world.scale(100_000, 10_000)).collect();
    // Callbacks (12 % of all) set the pace, so that the run is long enough to be disturbed.
    let settings = Settings { hook: world.scale("600 requests/s", "100 requests/s"), ..Settings::default() };
    let audit = world.audit();
    let first = Daemon::ready(&world, "first", &settings);
    let mut second = Daemon::ready(&world, "second", &settings);
    match world.real {
        true => kafka::enqueue_with_kcat(&world, &jobs),
        false => kafka::enqueue(&world, &jobs, |_| None),
    }
    let all = jobs.len() as u64;
    reckoning::wait_for(&audit, all / 4, &mut [&mut second]);
    let (took, _) = first.stop();
    let mut third = Daemon::ready(&world, "third", &settings);
    let midway = audit.ended.load(Ordering::Relaxed);
    assert!(midway < all, "the third came too late to matter; hint: lower the pace");
    reckoning::wait_for(&audit, all, &mut [&mut second, &mut third]);
    println!("   one left after {took:?}; the third had its homes when {midway} of {all} jobs had ended");
    second.stop();
    third.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    world.finish();
}

/// From one instance to four and back: each owns its share of the homes, and with them of both lanes.
#[test]
fn homes_are_shared_evenly() {
    let world = World::new("share");
    let audit = world.audit();
    let settings = Settings::default();
    let names = world.scale(["one", "two", "three", "four"].as_slice(), ["one", "two"].as_slice());
    if !world.real {
        World::left_out("four instances (its joins take long): two");
    }
    let mut daemons = vec![Daemon::ready(&world, names[0], &settings)];
    owns(&world, &daemons, PARTITIONS);
    daemons.extend(names[1..].iter().map(|name| Daemon::start(&world, name, &settings)));
    let share = PARTITIONS / u16::try_from(daemons.len()).unwrap();
    owns(&world, &daemons, share);
    // One job for each partition of each lane shows who reads what.
    let jobs: Vec<Generated> = Lane::ALL
        .into_iter()
        .flat_map(|lane| world.jobs(lane.index() as u64, Mix::only(lane, Shape::Webhook)).take(usize::from(PARTITIONS)))
        .enumerate()
        .map(|(n, job)| Generated { id: format!("{}-{n}", job.id), ..job })
        .collect();
    let jobs: Vec<Generated> = jobs.into_iter().map(renamed).collect();
    let place =
        |job: &Generated| job.id.rsplit_once('-').map(|(_, n)| n.parse::<i32>().unwrap() % i32::from(PARTITIONS));
    kafka::enqueue(&world, &jobs, place);
    reckoning::wait_for(&audit, jobs.len() as u64, &mut daemons.iter_mut().collect::<Vec<_>>());
    for daemon in &daemons {
        for lane in Lane::ALL {
            let read = daemon.metric("peakpost_jobs_total", &[&format!("lane=\"{lane}\"")]);
            assert!((read - f64::from(share)).abs() < 0.5, "{} read {read} of {lane}, not {share}", daemon.child.name);
        }
    }
    let last = daemons.remove(0);
    for daemon in daemons {
        daemon.stop();
    }
    owns(&world, std::slice::from_ref(&last), PARTITIONS);
    last.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    world.finish();
}

/// The payload says the id that the record is known by.
fn renamed(job: Generated) -> Generated {
    let mut value: serde_json::Value = serde_json::from_slice(&job.payload).unwrap();
    value["id"] = job.id.clone().into();
    Generated { payload: serde_json::to_vec(&value).unwrap(), ..job }
}

/// Waits until each of them owns so many homes.
fn owns(world: &World, daemons: &[Daemon], homes: u16) {
    let owned = || daemons.iter().map(Daemon::homes).collect::<Vec<_>>();
    let even = || owned().iter().all(|n| *n == homes).then_some(());
    let state = || format!("owned: {:?}, each: {homes}", owned());
    until(world.scale(PATIENCE / 2, PATIENCE), "an even share", even, state);
    println!("   {} instances own {homes} homes each", daemons.len());
}
