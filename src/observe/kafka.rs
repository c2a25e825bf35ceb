//! What every Kafka client has in common: the operator's properties, and where its log lines go.
//!
//! Why: brokers, TLS and SASL must be the same for the reader, the writer and whoever asks.
//! Must not know: what a client is for.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

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
