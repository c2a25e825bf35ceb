//! The real binary, killed, restarted, frozen and cut off from its broker, under load.
//!
//! Why: what is promised about loss and duplicates is promised for the worst moment, so the worst moments are made:
//! SIGKILL at named points (feature `failpoints`) and at random, graceful restarts in a row, instances that come, go
//! and freeze, a broker that stops and errs. Every scenario ends with the checker over everything.
//! Must not know: the daemon's insides, but for the names of its failpoints.
//!
//! By default small, on the embedded broker. The full run:
//!
//! ```sh
//! PEAKPOST_CRASH=full cargo test --release --test crash -- --nocapture
//! ```
//!
//! and either on a real Kafka with `PEAKPOST_TEST_BROKERS=host:port` (`tests/kafka/kafka.sh start DIR`).
//! `PEAKPOST_CRASH_SEED=n` makes the same dice again.
#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's, not the line's; polling sleeps")]

#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod support;

#[path = "crash/broker.rs"]
mod broker;
#[path = "crash/budget.rs"]
mod budget;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/plan.rs"]
mod plan;
#[path = "crash/rebalances.rs"]
mod rebalances;
#[path = "crash/restarts.rs"]
mod restarts;
