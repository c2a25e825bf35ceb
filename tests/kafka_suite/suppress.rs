//! Who must not be written to: read before anything is sent, and no send where it is not known.
//!
//! Why: a message to somebody who has left cannot be taken back; their next word is a complaint.
//! Must not know: how suppressions are kept, when they are looked up.

use std::time::Duration;

use peakpost::job::{Channel, Lane, Wall};
use peakpost::outcome::Cause;
use peakpost::recipient::address::Keyer;
use peakpost::recipient::suppression::{Key, Scope, Suppression};
use peakpost::sim::arrivals::Seen;
use peakpost::sim::load::{Expect, Generated, Mix, Shape};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::canary::RECIPIENT_KEY;
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::later;
use crate::support::reckoning::{self, Expected};
use crate::support::timed::{in_time, judged};
use crate::support::{PARTITIONS, PATIENCE, World, kafka, until};

/// A record: key and value; none takes the key's suppression back.
pub type Record = (Vec<u8>, Option<Vec<u8>>);

pub fn suppression(channel: Channel, to: &str, tenant: Option<&str>, scope: Scope, reason: Cause) -> Suppression {
    let recipient = Keyer::new(RECIPIENT_KEY.as_bytes()).unwrap().hash(channel, to);
    let (tenant, by) = (tenant.map(Into::into), "test".into());
    Suppression { channel, tenant, recipient, scope, reason, by, at: Wall(later::wall_ms()) }
}

pub fn stands(of: &Suppression) -> Record {
    (of.key(), Some(of.value()))
}

/// Everybody's mail to this recipient.
pub fn all_mail(to: &str, reason: Cause) -> Record {
    stands(&suppression(Channel::Email, to, None, Scope::All, reason))
}

pub fn producer(world: &World) -> BaseProducer {
    kafka::client(world, &[("acks", "all"), ("linger.ms", "0")]).create().unwrap()
}

pub fn send(producer: &BaseProducer, topic: &str, (key, value): &Record) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).key(key);
    record.payload = value.as_deref();
    while let Err((_, kept)) = producer.send(record) {
        producer.poll(Duration::from_millis(1));
        record = kept;
    }
}

fn write(world: &World, records: impl IntoIterator<Item = Record>) {
    let (producer, topic) = (producer(world), world.topics.suppressions());
    records.into_iter().for_each(|record| send(&producer, &topic, &record));
    producer.flush(PATIENCE).unwrap();
}

fn mails(world: &World, lane: Lane, skip: usize, count: usize) -> Vec<Generated> {
    world.jobs(91, Mix::only(lane, Shape::TemplateMail)).skip(skip).take(count).collect()
}

pub fn expecting(job: &Generated, expect: Expect) -> Generated {
    Generated { expect, ..job.clone() }
}

