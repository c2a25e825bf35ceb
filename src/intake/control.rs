//! Follows the topic of orders: first to the end that it has now, then for as long as the daemon lives.
//!
//! Why: who starts in the middle of a stop must know of it before it sends. On a thread of its own, because no home
//! that comes or goes and no full read-ahead may hold an order up.
//! Must not know: what becomes of an order, which of them are this instance's own.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::mpsc;

use super::{Config, after};
use crate::control::Order;
use crate::job::Home;
use crate::observe::thread::{Running, Stop};
use crate::observe::{Clock, kafka};

/// Longest reading of what was there before.
const CATCH_UP: Duration = Duration::from_secs(30);
/// The thread looks this often whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Starts reading. Returns once everything that was there has been read; what of it is in force comes through `orders`
/// first. `homes`: partitions of the topic.
///
/// # Errors
/// When the topic cannot be read to its end, with a hint.
pub async fn follow(
    config: &Config,
    homes: Home,
    orders: mpsc::Sender<Order>,
    clock: Clock,
) -> Result<Running, String> {
    let config = config.clone();
    // The client is made and dropped on the thread, which may have to wait for it.
    let caught_up = move || {
        let reader = Reader::new(&config, homes, orders, clock)?;
        Ok((reader.catch_up(homes)?, reader))
    };
    Running::ready("control", caught_up, |(standing, reader), stop| reader.follow(standing, stop)).await
}

struct Reader {
    consumer: BaseConsumer,
    topic: String,
    orders: mpsc::Sender<Order>,
    clock: Clock,
}

/// What a look at the client may bring.
enum Came {
    Order(Order),
    /// This partition has been read to its end.
    End(i32),
    Nothing,
}

impl Reader {
    fn new(config: &Config, homes: Home, orders: mpsc::Sender<Order>, clock: Clock) -> Result<Self, String> {
        let mut client = kafka::reader(&config.client, &config.group);
        client
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "1024");
        let consumer: BaseConsumer =
            client.create().map_err(|e| format!("cannot make the consumer that reads orders: {e}"))?;
        let topic = config.topics.control();
        let mut tpl = TopicPartitionList::new();
        for partition in 0..i32::from(homes) {
            tpl.add_partition_offset(&topic, partition, Offset::Beginning).map_err(|e| e.to_string())?;
        }
        consumer.assign(&tpl).map_err(|e| format!("assign `{topic}`: {e}"))?;
        Ok(Self { consumer, topic, orders, clock })
    }

    /// Reads every partition to the end that it has now. Returns what is still in force.
    fn catch_up(&self, homes: Home) -> Result<Vec<Order>, String> {
        let deadline = after(self.clock.mono(), CATCH_UP);
        let mut behind: BTreeSet<i32> = (0..i32::from(homes)).collect();
        let mut standing = Vec::new();
        while !behind.is_empty() {
            match self.look()? {
                Came::Order(order) => standing.push(order),
                Came::End(partition) => drop(behind.remove(&partition)),
                Came::Nothing => {}
            }
            if self.clock.mono() > deadline {
                return Err(format!(
                    "`{}` was not read to its end within {CATCH_UP:?}, partitions {behind:?} are left; hint: are their \
                     brokers reachable?",
                    self.topic
                ));
            }
        }
        Ok(standing)
    }

    /// Hands over what is in force, then what comes, until it is told to end or nobody listens.
    fn follow(self, standing: Vec<Order>, stop: &Stop) {
        if standing.into_iter().any(|order| self.orders.blocking_send(order).is_err()) {
            return;
        }
        let mut deaf = false;
        while !stop.is_told() {
            match self.look() {
                Ok(Came::Order(order)) => {
                    deaf = false;
                    if self.orders.blocking_send(order).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    // Once; the client tries again by itself, and says so each time.
                    if !std::mem::replace(&mut deaf, true) {
                        tracing::error!(target: "peakpost::control", error, "long stops of other instances are not heard");
                    }
                }
            }
        }
    }

    /// Waits a moment for what comes.
    fn look(&self) -> Result<Came, String> {
        match self.consumer.poll(LOOK) {
            None => Ok(Came::Nothing),
            Some(Ok(message)) => Ok(self.read(&message).map_or(Came::Nothing, Came::Order)),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Came::End(partition)),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) if kafka::is_passing(code) => Ok(Came::Nothing),
                _ => {
                    let topic = &self.topic;
                    Err(format!("`{topic}` cannot be read: {error}; hint: check the topic's ACLs: peakpost reads it"))
                }
            },
        }
    }

    /// An order that is in force. A record without a value is nobody's word any more.
    fn read(&self, message: &BorrowedMessage<'_>) -> Option<Order> {
        match Order::parse(message.key().unwrap_or_default(), message.payload()?) {
            Ok(order) => order.filter(|order| order.left(self.clock.wall()).is_some()),
            Err(why) => {
                let (topic, partition, offset) = (&*self.topic, message.partition(), message.offset());
                tracing::warn!(target: "peakpost::control", topic, partition, offset, why, "a record that is no order is passed over");
                None
            }
        }
    }
}
