//! Reads the suppressions topic, or some of its partitions, from the beginning, and asks where they end.
//!
//! Why: a daemon follows the topic for ever and a command reads it once; both must know when they have read all of it.
//! Must not know: what becomes of what is read.

use std::ops::Range;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::Config;
use crate::observe::kafka;

/// A consumer of the topic that has joined nothing.
pub struct Reader {
    consumer: BaseConsumer,
    topic: String,
    partitions: Range<i32>,
}

/// What a look may bring.
pub enum Came<'r> {
    /// A record of the partition with this place in the reader's range.
    Record(usize, BorrowedMessage<'r>),
    /// This partition has no more now.
    Over(usize),
    /// Nothing yet.
    Nothing,
}

impl Reader {
    /// A reader of nothing yet.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut client = kafka::reader(&config.client, &config.group);
        client
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            // A transaction of somebody else's must not hold up what is behind it.
            .set("isolation.level", "read_uncommitted")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", "16384");
        let consumer = client.create().map_err(|e| format!("cannot make the consumer that reads suppressions: {e}"))?;
        Ok(Self { consumer, topic: config.topic.clone(), partitions: 0..0 })
    }

    /// How many partitions the topic has; 0: it is not there.
    ///
    /// # Errors
    /// When the brokers do not answer in time.
    pub fn count(&self, wait: Duration) -> Result<i32, String> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), wait).map_err(|e| e.to_string())?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic && topic.error().is_none());
        Ok(topic.map_or(0, |topic| i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
    }

    /// Reads these partitions from the beginning, and no others any more.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign(&mut self, partitions: Range<i32>) -> Result<(), String> {
        self.partitions = partitions;
        let list = self.list(Offset::Beginning)?;
        self.consumer.assign(&list).map_err(|e| format!("assign `{}`: {e}", self.topic))
    }

    /// Where each of its partitions begins.
    ///
    /// # Errors
    /// When one of them does not answer in time.
    pub fn starts(&self, wait: Duration) -> Result<Vec<i64>, String> {
        self.ask(Offset::Beginning, wait)
    }

    /// Where each of its partitions ends: behind its last record.
    ///
    /// # Errors
    /// When one of them does not answer in time.
    pub fn ends(&self, wait: Duration) -> Result<Vec<i64>, String> {
        self.ask(Offset::End, wait)
    }

    fn ask(&self, which: Offset, wait: Duration) -> Result<Vec<i64>, String> {
        kafka::offsets(&self.consumer, &self.topic, self.partitions.clone(), which, wait)
    }

    fn list(&self, offset: Offset) -> Result<TopicPartitionList, String> {
        let mut list = TopicPartitionList::new();
        for partition in self.partitions.clone() {
            list.add_partition_offset(&self.topic, partition, offset).map_err(|e| e.to_string())?;
        }
        Ok(list)
    }

    /// Waits a moment for what comes.
    ///
    /// # Errors
    /// When the topic cannot be read, with a hint. The client tries again by itself.
    pub fn look(&self, wait: Duration) -> Result<Came<'_>, String> {
        let place = |partition: i32| usize::try_from(partition - self.partitions.start).unwrap_or(usize::MAX);
        match self.consumer.poll(wait) {
            None => Ok(Came::Nothing),
            Some(Ok(message)) => Ok(Came::Record(place(rdkafka::Message::partition(&message)), message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Came::Over(place(partition))),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) if kafka::is_passing(code) => Ok(Came::Nothing),
                _ => {
                    let topic = &self.topic;
                    Err(format!("`{topic}` cannot be read: {error}; hint: check the topic's ACLs: peakpost reads it"))
                }
            },
        }
    }
}
