//! A data handle: reads exactly the partitions it is told to, from explicit offsets. There are two: one for the
//! lanes, which fetches ahead, and one for tiers and holds, whose heads may wait for hours.
//!
//! Why: it never subscribes, so a rebalance never touches what it has fetched. Back-pressure is not polling a
//! partition's queue; nothing is paused, so nothing fetched is thrown away.
//! Must not know: the group, commits.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use rdkafka::Statistics;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use super::Config;
use crate::job::topic::Topics;
use crate::job::{Home, Lane, Source};
use crate::observe::{Metrics, kafka};

/// How often lag is taken from the client's statistics.
const STATISTICS: Duration = Duration::from_secs(2);

pub(super) struct Context {
    topics: Topics,
    metrics: Metrics,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        for lane in Lane::ALL {
            let Some(topic) = statistics.topics.get(self.topics.jobs(lane)) else { continue };
            let lag = |p: &rdkafka::statistics::Partition| match (p.hi_offset, p.app_offset) {
                (hi, app) if p.partition >= 0 && hi >= 0 && app >= 0 => (hi - app).max(0),
                _ => 0,
            };
            let sum = topic.partitions.values().map(lag).sum();
            self.metrics.lag.with_label_values(&[lane.as_str()]).set(sum);
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "peakpost::intake", %error, reason, "data client error");
    }
}

impl ConsumerContext for Context {}

/// A partition's records, in log order.
pub(super) type Queue = PartitionQueue<Context>;

pub(super) struct Data {
    consumer: Arc<BaseConsumer<Context>>,
    topics: Topics,
    wake: Thread,
}

/// How far a handle fetches ahead.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ahead {
    /// As far as memory allows.
    Far,
    /// Little: most of it is not due.
    Little,
}

impl Data {
    pub(super) fn new(
        config: &Config,
        ahead: Ahead,
        metrics: Metrics,
        homes: Home,
        wake: Thread,
    ) -> Result<Self, String> {
        let mut client = kafka::reader(&config.client, &config.group);
        // Fetched ahead by the client, per partition queue and before decompression; bounded beside our own
        // budget: a quarter of it, over all queues, at least enough for the largest record.
        let queues = usize::from(homes) * Lane::ALL.len();
        let fetch_kbytes = (config.memory_bytes / 4 / queues / 1024).clamp(256, 4096);
        match ahead {
            Ahead::Far => client
                .set("queued.min.messages", "2000")
                .set("queued.max.messages.kbytes", fetch_kbytes.to_string())
                .set("fetch.message.max.bytes", "262144")
                .set("statistics.interval.ms", STATISTICS.as_millis().to_string()),
            Ahead::Little => client
                .set("queued.min.messages", "200")
                .set("queued.max.messages.kbytes", "64")
                .set("fetch.message.max.bytes", "65536"),
        };
        client
            .set("auto.offset.reset", "error")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.wait.max.ms", "100")
            .set("check.crcs", "true");
        let topics = config.topics.clone();
        let context = Context { topics: topics.clone(), metrics };
        let mut consumer = BaseConsumer::from_config_and_context(&client, context)
            .map_err(|e| format!("cannot make the data consumer: {e}"))?;
        let unpark = wake.clone();
        consumer.set_nonempty_callback(move || unpark.unpark());
        Ok(Self { consumer: Arc::new(consumer), topics, wake })
    }

    /// Starts reading partitions, each from an offset: splits their queues, then assigns them. The queues come in the same
    /// order.
    pub(super) fn open(&self, from: &[(Source, Home, i64)]) -> Result<Vec<Queue>, String> {
        let mut queues = Vec::with_capacity(from.len());
        let mut tpl = TopicPartitionList::new();
        for (source, home, next) in from {
            let (topic, partition) = (self.topics.source(*source), i32::from(*home));
            let mut queue = self
                .consumer
                .split_partition_queue(topic, partition)
                .ok_or_else(|| format!("no queue for `{topic}` partition {home}"))?;
            let wake = self.wake.clone();
            queue.set_nonempty_callback(move || wake.unpark());
            tpl.add_partition_offset(topic, partition, Offset::Offset(*next)).map_err(|e| e.to_string())?;
            queues.push(queue);
        }
        self.consumer.incremental_assign(&tpl).map_err(|e| format!("assign {from:?}: {e}"))?;
        Ok(queues)
    }

    /// Stops reading partitions.
    pub(super) fn close(&self, partitions: &[(Source, Home)]) {
        if partitions.is_empty() {
            return;
        }
        let mut tpl = TopicPartitionList::new();
        for (source, home) in partitions {
            tpl.add_partition(self.topics.source(*source), i32::from(*home));
        }
        if let Err(error) = self.consumer.incremental_unassign(&tpl) {
            tracing::warn!(target: "peakpost::intake", ?partitions, %error, "unassign");
        }
    }

    /// Serves the client's own events. Records do not come this way, because queues are split before they are
    /// assigned; if one ever did, its home must stop, or the record would be passed over.
    pub(super) fn poll(&self) -> Option<Home> {
        match self.consumer.poll(Duration::ZERO)? {
            Ok(stray) => Home::try_from(stray.partition()).ok(),
            Err(error) => {
                tracing::debug!(target: "peakpost::intake", %error, "data client");
                None
            }
        }
    }
}
