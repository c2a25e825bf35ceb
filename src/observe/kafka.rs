//! What every Kafka client has in common: the operator's properties, and where its log lines go.
//!
//! Why: brokers, TLS and SASL must be the same for the reader, the writer and whoever asks.
//! Must not know: what a client is for.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

/// A client's configuration with the operator's properties; the caller sets what its work needs.
#[must_use]
pub fn client(properties: &[(String, String)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (key, value) in properties {
        client.set(key, value);
    }
    client.set("socket.keepalive.enable", "true");
    client
}

/// The configuration of a consumer, with what all of them have in common: a group, without which a client assigns nothing,
/// and that it commits nothing of its own accord.
#[must_use]
pub fn reader(properties: &[(String, String)], group: &str) -> ClientConfig {
    let mut client = client(properties);
    client.set("group.id", group).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    client
}

/// A line of the Kafka client, under target `librdkafka`. `facility` is its own word for where it comes from.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel as Level;
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::error!(target: "librdkafka", facility, message);
        }
        Level::Warning => tracing::warn!(target: "librdkafka", facility, message),
        Level::Notice | Level::Info => tracing::info!(target: "librdkafka", facility, message),
        Level::Debug => tracing::debug!(target: "librdkafka", facility, message),
    }
}

/// Where each of a topic's partitions begins (`Offset::Beginning`), or ends (`Offset::End`): behind its last record.
///
/// # Errors
/// When one of them does not answer in time.
pub fn offsets(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
    which: Offset,
    wait: Duration,
) -> Result<Vec<i64>, String> {
    let partitions: Vec<_> = partitions.into_iter().map(|partition| (topic, partition)).collect();
    let told = each_offset(consumer, &partitions, which, wait).map_err(|e| format!("`{topic}`: {e}"))?;
    told.into_iter().collect()
}

/// The same of partitions of many topics, in the order asked; of each by itself why it is not known. One request per
/// broker, however many they are; it travels behind the fetch that is out, so it takes up to `fetch.wait.max.ms`.
///
/// # Errors
/// When nobody answers in time.
pub fn each_offset(
    consumer: &BaseConsumer,
    partitions: &[(&str, i32)],
    which: Offset,
    wait: Duration,
) -> Result<Vec<Result<i64, String>>, String> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let fault = |e: KafkaError| format!("nobody says where partitions begin and end: {e}");
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, which).map_err(fault)?;
    }
    // In this request the times -1 and -2 stand for end and beginning; so it works where there are no times.
    let told = consumer.offsets_for_times(list, wait).map_err(fault)?;
    let told = told.elements();
    let of = |(n, (topic, partition)): (usize, &(&str, i32))| {
        let found = told.get(n).filter(|found| found.topic() == *topic && found.partition() == *partition);
        match found.map(|found| (found.error(), found.offset())) {
            Some((Ok(()), Offset::Offset(offset))) => Ok(offset),
            Some((Err(e), _)) => {
                Err(format!("`{topic}` partition {partition}: where it begins and ends is not said: {e}"))
            }
            _ => Err(format!("`{topic}` partition {partition}: where it begins and ends is not said")),
        }
    };
    Ok(partitions.iter().enumerate().map(of).collect())
}

/// Whether an error of a reader is about the way to the broker and not about what is read: the client tries again
/// by itself.
#[must_use]
pub fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::Authentication
            | Code::SSL
            | Code::PartitionEOF
    )
}
