//! One topic, followed from its beginning over all its partitions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use crate::feedback::CountConfig;
use crate::job::Home;
use crate::observe::kafka;
use crate::recipient::feed;

/// What a look at the client brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Record,
    Nothing,
}

pub(super) struct Feed {
    consumer: BaseConsumer,
    topic: String,
    homes: Home,
    /// Partitions that have not been read to the end that they had at first.
    behind: BTreeSet<i32>,
    read: feed::Feed,
    fresh: Option<Instant>,
}

impl Feed {
    /// In the workers' group, which it does not join: so it may be asked how far that has come.
    pub(super) fn new(config: &CountConfig, topic: String, homes: Home) -> Result<Self, String> {
        let mut client = kafka::reader(&config.client, &config.workers());
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
        let read = feed::Feed::new(&vec![0; usize::from(homes)]);
        Ok(Self { consumer, topic, homes, behind: (0..i32::from(homes)).collect(), read, fresh: None })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer {
        &self.consumer
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.behind.is_empty()
    }

    /// What is still to be read, for people.
    pub(super) fn left(&self) -> String {
        if self.is_caught_up() { String::new() } else { format!("`{}` partitions {:?} ", self.topic, self.behind) }
    }

    /// Asks where it ends, `now`. Waits for the broker.
    pub(super) fn ask(&mut self, now: Instant, wait: Duration) -> Result<(), String> {
        self.fresh();
        let ends = kafka::offsets(&self.consumer, &self.topic, 0..i32::from(self.homes), Offset::End, wait)?;
        self.read.told(now, &ends);
        Ok(())
    }

    /// Everything that was there at this moment has been read. `None`: that was not shown yet.
    pub(super) fn fresh(&mut self) -> Option<Instant> {
        self.fresh = self.read.fresh().or(self.fresh);
        self.fresh
    }

    /// Waits a moment for a record, and has it read. One that cannot be is told of and passed over.
    pub(super) fn look(
        &mut self,
        wait: Duration,
        read: impl FnOnce(&BorrowedMessage<'_>) -> Result<(), String>,
    ) -> Result<Came, String> {
        let topic = &self.topic;
        let place = |partition| usize::try_from(partition).unwrap_or(usize::MAX);
        match self.consumer.poll(wait) {
            None => Ok(Came::Nothing),
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                if let Err(why) = read(&message) {
                    tracing::warn!(target: "peakpost::reputation", topic, partition, offset, why, "a record is passed over");
                }
                self.read.read(place(partition), offset);
                Ok(Came::Record)
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.behind.remove(&partition);
                self.read.over(place(partition));
                Ok(Came::Nothing)
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) if kafka::is_passing(code) => Ok(Came::Nothing),
                _ => Err(format!("`{topic}` cannot be read: {error}; hint: check the topic's ACLs: peakpost reads it")),
            },
        }
    }
}
