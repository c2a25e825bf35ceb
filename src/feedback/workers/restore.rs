//! Reads back what was published of partitions that are taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use crate::feedback::CountConfig;
use crate::feedback::doubts::{self, Doubts};
use crate::job::{Home, Wall};
use crate::observe::thread::Stop;
use crate::observe::{Clock, kafka};
use crate::reputation::{Cohort, Counter, Partial};

/// Longest wait for the next record, and for all of them: below the time after which the group gives up on somebody who does
/// not poll.
const QUIET: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(100);

/// The sums of these partitions as they were published last, and the jobs of which a word was waited for.
pub(super) fn parts(
    config: &CountConfig,
    homes: &[Home],
    clock: &Clock,
    stop: &Stop,
) -> Result<BTreeMap<Home, (Counter, Doubts)>, String> {
    let new = || (Counter::new(&config.reputation), Doubts::new(&config.doubts));
    let mut parts: BTreeMap<Home, (Counter, Doubts)> = homes.iter().map(|home| (*home, new())).collect();
    if homes.is_empty() {
        return Ok(parts);
    }
    let topic = config.topics.reputation();
    let consumer = consumer(config, &topic, homes)?;
    let (now, began) = (clock.wall(), clock.mono());
    let mut heard = began;
    let mut behind: BTreeSet<i32> = homes.iter().map(|home| i32::from(*home)).collect();
    while !behind.is_empty() {
        let came = consumer.poll(LOOK);
        heard = if came.is_some() { clock.mono() } else { heard };
        match came {
            None => {}
            Some(Ok(message)) => {
                let part = Home::try_from(message.partition()).ok().and_then(|home| parts.get_mut(&home));
                if let Some(Err(why)) = part.map(|part| take(&message, part, now)) {
                    let (partition, offset) = (message.partition(), message.offset());
                    tracing::warn!(target: "peakpost::feedback", topic, partition, offset, why, "a record that is no count is passed over");
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(behind.remove(&partition)),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) if kafka::is_passing(code) => {}
                _ => return Err(format!("`{topic}` cannot be read: {error}; hint: check the topic's ACLs")),
            },
        }
        let mono = clock.mono();
        if mono > heard + QUIET || mono > began + WITHIN {
            return Err(format!("`{topic}` was not read to its end in time, partitions {behind:?} are left"));
        }
        if stop.is_told() {
            return Err("the daemon ends".to_owned());
        }
    }
    Ok(parts)
}

fn take(message: &BorrowedMessage<'_>, (counter, doubts): &mut (Counter, Doubts), now: Wall) -> Result<(), String> {
    let key = std::str::from_utf8(message.key().unwrap_or_default()).map_err(|e| e.to_string())?;
    if doubts::is_key(key) {
        return doubts.restore(key, message.payload());
    }
    let Some(value) = message.payload() else { return Ok(()) };
    let (cohort, partition) = Cohort::parse(key)?;
    if i32::from(partition) == message.partition() {
        counter.restore(cohort, Partial::parse(value)?, now);
    }
    Ok(())
}

fn consumer(config: &CountConfig, topic: &str, homes: &[Home]) -> Result<BaseConsumer, String> {
    let mut client = kafka::reader(&config.client, &config.workers());
    client.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "100");
    let fail = |e: KafkaError| format!("cannot read `{topic}`: {e}");
    let consumer: BaseConsumer = client.create().map_err(fail)?;
    let mut list = TopicPartitionList::new();
    for home in homes {
        list.add_partition_offset(topic, i32::from(*home), Offset::Beginning).map_err(fail)?;
    }
    consumer.assign(&list).map_err(fail)?;
    Ok(consumer)
}
