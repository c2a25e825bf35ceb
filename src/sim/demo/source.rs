//! The upstream services of the demo: one thread that enqueues jobs, never more at a time than the embedded
//! broker can hold.
//!
//! Why: that broker trims what nobody has read yet; a backlog it cannot hold would be a loss of the demo's own
//! making.
//! Must not know: what becomes of the jobs, beyond how many are through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::Offset;

use crate::job::topic::Topics;
use crate::job::{Home, Lane};
use crate::sim::broker::TRIM_BYTES;
use crate::sim::load::{Expect, Generator};

/// Most payload bytes enqueued and not through: a sixth of what the two jobs topics can hold, because keys do
/// not spread evenly and a partition keeps what is through until it trims.
const BACKLOG_BYTES: u64 = (TRIM_BYTES as u64) * 24 / 6;

/// What was enqueued.
#[derive(Debug, Default)]
pub struct Sent {
    /// What must become of each job that is one, by `tenant/id`.
    pub expected: HashMap<Box<str>, Expect>,
    /// Records that are no jobs, by the reason they must be given.
    pub malformed: HashMap<&'static str, u64>,
}

pub(super) struct Source {
    enqueued: Arc<AtomicU64>,
    thread: JoinHandle<Result<Sent, String>>,
}

impl Source {
    /// Starts enqueueing `jobs` jobs. `settled` counts those that are through.
    pub(super) fn start(
        brokers: &str,
        topics: Topics,
        generator: Generator,
        jobs: u64,
        settled: Arc<AtomicU64>,
    ) -> Result<Self, String> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .create()
            .map_err(|e| format!("cannot make the load's producer: {e}"))?;
        let enqueued = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&enqueued);
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || enqueue(&producer, &topics, generator, jobs, &settled, &count))
            .map_err(|e| format!("cannot start the load: {e}"))?;
        Ok(Self { enqueued, thread })
    }

    pub(super) fn enqueued(&self) -> u64 {
        self.enqueued.load(Ordering::Relaxed)
    }

    pub(super) fn finish(self) -> Result<Sent, String> {
        self.thread.join().map_err(|_| "the load thread panicked".to_owned())?
    }
}

fn enqueue(
    producer: &BaseProducer,
    topics: &Topics,
    generator: Generator,
    jobs: u64,
    settled: &AtomicU64,
    count: &AtomicU64,
) -> Result<Sent, String> {
    let mut sent = Sent::default();
    let (mut bytes, mut n) = (0_u64, 0_u64);
    let take = usize::try_from(jobs).unwrap_or(usize::MAX);
    for job in generator.take(take) {
        // Bytes that are through are not known one by one; their mean is.
        while n > 0 && bytes / n * (n - settled.load(Ordering::Relaxed).min(n)) > BACKLOG_BYTES {
            producer.poll(Duration::from_millis(1));
        }
        match job.expect {
            Expect::Dead { reason, .. } => *sent.malformed.entry(reason).or_default() += 1,
            expect => {
                sent.expected.insert(format!("{}/{}", job.tenant, job.id).into_boxed_str(), expect);
            }
        }
        bytes += job.payload.len() as u64;
        n += 1;
        let mut record = BaseRecord::to(topics.jobs(job.lane)).key(&job.key).payload(&job.payload);
        while let Err((error, kept)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(format!("enqueue: {error}"));
            }
            producer.poll(Duration::from_millis(1));
            record = kept;
        }
        if n % 256 == 0 {
            producer.poll(Duration::ZERO);
        }
        count.store(n, Ordering::Relaxed);
    }
    producer.flush(Duration::from_secs(30)).map_err(|e| format!("enqueue: {e}"))?;
    Ok(sent)
}

/// Counts jobs partitions whose first kept record lies past the group's committed offset, or whose committed
/// offset is not their end: the one is the embedded broker's doing, the other ours.
pub(super) fn trims_past_commits(brokers: &str, topics: &Topics, group: &str, partitions: Home) -> Result<u64, String> {
    let wait = Duration::from_secs(10);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .create()
        .map_err(|e| format!("cannot look at the offsets: {e}"))?;
    let mut faults = 0;
    for lane in Lane::ALL {
        let topic = topics.jobs(lane);
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, i32::from(partitions) - 1);
        let committed = consumer.committed_offsets(list, wait).map_err(|e| format!("committed offsets: {e}"))?;
        for element in committed.elements() {
            let (low, end) =
                consumer.fetch_watermarks(topic, element.partition(), wait).map_err(|e| format!("offsets: {e}"))?;
            match element.offset() {
                Offset::Offset(next) if next == end && low <= next => {}
                _ if end == 0 => {}
                _ => faults += 1,
            }
        }
    }
    Ok(faults)
}
