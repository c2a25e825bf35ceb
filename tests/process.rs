//! The real binary where no real Kafka is needed: always on the embedded broker.
//!
//! Why: what a person types and sees first (commands, exit codes, probes) must hold on any machine.
//! Must not know: the daemon's insides.
#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's, not the line's; polling sleeps")]

#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod support;

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::load::{Expect, Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Lie};

use support::child::Child;
use support::config::Settings;
use support::daemon::Daemon;
use support::{PATIENCE, World, kafka, reckoning, until};

/// A quick lease, so that the test need not wait long for its end.
const QUICK: &str = "[intake]\nlease = \"2s\"\ndrain = \"7s\"";

/// Why, the environment, the exit code of `check`, and what it must say.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], i32, &'a str);

/// The configuration may be named by the environment, and single keys may be set there.
#[test]
fn the_environment_names_the_file_and_sets_keys() {
    let world = World::embedded("environment");
    let config = world.configure("named", &Settings::default());
    let config = config.to_str().unwrap();
    let table: [Row<'_>; 4] = [
        ("the file", &[("PEAKPOST_CONFIG", config)], 0, "configuration: ok"),
        ("and a key", &[("PEAKPOST_CONFIG", config), ("PEAKPOST_KAFKA__GROUP", "other")], 0, "group: other"),
        ("a key that is none", &[("PEAKPOST_CONFIG", config), ("PEAKPOST_KAFKA__GROOP", "x")], 78, "groop"),
        ("no such file", &[("PEAKPOST_CONFIG", "/nonexistent.toml")], 78, "/nonexistent.toml"),
    ];
    for (n, (why, environment, code, says)) in table.into_iter().enumerate() {
        let mut child = Child::start_in(world.dir(), &format!("check-{n}"), &["check"], environment);
        assert_eq!(child.wait(PATIENCE), code, "{why}: {}", child.output());
        assert!(child.output().contains(says), "{why} must say `{says}`: {}", child.output());
    }
    world.finish();
}

/// Not ready before the group has answered, ready with all homes, and what is shown has the names it should have.
#[test]
fn probes_tell_how_far_it_is() {
    let world = World::embedded("probes");
    let daemon = Daemon::start(&world, "daemon", &Settings::default());
    assert_eq!(daemon.get("/livez").as_deref(), Ok("alive\n"), "alive from the start");
    let early = daemon.get("/readyz").unwrap_err();
    assert!(
        early.starts_with("HTTP/1.1 503") && early.contains("has not given this instance its homes yet"),
        "{early}"
    );
    let ready = || daemon.get("/readyz").ok();
    let said = until(PATIENCE, "/readyz says 200", ready, || daemon.child.last_words());
    assert_eq!(said, "ready, 12 homes\n");
    assert_eq!(daemon.homes(), 12);
    assert!(daemon.metric("peakpost_lease_remaining_seconds", &[]) > 0.0, "ready means that it may send");
    assert!(daemon.get("/").is_err(), "nothing else is shown");
    daemon.stop();
    world.finish();
}

/// The brokers go away for good: nothing is sent once the lease has run out, and SIGTERM still ends it in time.
#[test]
fn without_brokers_nothing_is_sent_and_sigterm_ends_it() {
    let mut world = World::embedded("gone");
    let settings = Settings { request_timeout: "1s", sections: QUICK, hook: "40 requests/s", ..Settings::default() };
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    let jobs: Vec<Generated> = world.jobs(30, Mix::only(Lane::Transactional, Shape::Webhook)).take(2_000).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    let sending = || (world.vendors.arrivals().requests.len() > 20).then_some(());
    until(PATIENCE, "it sends", sending, || daemon.child.last_words());
    world.end_broker();
    let lost = Instant::now();
    let out = || daemon.get("/readyz").err().filter(|answer| answer.contains("the lease has run out"));
    until(Duration::from_secs(10), "/readyz tells of the lease", out, || daemon.child.last_words());
    println!("   the lease ran out {:?} after the brokers went", lost.elapsed());
    let before = world.vendors.arrivals().requests.len();
    let later = Instant::now();
    until(PATIENCE, "a second passes", || (later.elapsed() > Duration::from_secs(1)).then_some(()), String::new);
    let after = world.vendors.arrivals().requests.len();
    assert_eq!(after, before, "requests were sent without a lease; there were jobs and room for 40");
    let asked = Instant::now();
    daemon.child.signal("TERM");
    let code = daemon.child.wait(Duration::from_secs(25));
    println!("   SIGTERM without brokers: {code} after {:?}", asked.elapsed());
    assert_eq!(code, 75, "it cannot have committed, and must say so: {}", daemon.child.last_words());
    world.finish();
}

