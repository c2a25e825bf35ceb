//! The embedded broker: librdkafka's mock cluster, real protocol and groups, in memory.
//!
//! Why: the demo and the tests need a Kafka where there is none. It trims a partition at 5 MiB, consumed or
//! not, has no `DescribeConfigs`, `CreateTopics`, `DeleteRecords` or offsets-for-times, and a join takes about 3 s;
//! anything that is to last needs a real Kafka.
//! Must not know: who uses it.

use std::thread::JoinHandle;

use crossbeam::channel::{Sender, bounded};
use rdkafka::mocking::MockCluster;

use crate::job::Home;
use crate::job::topic::Topics;

/// Bytes after which it trims a partition, consumed or not.
pub const TRIM_BYTES: usize = 5 * 1024 * 1024;

/// A running embedded broker. It stops when this is dropped.
#[derive(Debug)]
pub struct Broker {
    /// What clients connect to.
    pub brokers: String,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts it and makes the topics of each line, with `partitions` each.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(lines: Vec<Topics>, partitions: Home) -> Result<Self, String> {
        let (ready_tx, ready) = bounded(1);
        let (stop, stopped) = bounded::<()>(1);
        // The cluster's handle must stay on the thread that made it.
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || {
                let cluster = start(&lines, partitions);
                let answer = cluster.as_ref().map(MockCluster::bootstrap_servers).map_err(Clone::clone);
                if ready_tx.send(answer).is_ok() && cluster.is_ok() {
                    // Ends when the handle is dropped.
                    let _dropped = stopped.recv();
                }
            })
            .map_err(|e| format!("cannot start the broker's thread: {e}"))?;
        let brokers = ready.recv().map_err(|_| "the embedded broker ended early".to_owned())??;
        Ok(Self { brokers, stop: Some(stop), thread: Some(thread) })
    }
}

fn start(
    lines: &[Topics],
    partitions: Home,
) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, String> {
    let cluster = MockCluster::new(1).map_err(|e| format!("cannot start the embedded broker: {e}"))?;
    for topics in lines {
        let sources = topics.layout().all().map(|source| topics.source(source).to_owned());
        for topic in [topics.homes(), topics.outcomes(), topics.dead()].into_iter().chain(sources) {
            cluster
                .create_topic(&topic, i32::from(partitions), 1)
                .map_err(|e| format!("cannot make topic `{topic}`: {e}"))?;
        }
    }
    Ok(cluster)
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!(target: "peakpost::sim", "the embedded broker panicked");
        }
    }
}
