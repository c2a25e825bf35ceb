//! Reads back what was published of partitions that are taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::feedback::CountConfig;
use crate::job::Home;
use crate::observe::thread::Stop;
use crate::observe::{Clock, kafka};
use crate::reputation::{Cohort, Counter, Partial};

/// Longest wait for the next record, and for all of them: below the time after which the group gives up on somebody who does
/// not poll.
const QUIET: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(100);

/// The sums of these partitions as they were published last.
pub(super) fn counters(
    config: &CountConfig,
    homes: &[Home],
    clock: &Clock,
    stop: &Stop,
) -> Result<BTreeMap<Home, Counter>, String> {
    let mut counters: BTreeMap<Home, Counter> =
        homes.iter().map(|home| (*home, Counter::new(&config.reputation))).collect();
    if homes.is_empty() {
        return Ok(counters);
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
                let read = |value| {
                    let key = std::str::from_utf8(message.key().unwrap_or_default()).map_err(|e| e.to_string())?;
                    let (cohort, partition) = Cohort::parse(key)?;
                    Ok::<_, String>((cohort, partition, Partial::parse(value)?))
                };
                match message.payload().map(read) {
                    Some(Ok((cohort, partition, partial))) if i32::from(partition) == message.partition() => {
                        if let Some(counter) = counters.get_mut(&partition) {
                            counter.restore(cohort, partial, now);
                        }
                    }
                    Some(Ok(_)) | None => {}
                    Some(Err(why)) => {
                        let (partition, offset) = (message.partition(), message.offset());
                        tracing::warn!(target: "peakpost::feedback", topic, partition, offset, why, "a record that is no count is passed over");
                    }
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
    Ok(counters)
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
