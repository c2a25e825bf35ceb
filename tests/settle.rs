//! What settle does when the broker does not take an outcome: try again what may pass, and stop a home, loudly,
//! for what never will. On librdkafka's mock cluster, which can be told what to answer.

use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use peakpost::job::receipt::{Back, End};
use peakpost::job::topic::Topics;
use peakpost::job::trip::Trip;
use peakpost::job::{Coordinates, Headers, Incoming, Job, Lane, Receipt, Source, Wall, Way};
use peakpost::observe::{Clock, Metrics};
use peakpost::outcome::{Code, Kind, Outcome, Reason};
use peakpost::settle::{self, Deferral, Settlement, Settling, Subject, Telling, WriteAhead};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers as _, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;

/// Partitions of every topic.
const HOMES: i32 = 3;

/// Longest wait for the settle thread to answer.
const PATIENCE: Duration = Duration::from_secs(20);

fn topics() -> Topics {
    Topics::with("settle", &["10s".to_owned()], &["mail".to_owned()])
}

fn settlement(offset: i64, kind: Kind, reason: Reason) -> Settlement {
    with_headers(offset, kind, reason, Headers::new())
}

fn with_headers(offset: i64, kind: Kind, reason: Reason, headers: Headers) -> Settlement {
    let bytes = br#"{"id":"1","tenant":"t","channel":"webhook","to":"https://example.com/","content":1}"#;
    let receipt = Receipt::new(Coordinates { from: Source::Jobs(Lane::Marketing), home: 0, offset }, 1, 0, 80);
    let incoming = Incoming {
        bytes: bytes[..].into(),
        headers,
        enqueued: Wall(0),
        lane: Lane::Marketing,
        way: Way::default(),
        receipt,
    };
    let job = Job::parse(incoming).unwrap_or_else(|malformed| panic!("the test's job is none: {}", malformed.invalid));
    let clock = Clock::default();
    let subject = Subject::Job(job);
    Settlement {
        subject,
        outcome: Outcome::plain(kind, reason),
        deferral: None,
        late: false,
        provider: None,
        at: Wall(0),
        decided: clock.mono(),
        unrecorded: None,
        suppression: None,
        told_under: None,
    }
}

/// Settles one job on a broker that answers `errors` first, and returns everything that came back.
fn check(errors: &[RDKafkaRespErr], kind: Kind, reason: Reason, enough: impl Fn(&[Back]) -> bool) -> Vec<Back> {
    settle_one(errors, settlement(7, kind, reason), enough)
}

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn settle_one(errors: &[RDKafkaRespErr], settlement: Settlement, enough: impl Fn(&[Back]) -> bool) -> Vec<Back> {
    settle_on(&MockCluster::new(1).unwrap(), errors, settlement, enough)
}

fn settle_on(
    cluster: &Cluster,
    errors: &[RDKafkaRespErr],
    settlement: Settlement,
    enough: impl Fn(&[Back]) -> bool,
) -> Vec<Back> {
    let (settling, came) = begin(cluster);
    cluster.request_errors(RDKafkaApiKey::Produce, errors);
    settling.settler.settle(vec![settlement]);
    let got = collect(&came, enough);
    drop(settling.settler);
    settling.thread.join().unwrap().unwrap();
    got
}

/// Makes the topics and starts a settle thread.
fn begin(cluster: &Cluster) -> (Settling, Receiver<Vec<Back>>) {
    let topics = topics();
    for topic in topics.all() {
        cluster.create_topic(&topic, HOMES, 1).unwrap();
    }
    let client = vec![("bootstrap.servers".to_owned(), cluster.bootstrap_servers())];
    let config = settle::Config { client, topics, linger: Duration::ZERO, queue_max: 1000, queue_bytes: 1 << 20 };
    let (back, came) = settle::back_channel();
    let wake = std::thread::current();
    let links = settle::Links { metrics: Metrics::new().unwrap(), clock: Clock::default(), back, wake };
    (settle::start(&config, links).unwrap(), came)
}

/// Reads the first record of a partition.
fn first_of(cluster: &Cluster, topic: &str, home: i32) -> OwnedMessage {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "test");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, home, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let first = consumer.poll(PATIENCE).unwrap_or_else(|| panic!("nothing in {topic}/{home}"));
    first.unwrap().detach()
}

