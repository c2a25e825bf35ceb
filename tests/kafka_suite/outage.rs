//! Every vendor answers with errors for a while: what it hears then is little more than its fresh work, and after it
//! the line is back at its limit at once.
//!
//! Why: a vendor that comes back under a storm of retries goes down again; one that is asked too timidly costs the
//! campaign.
//! Must not know: how retries are budgeted.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Arrival, Seen, Vendor};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Limit, Unit};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later::{self};
use crate::support::reckoning;
use crate::support::timed::{in_time, judged};
use crate::support::{PATIENCE, World, kafka, until};

/// Of each account, as written and as the vendor counts.
const LIMITS: (&str, &str, u32) = ("150 messages/s", "150 requests/s", 150);
/// Retries per first attempt, and per second beside: as shipped.
const RETRIES: (f64, f64) = (0.1, 10.0);
/// Each shard has its half of the budget and earns by the second: an uneven second earns a little more.
const UNEVEN: f64 = 1.1;
/// After this the line must be back at its limit.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Goodput is measured over this.
const STRETCH: u64 = 3_000_000_000;

const VENDORS: [(Vendor, &str, Shape); 3] = [
    (Vendor::SendGrid, "mail", Shape::TemplateMail),
    (Vendor::Twilio, "sms", Shape::Sms),
    (Vendor::Webhook, "hook", Shape::Webhook),
];

/// The vendor counts what we count: one too many is answered 429.
fn behave(world: &World, error_rate: f64) {
    for (vendor, ..) in VENDORS {
        let unit = if vendor == Vendor::Webhook { Unit::Requests } else { Unit::Messages };
        let limit = Some(Limit { count: LIMITS.2, window_ms: 1_000, unit });
        world.vendors.set_behaviour(vendor, Behaviour { error_rate, limit, ..Behaviour::default() }).unwrap();
    }
}

fn of(seen: &Seen, vendor: Vendor) -> impl Iterator<Item = &Arrival> {
    seen.messages.iter().filter(move |a| a.vendor == vendor)
}

#[test]
fn a_vendor_in_trouble_is_spared_and_then_served() {
    judged(spared_and_then_served);
}

fn spared_and_then_served() {
    let world = World::alone("outage");
    let outage = Duration::from_secs(world.size(600, 14, 12));
    let seconds = usize::try_from(outage.as_secs()).unwrap();
    behave(&world, 1.0);
    // More than the limits let go, so that they are at full load to the end. Plain webhooks have no breaker: most have
    // been tried by then. The breakers of the other two keep nearly all for later.
    let counts = VENDORS.map(|vendor| (vendor, seconds * LIMITS.2 as usize));
    let (mut jobs, mut skip): (Vec<Generated>, usize) = (Vec::new(), 0);
    for ((_, _, shape), count) in counts {
        jobs.extend(world.jobs(71, Mix::only(Lane::Marketing, shape)).skip(skip).take(count));
        skip += count;
    }
    // As they come in life: those of one do not lie behind all of another's.
    let each = seconds * LIMITS.2 as usize;
    let jobs: Vec<Generated> = (0..each).flat_map(|n| [n, n + each, n + 2 * each]).map(|n| jobs[n].clone()).collect();
    // Text messages are shipped never to go again after such an answer.
    let settings = Settings {
        mail: LIMITS.0,
        sms: LIMITS.0,
        hook: LIMITS.1,
        sections: "[retry]\nquarantine = []",
        ..Settings::default()
    };
    kafka::enqueue(&world, &jobs, |_| None);
    let audit = world.audit();
    let started = Instant::now();
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    let since = |seen: &Seen| seen.messages.first().map_or(0, |a| a.at);
    let lasted = || {
        let seen = world.vendors.arrivals();
        let last = seen.messages.last().map_or(0, |a| a.at);
        (last - since(&seen) >= u64::try_from(outage.as_nanos()).unwrap()).then_some(seen)
    };
    let seen = until(outage + PATIENCE, "the outage lasts", lasted, || daemon.child.last_words());
    // What time alone earns is earned from the start.
    let (lasted, earned) = (outage, RETRIES.1 * (started.elapsed().as_secs_f64() + 1.0));
    behave(&world, 0.0);
    let healed = world.vendors.arrivals().messages.last().unwrap().at;
    for ((vendor, name, _), count) in counts {
        let came = of(&seen, vendor).count();
        let distinct = of(&seen, vendor).map(|a| &*a.key).collect::<HashSet<_>>().len();
        // A tenth of the first attempts, or what time alone earns, whichever is more.
        let allowed = distinct as f64 + (distinct as f64 * RETRIES.0).max(earned) * UNEVEN;
        println!(
            "   {name}: {came} arrivals of {distinct} jobs (of {count}) in {lasted:.1?} of outage: {:.2} each, at most {:.2}",
            came as f64 / distinct as f64,
            allowed / distinct as f64
        );
        assert!(came as f64 <= allowed, "{name}: {came} arrivals of {distinct} jobs, at most {allowed:.0}");
        let as_meant = (distinct > count / 2) == (vendor == Vendor::Webhook);
        assert!(
            as_meant,
            "{name}: {distinct} of {count} were tried; hint: webhooks have no breaker, the others must block"
        );
    }
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    let usable: Vec<f64> = VENDORS.map(|(_, name, _)| usable(&daemon, name)).to_vec();
    daemon.stop();
    let (_, seen) = later::exactly(&world, audit, &jobs, Seen::default());
    for ((vendor, name, _), usable) in VENDORS.into_iter().zip(usable) {
        let times: Vec<u64> = of(&seen, vendor).filter(|a| a.sent).map(|a| a.at).collect();
        let (back, best) = back_at(&times, healed, usable * 0.95);
        println!("   {name}: {best:.0}/s of {usable:.0}/s at best, 95 % of it {back:.1?} after the outage");
        let late = || format!("{name} was back at 95 % of its limit only after {back:?}; best {best:.0}/s");
        in_time(back <= BACK_WITHIN, late);
    }
    let turned_away = seen.requests.iter().filter(|r| r.answer == 429).count();
    assert_eq!(turned_away, 0, "requests over the account's own limit");
    world.finish();
}

fn usable(daemon: &Daemon, provider: &str) -> f64 {
    daemon.metric("peakpost_gate_rate", &[&format!("provider=\"{provider}\"")])
}

/// After what time from `since` on a stretch begins in which so many a second went out; and the best stretch.
fn back_at(times: &[u64], since: u64, wanted: f64) -> (Duration, f64) {
    let rate = |from: u64| {
        let (a, b) = (times.partition_point(|t| *t < from), times.partition_point(|t| *t < from + STRETCH));
        (b - a) as f64 / Duration::from_nanos(STRETCH).as_secs_f64()
    };
    let starts: Vec<u64> = times.iter().copied().filter(|t| *t >= since).collect();
    let best = starts.iter().map(|t| rate(*t)).fold(0.0, f64::max);
    let first = starts.iter().find(|t| rate(**t) >= wanted);
    (first.map_or(Duration::MAX, |t| Duration::from_nanos(t - since)), best)
}
