//! What is written to Kafka for a run: jobs that wait or come by and by, and recipients who must not be written to.
//!
//! Must not know: who reads it.

use std::time::{Duration, Instant};

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
    let producer = producer(brokers);
    for (n, mut job) in generator(load.shape, targets).take(load.jobs).enumerate() {
        if let Some(n) = n.checked_rem(load.tenants) {
            job.payload = rename(&job.payload, job.tenant, &tenant(n));
        }
        send(&producer, topic, job.key.as_bytes(), &job.payload);
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    kept(brokers, topic, load.jobs);
}

/// Jobs that come evenly.
pub struct Stream {
    producer: BaseProducer,
    topic: String,
    jobs: Generator,
}

impl Stream {
    pub fn new(brokers: &str, topic: &str, targets: Targets, shape: Shape) -> Self {
        Self { producer: producer(brokers), topic: topic.to_owned(), jobs: generator(shape, targets) }
    }

    /// Enqueues so many a second, for so long. Returns how many these were.
    pub fn run(&mut self, rate: f64, over: Duration) -> usize {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < over {
            while (count as f64) < began.elapsed().as_secs_f64() * rate {
                let job = self.jobs.next().unwrap();
                send(&self.producer, &self.topic, job.key.as_bytes(), &job.payload);
                count += 1;
            }
            self.producer.poll(Duration::from_millis(1));
        }
        self.producer.flush(Duration::from_secs(120)).unwrap();
        count
    }
}

fn generator(shape: Shape, targets: Targets) -> Generator {
    let shape = if shape == Shape::Batch { Job::TemplateMail } else { Job::Webhook };
    Generator::new(1, Mix::only(Lane::Marketing, shape), targets).unwrap()
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
    let settings = [("acks", "all"), ("linger.ms", "5"), ("compression.type", "lz4"), ("batch.num.messages", "10000")];
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
