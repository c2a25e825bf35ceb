//! The real binary: list, show, redrive, interrupted and gone on with, over a dead topic that the test wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::job::topic::Topics;
use peakpost::job::trip::Trip;
use peakpost::observe::Clock;
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::support::child::Child;
use crate::support::{PATIENCE, until};

const PARTITIONS: i32 = 3;
/// Part of every recipient here: it may be seen in what `show` says, and nowhere else.
const RECIPIENT: &str = "canary-recipient";

/// A dead topic and a delay tier, and the binary's configuration for them.
struct Line {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: Topics,
    dir: tempfile::TempDir,
}

/// What goes into a letter besides its job's id.
#[derive(Clone, Copy)]
struct Dead<'a> {
    partition: i32,
    reason: &'a str,
    ours: &'a [(&'a str, &'a str)],
}

impl Line {
    fn new() -> Self {
        let topics = Topics::with("line", &["10s".to_owned()], &[]);
        let cluster = MockCluster::new(1).unwrap();
        for topic in [&*topics.dead(), "line.delay.transactional.10s", "line.delay.marketing.10s"] {
            cluster.create_topic(topic, PARTITIONS, 1).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let brokers = cluster.bootstrap_servers();
        let config = format!("[kafka]\nbrokers = \"{brokers}\"\nprefix = \"line\"\nembedded = true\n");
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        Self { cluster, topics, dir }
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", "test");
        client
    }

    /// Buries jobs as the settle thread would.
    fn bury<'a>(&self, letters: impl IntoIterator<Item = (String, Dead<'a>)>) {
        let producer: BaseProducer = self.client().create().unwrap();
        for (id, dead) in letters {
            let mut headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some("abc") });
            let at = Clock::default().wall().0.to_string();
            let origin = format!("{}/{}/7", self.topics.jobs(Lane::Marketing), dead.partition);
            let usual = [("reason", dead.reason), ("tenant", "shop"), ("origin", &origin), ("at-ms", &at), ("id", &id)];
            for (key, value) in usual.into_iter().chain(dead.ours.iter().copied()) {
                headers = headers.insert(Header { key: &format!("peakpost-{key}"), value: Some(value) });
            }
            let (topic, job) = (self.topics.dead(), job(&id));
            let record = BaseRecord::to(&topic).partition(dead.partition).key(&id).payload(&job).headers(headers);
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Child {
        let config = self.dir.path().join("config.toml");
        let state = self.dir.path().join("redrive.progress");
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        if arguments.contains(&"redrive") {
            all.extend(["--state", state.to_str().unwrap()]);
        }
        Child::start(self.dir.path(), name, &all)
    }

    /// Runs a command to its end; fails unless it ends with `code` and says every one of `says`.
    fn run(&self, code: i32, arguments: &[&str], says: &[&str]) -> String {
        let name = format!("{}-{}", arguments[1], std::fs::read_dir(self.dir.path()).unwrap().count());
        let mut child = self.start(&name, arguments);
        assert_eq!(child.wait(PATIENCE), code, "{arguments:?}: {}", child.output());
        let said = child.output();
        for words in says {
            assert!(said.contains(words), "{arguments:?} must say `{words}`: {said}");
        }
        assert!(arguments[1] == "show" || !said.contains(RECIPIENT), "{arguments:?} names a recipient: {said}");
        said
    }

    /// What lies in the delay tier.
    fn tier(&self) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let (mut list, mut wanted) = (TopicPartitionList::new(), 0);
        for partition in 0..PARTITIONS {
            list.add_partition_offset("line.delay.marketing.10s", partition, Offset::Beginning).unwrap();
            wanted += consumer.fetch_watermarks("line.delay.marketing.10s", partition, PATIENCE).unwrap().1;
        }
        consumer.assign(&list).unwrap();
        let mut all = Vec::new();
        let more = || {
            while let Some(message) = consumer.poll(Duration::from_millis(20)) {
                all.push(message.unwrap().detach());
            }
            (all.len() >= usize::try_from(wanted).unwrap()).then_some(())
        };
        until(PATIENCE, "the tier is read", more, || format!("it was given {wanted} records"));
        all
    }

    /// How often each job lies in the delay tier.
    fn times(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for message in self.tier() {
            *times.entry(String::from_utf8(message.key().unwrap().to_vec()).unwrap()).or_default() += 1;
        }
        times
    }
}

