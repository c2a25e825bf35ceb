//! The limits in the configuration are ten times what the accounts may do, and the vendors do not say what that is.
//!
//! Why: contracts are misread, and limits are lowered on the worst day. What the vendor lets through must be used, and
//! it must not be asked in vain.
//! Must not know: how a rate is learned.

use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::arrivals::{RequestArrival, Vendor};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Latency, Limit, Unit};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::timed::{in_time, judged};
use crate::support::{PATIENCE, World, kafka, until};

/// What each account may really do, a second.
const TRUE: u32 = 100;
/// Of what it may do, at least so much is used; of its answers at most so many are throttled. In a short run a single
/// second in which the vendor stops all is a twentieth.
const GOODPUT: [f64; 2] = [0.9, 0.8];
const THROTTLED: f64 = 0.02;

#[test]
fn a_limit_that_nobody_knows_is_found() {
    judged(unknown_is_found);
}

/// Twilio names no time; SendGrid names the next whole second.
fn unknown_is_found() {
    let world = World::alone("unknown");
    // To learn in, and to measure in, in seconds.
    let (learn, measure) = world.size((60, 60), (60, 20), (60, 15));
    let vendors = [(Vendor::SendGrid, "mail", Shape::TemplateMail), (Vendor::Twilio, "sms", Shape::Sms)];
    let latency = Latency { median_ms: 40.0, sigma: 0.3 };
    for (vendor, ..) in vendors {
        let limit = Some(Limit { count: TRUE, window_ms: 1_000, unit: Unit::Messages });
        world.vendors.set_behaviour(vendor, Behaviour { limit, latency, ..Behaviour::default() }).unwrap();
    }
    let each = usize::try_from((learn + measure + 5) * u64::from(TRUE)).unwrap();
    let (mut jobs, mut skip): (Vec<Generated>, usize) = (Vec::new(), 0);
    for (_, _, shape) in vendors {
        jobs.extend(world.jobs(121, Mix::only(Lane::Marketing, shape)).skip(skip).take(each));
        skip += each;
    }
    kafka::enqueue(&world, &jobs, |_| None);
    let audit = world.audit();
    let settings =
        Settings { mail: "1000 messages/s", sms: "1000 messages/s", mail_keys: "batch_max = 2", ..Settings::default() };
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    let began = world.vendor_now();
    let span = |seconds: u64| u64::try_from(Duration::from_secs(seconds).as_nanos()).unwrap();
    let (from, to) = (began + span(learn), began + span(learn + measure));
    let over = || (world.vendor_now() > to).then_some(());
    until(Duration::from_secs(learn + measure) + PATIENCE, "time passes", over, || daemon.child.last_words());
    let seen = world.vendors.arrivals();
    for (vendor, name, _) in vendors {
        let of: Vec<&RequestArrival> =
            seen.requests.iter().filter(|r| r.vendor == vendor && (from..to).contains(&r.at)).collect();
        let throttled = of.iter().filter(|r| r.answer == 429).count();
        let taken: u32 = of.iter().filter(|r| r.answer != 429).map(|r| r.messages).sum();
        let rate = f64::from(taken) / measure as f64;
        let share = throttled as f64 / of.len().max(1) as f64;
        let factor = daemon.metric("peakpost_gate_factor", &[&format!("provider=\"{name}\"")]);
        println!(
            "   {name}: {rate:.1}/s of {TRUE}/s, {:.2} % throttled; {factor:.3} of what is configured",
            share * 100.0
        );
        let wanted = world.size(GOODPUT[0], GOODPUT[1], GOODPUT[1]) * f64::from(TRUE);
        in_time(rate >= wanted, || format!("{name}: {rate:.1}/s of {TRUE}/s after {learn} s"));
        let often = || format!("{name}: {:.2} % of its answers were throttled after {learn} s", share * 100.0);
        in_time(share <= THROTTLED, often);
    }
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    let (_, log) = daemon.stop();
    assert!(log.contains("by=throttle"), "each change of the factor is told in the log");
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    world.finish();
}
