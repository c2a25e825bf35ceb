//! Jobs with one ordering key go out in the order of the log, and a hot key costs only itself.
//!
//! Why: "your order was shipped" must not overtake "we have your order", and one busy customer must not slow the rest.
//! Must not know: how order is kept.

use std::collections::HashMap;

use peakpost::job::Lane;
use peakpost::sim::arrivals::{Seen, Vendor};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Latency};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later::{self, Tally, key};
use crate::support::reckoning;
use crate::support::{World, kafka};

const KEYS: usize = 50;
const OF_EACH: usize = 40;
const OF_THE_HOT: usize = 400;
const HOT: &str = "hot";

struct Plan {
    world: World,
    jobs: Vec<Generated>,
    /// The jobs of each key, in the order of the log.
    owed: HashMap<String, Vec<String>>,
}

impl Plan {
    /// The keys' jobs come in turns, the hot key's first in each round, and those without a key between them.
    fn new(name: &str, seed: u64) -> Self {
        let world = World::alone(name);
        let free = world.size(40_000, 8_000, 3_000);
        let mut made = world.jobs(seed, Mix::only(Lane::Transactional, Shape::Webhook));
        let (mut jobs, mut owed): (Vec<Generated>, HashMap<String, Vec<String>>) = (Vec::new(), HashMap::new());
        let mut keyed = |jobs: &mut Vec<Generated>, job: Generated, by: String| {
            owed.entry(by.clone()).or_default().push(key(&job));
            let job = later::with(job, &format!(r#""ordering_key":"{by}""#));
            jobs.push(Generated { key: by, ..job });
        };
        for round in 0..OF_THE_HOT {
            keyed(&mut jobs, made.next().unwrap(), HOT.to_owned());
            if round < OF_EACH {
                (0..KEYS).for_each(|n| keyed(&mut jobs, made.next().unwrap(), format!("key-{n}")));
            }
            jobs.extend(made.by_ref().take(free / OF_THE_HOT));
        }
        drop(made);
        // An answer takes longer than it takes to read the next job: who does not wait for it overtakes.
        let slow = Behaviour { latency: Latency { median_ms: 20.0, sigma: 0.5 }, ..Behaviour::default() };
        world.vendors.set_behaviour(Vendor::Webhook, slow).unwrap();
        Self { world, jobs, owed }
    }

    /// Fails unless each key's jobs arrived in the order of the log.
    fn in_order(&self, seen: &Seen) {
        let of: HashMap<&str, &str> =
            self.owed.iter().flat_map(|(by, jobs)| jobs.iter().map(|job| (job.as_str(), by.as_str()))).collect();
        let mut came: HashMap<&str, Vec<&str>> = HashMap::new();
        for arrival in seen.messages.iter().filter(|a| a.sent) {
            if let Some(by) = of.get(&*arrival.key) {
                came.entry(by).or_default().push(&arrival.key);
            }
        }
        for (by, owed) in &self.owed {
            let came = came.get(by.as_str()).map_or([].as_slice(), Vec::as_slice);
            let wrong = owed.iter().zip(came).position(|(owed, came)| owed != came);
            assert!(wrong.is_none() && owed.len() == came.len(), "{by}: out of order from number {wrong:?} on");
        }
    }
}

#[test]
fn each_key_goes_in_order_and_a_hot_one_slows_nobody() {
    let plan = Plan::new("order", 61);
    let audit = plan.world.audit();
    let deferrals = Tally::of(&audit);
    kafka::enqueue(&plan.world, &plan.jobs, |_| None);
    let mut daemon = Daemon::ready(&plan.world, "daemon", &Settings::default());
    reckoning::wait_for(&audit, plan.jobs.len() as u64, &mut [&mut daemon]);
    daemon.stop();
    let (_, seen) = later::exactly(&plan.world, audit, &plan.jobs, Seen::default());
    plan.in_order(&seen);
    assert_eq!(deferrals.count(), 0, "jobs lost their places although none had to");
    let hot: std::collections::HashSet<&str> = plan.owed[HOT].iter().map(String::as_str).collect();
    let (own, others): (Vec<_>, Vec<_>) = seen.messages.iter().filter(|a| a.sent).partition(|a| hot.contains(&*a.key));
    let last = others.iter().map(|a| a.at).max().unwrap();
    let gone = own.iter().filter(|a| a.at < last).count();
    let spans = [own, others].map(|of| (of[of.len() - 1].at - of[0].at) / 1_000_000);
    println!(
        "   the hot key took {} ms, all others {} ms; {gone} of {OF_THE_HOT} were gone by then",
        spans[0], spans[1]
    );
    assert!(gone * 4 < OF_THE_HOT * 3, "the others waited for the hot key: {gone} of {OF_THE_HOT} had gone");
    plan.world.finish();
}

#[test]
fn a_release_keeps_the_order() {
    let plan = Plan::new("order-release", 62);
    let audit = plan.world.audit();
    kafka::enqueue(&plan.world, &plan.jobs, |_| None);
    let mut first = Daemon::ready(&plan.world, "first", &Settings::default());
    reckoning::wait_for(&audit, plan.jobs.len() as u64 / 4, &mut [&mut first]);
    first.stop();
    let midway = plan.world.vendors.arrivals().messages.len();
    assert!(midway < plan.jobs.len(), "the stop came too late to matter");
    let mut second = Daemon::ready(&plan.world, "second", &Settings::default());
    reckoning::wait_for(&audit, plan.jobs.len() as u64, &mut [&mut second]);
    second.stop();
    let (_, seen) = later::exactly(&plan.world, audit, &plan.jobs, Seen::default());
    plan.in_order(&seen);
    println!("   {midway} of {} were out when the first had stopped; in order before and after", plan.jobs.len());
    plan.world.finish();
}