fn job(id: &str) -> Vec<u8> {
    let campaign = if id.starts_with("b-") { ",\"campaign\":\"bulk\"" } else { "" };
    let to = format!("https://{RECIPIENT}.example/hook");
    format!(r#"{{"id":"{id}","tenant":"shop","channel":"webhook"{campaign},"to":"{to}","content":1}}"#).into_bytes()
}

fn several<'a>(prefix: &str, count: usize, reason: &'a str) -> Vec<(String, Dead<'a>)> {
    let one = |n: usize| {
        let partition = i32::try_from(n).unwrap() % PARTITIONS;
        (format!("{prefix}{n}"), Dead { partition, reason, ours: &[] })
    };
    (0..count).map(one).collect()
}

fn header<'m>(message: &'m OwnedMessage, name: &str) -> Option<&'m [u8]> {
    message.headers()?.iter().find(|h| h.key == name)?.value
}

#[test]
fn list_and_show_tell_what_is_there() {
    let line = Line::new();
    line.run(0, &["dead", "list"], &["0 of 0 letters in line.dead"]);
    line.bury(several("a-", 3, "no_route"));
    line.bury(several("b-", 12, "timeout"));
    let said = line.run(0, &["dead", "list"], &["letters", "oldest", "no_route", "all", "hint: `peakpost dead show"]);
    let lines: Vec<Vec<&str>> = said.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!((lines[1][..2].to_vec(), lines[3][..2].to_vec()), (vec!["timeout", "12"], vec!["all", "15"]), "{said}");
    let json = line.run(0, &["dead", "list", "--by", "campaign", "--format", "json"], &[]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON object and nothing else");
    let groups: Vec<_> = json["groups"].as_array().unwrap().iter().map(|g| (&g["campaign"], &g["letters"])).collect();
    assert_eq!(format!("{groups:?}"), r#"[(String("bulk"), Number(12)), (Null, Number(3))]"#, "{json}");
    line.run(0, &["dead", "list", "--reason", "timeuot"], &["0 of 15 letters in line.dead match --reason timeuot"]);
    line.run(0, &["dead", "list", "--until", "1h"], &["0 of 15 letters"]);
    line.run(2, &["dead", "list", "--since", "yesterday"], &["--since: `yesterday` is no time; hint"]);
    line.run(2, &["dead", "list", "--since", "1h", "--until", "2h"], &["is not before --until"]);
    let shown = line.run(0, &["dead", "show", "1/0"], &["peakpost-reason", "no_route", "trace", "the recipient is in"]);
    assert!(shown.contains(std::str::from_utf8(&job("a-1")).unwrap()), "the payload as it is: {shown}");
    let redacted =
        line.run(0, &["dead", "show", "1/0", "--redacted"], &["peakpost-id", "a-1", "(3 bytes)", "left out"]);
    assert!(!redacted.contains(RECIPIENT), "{redacted}");
    line.bury([("a-1".to_owned(), Dead { partition: 1, reason: "no_route", ours: &[("generation", "1")] })]);
    let said = ["peakpost-generation", "died 2 times", "lie at 1/0, 1/5"];
    line.run(0, &["dead", "show", "--id", "a-1", "--tenant", "shop"], &said);
    line.run(1, &["dead", "show", "--id", "a-1", "--tenant", "other"], &["no letter in line.dead matches"]);
    line.run(1, &["dead", "show", "1/99"], &["there is no letter at 1/99; in this partition: 1/0 to 1/5"]);
    line.run(1, &["dead", "show", "9/0"], &["has partitions 0 to 2"]);
    line.run(2, &["dead", "show", "1-99"], &["PARTITION/OFFSET"]);
    line.run(2, &["dead", "show"], &["required"]);
}

#[test]
fn a_redrive_does_what_it_said_and_leaves_what_cannot_go() {
    let line = Line::new();
    line.bury(several("t-", 9, "timeout"));
    let one = |partition, ours| Dead { partition, reason: "timeout", ours };
    line.bury([
        ("cut".to_owned(), one(0, &[("size", "600000")])),
        ("tired".to_owned(), one(1, &[("generation", "3")])),
        ("again".to_owned(), one(2, &[("generation", "2")])),
        ("lost".to_owned(), one(2, &[("origin", "other.jobs.marketing/2/7")])),
        ("no job\n".to_owned(), one(2, &[])),
    ]);
    line.bury(several("n-", 2, "no_route"));
    let redrive = ["dead", "redrive", "--reason", "timeout"];
    let with = |more: &[&'static str]| [&redrive[..], more].concat();
    line.run(2, &redrive, &["no terminal to ask at; hint: look with --dry-run, then say --yes"]);
    let says = [
        "14 of 16 letters: --reason timeout",
        "10 would be redriven to line.delay.transactional.10s and line.delay.marketing.10s",
        "nothing was redriven",
    ];
    let dry = line.run(0, &with(&["--dry-run"]), &says);
    for why in ["512 KiB", "no job", "no origin", "--max-generation"] {
        assert!(dry.lines().any(|l| l.starts_with("  1 would stay") && l.contains(why)), "must count `{why}`: {dry}");
    }
    assert!(dry.contains("10 may have been sent before they died"), "{dry}");
    assert_eq!(line.tier().len(), 0, "--dry-run wrote something");
    assert!(!line.dir.path().join("redrive.progress").exists(), "--dry-run left a note");
    let before = Clock::default().wall().0;
    line.run(0, &with(&["--yes", "--limit", "4"]), &["4 letters redriven", "the limit is reached"]);
    assert_eq!(line.tier().len(), 4, "the limit did not hold");
    line.run(0, &with(&["--dry-run"]), &["going on where", "6 would be redriven"]);
    line.run(
        0,
        &with(&["--yes"]),
        &["going on where", "6 letters redriven to line.delay.transactional.10s and line.delay.marketing.10s"],
    );
    let tier = line.tier();
    assert_eq!(tier.len(), 10, "{:?}", line.times());
    for message in &tier {
        let id = std::str::from_utf8(message.key().unwrap()).unwrap();
        assert_eq!(message.payload(), Some(&*job(id)), "{id}: the bytes are the original's");
        assert_eq!(header(message, "trace"), Some(&b"abc"[..]), "{id}: upstream's header");
        assert_eq!(message.headers().unwrap().count(), 2, "{id}: of ours only the trip: {:?}", message.headers());
        let trip: Trip<'_> = serde_json::from_slice(header(message, "peakpost-trip").unwrap()).unwrap();
        let generation = if id == "again" { 3 } else { 1 };
        assert_eq!((&*trip.id, &*trip.tenant, trip.generation, trip.hop), (id, "shop", generation, 1));
        assert_eq!((trip.attempts, trip.failures, &*trip.last_error), (0, 0, "timeout"), "{id}");
        assert_eq!(i32::from(trip.origin.partition), message.partition(), "{id}: it stays in its home");
        assert!(trip.first_seen_ms >= before && trip.due_ms == trip.first_seen_ms + 10_000, "{id}: {trip:?}");
    }
    // What has died since is another round; nothing of the first one comes again.
    line.run(0, &with(&["--yes"]), &["has come to its end before", "0 letters redriven"]);
    line.bury(several("later-", 3, "timeout"));
    line.run(0, &with(&["--yes"]), &["3 letters redriven"]);
    let times = line.times();
    assert!(times.len() == 13 && times.values().all(|n| *n == 1), "{times:?}");
}

#[test]
fn progress_of_another_redrive_is_not_gone_on_with() {
    let line = Line::new();
    line.bury(several("t-", 6, "timeout"));
    let says = ["is about another redrive", "--reason timeout", "nothing was redriven", "hint: use another --state"];
    line.run(0, &["dead", "redrive", "--reason", "timeout", "--since", "2h", "--limit", "2", "--yes"], &[]);
    let table: [(&str, &[&str]); 4] = [
        ("another reason", &["--reason", "no_route", "--since", "2h"]),
        ("one filter more", &["--reason", "timeout", "--since", "2h", "--tenant", "shop"]),
        ("another time", &["--reason", "timeout", "--since", "3h"]),
        ("another limit of generations", &["--reason", "timeout", "--since", "2h", "--max-generation", "5"]),
    ];
    for (why, filters) in table {
        for last in ["--yes", "--dry-run"] {
            line.run(65, &[&["dead", "redrive"], filters, &[last]].concat(), &says);
            assert_eq!(line.tier().len(), 2, "{why}: something was sent");
        }
    }
    line.run(
        0,
        &["dead", "redrive", "--reason", "timeout", "--since", "2h", "--rate", "60/m", "--limit", "1", "--yes"],
        &["1 letter redriven"],
    );
    let note = line.dir.path().join("redrive.progress");
    let text = std::fs::read_to_string(&note).unwrap();
    for (why, text) in
        [("cut off", &text[..text.len() / 2]), ("another version", &text.replacen("\"v\": 1", "\"v\": 2", 1))]
    {
        std::fs::write(&note, text).unwrap();
        line.run(65, &["dead", "redrive", "--reason", "timeout", "--since", "2h", "--yes"], &["redrive.progress"]);
        assert_eq!(line.tier().len(), 3, "{why}: something was sent");
    }
}

/// Ctrl-C in the middle, and then again without: every letter once.
#[test]
fn an_interrupted_redrive_goes_on_where_it_stopped() {
    let line = Line::new();
    line.bury(several("t-", 240, "timeout"));
    let redrive = |rate| ["dead", "redrive", "--yes", "--rate", rate];
    let mut child = line.start("interrupted", &redrive("30/s"));
    let sent = || (line.tier().len() >= 20).then_some(());
    until(PATIENCE, "some are redriven", sent, || child.output());
    // Written after it began: not of this round.
    line.bury(several("later-", 3, "timeout"));
    child.signal("INT");
    assert_eq!(child.wait(PATIENCE), 1, "{}", child.output());
    let before = line.tier().len();
    assert!((20..240).contains(&before), "interrupted too late: {before}");
    let told = format!("stopped after {before} letters; run the same command again");
    assert!(child.output().contains(&told), "must say `{told}`: {}", child.output());
    line.run(0, &redrive("100000/s"), &["going on where", &format!("{} letters redriven", 240 - before)]);
    let times = line.times();
    assert!(times.len() == 240 && times.values().all(|n| *n == 1), "each once: {times:?}");
    line.run(0, &redrive("100/s"), &["3 letters redriven"]);
}

/// Killed in the middle: nothing is left out, and no more comes twice than was redriven since the last note.
#[test]
fn a_killed_redrive_leaves_nothing_out() {
    let line = Line::new();
    line.bury(several("t-", 300, "timeout"));
    let mut child = line.start("killed", &["dead", "redrive", "--yes", "--rate", "40/s"]);
    let sent = || (line.tier().len() >= 60).then_some(());
    until(PATIENCE, "some are redriven", sent, || child.output());
    child.signal("KILL");
    child.wait(PATIENCE);
    let before = line.tier().len();
    line.run(0, &["dead", "redrive", "--yes", "--rate", "100000/s"], &["going on where"]);
    let times = line.times();
    let twice = times.values().filter(|n| **n > 1).count();
    println!("   killed at {before} of 300; {twice} came twice");
    assert!(before < 300 && times.len() == 300, "left out: {} of 300; killed at {before}", 300 - times.len());
    assert!(twice < before, "the note was of no use: {twice} of {before} came twice");
}

/// The broker refuses the first records, for good: they are not passed over when it takes records again.
#[test]
fn what_was_not_acknowledged_is_redriven_again() {
    let line = Line::new();
    line.bury(several("t-", 30, "timeout"));
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    line.cluster.request_errors(RDKafkaApiKey::Produce, &refused);
    let says = ["the broker refuses records of", "check the topic's ACLs", "run the same command again"];
    line.run(78, &["dead", "redrive", "--yes", "--rate", "50/s"], &says);
    assert!(line.times().len() < 30, "the broker was to refuse some");
    line.run(0, &["dead", "redrive", "--yes"], &["going on where"]);
    let times = line.times();
    assert_eq!(times.len(), 30, "left out: {} of 30", 30 - times.len());
}

#[test]
fn without_a_tier_or_brokers_nothing_is_begun() {
    let line = Line::new();
    line.bury(several("t-", 3, "timeout"));
    let config = line.dir.path().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("\"line\"", "\"bare\"");
    std::fs::write(&config, &text).unwrap();
    line.run(78, &["dead", "list"], &["topic `bare.dead` is not there; hint: `peakpost topics create`"]);
    line.cluster.create_topic("bare.dead", PARTITIONS, 1).unwrap();
    let says =
        ["`bare.delay.transactional.10s`, which has 0 partitions and must have 3; hint: `peakpost topics create`"];
    line.run(78, &["dead", "redrive", "--yes"], &says);
    assert!(!line.dir.path().join("redrive.progress").exists(), "nothing was begun, so nothing is noted");
    let text = text.replace(&line.cluster.bootstrap_servers(), "127.0.0.1:1");
    std::fs::write(&config, text).unwrap();
    line.run(69, &["dead", "list"], &["the brokers do not answer"]);
}
