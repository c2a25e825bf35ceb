//! What other services do with Kafka: enqueue with their own clients, read topics, look at offsets.
//!
//! Why: a foreign client shares no line with the daemon's own, so neither can hide a fault of the other.
//! Must not know: what becomes of what it enqueues.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::load::Generated;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::Offset;

use super::{PARTITIONS, PATIENCE, World, until};

/// Longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);

/// A client of the world's broker with further settings.
pub fn client(world: &World, more: &[(&str, &str)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &world.brokers);
    for (key, value) in more {
        client.set(*key, *value);
    }
    client
}

/// A header that upstream gave every record it enqueued here.
pub const TRACE: (&str, &[u8]) = ("trace", b"4bf92f3577b34da6");

/// Enqueues jobs: by key, or to the partition that `place` names.
pub fn enqueue<'j>(
    world: &World,
    jobs: impl IntoIterator<Item = &'j Generated>,
    place: impl Fn(&Generated) -> Option<i32>,
) {
    enqueue_at(world, jobs, place, None);
}

/// The same with timestamps of upstream's own, in milliseconds since 1970.
pub fn enqueue_at<'j>(
    world: &World,
    jobs: impl IntoIterator<Item = &'j Generated>,
    place: impl Fn(&Generated) -> Option<i32>,
    timestamp: Option<i64>,
) {
    let settings = [("acks", "all"), ("linger.ms", "5"), ("compression.type", "lz4")];
    let producer: BaseProducer = client(world, &settings).create().unwrap();
    for (n, job) in jobs.into_iter().enumerate() {
        let headers = OwnedHeaders::new().insert(Header { key: TRACE.0, value: Some(TRACE.1) });
        let topic = world.topics.jobs(job.lane);
        let mut record = BaseRecord::to(topic).key(&job.key).payload(&job.payload).headers(headers);
        record.partition = place(job);
        record.timestamp = timestamp;
        while let Err((error, kept)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "enqueue: {error}");
            producer.poll(Duration::from_millis(1));
            record = kept;
        }
        if n % 256 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// Enqueues jobs with kcat, a lane at a time, from files with a tab between key and value.
pub fn enqueue_with_kcat(world: &World, jobs: &[Generated]) {
    for lane in Lane::ALL {
        let path = world.dir().join(format!("{lane}.tsv"));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        for job in jobs.iter().filter(|job| job.lane == lane) {
            for part in [job.key.as_bytes(), b"\t", &job.payload, b"\n"] {
                file.write_all(part).unwrap();
            }
        }
        drop(file);
        let arguments = ["-P", "-b", &world.brokers, "-t", world.topics.jobs(lane), "-K", "\t", "-X", "acks=all", "-l"];
        let done = Command::new("kcat").args(arguments).arg(&path).output();
        let done = done.unwrap_or_else(|e| panic!("kcat: {e}; hint: apt-get install kcat"));
        assert!(done.status.success(), "kcat: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Has the broker forget a world: thousands of partitions of scenarios that are over would slow down the next. What the
/// broker does not answer changes no result.
pub fn remove_topics(world: &World) {
    let admin: AdminClient<DefaultClientContext> = client(world, &[]).create().unwrap();
    let Ok(known) = admin.inner().fetch_metadata(None, ANSWER) else { return };
    let own = format!("{}.", world.prefix);
    let names: Vec<&str> =
        known.topics().iter().map(MetadataTopic::name).filter(|name| name.starts_with(&own)).collect();
    if !names.is_empty() {
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        drop(world.block_on(admin.delete_topics(&names, &options)));
    }
}

/// First offset and end of every partition of a topic.
pub fn bounds(world: &World, topic: &str) -> Vec<(i64, i64)> {
    let consumer: BaseConsumer = client(world, &[]).create().unwrap();
    // A topic that was made a moment ago has no leader for another moment.
    let of = |partition| {
        let asked = || consumer.fetch_watermarks(topic, i32::from(partition), ANSWER).ok();
        until(ANSWER, "a partition's offsets", asked, || format!("{topic} partition {partition}"))
    };
    (0..PARTITIONS).map(of).collect()
}

/// How many records a topic has been given.
pub fn count(world: &World, topic: &str) -> u64 {
    u64::try_from(bounds(world, topic).iter().map(|(_, end)| end).sum::<i64>()).unwrap()
}

/// Fails unless the group has committed every jobs partition to its end, and nothing before that was trimmed.
pub fn all_committed(world: &World) {
    if let Some(left) = uncommitted(world) {
        panic!("{left}");
    }
    for lane in Lane::ALL {
        let topic = world.topics.jobs(lane);
        for (partition, (first, _)) in bounds(world, topic).into_iter().enumerate() {
            let hint = "enqueue less, the embedded broker keeps 5 MiB";
            assert!(first == 0, "{topic} partition {partition}: trimmed to {first}; hint: {hint}");
        }
    }
}

/// The first partition of lanes, tiers and holds that the group has not committed to its end. A process that has just
/// begun commits what is done as it reads it again.
pub fn uncommitted(world: &World) -> Option<String> {
    let consumer: BaseConsumer = client(world, &[("group.id", &world.prefix)]).create().unwrap();
    for source in world.topics.layout().all() {
        let topic = world.topics.source(source);
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, i32::from(PARTITIONS) - 1);
        let committed = consumer.committed_offsets(list, ANSWER).unwrap();
        for (element, (_, end)) in committed.elements().iter().zip(bounds(world, topic)) {
            // Where nothing ever was, nothing needs to be committed.
            let nothing = end == 0 && element.offset() == Offset::Invalid;
            if !nothing && element.offset() != Offset::Offset(end) {
                let partition = element.partition();
                return Some(format!("{topic} partition {partition}: committed {:?}, end {end}", element.offset()));
            }
        }
    }
    None
}

/// Every record of a topic, from its beginning to its present end.
pub fn read_all(world: &World, topic: &str) -> Vec<OwnedMessage> {
    let settings = [("group.id", "peakpost-test-reader"), ("enable.auto.commit", "false"), ("fetch.wait.max.ms", "50")];
    let consumer: BaseConsumer = client(world, &settings).create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, i32::from(partition), Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut all, wanted) = (Vec::new(), count(world, topic));
    let more = || {
        while let Some(message) = consumer.poll(Duration::from_millis(20)) {
            all.push(message.unwrap().detach());
        }
        (all.len() as u64 >= wanted).then_some(())
    };
    until(PATIENCE, "every record is read", more, || format!("{topic} was given {wanted} records"));
    all
}