/// Everything that can go wrong with a recipient, and nothing of it is told: refusals, blame, searches, lost answers,
/// lies, time-outs. The world's end looks for canaries in all that was written and shown.
#[test]
fn failures_tell_no_recipient_and_no_secret() {
    let world = World::embedded("hygiene");
    let settings = Settings { request_timeout: "1s", ..Settings::default() };
    let audit = world.audit();
    let mut daemon = Daemon::ready(&world, "daemon", &settings);
    let trouble = Behaviour {
        error_rate: 0.2,
        hang_rate: 0.05,
        hang_ms: 3_000,
        lose_answer_rate: 0.2,
        lie: None,
        ..Behaviour::default()
    };
    for vendor in Vendor::ALL {
        world.vendors.set_behaviour(vendor, trouble).unwrap();
    }
    let mut jobs: Vec<Generated> = world.jobs(31, Mix::peak()).take(600).collect();
    let ends = ["0001", "0002", "0003", "0004", "0008", "0009"];
    for (n, job) in jobs.iter_mut().filter(|job| job.expect == Expect::Accepted).enumerate() {
        let tenth = n % 10;
        let to = match job.key.as_bytes() {
            [b'+', ..] => format!("+15550{n:04}{}", ends[n % ends.len()]),
            [b'h', ..] if tenth < 4 => format!("{}/hook/answer/{}", world.vendor_url(), [404, 410, 500, 301][tenth]),
            [b'u', ..] if tenth == 0 => format!("invalid-{}", job.key),
            [b'u', ..] if tenth == 1 => format!("poison-{}", job.key),
            _ => continue,
        };
        let mut value: serde_json::Value = serde_json::from_slice(&job.payload).unwrap();
        value["to"] = to.into();
        job.payload = serde_json::to_vec(&value).unwrap();
    }
    let (calm, lied) = jobs.split_at(500);
    kafka::enqueue(&world, calm, |_| None);
    reckoning::wait_for(&audit, calm.len() as u64 / 2, &mut [&mut daemon]);
    for (vendor, lie) in Vendor::ALL.into_iter().zip([Lie::Html, Lie::HalfJson, Lie::Html]) {
        world.vendors.set_behaviour(vendor, Behaviour { lie: Some(lie), ..Behaviour::default() }).unwrap();
    }
    kafka::enqueue(&world, lied, |_| None);
    let tried = || (daemon.metric("peakpost_attempts_total", &["verdict=\"refused\""]) > 20.0).then_some(());
    until(PATIENCE, "refusals", tried, || daemon.child.last_words());
    let doubtful = || (daemon.metric("peakpost_attempts_total", &["verdict=\"ambiguous\""]) > 20.0).then_some(());
    until(PATIENCE, "ambiguous replies", doubtful, || daemon.child.last_words());
    let (_, log) = daemon.stop();
    for word in ["bad_recipient", "server_error", "connection", "timeout"] {
        assert!(log.contains(word), "the run must have met `{word}`, or it shows nothing");
    }
    world.finish();
}

