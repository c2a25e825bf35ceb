//! A vendor on a bad day: it asks to wait, or says nothing at all.
//!
//! Why: one vendor's trouble must stay its own, and what it asks for must be heeded by the request.
//! Must not know: how a stop is kept.

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::arrivals::{RequestArrival, Vendor, heedless, max_in_window};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Latency};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::{PATIENCE, World, kafka, until};

/// Requests that had left before the vendor's 429 was read. Far more than a loopback round trip, far less than the
/// wait.
const ON_THEIR_WAY: Duration = Duration::from_millis(250);

/// The mail vendor answers 429 with a reset time while jobs pour in.
#[test]
fn a_reset_time_is_heeded() {
    let world = World::alone("throttled");
    let count = world.scale(6_000, 3_000);
    let jobs: Vec<Generated> =
        world.jobs(13, Mix::only(Lane::Transactional, Shape::RenderedMail)).take(count).collect();
    let audit = world.audit();
    let settings = Settings { mail: "600 messages/s", ..Settings::default() };
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    kafka::enqueue(&world, &jobs, |_| None);
    for part in 1..=2 {
        reckoning::wait_for(&audit, (count * part / 4) as u64, &mut [&mut daemon]);
        world.vendors.throttle_until(Vendor::SendGrid, Instant::now() + Duration::from_millis(2_300));
    }
    reckoning::wait_for(&audit, count as u64, &mut [&mut daemon]);
    daemon.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    let turned_away: Vec<&RequestArrival> = seen.requests.iter().filter(|r| r.answer == 429).collect();
    assert!(!turned_away.is_empty(), "the vendor never had to say 429; hint: a longer run");
    let wait = turned_away.iter().map(|r| r.until - r.at).max().unwrap();
    assert!(wait > 2_000_000_000, "the vendor asked for a wait worth the name, not {wait} ns");
    assert_eq!(heedless(&seen.requests, ON_THEIR_WAY), 0, "requests came before the time the vendor had named");
    println!("   {} of {} requests were told to wait; none came again early", turned_away.len(), seen.requests.len());
    world.finish();
}

const CONCURRENCY: u32 = 16;
/// Each request of the hanging account gives up after this.
const GIVES_UP: Duration = Duration::from_secs(2);
/// What a backlog may add to a daemon's memory: 8 MiB of records as configured, a quarter of it and at least 256 KiB
/// per partition fetched ahead, and what keeps them company (queues, parsed jobs, requests, the allocator's slack).
const GROWTH_KIB: u64 = 96 * 1024;

/// Callbacks, none of which is answered or taken, in half of the homes; text messages in the other half and in the
/// other lane.
#[test]
fn a_hanging_vendor_holds_up_nobody_else() {
    let world = World::new("hanging");
    let (stuck, free) = world.scale((36_000, 4_000), (8_000, 1_000));
    let hooks = world.jobs(14, Mix::only(Lane::Marketing, Shape::Webhook)).take(stuck);
    let hooks: Vec<Generated> = hooks.map(heavy).collect();
    let texts = |lane: Lane, skip: usize| world.jobs(15, Mix::only(lane, Shape::Sms)).skip(skip).take(free);
    let texts: Vec<Generated> = texts(Lane::Marketing, stuck).chain(texts(Lane::Transactional, stuck + free)).collect();
    let settings = Settings {
        concurrency: CONCURRENCY,
        request_timeout: "2s",
        sections: "[intake]\nmemory = \"8MiB\"\n[retry]\nattempts_max = 50",
        ..Settings::default()
    };
    // Slower than anybody waits, and then an error: a hang in which nothing is taken.
    let hang =
        Behaviour { error_rate: 1.0, latency: Latency { median_ms: 60_000.0, sigma: 0.0 }, ..Behaviour::default() };
    world.vendors.set_behaviour(Vendor::Webhook, hang).unwrap();
    let audit = world.audit();
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    let before = daemon.rss_kib();
    kafka::enqueue(&world, &hooks, |job| Some(place(&job.key, 0)));
    until(PATIENCE, "every slot is taken", || (in_flight(&daemon) > 0).then_some(()), || daemon.child.last_words());
    let hung = Instant::now();
    // Marketing in the other homes, transactional in the homes whose marketing is stuck.
    kafka::enqueue(&world, &texts, |job| Some(place(&job.key, if job.lane == Lane::Marketing { 6 } else { 0 })));
    reckoning::wait_for(&audit, texts.len() as u64, &mut [&mut daemon]);
    let went_on = hung.elapsed();
    let mut peak = daemon.rss_kib();
    while hung.elapsed() < GIVES_UP * 3 {
        assert!(in_flight(&daemon) <= CONCURRENCY, "more requests out than slots");
        peak = peak.max(daemon.rss_kib());
        std::thread::sleep(Duration::from_millis(50));
    }
    let growth = peak.saturating_sub(before);
    assert!(growth < GROWTH_KIB, "memory grew by {growth} KiB, at most {GROWTH_KIB}; hint: what is not bounded?");
    at_most_its_slots(&world.vendors.arrivals().requests);
    world.vendors.set_behaviour(Vendor::Webhook, Behaviour::default()).unwrap();
    reckoning::wait_for(&audit, (hooks.len() + texts.len()) as u64, &mut [&mut daemon]);
    daemon.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(hooks.iter().chain(&texts)), &account, &seen);
    println!(
        "   {} texts went through in {went_on:?} while {} callbacks hung; memory {before} + {growth} KiB",
        texts.len(),
        hooks.len()
    );
    world.finish();
}

/// A callback of 2 KB that does not compress much: a backlog of these is more than the memory that is allowed.
fn heavy(job: Generated) -> Generated {
    let mut value: serde_json::Value = serde_json::from_slice(&job.payload).unwrap();
    let mut seed = job.key.bytes().fold(7_u64, |seed, b| seed.wrapping_mul(31).wrapping_add(u64::from(b)));
    let mut word = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{seed:016x}")
    };
    value["content"]["note"] = (0..125).map(|_| word()).collect::<String>().into();
    Generated { payload: serde_json::to_vec(&value).unwrap(), ..job }
}

/// One of six homes from `first` on, by a key's bytes.
fn place(key: &str, first: i32) -> i32 {
    first + key.bytes().fold(0_i32, |sum, b| (sum * 31 + i32::from(b)) % 6)
}

fn in_flight(daemon: &Daemon) -> u32 {
    format!("{:.0}", daemon.metric("peakpost_in_flight_requests", &["provider=\"hook\""])).parse().unwrap()
}

/// As the vendor saw it: a hanging request keeps its slot until it gives up, so the requests of any stretch
/// shorter than that were out at the same time.
fn at_most_its_slots(requests: &[RequestArrival]) {
    let times: Vec<u64> = requests.iter().filter(|r| r.vendor == Vendor::Webhook).map(|r| r.at).collect();
    let most = max_in_window(&times, GIVES_UP.mul_f64(0.9));
    assert!(most <= CONCURRENCY as usize, "the vendor held {most} requests at once, {CONCURRENCY} are allowed");
}
