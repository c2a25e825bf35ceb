//! A route has two accounts for mail: when the first fails, wholly or by half, the other carries, and when it is well it
//! comes back by a ramp.
//!
//! Why: at the peak the vendor is the part that breaks. Fail over, but tell; and come back without a burst, or it breaks
//! again.
//! Must not know: how a breaker decides.

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Arrival, Seen, Vendor};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Simulator};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::timed::{in_time, judged};
use crate::support::{PATIENCE, World, kafka, until};

/// Of each account, a second.
const LIMIT: usize = 200;
/// The first second of a ramp brings at most this part of the limit: a twentieth of it, then a tenth, and a burst.
const GENTLE: f64 = 0.35;

/// Jobs come steadily, so many at a time and so far apart: 150 a second.
const AT_A_TIME: usize = 30;
const APART: Duration = Duration::from_millis(200);
/// One phase: the part of the first account's answers that are errors, and of the other's; and the jobs that come
/// meanwhile. In the end both fail, and only the first gets well: what the other has taken over goes back to it.
const PHASES: [(f64, f64, usize); 6] =
    [(1.0, 0.0, 900), (0.0, 0.0, 3_000), (0.5, 0.0, 900), (0.0, 0.0, 3_000), (1.0, 1.0, 450), (0.0, 1.0, 1_500)];

struct Scene {
    world: World,
    /// Where the first account is.
    first: Simulator,
    daemon: Daemon,
}

impl Scene {
    fn behave(&self, first: f64, other: f64) {
        let behaviour = |error_rate| Behaviour { error_rate, ..Behaviour::default() };
        self.first.set_behaviour(Vendor::SendGrid, behaviour(first)).unwrap();
        self.world.vendors.set_behaviour(Vendor::SendGrid, behaviour(other)).unwrap();
    }

    fn state(&self, state: &str) -> bool {
        let labels = ["provider=\"mail\"", &format!("state=\"{state}\"")];
        self.daemon.metric("peakpost_breaker_state", &labels) > 0.0
    }

    fn rerouted(&self) -> f64 {
        self.daemon.metric("peakpost_rerouted_jobs_total", &["provider=\"mail\"", "to=\"sms\"", "by=\"breaker\""])
    }

    fn wait_for_state(&self, wanted: &str) {
        let there = || self.state(wanted).then_some(());
        until(PATIENCE, &format!("the breaker of `mail` is in `{wanted}`"), there, || self.daemon.state());
    }
}

fn sent(seen: &Seen) -> impl Iterator<Item = &Arrival> {
    seen.messages.iter().filter(|arrival| arrival.sent)
}

#[test]
fn another_account_carries_while_one_fails() {
    judged(another_carries);
}

fn another_carries() {
    let world = World::alone("failover");
    let first = world.block_on(Simulator::start(world.vendor_config.clone())).unwrap();
    let settings = Settings {
        mail: "200 messages/s",
        sms: "200 messages/s",
        mail_at: Some(first.addr()),
        mail_keys: "batch_max = 1",
        sms_keys: "batch_max = 1",
        spare_mail: true,
        ..Settings::default()
    };
    let audit = world.audit();
    let daemon = Daemon::ready(&world, "daemon", &settings);
    let mut scene = Scene { world, first, daemon };
    let mut jobs: Vec<Generated> = Vec::new();
    let mix = Mix::only(Lane::Marketing, Shape::TemplateMail);
    let mut all: Vec<Generated> =
        scene.world.jobs(111, mix).take(PHASES.iter().map(|(.., count)| count).sum()).collect();
    for (error_rate, other, count) in PHASES {
        let rest = all.split_off(count);
        let part = std::mem::replace(&mut all, rest);
        let (before, began) = (scene.rerouted(), scene.first.arrivals().requests.len());
        let healed = scene.first.arrivals().requests.last().map_or(0, |r| r.at);
        scene.behave(error_rate, other);
        for some in part.chunks(AT_A_TIME) {
            kafka::enqueue(&scene.world, some, |_| None);
            std::thread::sleep(APART);
        }
        jobs.extend(part);
        if error_rate == 0.0 {
            scene.wait_for_state("allow");
        }
        if error_rate + other >= 2.0 {
            continue;
        }
        let clock = Instant::now();
        reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut scene.daemon]);
        let came = scene.first.arrivals().requests.len() - began;
        let rerouted = scene.rerouted() - before;
        println!(
            "   {:.0} % errors, {:.0} % of the other: {came} requests came to the first account, {rerouted} jobs were rerouted, all through {:.1?} later",
            error_rate * 100.0,
            other * 100.0,
            clock.elapsed()
        );
        if error_rate > 0.0 {
            assert!(rerouted > 0.0, "who carries for another is counted");
            assert!(came < count / 3, "{came} requests to an account that fails, for {count} jobs");
        } else {
            let seen = scene.first.arrivals();
            recovers(&seen, healed);
        }
    }
    let Scene { world, first, daemon } = scene;
    let (_, log) = daemon.stop();
    assert!(log.contains("failover: the provider takes nothing"), "a failover is told in the log");
    let spare = world.vendors.arrivals();
    let (account, mut seen) = reckoning::close(&world, audit);
    let own = first.take_arrivals();
    println!("   {} by the first account, {} by the other", sent(&own).count(), sent(&spare).count());
    seen.messages.extend(own.messages);
    seen.requests.extend(own.requests);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    world.block_on(first.shutdown()).unwrap();
    world.finish();
}

/// After `since` the first answers that were good came slowly at first, and then at the account's pace.
fn recovers(seen: &Seen, since: u64) {
    let times: Vec<u64> = sent(seen).map(|arrival| arrival.at).filter(|at| *at > since).collect();
    let first = *times.first().expect("the account that is well again carries some");
    let second = u64::try_from(Duration::from_secs(1).as_nanos()).unwrap();
    let within = |from: u64, to: u64| times.iter().filter(|at| (from..to).contains(*at)).count();
    let early = within(first, first + second);
    let best = (0..10).map(|n| within(first + n * second, first + (n + 1) * second)).max().unwrap_or(0);
    println!("   it came back with {early} in the first second, {best} in the best of ten");
    assert!(early as f64 <= GENTLE * LIMIT as f64, "{early} in the first second of {LIMIT}/s: a burst, no ramp");
    in_time(best as f64 >= 0.6 * LIMIT as f64, || {
        format!("{best} in its best second of {LIMIT}/s: it did not come back")
    });
}
