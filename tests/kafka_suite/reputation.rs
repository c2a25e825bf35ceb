//! What vendors say later, counted by workers that die and repeated by vendors that do not tire: who is complained of waits
//! at every instance, who is not goes on.
//!
//! Why: a block that one instance forgets, or that a repeat brings about, is worse than none.
//! Must not know: how events come to their topic; they are written here as the listener would.

use std::collections::BTreeMap;
use std::time::Duration;

use peakpost::event::{Happened, Record, VERSION};
use peakpost::job::{Channel, Lane};
use peakpost::outcome::Cause;
use peakpost::recipient::suppression::{Scope, Suppression};
use peakpost::reputation::{Cohort, Counts, Partial};
use peakpost::sim::load::{Generated, Mix, Shape};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::{PATIENCE, World, kafka, later, reckoning, until};

/// Delivered to one tenant; of these …
const DELIVERED: u32 = 2_500;
/// … 0.4 % complain of one, and 0.04 % of another.
const BAD: u32 = 10;
const GOOD: u32 = 1;
/// Each event is told so often.
const TOLD: usize = 3;

/// Events as the listener would write them, of messages that were sent a moment ago.
struct Events {
    sent_ms: i64,
    all: Vec<Record<'static>>,
}

impl Events {
    fn new() -> Self {
        Self { sent_ms: later::wall_ms() / 1000 * 1000 - 5_000, all: Vec::new() }
    }

    fn add(&mut self, tenant: &'static str, happened: Happened, count: u32) {
        for _ in 0..count {
            let n = self.all.len();
            self.all.push(Record {
                v: VERSION,
                event: format!("mail/{n}").into(),
                happened,
                provider: "mail".into(),
                channel: Channel::Email,
                recipient: format!("{n:032x}").into(),
                mailbox: "other".into(),
                id: format!("job-{n}").into(),
                tenant: tenant.into(),
                campaign: "last-call".into(),
                lane: Some(Lane::Marketing),
                sent_ms: Some(self.sent_ms),
                at_ms: self.sent_ms + 2_000,
                heard_ms: self.sent_ms + 3_000,
                vendor_id: "".into(),
                detail: "".into(),
            });
        }
    }

    /// Each several times, in any order.
    fn told(&self, seed: u64) -> Vec<&Record<'static>> {
        let mut told: Vec<&Record<'static>> = (0..TOLD).flat_map(|_| &self.all).collect();
        told.shuffle(&mut SmallRng::seed_from_u64(seed));
        told
    }
}

