//! Writes suppressions and takes them back, each acknowledged by all in-sync replicas.
//!
//! Why: a list of those who have left is not done when it is sent, but when it cannot be lost any more.
//! Must not know: where the list comes from.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::Config;
use crate::observe::kafka;

/// The broker is away when it has not taken a record for so long.
const PATIENCE_MS: &str = "60000";

/// How many are acknowledged, and the first refusal.
#[derive(Default)]
struct Acks(Mutex<(u64, Option<String>)>);

impl ClientContext for Acks {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }
}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Ok(mut acks) = self.0.lock() else { return };
        match result {
            Ok(_) => acks.0 += 1,
            Err((error, _)) => {
                acks.1.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// A producer of suppressions.
pub struct Writer {
    producer: BaseProducer<Acks>,
    topic: String,
}

impl Writer {
    /// A writer into the topic.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut client = kafka::client(&config.client);
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", PATIENCE_MS)
            .set("linger.ms", "20")
            .set("compression.type", "lz4");
        let producer = BaseProducer::from_config_and_context(&client, Acks::default())
            .map_err(|e| format!("cannot make the producer of suppressions: {e}"))?;
        Ok(Self { producer, topic: config.topic.clone() })
    }

    /// Sends a record on its way; without a value it takes the key's suppression back. Waits while there is no room.
    ///
    /// # Errors
    /// When the client will not take it.
    pub fn send(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).key(key);
        record.payload = value;
        while let Err((error, kept)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.to_string());
            }
            self.producer.poll(Duration::from_millis(10));
            record = kept;
        }
        Ok(())
    }

    /// How many are acknowledged so far.
    ///
    /// # Errors
    /// The first refusal.
    pub fn acknowledged(&self) -> Result<u64, String> {
        self.producer.poll(Duration::ZERO);
        let acks = self.producer.context().0.lock().map_err(|_| "a callback panicked".to_owned())?;
        acks.1.clone().map_or(Ok(acks.0), Err)
    }

    /// Waits until all are acknowledged or refused. How many are acknowledged.
    ///
    /// # Errors
    /// The first refusal, or that the broker does not answer.
    pub fn finish(&self) -> Result<u64, String> {
        self.producer.flush(Duration::from_secs(90)).map_err(|e| e.to_string())?;
        self.acknowledged()
    }
}
