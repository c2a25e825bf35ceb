//! One topic, followed from its beginning over all its partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use crate::feedback::CountConfig;
use crate::job::Home;
use crate::observe::kafka;

/// What a look at the client brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Record,
    Nothing,
}

pub(super) struct Feed {
    consumer: BaseConsumer,
    topic: String,
    /// Partitions that have not been read to the end that they had at first.
    behind: BTreeSet<i32>,
}

impl Feed {
    pub(super) fn new(config: &CountConfig, topic: String, homes: Home) -> Result<Self, String> {
        let mut client = kafka::reader(&config.client, &config.group);
        client
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "4096");
        let fail = |e: KafkaError| format!("cannot read `{topic}`: {e}");
        let consumer: BaseConsumer = client.create().map_err(fail)?;
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::from(homes) {
            list.add_partition_offset(&topic, partition, Offset::Beginning).map_err(fail)?;
        }
        consumer.assign(&list).map_err(fail)?;
        Ok(Self { consumer, topic, behind: (0..i32::from(homes)).collect() })
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.behind.is_empty()
    }

    /// What is still to be read, for people.
    pub(super) fn left(&self) -> String {
        if self.is_caught_up() { String::new() } else { format!("`{}` partitions {:?} ", self.topic, self.behind) }
    }

    /// Waits a moment for a record, and has it read. One that cannot be is told of and passed over.
    pub(super) fn look(
        &mut self,
        wait: Duration,
        read: impl FnOnce(&BorrowedMessage<'_>) -> Result<(), String>,
    ) -> Result<Came, String> {
        let topic = &self.topic;
        match self.consumer.poll(wait) {
            None => Ok(Came::Nothing),
            Some(Ok(message)) => {
                if let Err(why) = read(&message) {
                    let (partition, offset) = (message.partition(), message.offset());
                    tracing::warn!(target: "peakpost::reputation", topic, partition, offset, why, "a record is passed over");
                }
                Ok(Came::Record)
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.behind.remove(&partition);
                Ok(Came::Nothing)
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) if kafka::is_passing(code) => Ok(Came::Nothing),
                _ => Err(format!("`{topic}` cannot be read: {error}; hint: check the topic's ACLs: peakpost reads it")),
            },
        }
    }
}
