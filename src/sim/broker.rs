//! The embedded broker: librdkafka's mock cluster, real protocol and groups, in memory.
//!
//! Why: the demo and the tests need a Kafka where there is none. It trims a partition at 5 MiB, consumed or
//! not, has no `DescribeConfigs`, `CreateTopics`, `DeleteRecords` or offsets-for-times, and a join takes about 3 s;
//! anything that is to last needs a real Kafka. It can be told to err.
//! Must not know: who uses it.

use std::thread::JoinHandle;

use crossbeam::channel::{Sender, bounded};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::job::Home;
use crate::job::topic::Topics;

/// Bytes after which it trims a partition, consumed or not.
pub const TRIM_BYTES: usize = 5 * 1024 * 1024;

/// Most errors that one order asks for.
const ERRORS_MAX: usize = 10_000;

/// What [`Broker::obey`] understands.
const ORDERS: &str = "errors produce|fetch|offset_commit|heartbeat|join_group transport|timed_out|not_leader|\
    not_coordinator N; leader TOPIC PARTITION NODE; coordinator GROUP NODE; down NODE; up NODE";

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A line, and where the answer to it goes.
type Order = (String, Sender<Result<(), String>>);

/// A running embedded broker. It stops when this is dropped.
#[derive(Debug)]
pub struct Broker {
    /// What clients connect to.
    pub brokers: String,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts it and makes the topics of each line, with `partitions` each, spread over `nodes` brokers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(lines: Vec<Topics>, partitions: Home, nodes: u8) -> Result<Self, String> {
        let (ready_tx, ready) = bounded(1);
        let (orders, given) = bounded::<Order>(1);
        // The cluster's handle must stay on the thread that made it.
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || {
                let cluster = start(&lines, partitions, nodes);
                let answer = cluster.as_ref().map(MockCluster::bootstrap_servers).map_err(Clone::clone);
                if let (Ok(()), Ok(cluster)) = (ready_tx.send(answer), cluster) {
                    // Ends when the handle is dropped.
                    for (line, answer) in given {
                        let _nobody_waits = answer.send(obey(&cluster, &line));
                    }
                }
            })
            .map_err(|e| format!("cannot start the broker's thread: {e}"))?;
        let brokers = ready.recv().map_err(|_| "the embedded broker ended early".to_owned())??;
        Ok(Self { brokers, orders: Some(orders), thread: Some(thread) })
    }

    /// Errs or changes as the line says:
    ///
    /// - `errors API ERROR N`: the next N requests of a kind (`produce`, `fetch`, `offset_commit`, `heartbeat`,
    ///   `join_group`) get `timed_out`, `not_leader` or `not_coordinator`; with `transport` their connection is closed
    ///   and they get no answer
    /// - `leader TOPIC PARTITION NODE`, `coordinator GROUP NODE`: moves it
    /// - `down NODE`, `up NODE`: a node refuses connections, or takes them again
    ///
    /// # Errors
    /// When the line is none of these, or names what is not there.
    pub fn obey(&self, line: &str) -> Result<(), String> {
        let ended = || "the embedded broker has ended".to_owned();
        let (answer_tx, answer) = bounded(1);
        let orders = self.orders.as_ref().ok_or_else(ended)?;
        orders.send((line.to_owned(), answer_tx)).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

fn start(lines: &[Topics], partitions: Home, nodes: u8) -> Result<Cluster, String> {
    let cluster = MockCluster::new(i32::from(nodes)).map_err(|e| format!("cannot start the embedded broker: {e}"))?;
    for topics in lines {
        for topic in topics.all() {
            cluster
                .create_topic(&topic, i32::from(partitions), 1)
                .map_err(|e| format!("cannot make topic `{topic}`: {e}"))?;
        }
    }
    Ok(cluster)
}

fn obey(cluster: &Cluster, line: &str) -> Result<(), String> {
    let unknown = || format!("`{line}` is no order; hint: {ORDERS}");
    let number = |text: &str| text.parse::<i32>().map_err(|_| unknown());
    let words: Vec<&str> = line.split_whitespace().collect();
    let done = match words.as_slice() {
        ["errors", api, error, count] => {
            let count = count.parse::<usize>().ok().filter(|n| *n <= ERRORS_MAX).ok_or_else(unknown)?;
            let (api, error) = (api_key(api).ok_or_else(unknown)?, response_error(error).ok_or_else(unknown)?);
            cluster.request_errors(api, &vec![error; count]);
            Ok(())
        }
        ["leader", topic, partition, node] => cluster.partition_leader(topic, number(partition)?, Some(number(node)?)),
        ["coordinator", group, node] => cluster.coordinator(MockCoordinator::Group((*group).to_owned()), number(node)?),
        ["down", node] => cluster.broker_down(number(node)?),
        ["up", node] => cluster.broker_up(number(node)?),
        _ => return Err(unknown()),
    };
    done.map_err(|e| format!("`{line}`: {e}"))
}

fn api_key(word: &str) -> Option<RDKafkaApiKey> {
    Some(match word {
        "produce" => RDKafkaApiKey::Produce,
        "fetch" => RDKafkaApiKey::Fetch,
        "offset_commit" => RDKafkaApiKey::OffsetCommit,
        "heartbeat" => RDKafkaApiKey::Heartbeat,
        "join_group" => RDKafkaApiKey::JoinGroup,
        _ => return None,
    })
}

fn response_error(word: &str) -> Option<RDKafkaRespErr> {
    Some(match word {
        // Closes the connection instead of an answer.
        "transport" => RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        "timed_out" => RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        "not_leader" => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        "not_coordinator" => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        _ => return None,
    })
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!(target: "peakpost::sim", "the embedded broker panicked");
        }
    }
}