/// SIGHUP reads the file again: limits change at once, a wrong file changes nothing, and what must wait is told.
#[test]
fn a_reload_changes_limits_and_nothing_else() {
    let world = World::embedded("reload");
    let with = |hook: &'static str| Settings { hook, ..Settings::default() };
    let daemon = Daemon::ready(&world, "daemon", &with("400 requests/s"));
    let rate = |limit: &str| daemon.metric("peakpost_gate_rate", &["provider=\"hook\"", &format!("limit=\"{limit}\"")]);
    let all_homes = || (daemon.metric("peakpost_gate_share", &["provider=\"hook\""]) > 0.99).then_some(());
    until(PATIENCE, "the gate knows of its homes", all_homes, || daemon.child.last_words());
    let before = rate("400 requests/s");
    assert!(before > 200.0, "a rate to begin with: {before}");
    let reload = |settings: &Settings, says: &str| {
        let seen = daemon.child.output().len();
        world.configure("daemon", settings);
        daemon.child.signal("HUP");
        let said = || daemon.child.output()[seen..].contains(says).then_some(());
        until(PATIENCE, &format!("the log says `{says}`"), said, || daemon.child.last_words());
    };
    reload(&with("800 requests/s"), "limits read again provider=\"hook\"");
    let doubled = || (rate("800 requests/s") > before * 1.8).then_some(());
    until(PATIENCE, "peakpost_gate_rate follows", doubled, || daemon.child.last_words());
    assert!(rate("400 requests/s") < 1.0, "the old limit is shown no more");
    let rate_now = rate("800 requests/s");
    reload(&with("800/s"), "`800/s` is not a limit");
    reload(&with("2 requests/s"), "its limits stay as they were provider=\"hook\"");
    let group = Settings { kafka: "first_start = \"latest\"", ..with("800 requests/s") };
    reload(&group, "changes beyond limits and weights wait for a restart sections=\"kafka\"");
    assert!((rate("800 requests/s") - rate_now).abs() < 0.1, "nothing else has changed it");
    daemon.stop();
    world.finish();
}

/// A backlog behind a limit: the daemon says that it is this limit, and the command prints it.
#[test]
fn explain_names_the_limit_that_binds() {
    let world = World::embedded("explain");
    let settings = Settings { hook: "40 requests/s", ..Settings::default() };
    let daemon = Daemon::ready(&world, "daemon", &settings);
    let jobs: Vec<Generated> = world.jobs(32, Mix::only(Lane::Marketing, Shape::Webhook)).take(1_000).collect();
    kafka::enqueue(&world, &jobs, |_| None);
    let explained = || serde_json::from_str::<serde_json::Value>(&daemon.get("/explain?provider=hook").ok()?).ok();
    let bound = || {
        let said = explained()?;
        let first = &said["binding"][0];
        let is = first["limit"] == "40 requests/s" && first["part"].as_f64()? > 0.3;
        (is && said["backlog"]["marketing"].as_u64()? > 0 && said["done_in_s"].as_f64()? > 1.0).then_some(())
    };
    until(PATIENCE, "/explain names the limit and the backlog", bound, || format!("{:?}", explained()));
    let labels = ["provider=\"hook\"", "by=\"limit\""];
    assert!(daemon.metric("peakpost_gate_bound_seconds_total", &labels) > 0.1, "what binds is counted");
    let all: serde_json::Value = serde_json::from_str(&daemon.get("/explain").unwrap()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 3, "without a name: every provider");
    let unknown = daemon.get("/explain?provider=hooks").unwrap_err();
    assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("mail, sms, hook"), "{unknown}");
    let ops = daemon.ops.to_string();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let table: [(&str, &[&str], i32, &str); 5] = [
        ("the text", &["--provider", "hook", "--ops", &ops], 0, "bound by `40 requests/s` (account) for "),
        ("the JSON", &["--provider", "hook", "--ops", &ops, "--json"], 0, "\"provider\":\"hook\""),
        ("a wrong name", &["--provider", "hooks", "--ops", &ops], 1, "it is one of mail, sms, hook"),
        ("nobody there", &["--provider", "hook", "--ops", &nobody], 69, "hint: `--ops HOST:PORT`"),
        ("a wrong configuration", &["--provider", "hook", "--config", "/none.toml"], 78, "no configuration is read"),
    ];
    for (n, (why, arguments, code, says)) in table.into_iter().enumerate() {
        let arguments = [&["explain"], arguments].concat();
        let mut child = Child::start(world.dir(), &format!("explain-{n}"), &arguments);
        assert_eq!(child.wait(PATIENCE), code, "{why}: {}", child.output());
        assert!(child.output().contains(says), "{why} must say `{says}`: {}", child.output());
    }
    daemon.stop();
    world.finish();
}
