//! The feedback listener by itself, on the embedded broker: its limits, its end, and Kafka gone.
//!
//! Why: anybody can reach it. What is slow, large or many must cost it little, and an answer must mean what it says.
//! Must not know: vendors beyond one that signs by a shared secret.
#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's, not the line's; polling sleeps")]

#[path = "feedback/counting.rs"]
mod counting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use peakpost::event::{Happened, SCHEMA};
use peakpost::feedback::recent::{Recent, print};
use peakpost::feedback::{Config, Door, Links, Listener, Listening};
use peakpost::job::Channel;
use peakpost::job::topic::Topics;
use peakpost::observe::{Clock, Metrics};
use peakpost::provider::Ear;
use peakpost::provider::secret::Secret;
use peakpost::recipient::address::Keyer;
use peakpost::recipient::mailbox::Mailboxes;
use peakpost::sim::broker::Broker;
use peakpost::sim::vendor::feedback::{Signed, Signer};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const SECRET: &str = "whsec_b25lLXNlY3JldC1mb3ItYWxsLW9mLXRoZXNlLXRlc3Rz";
/// The listener's patience with slow peers; short, so that tests need not wait.
const READ: Duration = Duration::from_secs(1);
/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A listener with a broker behind it.
struct World {
    runtime: tokio::runtime::Runtime,
    broker: Broker,
    topics: Topics,
    metrics: Metrics,
    at: SocketAddr,
    listening: Option<Listening>,
    signer: Signer,
}

impl World {
    fn new(concurrency: usize) -> Self {
        Self::patient(concurrency, READ)
    }

    /// One with other patience for slow peers.
    fn patient(concurrency: usize, read_timeout: Duration) -> Self {
        let topics = Topics::new("feedback");
        let broker = Broker::start(vec![topics.clone()], 2, 1).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let metrics = Metrics::new().unwrap();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            body_max: 64 << 10,
            concurrency,
            read_timeout,
            client: vec![("bootstrap.servers".to_owned(), broker.brokers.clone())],
            topic: topics.events(),
        };
        let links = Links {
            doors: vec![Door {
                provider: "gate".to_owned(),
                ear: Ear::signed(&Secret::new(SECRET), Duration::from_secs(300)).unwrap(),
            }],
            keyer: Keyer::new(b"a key of sixteen bytes or more").unwrap(),
            mailboxes: mailboxes(),
            metrics: metrics.clone(),
            clock: Clock::default(),
        };
        let (at, listening) = runtime.block_on(async {
            let listener = Listener::bind(config.listen).await.unwrap();
            (listener.addr().unwrap(), listener.serve(&config, links).unwrap())
        });
        let signer = Signer::new("token", SECRET).unwrap();
        Self { runtime, broker, topics, metrics, at, listening: Some(listening), signer }
    }

    fn signed(&self, body: &str) -> Signed {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        self.signer.webhook(now.cast_signed(), body.as_bytes().to_vec())
    }

    /// A connection on which nothing has been said.
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// The answer's status to a request of these bytes; 0: the connection was closed without one.
    fn post(&self, body: &str) -> u16 {
        let mut stream = self.connect();
        stream.write_all(&request(&self.signed(body))).unwrap();
        status(stream)
    }

    fn counted(&self, result: &str) -> u64 {
        ["gate", "?"].iter().map(|name| self.metrics.feedback_requests.with_label_values(&[name, result]).get()).sum()
    }

    fn stop(&mut self) -> bool {
        self.runtime.block_on(self.listening.take().unwrap().stop())
    }

    /// Values of the events topic; waits for `count` of them.
    fn events(&self, count: usize) -> Vec<serde_json::Value> {
        self.records(count).into_iter().map(|(_, value)| value).collect()
    }

    /// The same with their keys.
    fn records(&self, count: usize) -> Vec<(String, serde_json::Value)> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.broker.brokers).set("group.id", "look");
        let consumer: BaseConsumer = client.create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..2 {
            list.add_partition_offset(&self.topics.events(), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut all, began) = (Vec::new(), Instant::now());
        while all.len() < count {
            assert!(began.elapsed() < LONG, "{} events of {count}", all.len());
            if let Some(message) = consumer.poll(Duration::from_millis(50)) {
                let message = message.unwrap();
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                all.push((key, serde_json::from_slice(message.payload().unwrap()).unwrap()));
            }
        }
        all
    }
}

fn mailboxes() -> Mailboxes {
    let gmail = ["gmail.com".to_owned(), "GoogleMail.com".to_owned()];
    Mailboxes::new([("gmail", &gmail[..])]).unwrap()
}

/// A whole request, after which the connection closes.
fn request(signed: &Signed) -> Vec<u8> {
    let headers: Vec<String> = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (headers, length) = (headers.concat(), signed.body.len());
    let first = "POST /feedback/gate HTTP/1.1\r\nhost: any\r\nconnection: close\r\n";
    let head = format!("{first}{headers}content-length: {length}\r\n\r\n");
    [head.into_bytes(), signed.body.clone()].concat()
}

