//! One provider takes nothing, and everybody else's jobs stand between its own: nobody waits for it, and it gets
//! all of its jobs once it is well.
//!
//! Why: a partition is read in order. Without a way past them, a blocked provider's jobs stop every other provider
//! within seconds; with one that is too eager, an outage copies the whole backlog.
//! Must not know: when and how jobs are put aside.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peakpost::job::{Lane, Source};
use peakpost::sim::arrivals::{Seen, Vendor};
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::{Behaviour, Latency, SimConfig, Simulator};

use crate::support::checker::watch::Watch;
use crate::support::config::{PROVIDERS, Settings};
use crate::support::daemon::Daemon;
use crate::support::later::{self, Tally};
use crate::support::reckoning;
use crate::support::timed::{in_time, judged};
use crate::support::{PARTITIONS, PATIENCE, World, kafka, until};

/// What the free provider must keep of its rate.
const KEPT: f64 = 0.9;
/// Of the free provider, in the full run and else: far less than the machine can bear, so that what is missing was held
/// up.
const LIMIT: [&str; 2] = ["500 messages/s", "120 messages/s"];
/// What memory may grow by between a third of the way and the end, in KiB.
const GROWTH_KIB: u64 = 48 * 1024;

/// A request that hangs keeps its partition from being committed for so long. In this time the free provider takes many
/// windows' worth of jobs.
const REQUEST_TIMEOUT: &str = "3s";

/// How a provider blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Block {
    /// Callbacks are neither answered nor taken.
    Hangs,
    /// Nobody listens at the mail vendor's address.
    Refuses,
    /// The mail vendor knows no such key.
    TurnsAway,
}

/// The blocked vendor, and how it gets well.
struct Blocked {
    how: Block,
    addr: SocketAddr,
    vendor: Option<Simulator>,
}

impl Blocked {
    fn new(world: &World, how: Block) -> Self {
        // Let go again at once: nobody else asks for this port within the test.
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let hang =
            Behaviour { error_rate: 1.0, latency: Latency { median_ms: 60_000.0, sigma: 0.0 }, ..Behaviour::default() };
        let mut blocked = Self { how, addr, vendor: None };
        match how {
            Block::Hangs => world.vendors.set_behaviour(Vendor::Webhook, hang).unwrap(),
            Block::Refuses => {}
            Block::TurnsAway => blocked.open(world, "SG.not-this-one"),
        }
        blocked
    }

    fn open(&mut self, world: &World, key: &str) {
        let config = SimConfig { addr: self.addr, sendgrid_key: key.to_owned(), ..world.vendor_config.clone() };
        let started = || world.block_on(Simulator::start(config.clone())).ok();
        self.vendor = Some(until(PATIENCE, "the mail vendor listens", started, || self.addr.to_string()));
    }

    fn shape(&self) -> Shape {
        if self.how == Block::Hangs { Shape::Webhook } else { Shape::TemplateMail }
    }

    fn heal(&mut self, world: &World) {
        if let Some(vendor) = self.vendor.take() {
            world.block_on(vendor.shutdown()).unwrap();
        }
        match self.how {
            Block::Hangs => world.vendors.set_behaviour(Vendor::Webhook, Behaviour::default()).unwrap(),
            _ => self.open(world, &world.vendor_config.sendgrid_key),
        }
    }

    /// Ends it; what arrived there.
    fn end(self, world: &World) -> Seen {
        self.vendor.map_or_else(Seen::default, |vendor| {
            let seen = vendor.take_arrivals();
            world.block_on(vendor.shutdown()).unwrap();
            seen
        })
    }

    fn settings(&self, rate: &'static str, window: &'static str) -> Settings {
        let mail_at = (self.how != Block::Hangs).then_some(self.addr);
        Settings {
            sms: rate,
            concurrency: 16,
            request_timeout: REQUEST_TIMEOUT,
            mail_at,
            sections: window,
            ..Settings::default()
        }
    }
}

/// So many of the blocked provider's jobs, in the same partitions, before each of the free one's.
fn interleaved(slow: Vec<Generated>, free: Vec<Generated>) -> Vec<Generated> {
    let before = slow.len() / free.len();
    let (mut all, mut slow) = (Vec::with_capacity(slow.len() + free.len()), slow.into_iter());
    for job in free {
        all.extend(slow.by_ref().take(before));
        all.push(job);
    }
    all.extend(slow);
    all
}

/// Enqueues in groups of `size`, each into one partition.
fn enqueue(world: &World, jobs: &[Generated], size: usize) {
    let next = Cell::new(0);
    let place = |_: &Generated| {
        let n = next.replace(next.get() + 1);
        i32::try_from(n / size % usize::from(PARTITIONS)).ok()
    };
    kafka::enqueue(world, jobs, place);
}

/// Text messages per second at the vendor's door, from the `from`th on.
fn rate(world: &World, from: usize) -> (usize, f64) {
    let seen = world.vendors.arrivals();
    let times: Vec<u64> =
        seen.messages.iter().filter(|a| a.vendor == Vendor::Twilio).skip(from).map(|a| a.at).collect();
    let span = Duration::from_nanos(times[times.len() - 1] - times[0]);
    (times.len(), times.len() as f64 / span.as_secs_f64())
}

fn in_hold(world: &World, provider: &str) -> u64 {
    let id = PROVIDERS.iter().position(|name| *name == provider).unwrap();
    let hold = |lane| kafka::count(world, world.topics.source(Source::Hold(lane, u16::try_from(id).unwrap())));
    Lane::ALL.map(hold).iter().sum()
}

