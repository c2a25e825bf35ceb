//! Writes events to Kafka, and says of each request whether all of its events are durable.
//!
//! Why: one acknowledged write by all in-sync replicas is what a 2xx stands for. A write that was given up may have
//! happened all the same; the vendor tells again, under the same key, and nothing changes. So this producer need not be
//! idempotent, and has no error that it cannot get over.
//! Must not know: HTTP, what the events say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use super::Config;
use crate::observe::kafka;

/// How long events may take to become durable. Vendors wait somewhat longer for an answer.
pub(super) const DURABLE_WITHIN: Duration = Duration::from_secs(5);

/// Why a request's events are not durable, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undone {
    /// There is no room for them.
    Full,
    /// Kafka did not take them, or not in time.
    Failed,
}

/// One request's events on their way. When the last of them has come back, and its writer has let go, it says how it went.
struct Batch {
    failed: AtomicBool,
    done: Option<oneshot::Sender<bool>>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // Who asked may have gone.
            let _gone = done.send(!self.failed.load(Ordering::Relaxed));
        }
    }
}

struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "peakpost::feedback", %error, reason, "producer error");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        if let Err((error, _)) = result {
            tracing::debug!(target: "peakpost::feedback", %error, "an event was not written");
            batch.failed.store(true, Ordering::Relaxed);
        }
    }
}

pub(super) struct Publisher {
    topic: String,
    producer: ThreadedProducer<Reports>,
}

impl Publisher {
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let mut client = kafka::client(&config.client);
        client
            .set("acks", "all")
            .set("message.timeout.ms", DURABLE_WITHIN.as_millis().to_string())
            .set("compression.type", "lz4")
            // A request for each partition and each of these spans: fewer spare the brokers, longer is paid by every answer.
            .set("linger.ms", "5")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "131072");
        let producer = ThreadedProducer::from_config_and_context(&client, Reports)
            .map_err(|e| format!("cannot make the producer of events: {e}"))?;
        Ok(Self { topic: config.topic.clone(), producer })
    }

    /// Begins with one request's events.
    pub(super) fn begin(&self) -> Writing<'_> {
        let (done_tx, done) = oneshot::channel();
        let batch = Arc::new(Batch { failed: AtomicBool::new(false), done: Some(done_tx) });
        Writing { publisher: self, batch, done }
    }
}

/// One request's events, as they are handed over.
pub(super) struct Writing<'a> {
    publisher: &'a Publisher,
    batch: Arc<Batch>,
    done: oneshot::Receiver<bool>,
}

impl Writing<'_> {
    /// Hands one event over. After an error the others may still be written.
    pub(super) fn event(&mut self, key: &str, value: &[u8]) -> Result<(), Undone> {
        let Publisher { topic, producer } = self.publisher;
        let record = BaseRecord::with_opaque_to(topic, Arc::clone(&self.batch)).key(key).payload(value);
        producer.send(record).map_err(|(error, _)| {
            tracing::debug!(target: "peakpost::feedback", %error, "an event was not taken");
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if full { Undone::Full } else { Undone::Failed }
        })
    }

    /// Waits until all are durable. Where they are not, part of them may be.
    pub(super) async fn durable(self) -> Result<(), Undone> {
        let Self { batch, done, .. } = self;
        drop(batch);
        // Each record is reported when its time is over; the rest is a margin for the thread that reports.
        match tokio::time::timeout(DURABLE_WITHIN * 2, done).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(Undone::Failed),
        }
    }
}