fn header(message: &OwnedMessage, name: &str) -> Option<Vec<u8>> {
    let found = message.headers()?.iter().find(|header| header.key == name)?;
    found.value.map(<[u8]>::to_vec)
}

#[expect(clippy::disallowed_methods, reason = "a real thread answers in real time")]
fn collect(came: &Receiver<Vec<Back>>, enough: impl Fn(&[Back]) -> bool) -> Vec<Back> {
    let deadline = Instant::now() + PATIENCE;
    let mut got = Vec::new();
    while !enough(&got) {
        let left = deadline.saturating_duration_since(Instant::now());
        let batch = came.recv_timeout(left);
        got.extend(
            batch.unwrap_or_else(|_| panic!("the settle thread did not answer in {PATIENCE:?}; so far: {got:?}")),
        );
    }
    got
}

fn settled(got: &[Back]) -> usize {
    got.iter().filter(|back| matches!(back, Back::Settled(_))).count()
}

#[test]
fn an_acknowledged_outcome_gives_its_receipt_back() {
    let got = check(&[], Kind::Accepted, Reason::Accepted, |got| settled(got) == 1);
    assert!(matches!(&got[..], [Back::Settled(s)] if s.source.offset == 7), "{got:?}");
}

#[test]
fn a_passing_error_is_tried_again_until_it_passes() {
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2];
    let got = check(&errors, Kind::Accepted, Reason::Accepted, |got| settled(got) == 1);
    assert_eq!(got.len(), 1, "one receipt, once: {got:?}");
}

#[test]
fn a_refusal_for_good_stops_the_home_and_gives_the_receipt_back_unmet() {
    // Every try is refused: an ACL that is missing does not come back by itself.
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 1];
    let got = check(&errors, Kind::Accepted, Reason::Accepted, |got| got.len() >= 2);
    let refused = got.iter().any(|back| matches!(back, Back::HomeRefused { home: 0, .. }));
    let unmet = got.iter().any(|back| matches!(back, Back::Abandoned(a) if a.source.offset == 7));
    assert!(refused && unmet && settled(&got) == 0, "{got:?}");
}

#[test]
fn a_dead_letter_is_durable_before_its_outcome() {
    // If the dead topic refuses the letter, there must be no outcome that says it is there.
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 1];
    let got = check(&errors, Kind::Dead, Reason::NoRoute, |got| got.len() >= 2);
    assert_eq!(settled(&got), 0, "an outcome without its letter: {got:?}");
}

#[test]
fn a_dead_letter_with_huge_headers_does_not_stop_its_home() {
    // Upstream's headers count against the broker's limit; what does not fit is cut, not refused.
    let headers = vec![("trace".to_owned(), Some(vec![b'x'; 1_100_000]))];
    let dead = with_headers(7, Kind::Dead, Reason::NoRoute, headers);
    let got = settle_one(&[], dead, |got| !got.is_empty());
    assert_eq!(settled(&got), 1, "{got:?}");
}

fn deferred(to: Source) -> Settlement {
    deferred_to(to, 0)
}

fn deferred_to(to: Source, home: u16) -> Settlement {
    let due = matches!(to, Source::Delay(..)).then_some(Wall(10_000));
    Settlement { deferral: Some(Deferral { to, due, home }), ..settlement(7, Kind::Deferred, Reason::SendAt) }
}

/// The receipt says where the job goes on, so that the home's books can tell it from a repeat.
#[test]
fn a_deferral_gives_its_receipt_back_when_both_its_records_are_durable() {
    for to in [Source::Delay(Lane::Marketing, 0), Source::Hold(Lane::Marketing, 0)] {
        let got = settle_one(&[], deferred(to), |got| settled(got) == 1);
        let right =
            matches!(&got[..], [Back::Settled(s)] if s.end == End::Deferred(Some((to, 0))) && s.outcome_offset == 0);
        assert!(right, "{to}: {got:?}");
    }
}