/// Waits for so many ends, and watches: resident memory in KiB, and the share of one core that was used.
fn watch(audit: &Watch, ends: u64, daemon: &mut Daemon) -> (Vec<u64>, f64) {
    let (began, cpu) = (Instant::now(), daemon.cpu());
    let mut memory = vec![daemon.rss_kib()];
    let mut moved = (0, Instant::now());
    loop {
        let ended = audit.ended.load(Ordering::Relaxed);
        if ended >= ends {
            break;
        }
        if ended != moved.0 {
            moved = (ended, Instant::now());
        }
        assert!(moved.1.elapsed() < PATIENCE, "stuck at {ended} of {ends}; {}", daemon.child.last_words());
        memory.push(daemon.rss_kib());
        std::thread::sleep(Duration::from_millis(50));
    }
    (memory, daemon.cpu().saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64())
}

/// The free provider alone, then with the blocked one's jobs between its own, then the blocked one well again.
fn nobody_waits(name: &str, how: Block, slow_per_free: usize) {
    let world = World::alone(name);
    let free = world.size(if slow_per_free == 1 { 100_000 } else { 111_111 }, 2_000, 1_200);
    // What is read ahead must be less than what is enqueued, or nobody stands in anybody's way.
    let small = "[intake]\nwindow_jobs = 100\n[retry]\nattempts_max = 100";
    let window = world.size("[retry]\nattempts_max = 100", small, small);
    let mut blocked = Blocked::new(&world, how);
    let texts =
        |skip: usize, count: usize| world.jobs(41, Mix::only(Lane::Marketing, Shape::Sms)).skip(skip).take(count);
    let alone: Vec<Generated> = texts(0, free.min(world.size(1_500, 600, 600))).collect();
    let between: Vec<Generated> = texts(alone.len(), free).collect();
    let known = alone.len() + between.len();
    let slow = world.jobs(42, Mix::only(Lane::Marketing, blocked.shape())).skip(known).take(free * slow_per_free);
    let mixed = interleaved(slow.collect(), between);
    let audit = world.audit();
    let mut daemon =
        Daemon::ready(&world, "daemon", &blocked.settings(world.size(LIMIT[0], LIMIT[1], LIMIT[1]), window));
    enqueue(&world, &alone, 1);
    reckoning::wait_for(&audit, alone.len() as u64, &mut [&mut daemon]);
    let (_, before) = rate(&world, 0);
    enqueue(&world, &mixed, slow_per_free + 1);
    let (memory, cpu) = watch(&audit, known as u64, &mut daemon);
    let (came, beside) = rate(&world, alone.len());
    let aside = in_hold(&world, if how == Block::Hangs { "hook" } else { "mail" });
    let (third, last) = (memory[memory.len() / 3], memory[memory.len() - 1]);
    println!(
        "   {how:?}, {slow_per_free}:1: alone {before:.0}/s, beside {beside:.0}/s ({:.0} %), {came} texts; \
         {aside} records in the hold; {cpu:.2} cores; memory {} -> {third} -> {last} KiB",
        beside / before * 100.0,
        memory[0]
    );
    let healed = Instant::now();
    blocked.heal(&world);
    reckoning::wait_for(&audit, (alone.len() + mixed.len()) as u64, &mut [&mut daemon]);
    println!("   well again: the other {} were through after {:?}", mixed.len() - came, healed.elapsed());
    daemon.stop();
    let more = blocked.end(&world);
    later::exactly(&world, audit, alone.iter().chain(&mixed), more);
    assert!(aside > 0, "nothing was put aside: this run shows nothing; hint: more jobs, or a smaller window");
    assert!(last <= third + GROWTH_KIB, "memory grew from {third} to {last} KiB");
    let waited = || format!("{beside:.0}/s of {before:.0}/s: the free provider waited for the blocked one");
    in_time(beside >= before * KEPT, waited);
    world.finish();
}

#[test]
fn nobody_waits_for_one_that_hangs() {
    judged(|| nobody_waits("blocked-hangs-1", Block::Hangs, 1));
}

#[test]
fn nobody_waits_for_nine_times_as_many_that_hang() {
    judged(|| nobody_waits("blocked-hangs-9", Block::Hangs, 9));
}

#[test]
fn nobody_waits_for_one_that_cannot_be_reached() {
    judged(|| nobody_waits("blocked-refuses-9", Block::Refuses, 9));
}

#[test]
fn nobody_waits_for_one_that_turns_us_away() {
    judged(|| nobody_waits("blocked-401-1", Block::TurnsAway, 1));
}

/// With nobody behind it, a backlog stays where it is: moving it would cost two records each for nothing.
#[test]
fn a_backlog_of_one_provider_stays_where_it_is() {
    let world = World::alone("blocked-only");
    let mut blocked = Blocked::new(&world, Block::Hangs);
    let count = world.size(200_000, 12_000, 6_000);
    let jobs: Vec<Generated> = world.jobs(43, Mix::only(Lane::Marketing, Shape::Webhook)).take(count).collect();
    let audit = world.audit();
    let deferrals = Tally::of(&audit);
    let window = "[intake]\nwindow_jobs = 100\n[retry]\nattempts_max = 100";
    let mut daemon = Daemon::ready(&world, "daemon", &blocked.settings("8_000 messages/s", window));
    enqueue(&world, &jobs, 1);
    let tried = || world.vendors.arrivals().requests.len();
    until(PATIENCE, "requests have hung and come back", || (tried() >= 64).then_some(()), || tried().to_string());
    blocked.heal(&world);
    reckoning::wait_for(&audit, count as u64, &mut [&mut daemon]);
    daemon.stop();
    let held = in_hold(&world, "hook");
    let seen = blocked.end(&world);
    later::exactly(&world, audit, &jobs, seen);
    println!("   {held} of {count} were put aside, {} deferred in all", deferrals.count());
    assert!(held * 10 < count as u64, "{held} of {count} were moved although nobody waited behind them");
    world.finish();
}