/// Why, the record for a job's recipient, and what becomes of the job.
type Row = (&'static str, fn(&Generated) -> Vec<Record>, Expect);

/// Each for jobs of the marketing lane; `None` where it stands beside the others.
const ROWS: &[Row] = &[
    ("nobody said anything", |_| vec![], Expect::Accepted),
    ("a hard bounce", |job| vec![all_mail(&job.key, Cause::HardBounce)], Expect::Suppressed("hard_bounce")),
    (
        "another spelling of the mailbox",
        |job| vec![all_mail(&format!("Jane <{}>", job.key.to_uppercase()), Cause::Manual)],
        Expect::Suppressed("manual"),
    ),
    (
        "a complaint about marketing",
        |job| vec![stands(&suppression(Channel::Email, &job.key, None, Scope::Marketing, Cause::Complaint))],
        Expect::Suppressed("complaint"),
    ),
    (
        "they left this tenant",
        |job| vec![stands(&suppression(Channel::Email, &job.key, Some(job.tenant), Scope::All, Cause::Unsubscribe))],
        Expect::Suppressed("unsubscribe"),
    ),
    (
        "they left another tenant",
        |job| vec![stands(&suppression(Channel::Email, &job.key, Some("nobody"), Scope::All, Cause::Unsubscribe))],
        Expect::Accepted,
    ),
    (
        "a text message's number",
        |job| vec![stands(&suppression(Channel::Sms, &job.key, None, Scope::All, Cause::Vendor))],
        Expect::Accepted,
    ),
    (
        "taken back",
        |job| vec![all_mail(&job.key, Cause::Manual), (all_mail(&job.key, Cause::Manual).0, None)],
        Expect::Accepted,
    ),
    (
        "a value of a later version",
        |job| vec![(all_mail(&job.key, Cause::Manual).0, Some(b"?".to_vec()))],
        Expect::Suppressed("manual"),
    ),
];

#[test]
fn nobody_who_is_suppressed_is_written_to() {
    let world = World::new("suppressed");
    let strangers = world.size(1_000_000, 100_000, 50_000);
    let each = 40;
    let mut jobs = Vec::new();
    let mut records: Vec<Record> =
        (0..strangers).map(|n| all_mail(&format!("stranger-{n}@example.org"), Cause::HardBounce)).collect();
    for (n, (_, record, expect)) in ROWS.iter().enumerate() {
        for job in mails(&world, Lane::Marketing, n * each, each) {
            records.extend(record(&job));
            jobs.push(expecting(&job, *expect));
        }
    }
    // Marketing they do not want; what they wait for they get.
    for job in mails(&world, Lane::Transactional, ROWS.len() * each, each) {
        records.push(stands(&suppression(Channel::Email, &job.key, None, Scope::Marketing, Cause::Complaint)));
        jobs.push(job);
    }
    write(&world, records);
    let audit = world.audit();
    kafka::enqueue(&world, &jobs, |_| None);
    let mut daemon = Daemon::ready(&world, "daemon", &Settings::default());
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    let entries = daemon.metric("peakpost_suppressions_entries", &[]);
    // All rows that suppress or name somebody else, and the transactional ones.
    let known = (strangers + (ROWS.len() - 2 + 1) * each) as f64;
    assert!((entries - known).abs() < 0.5, "{entries} entries, must be {known}");
    let log = daemon.child.output();
    let line = log.lines().find(|line| line.contains("all suppressions are read")).unwrap_or("");
    let took = line.split("took_s=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or("?");
    println!("   {entries} suppressions were read in {took} s; memory {} KiB", daemon.rss_kib());
    daemon.stop();
    later::exactly(&world, audit, &jobs, Seen::default());
    world.finish();
}

/// One partition's broker is away when the daemon starts: it has its homes, reads its jobs, and sends none.
#[test]
fn nothing_is_sent_before_all_is_known() {
    let mut world = World::cluster("unknown");
    let hidden = format!("{} 5", world.topics.suppressions());
    for topic in world.topics.all() {
        for partition in 0..PARTITIONS {
            world.order(&format!("leader {topic} {partition} 1"));
        }
    }
    let group = world.prefix.clone();
    world.order(&format!("coordinator {group} 1"));
    world.order(&format!("leader {hidden} 3"));
    let jobs = mails(&world, Lane::Marketing, 0, 600);
    let (left, mut expected): (Vec<&Generated>, Vec<Generated>) = (jobs.iter().step_by(3).collect(), jobs.clone());
    expected.iter_mut().step_by(3).for_each(|job| job.expect = Expect::Suppressed("unsubscribe"));
    write(&world, left.iter().map(|job| all_mail(&job.key, Cause::Unsubscribe)));
    world.order("down 3");
    let mut daemon = Daemon::start(&world, "daemon", &Settings::default());
    kafka::enqueue(&world, &jobs, |_| None);
    // Not all: who is known to have left could be dealt with, but nothing is before all are known.
    let queued = || (daemon.metric("peakpost_lane_depth_jobs", &[]) >= 599.5).then_some(());
    until(PATIENCE, "every job is read and waits", queued, || daemon.state());
    let said = daemon.get("/readyz").unwrap_err();
    assert!(said.contains("suppressions are being read"), "readiness must say what is missing: {said}");
    let early = world.vendors.arrivals().requests.len();
    assert_eq!(early, 0, "requests before all suppressions were known; hint: Recipients::open, Shard::ask and admit");
    world.order("up 3");
    let audit = world.audit();
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    let ready = || daemon.get("/readyz").ok();
    until(PATIENCE, "/readyz says 200", ready, || daemon.state());
    daemon.stop();
    later::exactly(&world, audit, &expected, Seen::default());
    world.finish();
}

/// As shipped.
const MAX_STALE: Duration = Duration::from_secs(5);
/// A permit and a request may be on their way for so long after the last look.
const ON_THE_WAY: Duration = Duration::from_millis(700);
/// Less than the lease, which would stop it all the same.
const PAUSE: Duration = Duration::from_secs(8);

#[test]
fn a_feed_that_is_not_heard_stops_sending() {
    judged(not_heard);
}

fn not_heard() {
    let world = World::embedded("unheard");
    let jobs = mails(&world, Lane::Transactional, 0, 4_500);
    let audit = world.audit();
    let mut daemon = Daemon::ready(&world, "daemon", &Settings { mail: "250 messages/s", ..Settings::default() });
    kafka::enqueue(&world, &jobs, |_| None);
    reckoning::wait_for(&audit, 500, &mut [&mut daemon]);
    let paused = world.vendor_now();
    world.signal_broker("STOP");
    let over = || (Duration::from_nanos(world.vendor_now() - paused) >= PAUSE).then_some(());
    until(PATIENCE, "the pause is over", over, String::new);
    let said = daemon.get("/readyz").unwrap_err();
    world.signal_broker("CONT");
    let resumed = world.vendor_now();
    assert!(said.contains("suppressions were last heard"), "readiness must say why nothing is sent: {said}");
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    daemon.stop();
    let (account, seen) = reckoning::close(&world, audit);
    reckoning::exactly(&world, &Expected::of(&jobs), &account, &seen);
    let during = seen.messages.iter().map(|a| a.at).filter(|at| (paused..resumed).contains(at)).max();
    let last = Duration::from_nanos(during.map_or(0, |at| at - paused));
    println!("   the last of {} messages went out {last:.2?} after the broker's last word", jobs.len());
    assert!(last > MAX_STALE / 2, "it stopped after {last:?} already: by something else than a feed not heard");
    in_time(last <= MAX_STALE + ON_THE_WAY, || {
        format!("sent {last:?} after the broker's last word, at most {MAX_STALE:?}")
    });
    world.finish();
}

/// What the vendors say of a number ends every other message to it.
#[test]
fn a_refusal_is_told_to_all() {
    let world = World::new("refusal");
    let texts: Vec<Generated> = world.jobs(92, Mix::only(Lane::Transactional, Shape::Sms)).take(200).collect();
    let to = |job: &Generated, number: &str, expect| {
        let payload = String::from_utf8(job.payload.clone()).unwrap().replace(&job.key, number);
        Generated { payload: payload.into_bytes(), key: number.to_owned(), expect, ..job.clone() }
    };
    let of = |tenant: &str, n: usize| texts.iter().filter(|job| job.tenant == tenant).nth(n).unwrap();
    let (gone, left) = ("+15550000009", "+15550000001");
    let first = [
        to(of("shop", 0), gone, Expect::Refused("recipient_gone")),
        to(of("shop", 1), left, Expect::Refused("opted_out")),
    ];
    let then = [
        to(of("shop", 2), gone, Expect::Suppressed("hard_bounce")),
        to(of("travel", 0), gone, Expect::Suppressed("hard_bounce")),
        to(of("shop", 3), left, Expect::Suppressed("vendor")),
        // They have left one tenant's sender, and must tell the other's as well.
        to(of("travel", 1), left, Expect::Refused("opted_out")),
        of("news", 0).clone(),
    ];
    let audit = world.audit();
    let mut daemon = Daemon::ready(&world, "daemon", &Settings::default());
    kafka::enqueue(&world, &first, |_| None);
    reckoning::wait_for(&audit, first.len() as u64, &mut [&mut daemon]);
    let heard = || (daemon.metric("peakpost_suppressions_entries", &[]) >= 1.5).then_some(());
    until(PATIENCE, "both are known", heard, || daemon.child.last_words());
    kafka::enqueue(&world, &then, |_| None);
    reckoning::wait_for(&audit, (first.len() + then.len()) as u64, &mut [&mut daemon]);
    daemon.stop();
    later::exactly(&world, audit, first.iter().chain(&then), Seen::default());
    world.finish();
}

/// Everything an operator can do, and what it says.
#[test]
fn an_operator_adds_looks_up_and_takes_back() {
    let world = World::new("operator");
    let list = world.dir().join("list.csv");
    let mut lines = String::from("address,channel,tenant,scope,reason\n");
    lines.push_str("\"Doe, Jane <JANE@example.com>\",,,,\n\n+15550001115,sms,shop,marketing,unsubscribe\n");
    lines.extend((0..500).map(|n| format!("left-{n}@example.com,email,*,all,complaint\n")));
    std::fs::write(&list, &lines).unwrap();
    let bad = world.dir().join("bad.csv");
    std::fs::write(&bad, "jane@example.com\nnobody\n+155,sms\na@b.example,pigeon\n").unwrap();
    let (list, bad) = (list.to_str().unwrap(), bad.to_str().unwrap());
    let table: &[(&str, &[&str], i32, &[&str])] = &[
        ("nobody yet", &["check", "jane@example.com"], 0, &["not suppressed"]),
        ("added", &["add", "Jane <jane@example.com>", "--reason", "complaint"], 0, &["suppressed"]),
        ("found by another spelling", &["check", "JANE@EXAMPLE.COM"], 0, &["all of everybody, complaint, by cli"]),
        ("of a tenant", &["add", "jane@example.com", "--tenant", "shop", "--scope", "marketing"], 0, &["suppressed"]),
        ("both", &["check", "jane@example.com"], 0, &["of everybody, complaint", "marketing of shop, manual"]),
        ("what binds another tenant", &["check", "jane@example.com", "--tenant", "news"], 0, &["of everybody"]),
        ("taken back for all", &["remove", "jane@example.com"], 0, &["taken back"]),
        ("the tenant's stands", &["check", "jane@example.com"], 0, &["marketing of shop, manual"]),
        ("not a mailbox", &["add", "+15550001115"], 2, &["not a mailbox"]),
        (
            "a bad list",
            &["import", bad],
            65,
            &["3 lines are no suppressions; nothing was written", "line 2", "line 4: unknown channel"],
        ),
        ("no list", &["import", "/nonexistent.csv"], 65, &["/nonexistent.csv"]),
        (
            "counted",
            &["import", list, "--dry-run"],
            0,
            &["500 email, all, complaint", "502 suppressions would be written"],
        ),
        ("nothing was written", &["check", "left-7@example.com"], 0, &["not suppressed"]),
        ("imported", &["import", list], 0, &["502 suppressions written"]),
        ("from a file", &["check", "left-7@example.com"], 0, &["complaint, by list.csv"]),
        ("a number", &["check", "+15550001115", "--channel", "sms"], 0, &["marketing of shop, unsubscribe"]),
        (
            "exported",
            &["export"],
            0,
            &[
                "hash,channel,tenant,scope,reason,by,at",
                ",sms,shop,marketing,unsubscribe,list.csv,",
                "503 suppressions",
            ],
        ),
    ];
    for (n, (why, arguments, code, says)) in table.iter().enumerate() {
        let mut all = vec!["suppress"];
        all.extend(*arguments);
        // No answer repeats an address: the world's end searches them all.
        let (got, said) = world.run(&format!("suppress-{n}"), &all);
        assert_eq!(got, *code, "{why}: {said}");
        for word in *says {
            assert!(said.contains(word), "{why}: `{}` must say `{word}`: {said}", all.join(" "));
        }
        assert!(!arguments.contains(&"export") || !said.contains('@'), "an export knows no addresses: {said}");
    }
    let records = kafka::read_all(&world, &world.topics.suppressions());
    let keys: Vec<Key<'_>> = records.iter().map(|record| Key::parse(record.key().unwrap()).unwrap()).collect();
    assert_eq!(keys.len(), 506, "two added, two taken back, 502 imported");
    world.finish();
}
