//! Jobs that name no end grow too old before a vendor that cannot be reached: not before their time, and not much
//! after it.
//!
//! Why: after a long outage nobody wants yesterday's mail; and nobody may lose one that still had time.
//! Must not know: when ages are looked at.

use peakpost::job::Lane;
use peakpost::sim::load::{Expect, Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later::{self, quantile, wall_ms};
use crate::support::reckoning::{self, Expected};
use crate::support::timed::{in_time, judged};
use crate::support::{World, kafka};

/// The smallest that is allowed, in milliseconds.
const MAX_AGE_MS: i64 = 60_000;
/// How old the jobs are when they are enqueued: upstream's own clock says so.
const OLD_MS: i64 = 50_000;
/// The vendor is asked again every 2 s, and the jobs that wait are looked at then.
const LATE_MS: i64 = 15_000;

#[test]
fn a_job_is_too_old_when_its_time_is_over_and_not_before() {
    judged(too_old_in_time);
}

fn too_old_in_time() {
    let world = World::alone("age");
    let count = world.size(100_000, 4_000, 2_000);
    let jobs: Vec<Generated> = world.jobs(81, Mix::only(Lane::Marketing, Shape::RenderedMail)).take(count).collect();
    // Nobody listens there.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings =
        Settings { mail_at: Some(nowhere), sections: "[lanes.marketing]\nmax_age = \"1m\"", ..Settings::default() };
    let enqueued = wall_ms() - OLD_MS;
    kafka::enqueue_at(&world, &jobs, |_| None, Some(enqueued));
    let audit = world.audit();
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    in_time(wall_ms() < enqueued + MAX_AGE_MS, || "the daemon came up too late; hint: younger jobs".into());
    reckoning::wait_for(&audit, count as u64, &mut [&mut daemon]);
    daemon.stop();
    let (account, seen) = reckoning::close(&world, audit);
    let expired = jobs.iter().map(|job| Generated { expect: Expect::Expired, ..job.clone() }).collect::<Vec<_>>();
    reckoning::exactly(&world, &Expected::of(&expired), &account, &seen);
    let ends: Vec<_> = later::records(&world).into_iter().filter(|record| record["outcome"] == "expired").collect();
    let mut late: Vec<i64> = ends.iter().map(|r| r["at_ms"].as_i64().unwrap() - enqueued - MAX_AGE_MS).collect();
    assert!(ends.iter().all(|record| record["reason"] == "too_old"), "the reason is `too_old`");
    let (first, half, last) = (quantile(&mut late, 0.0), quantile(&mut late, 0.5), quantile(&mut late, 1.0));
    println!("   {count} too old: the first {first} ms after its time, half of them by {half} ms, all by {last} ms");
    assert!(first >= 0, "a job ended {} ms before its time", -first);
    in_time(last <= LATE_MS, || format!("the last ended {last} ms after its time"));
    world.finish();
}