/// A job goes to the home that carries its limit with all that its own home knows of it; its outcome stays at home, for
/// it settles a record of that home.
#[test]
fn a_deferral_to_another_home_lands_there_with_its_trip() {
    let cluster = MockCluster::new(1).unwrap();
    let hold = Source::Hold(Lane::Marketing, 0);
    let got = settle_on(&cluster, &[], deferred_to(hold, 2), |got| settled(got) == 1);
    let right = matches!(&got[..], [Back::Settled(s)] if s.end == End::Deferred(None) && s.source.home == 0);
    assert!(right, "its home must not take the carrier's offset for its own: {got:?}");
    let record = first_of(&cluster, topics().source(hold), 2);
    let trip = header(&record, "peakpost-trip").expect("a trip");
    let trip: Trip<'_> = serde_json::from_slice(&trip).unwrap();
    let origin = (&*trip.origin.topic, trip.origin.partition, trip.origin.offset);
    assert_eq!(origin, ("settle.jobs.marketing", 0, 7), "where it comes from: {trip:?}");
    assert_eq!((&*trip.tenant, &*trip.id, trip.hop), ("t", "1", 1), "who it is, and how far it has come: {trip:?}");
    let outcome = first_of(&cluster, &topics().outcomes(), 0);
    let text = String::from_utf8_lossy(outcome.payload().unwrap()).into_owned();
    assert!(text.contains(r#""outcome":"deferred""#), "the outcome lies where a restart of its home looks: {text}");
}

/// Without the record with which it goes on, an outcome that says so would lose the job.
#[test]
fn a_deferral_whose_tier_refuses_it_has_no_outcome() {
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 1];
    let got = settle_one(&errors, deferred(Source::Delay(Lane::Marketing, 0)), |got| got.len() >= 2);
    let unmet = got.iter().any(|back| matches!(back, Back::Abandoned(a) if a.source.offset == 7));
    assert!(unmet && settled(&got) == 0, "an outcome without its record: {got:?}");
}

/// Who writes jobs must not be able to say how they died, or where they come from.
#[test]
fn nobody_upstream_speaks_in_our_name() {
    let forged = |name: &str| (format!("peakpost-{name}"), Some(b"forged".to_vec()));
    let headers = || vec![forged("reason"), ("trace".to_owned(), Some(b"t".to_vec())), forged("trip")];
    let tier = Source::Delay(Lane::Marketing, 0);
    let rows = [
        (with_headers(7, Kind::Dead, Reason::NoRoute, headers()), topics().dead()),
        (
            Settlement {
                deferral: Some(Deferral { to: tier, due: Some(Wall(10_000)), home: 0 }),
                ..with_headers(7, Kind::Deferred, Reason::SendAt, headers())
            },
            topics().source(tier).to_owned(),
        ),
    ];
    for (settlement, topic) in rows {
        let cluster = MockCluster::new(1).unwrap();
        settle_on(&cluster, &[], settlement, |got| settled(got) == 1);
        let record = first_of(&cluster, &topic, 0);
        let found: Vec<_> =
            record.headers().unwrap().iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect();
        let by_them = found.iter().filter(|(_, value)| value.as_deref() == Some(b"forged")).count();
        assert_eq!(by_them, 0, "`{topic}` carries forged headers: {found:?}");
        assert!(found.iter().any(|(key, _)| key == "trace"), "upstream's own must stay: {found:?}");
    }
}

fn ahead(tag: u64, done: &mpsc::Sender<u64>) -> WriteAhead {
    WriteAhead { home: 1, key: b"day".to_vec(), value: vec![0, 7], tag, done: done.clone() }
}

/// Waits for a tag to come back.
fn tag(done: &mut mpsc::Receiver<u64>) -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, done.recv()).await.ok().flatten() })
}

/// What may be spent is what would be found again.
#[test]
fn what_is_written_ahead_is_acknowledged_when_it_is_durable() {
    let not_leader = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    for (errors, why) in [(vec![], "at once"), (vec![not_leader; 2], "an error that passes is waited out")] {
        let cluster = MockCluster::new(1).unwrap();
        let (settling, _came) = begin(&cluster);
        let (done, mut acknowledged) = mpsc::channel(4);
        cluster.request_errors(RDKafkaApiKey::Produce, &errors);
        settling.settler.write_ahead(ahead(41, &done));
        assert_eq!(tag(&mut acknowledged), Some(41), "{why}");
        let record = first_of(&cluster, &topics().usage(), 1);
        assert_eq!((record.key(), record.payload()), (Some(&b"day"[..]), Some(&[0, 7][..])), "{why}");
    }
}