fn write(world: &World, events: &[&Record<'static>]) {
    let producer: BaseProducer = kafka::client(world, &[("acks", "all"), ("linger.ms", "5")]).create().unwrap();
    let topic = world.topics.events();
    for event in events {
        let value = serde_json::to_vec(event).unwrap();
        let mut record = BaseRecord::to(&topic).key(event.recipient.as_bytes()).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(1));
            record = back;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// What the reputation topic adds up to, by tenant, as any reader would add it up.
fn sums(world: &World) -> BTreeMap<String, Counts> {
    let mut partials: BTreeMap<String, (Cohort, Partial)> = BTreeMap::new();
    for message in kafka::read_all(world, &world.topics.reputation()) {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        let (cohort, partition) = Cohort::parse(&key).unwrap();
        assert_eq!(i32::from(partition), message.partition(), "who takes a partition over reads that one alone");
        let partial = Partial::parse(message.payload().unwrap()).unwrap();
        let known = partials.entry(key).or_insert((cohort, partial));
        if partial.upto > known.1.upto {
            known.1 = partial;
        }
    }
    let mut sums: BTreeMap<String, Counts> = BTreeMap::new();
    for (cohort, partial) in partials.into_values() {
        let sum = sums.entry(cohort.stream.tenant.to_string()).or_default();
        *sum = sum.and(partial.counts);
    }
    sums
}

/// Waits until these sums stand in the topic.
fn wait_for_sums(world: &World, expected: &[(&str, Counts)], daemons: &[&Daemon]) {
    let expected: BTreeMap<String, Counts> =
        expected.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect();
    let state = || {
        let words: Vec<String> = daemons.iter().map(|daemon| daemon.child.last_words()).collect();
        format!("the sums are {:?}; {}", sums(world), words.join("\n"))
    };
    until(PATIENCE, "each event is counted once", || (sums(world) == expected).then_some(()), state);
}

fn counts(delivered: u32, complained: u32) -> Counts {
    Counts { delivered, complained, ..Counts::default() }
}

fn is_blocked(daemon: &Daemon, tenant: &str) -> bool {
    let labels = [&*format!("tenant=\"{tenant}\""), "state=\"block\"", "mailbox=\"other\""];
    daemon.metric("peakpost_reputation_state", &labels) > 0.0
}

/// Mails of this tenant that have arrived.
fn arrived(world: &World, tenant: &str) -> usize {
    let of_tenant = format!("{tenant}/");
    world.vendors.arrivals().messages.iter().filter(|arrival| arrival.key.starts_with(&of_tenant)).count()
}

fn count_of(jobs: &[Generated], tenant: &str) -> usize {
    jobs.iter().filter(|job| job.tenant == tenant).count()
}

#[test]
fn who_is_complained_of_waits_at_every_instance() {
    // Short tiers and steps, so that what waits looks again soon; the block itself lasts a day.
    let world = World::alone_with("reputation", &["500ms", "2s"]);
    let settings = Settings { sections: "[reputation]\nramp_step = \"1s\"", ..Settings::default() };
    let audit = world.audit();
    let first = Daemon::ready(&world, "first", &settings);
    let second = Daemon::ready(&world, "second", &settings);
    let mut events = Events::new();
    for (tenant, complaints) in [("shop", BAD), ("travel", GOOD)] {
        events.add(tenant, Happened::Delivered, DELIVERED);
        events.add(tenant, Happened::Complained, complaints);
    }
    write(&world, &events.told(1));
    let expected = [("shop", counts(DELIVERED, BAD)), ("travel", counts(DELIVERED, GOOD))];
    wait_for_sums(&world, &expected, &[&first, &second]);
    for daemon in [&first, &second] {
        let blocked = || is_blocked(daemon, "shop").then_some(());
        until(PATIENCE, "every instance blocks the stream", blocked, || daemon.child.last_words());
        assert!(!is_blocked(daemon, "travel"), "0.04 % is nobody's trouble");
    }
    let shown = |happened: &str| {
        let label = format!("happened=\"{happened}\"");
        [&first, &second].map(|daemon| daemon.metric("peakpost_delivery_total", &[&label])).iter().sum::<f64>()
    };
    let once = || (shown("delivered"), shown("complained")) == (f64::from(2 * DELIVERED), f64::from(BAD + GOOD));
    until(
        PATIENCE,
        "the fleet shows each event once",
        || once().then_some(()),
        || format!("{} and {}", shown("delivered"), shown("complained")),
    );
    suppressed(&world);

    let mut jobs: Vec<Generated> = world.jobs(71, Mix::only(Lane::Marketing, Shape::TemplateMail)).take(300).collect();
    let codes: Vec<Generated> =
        world.jobs(72, Mix::only(Lane::Transactional, Shape::RenderedMail)).skip(300).take(60).collect();
    kafka::enqueue(&world, jobs.iter().chain(&codes), |_| None);
    let free = (jobs.len() + codes.len() - count_of(&jobs, "shop")) as u64;
    let (mut first, mut second) = (first, second);
    reckoning::wait_for(&audit, free, &mut [&mut first, &mut second]);
    assert_eq!(arrived(&world, "shop"), count_of(&codes, "shop"), "codes go, the campaign does not");

    // Everybody ends, one of them by force; whoever starts knows.
    second.child.signal("KILL");
    first.stop();
    let third = Daemon::ready(&world, "third", &settings);
    assert!(is_blocked(&third, "shop"), "a restart does not lift a block: it is known before anything is sent");
    let deferred = || later::outcomes(&world, "deferred").values().sum::<usize>();
    let before = deferred();
    let looked = || (deferred() > before + count_of(&jobs, "shop")).then_some(());
    until(PATIENCE, "what waits has looked again", looked, || third.child.last_words());
    assert_eq!(arrived(&world, "shop"), count_of(&codes, "shop"), "it still waits");

    let (code, said) =
        world.run("release", &["release", "shop/email/marketing/mail/other", "--why", "the list is mended"]);
    assert_eq!(code, 0, "{said}");
    jobs.extend(codes);
    let mut third = third;
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut third]);
    let (_, log) = third.stop();
    assert!(log.contains("the stream is blocked"), "a block is told in the log");
    later::exactly(&world, audit, &jobs, peakpost::sim::arrivals::Seen::default());
    world.finish();
}

/// Who is written down, each once.
fn suppressions(world: &World) -> Vec<Suppression> {
    let all = kafka::read_all(world, &world.topics.suppressions());
    let read = |message: &rdkafka::message::OwnedMessage| {
        Suppression::parse(message.key().unwrap(), message.payload().unwrap()).unwrap()
    };
    let all: BTreeMap<Vec<u8>, Suppression> = all.iter().map(read).map(|s| (s.key(), s)).collect();
    all.into_values().collect()
}

/// Who complained gets no more marketing of that tenant.
fn suppressed(world: &World) {
    let all = suppressions(world);
    assert_eq!(all.len(), (BAD + GOOD) as usize, "one for each complaint: {all:?}");
    for suppression in all {
        assert_eq!((suppression.reason, suppression.scope), (Cause::Complaint, Scope::Marketing));
        assert!(matches!(suppression.tenant.as_deref(), Some("shop" | "travel")), "{suppression:?}");
    }
}

