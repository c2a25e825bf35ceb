//! How much a run is asked to show, and what its scenarios share: settings, load, dice, turns.
//!
//! Why: one place says what differs between the few minutes of every change and the full run.
//! Must not know: any scenario.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Seen, Vendor, max_in_window};
use peakpost::sim::load::{Expect, Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Latency};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::support::checker::arrivals::{self, Limit};
use crate::support::checker::history::Expected;
use crate::support::checker::permits::{self, Grant};
use crate::support::config::Settings;
use crate::support::{World, kafka, later};

/// Jobs that one kill may make be sent again at most: 24 requests to each of three accounts, those of the mail account
/// with two jobs, make 96; as many again may have been answered and not be durable yet.
pub const IN_FLIGHT: usize = 200;

/// Jobs per second over all accounts, as the limits below say: about 75 : 13 : 12 as in the mix.
pub const RATE: u64 = 1_000;
const LIMITS: [(&str, Limit); 3] = [
    ("mail", Limit { vendor: Vendor::SendGrid, messages: true, count: 750, window: SECOND }),
    ("sms", Limit { vendor: Vendor::Twilio, messages: true, count: 130, window: SECOND }),
    ("hook", Limit { vendor: Vendor::Webhook, messages: false, count: 120, window: SECOND }),
];
const SECOND: Duration = Duration::from_secs(1);

/// Scenarios take turns: each wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the full run is asked for.
pub fn is_full() -> bool {
    std::env::var("PEAKPOST_CRASH").is_ok_and(|size| size == "full")
}

pub fn full_or<T>(full: T, small: T) -> T {
    if is_full() { full } else { small }
}

/// Dice of one part of a run.
pub fn dice(part: u64) -> SmallRng {
    let seed = std::env::var("PEAKPOST_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    SmallRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(part))
}

/// As a real Kafka's shortest, unless it is told otherwise.
pub const LONG: &str = "session_timeout = \"6s\"";
pub const LONG_LEASE: &str = "[intake]\nlease = \"5s\"\ncommit_interval = \"200ms\"\ndrain = \"11s\"";
const SHORT: &str = "session_timeout = \"3s\"";
const SHORT_LEASE: &str = "[intake]\nlease = \"2s\"\ncommit_interval = \"200ms\"\ndrain = \"11s\"";

/// Every grant of a gate is in the log, to be held against what arrived.
const WITH_PERMITS: &str = "filter = \"info,peakpost::attempt=warn,peakpost::permit=trace\"";

/// Short sessions, so that a successor need not wait long.
pub fn settings(world: &World) -> Settings {
    Settings {
        mail: "750 messages/s",
        sms: "130 messages/s",
        hook: "120 requests/s",
        concurrency: 24,
        request_timeout: "5s",
        kafka: world.scale(LONG, SHORT),
        log: WITH_PERMITS,
        mail_keys: "batch_max = 2",
        sections: world.scale(LONG_LEASE, SHORT_LEASE),
        ..Settings::default()
    }
}

/// Vendors that take their time, so that something is always on its way.
pub fn slow_vendors(world: &World, median_ms: f64) {
    for vendor in Vendor::ALL {
        let latency = Latency { median_ms, sigma: 0.4 };
        world.vendors.set_behaviour(vendor, Behaviour { latency, ..Behaviour::default() }).unwrap();
    }
}

/// Of so many jobs one is for later: it is deferred, and comes back while the others are sent.
const FOR_LATER: usize = 8;
/// How much later at least, in milliseconds: beyond the shortest tier, so that it goes through Kafka once more.
const LATER_MS: i64 = 11_000;

/// Enqueues so many jobs of a mix, a thousand at a time. What must become of them; a record that is no job is in the
/// count alone.
pub fn enqueue(world: &World, seed: u64, mix: Mix, count: usize) -> Expected {
    let mut expected = Expected::default();
    let mut dice = dice(seed);
    let mut jobs = world.jobs(seed, mix).take(count).enumerate().map(|(n, job)| match job.expect {
        Expect::Accepted if n % FOR_LATER == 0 => {
            later::at(job, later::wall_ms() + dice.random_range(LATER_MS..full_or(90_000, 25_000)))
        }
        _ => job,
    });
    loop {
        let part: Vec<Generated> = jobs.by_ref().take(1_000).collect();
        if part.is_empty() {
            return expected;
        }
        kafka::enqueue(world, &part, |_| None);
        expected.add(&part);
    }
}

/// Mail and callbacks: text messages end as `quarantined` when a process slept through their answers, rightly.
pub fn no_texts() -> Mix {
    let shares = vec![
        (Lane::Marketing, Shape::TemplateMail, 0.75),
        (Lane::Marketing, Shape::Webhook, 0.15),
        (Lane::Transactional, Shape::RenderedMail, 0.10),
    ];
    Mix { shares, ..Mix::only(Lane::Marketing, Shape::Webhook) }
}

/// Fails when a limit of [`settings`] was broken at a vendor's door.
pub fn keeps_limits(seen: &Seen, stall: Duration) {
    for (_, limit) in LIMITS {
        if let Err(fault) = arrivals::within_rate(seen, limit, stall, Duration::from_millis(50)) {
            panic!("{fault}");
        }
    }
}

/// Fails when a gate granted more than a limit of [`settings`].
pub fn gates_keep_limits(grants: &[Grant]) {
    for (provider, limit) in LIMITS {
        let looked_at = permits::within_rate(grants, provider, limit).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(looked_at > 0, "no permit of `{provider}` is in the log; hint: log.filter");
    }
}

/// The most that arrived at a door in a window, in thousandths of its limit: for the record where the machine is so
/// busy that a permit and its arrival are further apart than is allowed for.
pub fn most_at_a_door(seen: &Seen) -> usize {
    let most = |limit: Limit| {
        let of_vendor = seen.requests.iter().filter(|r| r.vendor == limit.vendor);
        let times =
            of_vendor.flat_map(|r| std::iter::repeat_n(r.at, if limit.messages { r.messages as usize } else { 1 }));
        max_in_window(&times.collect::<Vec<u64>>(), limit.window) * 1_000 / limit.count
    };
    LIMITS.iter().map(|(_, limit)| most(*limit)).max().unwrap_or(0)
}
