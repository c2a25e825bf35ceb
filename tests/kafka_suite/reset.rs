//! A vendor names a time to one of several instances, and none of them comes before it.
//!
//! Why: a limit is the account's. Instances that each have to be told by the vendor come back as a herd while the stop
//! lasts, and some vendors lengthen it for that.
//! Must not know: how instances tell each other.

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Seen, Vendor, max_in_window, windows_over};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::Simulator;

use crate::fleet::{pass, shared};
use crate::support::checker::watch::Watch;
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later;
use crate::support::reckoning;
use crate::support::stalls::Stalls;
use crate::support::timed::{in_time, judged};
use crate::support::{PATIENCE, World, kafka, until};

/// Messages a second, of all instances together.
const LIMIT: usize = 240;
const WINDOW: Duration = Duration::from_secs(1);
/// How far apart a permit and its arrival may be: the configured `jitter`.
const JITTER: Duration = Duration::from_millis(50);
/// After the first answer that names the time, all instances must have stopped within this.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// How well the clocks of two simulators in this process can be told apart.
const CLOCKS: Duration = Duration::from_millis(20);
/// Of the limit, at most this goes out in the first second after the stop: it is a ramp.
const FIRST_SECOND: f64 = 0.4;
/// After the stop, the limit must be in use again within this.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// The vendor's second door, to which one instance goes: what is said there, no other instance is told by the vendor.
struct Door {
    vendor: Simulator,
    /// On the clock of the world's vendors.
    since: u64,
}

impl Door {
    fn open(world: &World) -> Self {
        let since = world.vendor_now();
        Self { vendor: world.block_on(Simulator::start(world.vendor_config.clone())).unwrap(), since }
    }

    /// What arrived there, on the clock of the world's vendors.
    fn close(self, world: &World) -> Seen {
        let mut seen = self.vendor.take_arrivals();
        seen.messages.iter_mut().for_each(|message| message.at += self.since);
        for request in &mut seen.requests {
            request.at += self.since;
            request.until += if request.until > 0 { self.since } else { 0 };
        }
        world.block_on(self.vendor.shutdown()).unwrap();
        seen
    }
}

