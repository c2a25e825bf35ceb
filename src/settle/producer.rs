//! The idempotent producer behind the settle thread.
//!
//! Why: acknowledged means written by all in-sync replicas; an expiry in flight may have been written, so it
//! is produced again (readers know records by source, a second one changes nothing).
//! Must not know: what the records say.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::Config;
use crate::observe::kafka;

/// What became of one produced record.
#[derive(Debug)]
pub(super) struct Delivered {
    /// The number given to `send`.
    pub(super) slot: usize,
    /// Its offset, or why there is none.
    pub(super) result: Result<i64, Failure>,
}

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may work another time.
    Passing(String),
    /// The broker will never take it.
    ForGood(String),
}

/// Collects delivery reports; the settle thread polls, so the lock is never contended.
#[derive(Default)]
struct Reports(Mutex<Vec<Delivered>>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "peakpost::settle", %error, reason, "producer error");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: usize) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(judge(error)),
        };
        if let Ok(mut reports) = self.0.lock() {
            reports.push(Delivered { slot, result });
        }
    }
}

fn judge(error: &KafkaError) -> Failure {
    use RDKafkaErrorCode as Code;
    let text = error.to_string();
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTopic
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::PolicyViolation
            | Code::InvalidRequiredAcks,
        ) => Failure::ForGood(text),
        _ => Failure::Passing(text),
    }
}

/// One record to produce.
pub(super) struct Record<'a> {
    pub(super) topic: &'a str,
    /// `None`: by its key.
    pub(super) partition: Option<i32>,
    pub(super) key: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub(super) slot: usize,
}

pub(super) struct Producer {
    inner: BaseProducer<Reports>,
}

impl Producer {
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let mut client = kafka::client(&config.client);
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "600000")
            .set("compression.type", "lz4")
            .set("linger.ms", config.linger.as_millis().to_string())
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", config.queue_max.to_string())
            .set("queue.buffering.max.kbytes", (config.queue_bytes >> 10).to_string());
        let inner = BaseProducer::from_config_and_context(&client, Reports::default())
            .map_err(|e| format!("cannot make the outcomes producer: {e}"))?;
        Ok(Self { inner })
    }

    /// Takes a record into the queue. `false`: the queue is full, ask again after a poll.
    pub(super) fn send(&self, record: &Record<'_>) -> Result<bool, Failure> {
        let mut base = BaseRecord::with_opaque_to(record.topic, record.slot).key(record.key).payload(record.payload);
        base.partition = record.partition;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            base = base.headers(
                record.headers.iter().fold(headers, |h, (key, value)| h.insert(Header { key, value: *value })),
            );
        }
        match self.inner.send(base) {
            Ok(()) => Ok(true),
            Err((e, _)) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => Ok(false),
            Err((e, _)) => Err(judge(&e)),
        }
    }

    /// Serves delivery reports without waiting, into `out`.
    pub(super) fn poll(&self, out: &mut Vec<Delivered>) {
        // One poll serves one event, which reports one acknowledged request: go on while there are any.
        loop {
            self.inner.poll(Duration::ZERO);
            match self.inner.context().0.lock() {
                Ok(mut reports) if !reports.is_empty() => out.append(&mut reports),
                _ => return,
            }
        }
    }

    /// The fatal error of an idempotent producer, if it has one: nothing more can be produced with it.
    pub(super) fn fatal(&self) -> Option<String> {
        self.inner.client().fatal_error().map(|(code, text)| format!("{code:?}: {text}"))
    }
}
