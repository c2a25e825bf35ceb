//! Lifts what holds a stream back: one record in the control topic.
//!
//! Why: somebody has found out why people complained and has mended it; a day is long in the season.
//! Must not know: command lines.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::Failure;
use crate::config::Config;
use crate::control::Release;
use crate::observe::{Clock, kafka};
use crate::reputation::Stream;

/// A broker that has not acknowledged by then does not work.
const WITHIN: Duration = Duration::from_secs(20);

/// What became of the one record.
#[derive(Default)]
struct Answer(Mutex<Option<Result<(), String>>>);

impl ClientContext for Answer {}

impl ProducerContext for Answer {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.to_string());
        if let Ok(mut answer) = self.0.lock() {
            *answer = Some(result);
        }
    }
}

/// Tells every instance that what was sent before now holds this stream back no longer. Returns once it is durable.
///
/// # Errors
/// When the stream is none, its provider is not configured, or the broker does not take it.
pub fn release(config: &Config, stream: &str, by: &str, why: &str) -> Result<Release, Failure> {
    let stream: Stream = stream.parse().map_err(Failure::Misconfigured)?;
    if config.providers.iter().all(|provider| *provider.name != *stream.provider) {
        return Err(Failure::Misconfigured(format!("provider \"{}\" is not configured", stream.provider)));
    }
    let release =
        Release { stream: stream.to_string().into(), at: Clock::default().wall(), by: by.into(), why: why.into() };
    let mut client = kafka::client(&config.intake.client);
    client.set("acks", "all").set("message.timeout.ms", WITHIN.as_millis().to_string());
    let producer = BaseProducer::from_config_and_context(&client, Answer::default())
        .map_err(|e| Failure::Broken(format!("cannot make the producer of releases: {e}")))?;
    let topic = config.intake.topics.control();
    let refused =
        |e: String| Failure::Unavailable(format!("`{topic}` does not take it: {e}; hint: `kafka.brokers`, ACLs"));
    let (key, value) = (release.key(), release.value());
    producer.send(BaseRecord::to(&topic).key(&key).payload(&value)).map_err(|(e, _)| refused(e.to_string()))?;
    producer.flush(WITHIN * 2).map_err(|e| refused(e.to_string()))?;
    let answer = producer.context().0.lock().ok().and_then(|mut answer| answer.take());
    match answer {
        Some(Ok(())) => Ok(release),
        Some(Err(e)) => Err(refused(e)),
        None => Err(refused("no answer".to_owned())),
    }
}
