//! Whether somebody counts, and whether it is heard here: what is shown when one of them stops.
//!
//! Why: a count that stands still looks like a season without complaints.

use std::time::{Duration, Instant};

use peakpost::config::Config;
use peakpost::feedback::{CountConfig, sums, workers};
use peakpost::job::topic::Topics;
use peakpost::observe::{Clock, Metrics};
use peakpost::sim::broker::Broker;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::world::LONG;

/// Older than anything is while all is well: it is asked every two seconds, and counted every second.
const OLD: f64 = 6.0;

/// Looks again and again.
fn until(what: &str, metrics: &Metrics, holds: impl Fn(f64, f64) -> bool) {
    let began = Instant::now();
    loop {
        let (uncounted, stale) = (metrics.feedback_uncounted.get(), metrics.reputation_stale.get());
        if holds(uncounted, stale) {
            return;
        }
        assert!(began.elapsed() < LONG, "{what}: uncounted for {uncounted:.1} s, stale for {stale:.1} s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn it_is_shown_when_nobody_counts_and_when_it_is_not_heard() {
    let topics = Topics::new("counting");
    let broker = Broker::start(vec![topics.clone()], 2, 1).unwrap();
    let client = vec![("bootstrap.servers".to_owned(), broker.brokers.clone())];
    let shipped = Config::from_parts("", std::iter::empty::<(String, String)>()).unwrap().counts;
    let config = CountConfig { client, topics: topics.clone(), ..shipped };
    let (metrics, clock) = (Metrics::new().unwrap(), Clock::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (words, told) = crossbeam::channel::bounded(10);
    let followed = runtime.block_on(sums::follow(&config, 2, words, metrics.clone(), clock.clone()));
    let (following, _verdicts) = followed.unwrap();

    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &broker.brokers).create().unwrap();
    producer.send(BaseRecord::to(&topics.events()).key("a").payload("no event, but somebody must look")).unwrap();
    producer.flush(LONG).unwrap();
    until("nobody counts, all is heard", &metrics, |uncounted, stale| uncounted > OLD && stale < OLD);
    let counting = workers::start(config, told, metrics.clone(), clock).unwrap();
    until("it is counted, all is heard", &metrics, |uncounted, stale| uncounted < OLD && stale < OLD);
    broker.obey("down 1").unwrap();
    until("nothing is heard", &metrics, |uncounted, stale| uncounted > OLD && stale > OLD);
    broker.obey("up 1").unwrap();
    until("it is heard again", &metrics, |uncounted, stale| uncounted < OLD && stale < OLD);
    counting.stop();
    following.stop();
}
