//! A data handle: reads exactly the partitions it is told to, from explicit offsets. There are two: one for the
//! lanes, which fetches ahead, and one for tiers and holds, whose heads may wait for hours.
//!
//! Why: it never subscribes, so a rebalance never touches what it has fetched. Back-pressure is not polling a
//! partition's queue; nothing is paused, so nothing fetched is thrown away.
//! Must not know: the group, commits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
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
use crate::job::{Home, Lane, Source};
use crate::observe::{Metrics, kafka};

/// How often lag is taken from the client's statistics.
const STATISTICS: Duration = Duration::from_secs(2);

pub(super) struct Context {
    sources: Vec<(Source, String)>,
    metrics: Metrics,
    /// How far partitions reach, as far as the client has heard.
    ends: Mutex<HashMap<(Source, i32), i64>>,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        for (source, topic) in &self.sources {
            let Some(topic) = statistics.topics.get(topic) else { continue };
            let Source::Jobs(lane) = source else {
                if let Ok(mut ends) = self.ends.lock() {
                    ends.extend(topic.partitions.values().map(|p| ((*source, p.partition), p.hi_offset)));
                }
                continue;
            };
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
    sources: Vec<(Source, String)>,
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
        let layout = config.topics.layout();
        let sources: Vec<Source> = match ahead {
            Ahead::Far => Lane::ALL.map(Source::Jobs).to_vec(),
            Ahead::Little => layout.later().collect(),
        };
        let sources: Vec<_> = sources.into_iter().map(|s| (s, config.topics.source(s).to_owned())).collect();
        let mut client = kafka::reader(&config.client, &config.group);
        // Fetched ahead by the client, per partition queue and before decompression; bounded beside our own
        // budget: a quarter of it, over all queues, at least enough for the largest record.
        let queues = usize::from(homes) * Lane::ALL.len();
        let fetch_kbytes = (config.memory_bytes / 4 / queues / 1024).clamp(256, 4096);
        match ahead {
            Ahead::Far => client
                .set("queued.min.messages", "2000")
                .set("queued.max.messages.kbytes", fetch_kbytes.to_string())
                .set("fetch.message.max.bytes", "262144"),
            Ahead::Little => client
                .set("queued.min.messages", "200")
                .set("queued.max.messages.kbytes", "64")
                .set("fetch.message.max.bytes", "65536"),
        };
        client
            .set("auto.offset.reset", "error")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.wait.max.ms", "100")
            .set("check.crcs", "true")
            .set("statistics.interval.ms", STATISTICS.as_millis().to_string());
        let context = Context { sources: sources.clone(), metrics, ends: Mutex::default() };
        let mut consumer = BaseConsumer::from_config_and_context(&client, context)
            .map_err(|e| format!("cannot make the data consumer: {e}"))?;
        let unpark = wake.clone();
        consumer.set_nonempty_callback(move || unpark.unpark());
        Ok(Self { consumer: Arc::new(consumer), sources, wake })
    }

    /// Starts reading a home: splits its queues, then assigns its partitions. `next` says where, by source.
    pub(super) fn open(&self, home: Home, next: impl Fn(Source) -> i64) -> Result<Vec<(Source, Queue)>, String> {
        let mut queues = Vec::with_capacity(self.sources.len());
        let mut tpl = TopicPartitionList::new();
        for (source, topic) in &self.sources {
            let mut queue = self
                .consumer
                .split_partition_queue(topic, i32::from(home))
                .ok_or_else(|| format!("no queue for `{topic}` partition {home}"))?;
            let wake = self.wake.clone();
            queue.set_nonempty_callback(move || wake.unpark());
            tpl.add_partition_offset(topic, i32::from(home), Offset::Offset(next(*source)))
                .map_err(|e| e.to_string())?;
            queues.push((*source, queue));
        }
        self.consumer.incremental_assign(&tpl).map_err(|e| format!("assign home {home}: {e}"))?;
        Ok(queues)
    }

    /// How far a partition reaches, as far as the client has heard: the offset after its last record, or -1.
    pub(super) fn end(&self, source: Source, home: Home) -> i64 {
        let ends = self.consumer.context().ends.lock();
        ends.ok().and_then(|ends| ends.get(&(source, i32::from(home))).copied()).unwrap_or(-1)
    }

    /// Stops reading a home.
    pub(super) fn close(&self, home: Home) {
        let mut tpl = TopicPartitionList::new();
        for (_, topic) in &self.sources {
            tpl.add_partition(topic, i32::from(home));
        }
        if let Err(error) = self.consumer.incremental_unassign(&tpl) {
            tracing::warn!(target: "peakpost::intake", home, %error, "unassign");
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