/// Recipients of soft bounces.
const FULL: usize = 24;

/// Five soft bounces of one recipient meet in one worker; half of them were counted by one that has gone. What a worker says
/// that had lost its partition is overruled by whoever has it.
#[test]
fn what_is_said_of_one_recipient_adds_up_and_late_words_do_not_count() {
    let world = World::alone("bounces");
    let settings = Settings::default();
    let first = Daemon::ready(&world, "first", &settings);
    let mut events = Events::new();
    events.add("shop", Happened::Delivered, 100);
    for n in 0..5 * FULL {
        events.add("shop", Happened::BouncedSoft, 1);
        let bounce = events.all.last_mut().unwrap();
        bounce.recipient = format!("{:032x}", 0xF00 + n % FULL).into();
        bounce.at_ms += (n / FULL) as i64;
    }
    let (early, rest): (Vec<_>, Vec<_>) = events.told(3).into_iter().partition(|e| e.at_ms < events.sent_ms + 2_002);
    write(&world, &early);
    wait_for_sums(&world, &[("shop", counts(100, 0))], &[&first]);
    first.stop();
    assert!(suppressions(&world).is_empty(), "two are bad luck");
    let second = Daemon::ready(&world, "second", &settings);
    let third = Daemon::ready(&world, "third", &settings);
    write(&world, &rest);
    let all = || (suppressions(&world).len() == FULL).then_some(());
    let state = || format!("{} of {FULL}; {}", suppressions(&world).len(), second.child.last_words());
    until(PATIENCE, "who bounced five times is written to no more", all, state);
    assert!(suppressions(&world).iter().all(|s| s.reason == Cause::SoftBounces));

    // An older count after a newer one, of every partition.
    let last = || {
        let all = kafka::read_all(&world, &world.topics.reputation());
        let read = |m: rdkafka::message::OwnedMessage| {
            (
                String::from_utf8(m.key().unwrap().to_vec()).unwrap(),
                (m.partition(), Partial::parse(m.payload().unwrap()).unwrap()),
            )
        };
        all.into_iter().map(read).collect::<BTreeMap<_, _>>()
    };
    let (before, topic) = (last(), world.topics.reputation());
    let producer: BaseProducer = kafka::client(&world, &[("acks", "all")]).create().unwrap();
    for (key, (partition, _)) in &before {
        let value = Partial { upto: 1, counts: counts(1, 0) }.value();
        let record = BaseRecord::to(&topic).partition(*partition).key(key).payload(&value);
        producer.send(record).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    until(PATIENCE, "the newer counts stand last again", || (last() == before).then_some(()), || format!("{before:?}"));
    for daemon in [second, third] {
        daemon.stop();
    }
    world.finish();
}

/// Workers are killed before they publish, between publishing and committing, and from outside, while events come, each
/// three times.
#[test]
fn workers_that_die_count_each_event_once() {
    let world = World::alone("counts");
    let settings =
        Settings { kafka: "session_timeout = \"6s\"", sections: "[intake]\nlease = \"5s\"", ..Settings::default() };
    let count = world.scale(20_000, 6_000);
    let mut events = Events::new();
    events.add("shop", Happened::Delivered, count);
    events.add("shop", Happened::Complained, 3);
    events.add("travel", Happened::Delivered, count / 2);
    let told = events.told(2);
    let deaths = ["between_counts=return", "before_counts=1*off->return", "between_counts=2*off->return", ""];
    let published = || kafka::count(&world, &world.topics.reputation());
    for (n, part) in told.chunks(told.len() / deaths.len() + 1).enumerate() {
        let mut daemon = Daemon::start_in(&world, "dying", &settings, &[("FAILPOINTS", deaths[n])]);
        let log = daemon.child.log();
        for some in part.chunks(part.len() / 4 + 1) {
            // Over several publications, or there is nothing to die between.
            let before = published();
            write(&world, some);
            let moved = || (daemon.child.ended().is_some() || published() > before).then_some(());
            until(PATIENCE, "something is published, or it dies of it", moved, || log.display().to_string());
        }
        if deaths[n].is_empty() {
            daemon.child.signal("KILL");
        }
        let dead = || daemon.child.ended();
        let code = until(PATIENCE, "it dies", dead, || format!("{}; hint: is the failpoint passed?", log.display()));
        assert_eq!(code, -1, "it ended by itself");
    }
    let last = Daemon::start(&world, "last", &settings);
    let expected = [("shop", counts(count, 3)), ("travel", counts(count / 2, 0))];
    wait_for_sums(&world, &expected, &[&last]);
    last.stop();
    assert_eq!(sums(&world)["shop"], counts(count, 3), "and nothing is added at the end");
    println!("   {} events, each told {TOLD} times, four deaths: each counted once", events.all.len());
    world.finish();
}
