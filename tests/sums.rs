//! Verdicts as an instance follows them, on the embedded broker: whoever sends is told of what changes an answer, and of
//! nothing else.
//!
//! Why: each word of news is a pass over every queue of every shard, and a blocked campaign's complaints come in all day.
//! Must not know: how counts come about, who waits.
#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's; polling sleeps")]

use std::time::{Duration, Instant};

use peakpost::config::Config;
use peakpost::feedback::CountConfig;
use peakpost::feedback::sums::{self, Told};
use peakpost::job::{Channel, Lane};
use peakpost::observe::{Clock, Metrics};
use peakpost::reputation::{Cohort, Counts, Partial, State, Stream};
use peakpost::sim::broker::Broker;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

struct World {
    broker: Broker,
    config: CountConfig,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let config = Config::from_parts("", std::iter::empty()).unwrap().counts;
        let broker = Broker::start(vec![config.topics.clone()], 1, 1).unwrap();
        let client = vec![("bootstrap.servers".to_owned(), broker.brokers.clone())];
        Self { broker, config: CountConfig { client, ..config }, clock: Clock::default() }
    }

    /// A worker publishes what it knows of mails sent a minute ago.
    fn count(&self, mailbox: &str, upto: i64, complained: u32) {
        let stream = Stream::new("acme", Channel::Email, Lane::Marketing, "mail", mailbox).unwrap();
        let start = self.clock.wall().0 / 3_600_000 * 3_600;
        let (key, partial) = (
            Cohort { stream, start }.key(0),
            Partial { upto, counts: Counts { delivered: 10_000, complained, ..Counts::default() } },
        );
        let mut client = ClientConfig::new();
        let producer: BaseProducer = client.set("bootstrap.servers", &self.broker.brokers).create().unwrap();
        let (topic, value) = (self.config.topics.reputation(), partial.value());
        producer.send(BaseRecord::to(&topic).key(&key).payload(&value)).unwrap();
        producer.flush(LONG).unwrap();
    }

    /// The complaints behind each block, by mailbox provider.
    fn blocked(&self, told: &Told) -> Vec<(String, u32)> {
        let verdicts = told.borrow();
        let blocks = verdicts.all(self.clock.wall()).filter_map(|(stream, state)| match state {
            State::Block { why, .. } => Some((stream.mailbox.to_string(), why.bad)),
            _ => None,
        });
        let mut blocks: Vec<_> = blocks.collect();
        blocks.sort();
        blocks
    }

    fn wait_for(&self, told: &Told, expected: &[(&str, u32)]) {
        let expected: Vec<(String, u32)> = expected.iter().map(|(name, bad)| ((*name).to_owned(), *bad)).collect();
        let deadline = Instant::now() + LONG;
        while self.blocked(told) != expected {
            assert!(Instant::now() < deadline, "{:?}, must be {expected:?}", self.blocked(told));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn only_what_changes_an_answer_is_told() {
    let world = World::new();
    world.count("gmail", 1, 60);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (words, _worker) = crossbeam::channel::bounded(1);
    let follow = sums::follow(&world.config, 1, words, Metrics::new().unwrap(), world.clock.clone());
    let (following, mut told) = runtime.block_on(follow).unwrap();
    assert_eq!(world.blocked(&told), [("gmail".to_owned(), 60)], "known from the start");
    told.mark_unchanged();
    world.count("gmail", 2, 75);
    world.wait_for(&told, &[("gmail", 75)]);
    assert!(!told.has_changed().unwrap(), "more complaints block it no longer; hint: Verdicts::holds_alike");
    world.count("yahoo", 1, 60);
    world.wait_for(&told, &[("gmail", 75), ("yahoo", 60)]);
    assert!(told.has_changed().unwrap(), "another stream's jobs must leave the queues");
    following.stop();
}
