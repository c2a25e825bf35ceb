//! How far the workers of the whole fleet have come with the events, as their group has committed it.
//!
//! Why: counts that stand still look like a season without complaints. A worker that fails again and again, and a partition
//! that nobody has, cannot say so themselves; whoever asks the group learns of both.
//! Must not know: who counts, what was counted.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use crate::job::Home;
use crate::observe::kafka;
use crate::recipient::feed;

pub(super) struct Counted {
    topic: String,
    homes: Home,
    /// What is committed counts as read.
    read: feed::Feed,
    fresh: Option<Instant>,
}

impl Counted {
    pub(super) fn new(topic: String, homes: Home) -> Self {
        Self { topic, homes, read: feed::Feed::new(&vec![0; usize::from(homes)]), fresh: None }
    }

    /// Asks what is committed, then where the events end, `now`. `consumer`: of the workers' group. Waits for the brokers.
    pub(super) fn ask(&mut self, consumer: &BaseConsumer, now: Instant, wait: Duration) -> Result<(), String> {
        let all = || 0..i32::from(self.homes);
        let fail = |e: KafkaError| format!("commits of `{}`: {e}", self.topic);
        let firsts = kafka::offsets(consumer, &self.topic, all(), Offset::Beginning, wait)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, i32::from(self.homes) - 1);
        let committed = consumer.committed_offsets(list, wait).map_err(fail)?;
        let ends = kafka::offsets(consumer, &self.topic, all(), Offset::End, wait)?;
        for (place, (element, first)) in committed.elements().iter().zip(firsts).enumerate() {
            element.error().map_err(fail)?;
            // What retention took away is nobody's work any more.
            let next = if let Offset::Offset(next) = element.offset() { next.max(first) } else { first };
            self.read.read(place, next - 1);
        }
        self.fresh = self.read.fresh().or(self.fresh);
        self.read.told(now, &ends);
        self.fresh = self.read.fresh().or(self.fresh);
        Ok(())
    }

    /// Everything that was there at this moment has been counted. `None`: that was not shown yet.
    pub(super) fn fresh(&self) -> Option<Instant> {
        self.fresh
    }
}
