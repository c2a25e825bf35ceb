//! A number that may send one text message a second, in a fleet.
//!
//! Why: carriers count by number, and the account's limit says nothing about it. Kept by each instance for itself, four
//! instances would send four a second; divided by four, none would send any.
//! Must not know: which home carries it.

use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::stalls::Stalls;
use crate::support::timed::{in_time, judged};
use crate::support::{PARTITIONS, PATIENCE, World, kafka, until};

/// How far apart a permit and its arrival may be: the configured `jitter`.
const JITTER: Duration = Duration::from_millis(50);
/// Longest pause between two messages while instances stay and while one leaves: the next owner of the carrying home
/// starts with an empty bucket.
const PAUSE: Duration = Duration::from_secs(8);

#[test]
fn one_a_second_from_a_number_is_one_a_second_for_all() {
    judged(one_a_second);
}

fn one_a_second() {
    let world = World::alone("senders");
    let (instances, count) = (world.scale(4, 2), world.size(120, 30, 15));
    let settings = Settings { sms_keys: "senders = { \"*\" = [\"1 messages/s\"] }", ..Settings::default() };
    let audit = world.audit();
    let mut daemons: Vec<Daemon> = Vec::new();
    for n in 0..instances {
        let name = format!("instance-{n}");
        daemons.push(if n == 0 {
            Daemon::ready(&world, &name, &settings)
        } else {
            Daemon::start(&world, &name, &settings)
        });
    }
    let owned = |daemons: &[Daemon]| daemons.iter().map(Daemon::homes).collect::<Vec<u16>>();
    let each = PARTITIONS / u16::try_from(instances).unwrap();
    let even = || owned(&daemons).iter().all(|homes| *homes == each).then_some(());
    until(PATIENCE, "the homes are shared evenly", even, || format!("{:?}", owned(&daemons)));
    let stalls = Stalls::watch();
    let jobs: Vec<Generated> = world.jobs(95, Mix::only(Lane::Transactional, Shape::Sms)).take(count).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    reckoning::wait_for(&audit, count as u64 / 2, &mut daemons.iter_mut().collect::<Vec<_>>());
    daemons.remove(0).stop();
    reckoning::wait_for(&audit, count as u64, &mut daemons.iter_mut().collect::<Vec<_>>());
    let stall = stalls.worst();
    for daemon in daemons {
        daemon.stop();
    }
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    let mut times: Vec<u64> = seen.messages.iter().filter(|a| a.vendor == Vendor::Twilio).map(|a| a.at).collect();
    times.sort_unstable();
    let gaps = || times.windows(2).map(|pair| Duration::from_nanos(pair[1] - pair[0]));
    let (least, most) = (gaps().min().unwrap(), gaps().max().unwrap());
    println!("   {} messages, {least:.3?} to {most:.3?} apart; worst stall {stall:.1?}", times.len());
    let allowed = Duration::from_secs(1).saturating_sub(stall.saturating_sub(JITTER));
    assert!(least >= allowed, "two messages were {least:?} apart, at least {allowed:?}");
    let pause = if world.real { PAUSE } else { PATIENCE };
    in_time(most <= pause, || format!("nothing went for {most:?}; is the carrying home owned?"));
    world.finish();
}