fn status(mut stream: TcpStream) -> u16 {
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _reset = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

fn event(id: &str, to: &str) -> String {
    format!(
        r#"{{"id":"{id}","event":"complained","to":"{to}","channel":"email","at":1700000000,"peakpost_id":"job-1","peakpost_tenant":"acme","peakpost_lane":"marketing","peakpost_sent":1699990000}}"#
    )
}

/// The record holds what was said, hides the recipient, and is what `peakpost schema event` promises.
#[test]
fn an_event_becomes_a_record_of_the_schema() {
    let mut world = World::new(8);
    let two = format!("[{},{}]", event("a", "Jane <Jane@GMail.com>"), event("b", "jane@elsewhere.example"));
    assert_eq!(world.post(&two), 204);
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let mut events = world.events(2);
    events.sort_by_key(|event| event["event"].to_string());
    for event in &events {
        let faults: Vec<String> = schema.iter_errors(event).map(|e| e.to_string()).collect();
        assert!(faults.is_empty(), "{event} is not of the schema: {faults:?}");
        assert!(!event.to_string().contains('@'), "a recipient as itself: {event}");
        let (lane, sent) = (event["lane"].as_str(), event["sent_ms"].as_i64());
        assert_eq!((lane, sent), (Some("marketing"), Some(1_699_990_000_000)), "the echo: {event}");
    }
    assert_eq!(events[0]["event"], "gate/a");
    assert_eq!((&events[0]["mailbox"], &events[1]["mailbox"]), (&"gmail".into(), &"other".into()));
    let keyer = Keyer::new(b"a key of sixteen bytes or more").unwrap();
    assert_eq!(events[0]["recipient"], keyer.hash(Channel::Email, "jane@gmail.com").hex(), "spellings are one");
    assert!(world.stop());
}

/// Five soft bounces of one recipient add up only where one worker counts them all, and repeats of an event must meet as well.
#[test]
fn what_is_said_of_one_recipient_lies_in_one_partition() {
    let world = World::new(8);
    let twelve: Vec<String> = (0..12).map(|n| event(&n.to_string(), "Jane <jane@gmail.com>")).collect();
    let nobody = event("of-nobody", "");
    assert_eq!(world.post(&format!("[{},{nobody}]", twelve.join(","))), 204);
    let jane = Keyer::new(b"a key of sixteen bytes or more").unwrap().hash(Channel::Email, "jane@gmail.com").hex();
    for (key, event) in world.records(13) {
        let expected = if event["event"] == "gate/of-nobody" { "gate/of-nobody" } else { &*jane };
        assert_eq!(key, expected, "the key of {event}");
    }
}

/// No events are fine; the same event twice in a request or later is written once.
#[test]
fn what_is_written_is_not_written_again() {
    let world = World::new(8);
    let twice = format!("[{0},{0}]", event("a", "x@y.example"));
    let table = [("[]", 0), (&*twice, 1), (&*event("a", "x@y.example"), 1), (&*event("b", "x@y.example"), 2)];
    for (body, count) in table {
        assert_eq!(world.post(body), 204, "{body}");
        assert_eq!(world.events(count).len(), count, "{body}");
    }
    assert_eq!((world.counted("taken"), world.counted("repeated")), (3, 1));
    assert_eq!(world.metrics.feedback_repeats.with_label_values(&["gate"]).get(), 2);
    let made = world.metrics.feedback_events.with_label_values(&["gate", Happened::Complained.as_str()]).get();
    assert_eq!(made, 2);
}

/// Who sends a byte now and then, or nothing, is cut off; who sends too much is turned away before it is read.
#[test]
fn slow_and_large_requests_are_cut_off() {
    let world = World::new(8);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let large = format!("POST /feedback/gate HTTP/1.1\r\nhost: any\r\ncontent-length: {}\r\n\r\n", 1 << 30);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked =
        format!("POST /feedback/gate HTTP/1.1\r\nhost: any\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}");
    let table: [(&str, &[u8], u16, &str); 5] = [
        ("nothing at all", b"", 0, ""),
        ("half a head", &whole[..40], 0, ""),
        ("half a body", &whole[..whole.len() - 10], 404, "too_slow"),
        ("a declared GiB", large.as_bytes(), 404, "too_large"),
        ("chunks without an end", chunked.as_bytes(), 404, "too_large"),
    ];
    for (why, bytes, expected, result) in table {
        let mut stream = world.connect();
        stream.write_all(bytes).unwrap();
        let began = Instant::now();
        assert!([expected, 408].contains(&status(stream)), "{why}: {expected} expected");
        assert!(began.elapsed() < READ * 5, "{why}: it was waited for {:?}", began.elapsed());
        if !result.is_empty() {
            assert!(world.counted(result) > 0, "{why}: must be counted as {result}");
        }
    }
    assert_eq!(world.post(&event("a", "x@y.example")), 204, "and the next is heard");
}

/// Two at work, a third is told to come again; when they are through there is room.
#[test]
fn beyond_what_it_can_carry_it_says_503() {
    let world = World::patient(2, LONG);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let (head, rest) = whole.split_at(whole.len() - 5);
    let mut slow: Vec<TcpStream> = (0..3).map(|_| world.connect()).collect();
    for stream in &mut slow {
        stream.write_all(head).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    }
    let began = Instant::now();
    // Whichever of them came last.
    let third = loop {
        if let Some(n) = slow.iter().position(|stream| stream.peek(&mut [0]).is_ok()) {
            break slow.remove(n);
        }
        assert!(began.elapsed() < LONG / 2, "two at work were room for a third");
    };
    for stream in slow.iter().chain([&third]) {
        stream.set_read_timeout(Some(LONG)).unwrap();
    }
    assert_eq!(status(third), 503, "the third is told to come again");
    for mut stream in slow {
        stream.write_all(rest).unwrap();
        assert_eq!(status(stream), 204, "who was first is heard");
    }
    assert_eq!(world.post(&event("c", "x@y.example")), 204, "there is room again");
    assert!(world.counted("busy") > 0);
}

/// More connections than it takes wait until one is over, and then are heard.
#[test]
fn connections_are_capped() {
    let world = World::new(1);
    let idle: Vec<TcpStream> = (0..4).map(|_| world.connect()).collect();
    let began = Instant::now();
    assert_eq!(world.post(&event("a", "x@y.example")), 204, "heard when idle ones have been cut off");
    assert!(began.elapsed() > READ / 2, "the fifth was taken beside four; hint: is the cap gone?");
    drop(idle);
}

/// A stop answers what is at work, closes what is idle, and accepts nothing more.
#[test]
fn a_stop_answers_what_is_at_work() {
    let mut world = World::new(8);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let (head, rest) = whole.split_at(whole.len() - 5);
    let (mut busy, idle) = (world.connect(), world.connect());
    busy.write_all(head).unwrap();
    // Both are accepted when a third has been answered.
    assert_eq!(world.post("[]"), 204);
    let listening = world.listening.take().unwrap();
    let stopping = world.runtime.spawn(listening.stop());
    assert_eq!(status(idle), 0, "an idle connection is closed");
    let began = Instant::now();
    // The door and the connections are closed side by side.
    while TcpStream::connect_timeout(&world.at, READ).is_ok() {
        assert!(began.elapsed() < LONG, "somebody is still let in");
    }
    busy.write_all(rest).unwrap();
    assert_eq!(status(busy), 204, "what was at work is answered");
    assert!(world.runtime.block_on(stopping).unwrap(), "in time");
    assert_eq!(world.events(1).len(), 1);
}

/// Without Kafka there is no 2xx; when it is back, the same request is heard.
#[test]
fn without_kafka_it_says_503() {
    let world = World::new(8);
    assert_eq!(world.post(&event("a", "x@y.example")), 204);
    world.broker.obey("down 1").unwrap();
    assert_eq!(world.post(&event("b", "x@y.example")), 503);
    assert_eq!(world.counted("not_durable"), 1);
    world.broker.obey("up 1").unwrap();
    let began = Instant::now();
    while world.post(&event("b", "x@y.example")) != 204 {
        assert!(began.elapsed() < LONG, "Kafka is back, and nothing is heard");
    }
}

#[test]
fn the_last_events_are_known_and_memory_ends() {
    let mut recent = Recent::new(100);
    for n in 0..1_000 {
        recent.remember([print(&format!("mail/{n}"))]);
    }
    for n in 900..1_000 {
        assert!(recent.knows(&print(&format!("mail/{n}"))), "the last hundred are known: {n}");
    }
    let known = (0..1_000).filter(|n| recent.knows(&print(&format!("mail/{n}")))).count();
    assert!(known <= 200, "memory must end: {known} of 100 to 200 are known");
}

#[test]
fn mailboxes_are_named_by_domain() {
    let mailboxes = mailboxes();
    let table = [
        (Channel::Email, "jane@gmail.com", "gmail"),
        (Channel::Email, "Jane Doe <jane@GMAIL.com>", "gmail"),
        (Channel::Email, "jane@googlemail.com", "gmail"),
        (Channel::Email, "jane@sub.gmail.com", "other"),
        (Channel::Email, "gmail.com", "other"),
        (Channel::Email, "", "other"),
        (Channel::Sms, "+14155550123", ""),
    ];
    for (channel, to, name) in table {
        assert_eq!(mailboxes.of(channel, to), name, "{channel} to `{to}`");
    }
    let domains = ["a.example".to_owned()];
    let refused = [
        (vec![("other", &domains[..])], "cannot be a name"),
        (vec![("G Mail", &domains[..])], "cannot be a name"),
        (vec![("a", &domains[..]), ("b", &domains[..])], "belongs to a and to b"),
    ];
    for (table, fault) in refused {
        let said = Mailboxes::new(table.clone()).expect_err("must be refused");
        assert!(said.contains(fault), "{table:?}: {said}");
    }
}
