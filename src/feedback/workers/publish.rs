//! Makes counts, suppressions and what was told of quarantined jobs durable.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use crate::feedback::CountConfig;
use crate::job::Home;
use crate::observe::kafka;

/// A record that is not acknowledged within this is given up, and the worker begins anew. Well below the group's patience
/// with somebody who does not poll.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first failure.
#[derive(Default)]
struct Reports(Mutex<Option<String>>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "peakpost::feedback", %error, reason, "producer error");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Err((error, _)), Ok(mut first)) = (result, self.0.lock()) {
            first.get_or_insert_with(|| error.to_string());
        }
    }
}

pub(super) struct Publisher {
    producer: BaseProducer<Reports>,
    counts: String,
    suppressions: String,
    outcomes: String,
}

impl Publisher {
    pub(super) fn new(config: &CountConfig) -> Result<Self, String> {
        let mut client = kafka::client(&config.client);
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .set("compression.type", "lz4")
            .set("linger.ms", "5");
        let producer = BaseProducer::from_config_and_context(&client, Reports::default())
            .map_err(|e| format!("cannot make the producer of counts: {e}"))?;
        let (counts, suppressions) = (config.topics.reputation(), config.topics.suppressions());
        Ok(Self { producer, counts, suppressions, outcomes: config.topics.outcomes() })
    }

    /// A partial count, in the partition of its events: who takes them over reads that one alone.
    pub(super) fn count(&self, home: Home, key: &str, value: &[u8]) -> Result<(), String> {
        self.send(BaseRecord::to(&self.counts).partition(i32::from(home)).key(key.as_bytes()).payload(value))
    }

    /// What is kept of a job for whoever takes its partition over, in the place of its count; without a record nothing is.
    pub(super) fn keep(&self, home: Home, key: &str, record: Option<&[u8]>) -> Result<(), String> {
        let mut kept = BaseRecord::to(&self.counts).partition(i32::from(home)).key(key.as_bytes());
        kept.payload = record;
        self.send(kept)
    }

    /// An outcome, beside the earlier ones of its job.
    pub(super) fn resolve(&self, home: Home, id: &str, record: &[u8]) -> Result<(), String> {
        self.send(BaseRecord::to(&self.outcomes).partition(i32::from(home)).key(id.as_bytes()).payload(record))
    }

    pub(super) fn suppress(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.send(BaseRecord::to(&self.suppressions).key(key).payload(value))
    }

    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), String> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                // What is in the queue is acknowledged or given up in time, so there will be room.
                Err((e, back)) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(Duration::from_millis(10));
                    record = back;
                }
                Err((e, _)) => return Err(format!("a count cannot be produced: {e}")),
            }
        }
    }

    /// Waits until all of it is acknowledged by all in-sync replicas.
    pub(super) fn flush(&self) -> Result<(), String> {
        self.producer.flush(PATIENCE * 2).map_err(|e| format!("counts are not acknowledged: {e}"))?;
        let failed = self.producer.context().0.lock().ok().and_then(|mut first| first.take());
        failed
            .map_or(Ok(()), |error| Err(format!("counts are not acknowledged: {error}; hint: check the topics' ACLs")))
    }
}
