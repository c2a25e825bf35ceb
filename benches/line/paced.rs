//! How long messages are underway while they come evenly, at a part of what can be carried.
//!
//! Why: of a backlog a message's time says how long the backlog is, not what the line adds. The floor's stands beside it.
//! Must not know: the daemon's insides.

use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use peakpost::job::Lane;
use peakpost::outcome::record::Record;
use rdkafka::message::Message;

use super::Shape;
use super::preload::Stream;
use super::world::{self, Load, World};

/// So long they come before any of them counts: their reader is starting …
const STARTING: Duration = Duration::from_secs(8);
/// … and so long while they do.
const OVER: Duration = Duration::from_secs(10);

/// Prints for floor and daemon the time from a message's timestamp in Kafka until its vendor had answered.
pub fn run(shape: Shape, rate: f64, daemon: &Path) {
    println!("{} at {rate:.0} messages/s, from Kafka's timestamp to the vendor's answer", shape.as_str());
    for name in ["floor", "daemon"] {
        let world = World::new(Load::of(shape, 0), daemon);
        let process = if name == "floor" { world.start_floor() } else { world.start() };
        let topics = world.topics();
        let mut stream = Stream::new(&world.brokers, topics.jobs(Lane::Marketing), world.targets(), shape);
        let _first = stream.run(rate, STARTING);
        let (before, since) = (process.cpu(), UNIX_EPOCH.elapsed().unwrap());
        let count = stream.run(rate, OVER);
        let cpu = process.cpu().saturating_sub(before);
        let mut times = times(&world.brokers, &topics.outcomes(), since);
        assert_eq!(times.len(), count, "each has one outcome; hint: is the computer too slow for {rate:.0} a second?");
        times.sort_unstable();
        let of = |percent: usize| times[(count - 1) * percent / 100];
        let each = cpu.as_secs_f64() * 1e6 / count as f64;
        println!("  {name:6} p50 {} ms  p99 {} ms  {each:6.2} CPU-us a message", of(50), of(99));
    }
}

/// What the outcomes say of messages since then, in milliseconds. They are complete when none has come for a while.
fn times(brokers: &str, outcomes: &str, since: Duration) -> Vec<i64> {
    let consumer = world::reader(brokers, outcomes);
    let since = i64::try_from(since.as_millis()).unwrap();
    let (mut times, mut heard) = (Vec::new(), Instant::now());
    while heard.elapsed() < Duration::from_secs(3) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let record: Record<'_> = serde_json::from_slice(message.payload().unwrap()).unwrap();
        times.extend((record.enqueued_ms >= since).then(|| record.at_ms - record.enqueued_ms));
        heard = Instant::now();
    }
    times
}
