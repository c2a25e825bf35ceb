//! A new account is warmed up: what is more than its cap of the day goes to the next provider of the route.
//!
//! Why: who sends at full speed from a new account is blocked; who waits for tomorrow with today's mail has lost.
//! Must not know: how a cap is kept.

use peakpost::job::Lane;
use peakpost::sim::load::{Generated, Mix, Shape};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::reckoning::{self, Expected};
use crate::support::{World, kafka};

const CAP: f64 = 240.0;

/// More mails than the first account may send today: it sends no more than that, the other the rest, each once.
#[test]
fn what_a_warm_up_does_not_take_goes_to_the_next_of_the_route() {
    let world = World::new("warm-up");
    let audit = world.audit();
    // From yesterday on, so that midnight may pass.
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let start = yesterday.strftime("%Y-%m-%d");
    let keys = format!("warm_up = {{ start = \"{start}\", days = [{CAP}, {CAP}, {CAP}] }}");
    let settings = Settings { mail_keys: keys.leak(), spare_mail: true, ..Settings::default() };
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    let jobs: Vec<Generated> = world.jobs(41, Mix::only(Lane::Marketing, Shape::TemplateMail)).take(600).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    let sent = |provider: &str| {
        daemon.metric("peakpost_attempted_jobs_total", &[&format!("provider=\"{provider}\""), "verdict=\"accepted\""])
    };
    let (warming, spare) = (sent("mail"), sent("sms"));
    let spilled = daemon.metric("peakpost_rerouted_jobs_total", &["provider=\"mail\"", "to=\"sms\"", "by=\"warm_up\""]);
    println!("   {warming} by the new account, {spare} by the old one; {spilled} rerouted");
    assert!(warming <= CAP, "{warming} messages today, at most {CAP}");
    assert!(warming >= CAP / 4.0, "the new account sends as much as it may: {warming} of {CAP}");
    let expected = jobs.len() as f64;
    assert!((warming + spare - expected).abs() < 0.5, "{warming} and {spare} are all of {expected}");
    assert!(spilled >= spare, "what another account carries is counted");
    let (_, log) = daemon.stop();
    assert_eq!(log.matches("the warm-up's cap is spent").count(), 1, "told once, not for every job");
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    world.finish();
}
