//! A campaign saturates a provider, and codes do not notice.
//!
//! Why: "a password reset must not wait behind a campaign" is what upstream asks of this system first; and a lane that
//! pays for it with half of its pace would be paused by hand.
//! Must not know: how lanes share a provider.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Seen, Vendor};
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later::{arrived, key, quantile, wall_ms};
use crate::support::reckoning::{self, Expected};
use crate::support::timed::{in_time, judged};
use crate::support::{World, kafka};

/// The first codes meet cold connections, whatever else goes on.
const WARM: usize = 100;
/// Codes come one by one, so far apart: a tenth of the limit.
const APART: Duration = Duration::from_millis(20);

/// Enqueues them one by one. When, by key, in milliseconds.
fn trickle(world: &World, jobs: &[Generated]) -> HashMap<String, i64> {
    let when = RefCell::new(HashMap::new());
    let paced = jobs.iter().inspect(|job| {
        std::thread::sleep(APART);
        when.borrow_mut().insert(key(job), wall_ms());
    });
    kafka::enqueue(world, paced, |_| None);
    when.into_inner()
}

/// How long the 99th of a hundred took from Kafka to the vendor's answer, at most; and the middle one.
fn took(world: &World, seen: &Seen, when: &HashMap<String, i64>) -> (i64, i64) {
    let ours = seen.messages.iter().filter_map(|a| Some((a, when.get(&*a.key)?)));
    let mut took: Vec<i64> = ours.map(|(arrival, at)| arrived(world, arrival).1 - at).collect();
    assert_eq!(took.len(), when.len(), "not all of them came, or some came twice");
    (quantile(&mut took, 0.99), quantile(&mut took, 0.5))
}

#[test]
fn codes_do_not_notice_a_campaign() {
    judged(codes_beside_a_campaign);
}

fn codes_beside_a_campaign() {
    let world = World::alone("lanes");
    let (few, many) = (world.size(1_500, 500, 300), world.size(1_000_000, 16_000, 16_000));
    let count = WARM + 3 * few;
    let codes: Vec<Generated> = world.jobs(91, Mix::only(Lane::Transactional, Shape::Webhook)).take(count).collect();
    let (cold, (first, rest)) = (&codes[..WARM], codes[WARM..].split_at(few));
    let campaign: Vec<Generated> =
        world.jobs(92, Mix::only(Lane::Marketing, Shape::Webhook)).skip(count).take(many).collect();
    let audit = world.audit();
    let mut daemon = Daemon::ready(&world, "daemon", &Settings { hook: "500 requests/s", ..Settings::default() });
    trickle(&world, cold);
    let idle = trickle(&world, first);
    reckoning::wait_for(&audit, (WARM + few) as u64, &mut [&mut daemon]);
    kafka::enqueue(&world, &campaign, |_| None);
    reckoning::wait_for(&audit, (WARM + few) as u64 + 1_000, &mut [&mut daemon]);
    let began = world.vendor_now();
    let busy = trickle(&world, rest);
    let ended = world.vendor_now();
    let usable = daemon.metric("peakpost_gate_rate", &["provider=\"hook\""]);
    let left = daemon.metric("peakpost_lane_depth_jobs", &["provider=\"hook\"", "lane=\"marketing\""]);
    assert!(left > 0.0, "the campaign was over before the codes; hint: enqueue more");
    let all = codes.len() + campaign.len();
    let seen = match world.size(true, false, false) {
        // What is left of a million would take half an hour.
        true => {
            drop(daemon);
            world.vendors.take_arrivals()
        }
        false => {
            reckoning::wait_for(&audit, all as u64, &mut [&mut daemon]);
            daemon.stop();
            let (account, seen) = reckoning::close(&world, audit);
            let jobs: Vec<Generated> = codes.iter().chain(&campaign).cloned().collect();
            reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
            seen
        }
    };
    let ((idle_most, idle_middle), (busy_most, busy_middle)) = (took(&world, &seen, &idle), took(&world, &seen, &busy));
    println!(
        "   codes: {idle_middle} ms in the middle, {idle_most} ms for 99 of 100; beside a campaign {busy_middle} and {busy_most}"
    );
    let within = |at: u64| (began..ended).contains(&at);
    let at_door = seen.messages.iter().filter(|a| a.vendor == Vendor::Webhook && within(a.at));
    let (urgent, bulk): (Vec<_>, Vec<_>) = at_door.partition(|a| busy.contains_key(&*a.key));
    let seconds = Duration::from_nanos(ended - began).as_secs_f64();
    let (urgent, bulk) = (urgent.len() as f64 / seconds, bulk.len() as f64 / seconds);
    println!("   the campaign: {bulk:.0}/s of {:.0}/s that codes left", usable - urgent);
    let slow = || format!("99 of 100 codes took {busy_most} ms, {idle_most} ms without a campaign");
    in_time(busy_most <= 2 * idle_most + 50, slow);
    in_time(bulk >= 0.95 * (usable - urgent), || "the campaign keeps too little of what is left".into());
    world.finish();
}
