//! What every Kafka client has in common: the operator's properties, and where its log lines go.
//!
//! Why: brokers, TLS and SASL must be the same for the reader, the writer and whoever asks.
//! Must not know: what a client is for.

use std::ops::Range;
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

/// Where each of these partitions begins (`Offset::Beginning`), or ends (`Offset::End`): behind its last record. One request
/// per broker; it travels behind the fetch that is out, so it takes up to `fetch.wait.max.ms`.
///
/// # Errors
/// When one of them does not answer in time.
pub fn offsets(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: Range<i32>,
    which: Offset,
    wait: Duration,
) -> Result<Vec<i64>, String> {
    let fault = |e: KafkaError| format!("`{topic}` does not say where it ends: {e}");
    let mut list = TopicPartitionList::new();
    for partition in partitions.clone() {
        list.add_partition_offset(topic, partition, which).map_err(fault)?;
    }
    // In this request the times -1 and -2 stand for end and beginning; so it works where there are no times.
    let told = consumer.offsets_for_times(list, wait).map_err(fault)?;
    let offset = |partition: i32| {
        let found = told.find_partition(topic, partition);
        match found.map(|found| (found.error(), found.offset())) {
            Some((Ok(()), Offset::Offset(offset))) => Ok(offset),
            _ => Err(format!("`{topic}` partition {partition} does not say where it ends")),
        }
    };
    partitions.map(offset).collect()
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
