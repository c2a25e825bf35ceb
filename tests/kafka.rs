//! The real binary against a real Kafka (or what of it the embedded broker can show), with vendors that keep their
//! own log of what arrived.
//!
//! Why: promises about loss, duplicates, limits and drains hold for processes or not at all. With
//! `PEAKPOST_TEST_BROKERS=host:port` (see `tests/kafka/kafka.sh`) every scenario runs in full; without it, on the
//! embedded broker, smaller and with what was left out named.
//! Must not know: the daemon's insides.
#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's, not the line's; polling sleeps")]

#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod support;

#[path = "kafka_suite/age.rs"]
mod age;
#[path = "kafka_suite/blocked.rs"]
mod blocked;
#[path = "kafka_suite/carried.rs"]
mod carried;
#[path = "kafka_suite/enqueue.rs"]
mod enqueue;
#[path = "kafka_suite/failover.rs"]
mod failover;
#[path = "kafka_suite/feedback.rs"]
mod feedback;
#[path = "kafka_suite/feedback_rate.rs"]
mod feedback_rate;
#[path = "kafka_suite/fleet.rs"]
mod fleet;
#[path = "kafka_suite/instances.rs"]
mod instances;
#[path = "kafka_suite/lanes.rs"]
mod lanes;
#[path = "kafka_suite/malformed.rs"]
mod malformed;
#[path = "kafka_suite/order.rs"]
mod order;
#[path = "kafka_suite/outage.rs"]
mod outage;
#[path = "kafka_suite/overtakes.rs"]
mod overtakes;
#[path = "kafka_suite/rate.rs"]
mod rate;
#[path = "kafka_suite/ratios.rs"]
mod ratios;
#[path = "kafka_suite/reputation.rs"]
mod reputation;
#[path = "kafka_suite/reset.rs"]
mod reset;
#[path = "kafka_suite/resolved.rs"]
mod resolved;
#[path = "kafka_suite/send_at.rs"]
mod send_at;
#[path = "kafka_suite/senders.rs"]
mod senders;
#[path = "kafka_suite/stop.rs"]
mod stop;
#[path = "kafka_suite/suppress.rs"]
mod suppress;
#[path = "kafka_suite/topics.rs"]
mod topics;
#[path = "kafka_suite/twice.rs"]
mod twice;
#[path = "kafka_suite/unknown_limit.rs"]
mod unknown_limit;
#[path = "kafka_suite/vendor.rs"]
mod vendor;
#[path = "kafka_suite/warm_up.rs"]
mod warm_up;
