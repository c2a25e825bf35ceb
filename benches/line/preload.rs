//! What waits in Kafka when a run begins: jobs, and recipients who must not be written to.
//!
//! Must not know: who reads it.

use std::time::Duration;

use peakpost::job::{Channel, Lane, Wall};
use peakpost::outcome::Cause;
use peakpost::recipient::address::Keyer;
use peakpost::recipient::suppression::{Scope, Suppression};
use peakpost::sim::load::{Generator, Mix, Shape as Job, Targets};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::Shape;
use super::world::{Load, PARTITIONS};

/// Of the recipients' hashes.
pub const KEY: &str = "a-key-for-benches-of-32-characters";

/// The n-th tenant, whose account is the n-th where there are several.
pub fn tenant(n: usize) -> String {
    format!("tenant-{n}")
}

/// Enqueues as upstream would; fails when the embedded broker has trimmed any of it.
pub fn jobs(brokers: &str, topic: &str, targets: Targets, load: &Load) {
    let shape = if load.shape == Shape::Batch { Job::TemplateMail } else { Job::Webhook };
    let generator = Generator::new(1, Mix::only(Lane::Marketing, shape), targets).unwrap();
    let producer = producer(brokers);
    for (n, mut job) in generator.take(load.jobs).enumerate() {
        if let Some(n) = n.checked_rem(load.tenants) {
            job.payload = rename(&job.payload, job.tenant, &tenant(n));
        }
        send(&producer, topic, job.key.as_bytes(), &job.payload);
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    kept(brokers, topic, load.jobs);
}

/// Strangers who do not want mail.
pub fn suppressions(brokers: &str, topic: &str, count: usize) {
    let (producer, keyer) = (producer(brokers), Keyer::new(KEY.as_bytes()).unwrap());
    for n in 0..count {
        let one = Suppression {
            channel: Channel::Email,
            tenant: None,
            recipient: keyer.hash(Channel::Email, &format!("stranger-{n}@elsewhere.example")),
            scope: Scope::All,
            reason: Cause::Unsubscribe,
            by: "bench".into(),
            at: Wall(1_795_770_000_000),
        };
        send(&producer, topic, &one.key(), &one.value());
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    if count > 0 {
        kept(brokers, topic, count);
    }
}

/// The same job under another name.
fn rename(payload: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(payload).unwrap();
    let member = |tenant: &str| format!("\"tenant\":\"{tenant}\"");
    assert!(text.contains(&member(from)), "a job names its tenant");
    text.replacen(&member(from), &member(to), 1).into_bytes()
}

fn producer(brokers: &str) -> BaseProducer {
    let settings = [("acks", "all"), ("linger.ms", "20"), ("compression.type", "lz4"), ("batch.num.messages", "10000")];
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    for (key, value) in settings {
        client.set(key, value);
    }
    client.create().unwrap()
}

fn send(producer: &BaseProducer, topic: &str, key: &[u8], payload: &[u8]) {
    let mut record = BaseRecord::to(topic).key(key).payload(payload);
    while let Err((_, kept)) = producer.send(record) {
        producer.poll(Duration::from_millis(1));
        record = kept;
    }
}

fn kept(brokers: &str, topic: &str, count: usize) {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let kept: i64 = (0..i32::from(PARTITIONS))
        .map(|p| consumer.fetch_watermarks(topic, p, Duration::from_secs(10)).map_or(0, |(low, high)| high - low))
        .sum();
    assert_eq!(kept, count as i64, "the broker did not keep them all in {topic}; hint: a real Kafka, or fewer");
}