/// Reads all partitions of a topic from their beginning.
fn reader(cluster: &Cluster, topic: &str) -> BaseConsumer {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "test");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut list = TopicPartitionList::new();
    for home in 0..HOMES {
        list.add_partition_offset(topic, home, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer
}

/// The first records of a key.
fn under(cluster: &Cluster, topic: &str, key: &str, count: usize) -> Vec<(i32, Vec<u8>)> {
    let consumer = reader(cluster, topic);
    let mut found = Vec::new();
    while found.len() < count {
        let next = consumer.poll(PATIENCE).unwrap_or_else(|| panic!("{} of {count} under `{key}`", found.len()));
        let record = next.unwrap().detach();
        if record.key() == Some(key.as_bytes()) {
            found.push((record.partition(), record.payload().unwrap().to_vec()));
        }
    }
    found
}

fn telling(key: &str, value: &str) -> Telling {
    Telling { key: key.into(), value: value.into() }
}

/// Compaction keeps the last word under a key only where all words under it lie in one partition.
#[test]
fn what_others_are_told_lies_where_its_key_says() {
    let not_leader = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    for (errors, why) in [(vec![], "at once"), (vec![not_leader; 2], "an error that passes is waited out")] {
        let cluster = MockCluster::new(1).unwrap();
        let (settling, _came) = begin(&cluster);
        cluster.request_errors(RDKafkaApiKey::Produce, &errors);
        let keys: Vec<String> = (0..8).map(|n| format!("stop/mail-{n}")).collect();
        let tell = |word: &str| {
            for key in &keys {
                settling.settler.tell(telling(key, word));
            }
        };
        tell("first");
        let first: Vec<_> = keys.iter().map(|key| under(&cluster, &topics().control(), key, 1).remove(0)).collect();
        tell("last");
        let places: std::collections::BTreeSet<i32> = first.iter().map(|(home, _)| *home).collect();
        assert!(places.len() > 1, "{why}: keys must be spread: {places:?}");
        for (key, (home, word)) in keys.iter().zip(first) {
            let both = under(&cluster, &topics().control(), key, 2);
            assert_eq!(both, [(home, word), (home, b"last".to_vec())], "{why}: `{key}`");
        }
    }
}

/// Whoever waits for a vendor's word of a job must have heard of the job when it has ended; under the key of the words, they
/// lie in one partition.
#[test]
fn a_quarantined_job_is_marked_before_it_has_its_outcome() {
    let key = "0123456789abcdef0123456789abcdef";
    let doubtful = || Settlement {
        told_under: Some(key.into()),
        ..settlement(7, Kind::Quarantined, Reason::MaybeSent(peakpost::outcome::Code::Timeout))
    };
    let cluster = MockCluster::new(1).unwrap();
    let passing = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2];
    let got = settle_on(&cluster, &passing, doubtful(), |got| settled(got) == 1);
    assert!(matches!(&got[..], [Back::Settled(s)] if s.end == End::Terminal && s.outcome_offset == 0), "{got:?}");
    let mark = under(&cluster, &topics().events(), key, 1).remove(0).1;
    let outcome = first_of(&cluster, &topics().outcomes(), 0);
    assert_eq!(Some(&mark[..]), outcome.payload(), "the mark is the outcome itself");
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 1];
    let got = settle_one(&refused, doubtful(), |got| got.len() >= 2);
    assert_eq!(settled(&got), 0, "without its mark it has no outcome, and its home stops: {got:?}");
}

/// Orders help others; a topic that takes none must not stop jobs.
#[test]
fn what_others_cannot_be_told_stops_nobody() {
    let cluster = MockCluster::new(1).unwrap();
    let (settling, came) = begin(&cluster);
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    settling.settler.tell(telling("stop/mail", "refused"));
    let consumer = reader(&cluster, &topics().control());
    // What is in one request with it is refused as well.
    let taken = (0..50).find_map(|_| {
        settling.settler.tell(telling("stop/mail", "taken"));
        Some(consumer.poll(PATIENCE / 50)?.unwrap().detach())
    });
    let taken = taken.expect("one order that was refused must not keep the next ones back");
    assert_eq!(taken.payload(), Some(&b"taken"[..]), "what was refused for good is not tried again");
    settling.settler.settle(vec![settlement(7, Kind::Accepted, Reason::Accepted)]);
    assert_eq!(settled(&collect(&came, |got| !got.is_empty())), 1, "its home goes on");
}