/// When it was said first, and how long it was to hold at last.
struct Stop {
    said: u64,
    ends: u64,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

#[test]
fn a_reset_that_one_instance_is_told_of_holds_for_all() {
    judged(one_reset_for_all);
}

fn one_reset_for_all() {
    let world = World::alone("reset");
    let away = Duration::from_secs(world.size(60, 20, 20));
    let count = 20 * LIMIT;
    let door = Door::open(&world);
    // Read a little ahead only, so that every home has a backlog to the end.
    let settings = Settings { mail: "240 messages/s", sections: "[intake]\nwindow_jobs = 200", ..Settings::default() };
    let told = Settings { mail_at: Some(door.vendor.addr()), ..settings.clone() };
    let audit = world.audit();
    let mut daemons = vec![Daemon::ready(&world, "told", &told)];
    let others = world.scale(["two", "three", "four"].as_slice(), ["two"].as_slice());
    if !world.real {
        World::left_out("four instances (its joins take long): two");
    }
    daemons.extend(others.iter().map(|name| Daemon::start(&world, name, &settings)));
    shared(&world, &daemons);
    let stalls = Stalls::watch();
    let jobs: Vec<Generated> = world.jobs(52, Mix::only(Lane::Marketing, Shape::RenderedMail)).take(count).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    let all_send = || daemons.iter().all(|daemon| accepted(daemon) >= 20.0).then_some(());
    until(PATIENCE, "every instance sends", all_send, || {
        format!("{:?}", daemons.iter().map(accepted).collect::<Vec<_>>())
    });
    door.vendor.throttle_until(Vendor::SendGrid, Instant::now() + away);
    let heard = |daemon: &Daemon| daemon.metric("peakpost_control_orders_total", &["dir=\"heard\""]);
    let all_heard = || daemons[1..].iter().all(|daemon| heard(daemon) >= 1.0).then_some(());
    let state = || format!("{:?}; {}", daemons.iter().map(heard).collect::<Vec<_>>(), daemons[0].child.last_words());
    until(away, "every other instance has heard of the stop", all_heard, state);
    assert!(heard(&daemons[0]) < 0.5, "what it said itself is nobody else's word");
    // Who hears of it must be seen to obey; who goes at once would be as quiet.
    pass(&world, world.vendor_now(), HEARD_WITHIN * 2);
    // Who starts in the middle of it is told by nobody but the topic.
    daemons.pop().unwrap().stop();
    daemons.push(Daemon::start(&world, "late", &settings));
    let newest = daemons.last().unwrap();
    let late = || (heard(newest) >= 1.0).then_some(());
    until(away, "who starts later hears of it as well", late, || newest.child.last_words());
    reckoning::wait_for(&audit, count as u64, &mut daemons.iter_mut().collect::<Vec<_>>());
    let stall = stalls.worst();
    for daemon in daemons {
        daemon.stop();
    }
    let (seen, stop) = reckon(&world, audit, &jobs, door);
    nobody_comes_early(&seen, &stop);
    it_is_a_ramp(&seen, &stop, stall);
    world.finish();
}

fn accepted(daemon: &Daemon) -> f64 {
    daemon.metric("peakpost_attempted_jobs_total", &["provider=\"mail\"", "verdict=\"accepted\""])
}

/// Every job went out once, by whichever door. All arrivals, and what was said at the one door.
fn reckon(world: &World, audit: Watch, jobs: &[Generated], door: Door) -> (Seen, Stop) {
    let (_, mut seen) = later::exactly(world, audit, jobs, door.close(world));
    seen.requests.sort_by_key(|request| request.at);
    let throttled: Vec<_> = seen.requests.iter().filter(|request| request.answer == 429).collect();
    let said = throttled.first().expect("the vendor never said 429; hint: a longer run").at;
    let ends = throttled.iter().map(|request| request.until).max().unwrap();
    println!(
        "   {} requests were told to wait, the last until {:.1?} after the first",
        throttled.len(),
        since(said, ends)
    );
    (seen, Stop { said, ends })
}

fn since(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

fn nobody_comes_early(seen: &Seen, stop: &Stop) {
    let Stop { said, ends } = *stop;
    let times = || seen.requests.iter().map(|request| request.at);
    let before = times().filter(|at| *at < said).count();
    assert!(before > 0 && ends > said + nanos(HEARD_WITHIN), "it must have been a stop in the middle of a run");
    let last = times().filter(|at| *at < said + nanos(HEARD_WITHIN)).max().unwrap();
    let next = times().filter(|at| *at >= said + nanos(HEARD_WITHIN)).min().expect("nobody came after the stop");
    println!(
        "   the last request before the stop came {:.3?} after the answer, the next {:.3?}",
        since(said, last),
        since(said, next)
    );
    let early = times().filter(|at| (said + nanos(HEARD_WITHIN)..ends - nanos(CLOCKS)).contains(at)).count();
    assert_eq!(early, 0, "requests between {HEARD_WITHIN:?} after the answer and the time that it named");
}

/// After the stop the rate grows from little to the limit, and never beyond.
fn it_is_a_ramp(seen: &Seen, stop: &Stop, stall: Duration) {
    let mut times: Vec<u64> = seen.messages.iter().filter(|message| message.sent).map(|message| message.at).collect();
    times.sort_unstable();
    let window = WINDOW.saturating_sub(stall.saturating_sub(JITTER));
    let most = max_in_window(&times, window);
    assert_eq!(windows_over(&times, LIMIT, window), 0, "windows of {window:?} over the limit; most in one {most}");
    let in_second = |n: u64| {
        let from = stop.ends + n * nanos(WINDOW);
        times.iter().filter(|at| (from..from + nanos(WINDOW)).contains(at)).count()
    };
    let seconds: Vec<usize> = (0..=BACK_WITHIN.as_secs()).map(in_second).collect();
    println!("   in each second after the stop: {seconds:?}");
    let best = seconds.iter().max().unwrap();
    assert!(seconds[0] as f64 <= LIMIT as f64 * FIRST_SECOND, "{} of {LIMIT} in the first second: a herd", seconds[0]);
    let back = *best as f64 >= LIMIT as f64 * 0.8;
    in_time(back, || format!("{best} of {LIMIT} at best within {BACK_WITHIN:?}: it does not come back"));
}