/// A topic that takes nothing must not stop jobs that no long limit holds back.
#[test]
fn what_is_written_ahead_and_refused_for_good_is_never_acknowledged_and_stops_nobody() {
    let cluster = MockCluster::new(1).unwrap();
    let (settling, came) = begin(&cluster);
    let (done, mut acknowledged) = mpsc::channel(4);
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    settling.settler.write_ahead(ahead(1, &done));
    // The refused one drops its end of the channel: nothing comes, and nothing is waited for any more.
    drop(done);
    assert_eq!(tag(&mut acknowledged), None, "a refused record is not durable");
    assert!(acknowledged.is_closed() && came.is_empty(), "its home goes on");
    settling.settler.settle(vec![settlement(7, Kind::Accepted, Reason::Accepted)]);
    let got = collect(&came, |got| !got.is_empty());
    assert_eq!(settled(&got), 1, "{got:?}");
}

/// Nobody is left to spend it, so nobody waits for it, nor for an order; outcomes are waited for.
#[test]
fn what_is_written_ahead_does_not_keep_the_daemon_from_ending() {
    let cluster = MockCluster::new(1).unwrap();
    let (settling, _came) = begin(&cluster);
    let (done, mut acknowledged) = mpsc::channel(4);
    settling.settler.write_ahead(ahead(1, &done));
    assert_eq!(tag(&mut acknowledged), Some(1), "the producer has met its broker");
    cluster.broker_down(1).unwrap();
    settling.settler.write_ahead(ahead(2, &done));
    settling.settler.tell(telling("stop/mail", "{}"));
    let Settling { settler, thread } = settling;
    drop((settler, done));
    // The thread's end takes the second one's channel with it.
    assert_eq!(tag(&mut acknowledged), None, "it was never durable");
    assert!(acknowledged.is_closed(), "the thread must end within {PATIENCE:?} though a write-ahead is out");
    thread.join().unwrap().unwrap();
}

/// Who is gone is known to all before their job counts as done: else a crash between the two would forget them. Its topic has
/// no leader for a while; others' outcomes go on.
#[test]
fn an_outcome_waits_for_what_it_says_of_its_recipient() {
    let cluster = MockCluster::new(1).unwrap();
    let (settling, came) = begin(&cluster);
    let suppressions = topics().suppressions();
    let lead = |by| (0..HOMES).for_each(|home| cluster.partition_leader(&suppressions, home, by).unwrap());
    lead(None);
    settling.settler.settle(vec![gone(7), settlement(8, Kind::Accepted, Reason::Accepted)]);
    let first = collect(&came, |got| !got.is_empty());
    assert!(matches!(&first[..], [Back::Settled(s)] if s.source.offset == 8), "only who says nothing: {first:?}");
    lead(Some(1));
    let then = collect(&came, |got| !got.is_empty());
    assert!(matches!(&then[..], [Back::Settled(s)] if s.source.offset == 7 && s.end == End::Terminal), "{then:?}");
    assert_eq!(under(&cluster, &suppressions, GONE, 1)[0].1, b"{}".to_vec());
    // And the daemon's end waits for both.
    settling.settler.settle(vec![gone(9)]);
    drop(settling.settler);
    settling.thread.join().unwrap().unwrap();
    assert_eq!(under(&cluster, &suppressions, GONE, 2).len(), 2);
}

/// A topic that takes none must not stop a home: the vendor says each time who is gone.
#[test]
fn a_suppression_refused_for_good_does_not_keep_its_outcome_back() {
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 1];
    let got = settle_one(&errors, gone(7), |got| !got.is_empty());
    assert_eq!((settled(&got), got.len()), (1, 1), "{got:?}");
}

const GONE: &str = "sms/*/all/00";

fn gone(offset: i64) -> Settlement {
    let suppression = Some(Box::new(telling(GONE, "{}")));
    Settlement { suppression, ..settlement(offset, Kind::Refused, Reason::Vendor(Code::RecipientGone)) }
}
