//! The workers' group: who counts which partition of the events, and how far.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use crate::feedback::CountConfig;
use crate::job::Home;
use crate::observe::kafka;

/// Longest wait for one answer of the broker.
const ASK: Duration = Duration::from_secs(10);

/// What the group tells its member.
pub(super) enum Event {
    /// These partitions are ours.
    Assigned(Vec<Home>),
    /// These go to somebody else once we let go. `lost`: they have gone already.
    Revoked { homes: Vec<Home>, lost: bool },
}

#[derive(Default)]
pub(super) struct Context {
    events: Mutex<VecDeque<Event>>,
    /// Set before the handle is dropped: from then on nobody serves events, so partitions are let go at once.
    closing: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "peakpost::feedback", %error, reason, "the workers' client error");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, tpl: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            let let_go = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(tpl),
                RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.unassign(),
            };
            if let Err(error) = let_go {
                tracing::debug!(target: "peakpost::feedback", %error, "unassign while closing");
            }
            return;
        }
        let homes = tpl.elements().iter().filter_map(|e| Home::try_from(e.partition()).ok()).collect();
        let event = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Event::Assigned(homes),
            _ => Event::Revoked { homes, lost: consumer.assignment_lost() },
        };
        if let Ok(mut events) = self.events.lock() {
            events.push_back(event);
        }
    }
}

pub(super) struct Group {
    consumer: BaseConsumer<Context>,
    topic: String,
}

impl Group {
    pub(super) fn join(config: &CountConfig) -> Result<Self, String> {
        let group = config.workers();
        let mut client = kafka::reader(&config.client, &group);
        let ms = |d: Duration| d.as_millis().to_string();
        client
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            // What retention took away before it was counted is gone.
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", ms(config.session_timeout))
            .set("heartbeat.interval.ms", ms(config.heartbeat))
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "8192");
        let fail = |e: KafkaError| format!("cannot join group `{group}`: {e}");
        let consumer = BaseConsumer::from_config_and_context(&client, Context::default()).map_err(fail)?;
        let topic = config.topics.events();
        consumer.subscribe(&[&topic]).map_err(fail)?;
        Ok(Self { consumer, topic })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Context> {
        &self.consumer
    }

    /// What the group has said meanwhile.
    pub(super) fn event(&self) -> Option<Event> {
        self.consumer.context().events.lock().ok()?.pop_front()
    }

    fn list(&self, offsets: &[(Home, i64)]) -> Result<TopicPartitionList, String> {
        let mut list = TopicPartitionList::new();
        for (home, offset) in offsets {
            let added = list.add_partition_offset(&self.topic, i32::from(*home), Offset::Offset(*offset));
            added.map_err(|e| e.to_string())?;
        }
        Ok(list)
    }

    /// Of each partition what is committed, if anything is, and its first offset. Waits for the broker.
    pub(super) fn committed(&self, homes: &[Home]) -> Result<Vec<(Home, Option<i64>, i64)>, String> {
        let fail = |e: KafkaError| format!("offsets of `{}`: {e}", self.topic);
        let mut list = TopicPartitionList::new();
        for home in homes {
            list.add_partition(&self.topic, i32::from(*home));
        }
        let list = self.consumer.committed_offsets(list, ASK).map_err(fail)?;
        let mut all = Vec::with_capacity(homes.len());
        for element in list.elements() {
            element.error().map_err(fail)?;
            let (first, _) = self.consumer.fetch_watermarks(&self.topic, element.partition(), ASK).map_err(fail)?;
            let committed = match element.offset() {
                Offset::Offset(next) => Some(next),
                _ => None,
            };
            all.push((Home::try_from(element.partition()).map_err(|e| e.to_string())?, committed, first));
        }
        Ok(all)
    }

    pub(super) fn assign(&self, from: &[(Home, i64)]) -> Result<(), String> {
        self.consumer.incremental_assign(&self.list(from)?).map_err(|e| format!("assign `{}`: {e}", self.topic))
    }

    pub(super) fn let_go(&self, homes: &[Home]) -> Result<(), String> {
        let list = self.list(&homes.iter().map(|home| (*home, 0)).collect::<Vec<_>>())?;
        self.consumer.incremental_unassign(&list).map_err(|e| format!("unassign `{}`: {e}", self.topic))
    }

    /// Commits where counting goes on. Waits for the broker. `false`: not now, while the group is dividing its work anew or
    /// its coordinator moves.
    pub(super) fn commit(&self, next: &[(Home, i64)]) -> Result<bool, String> {
        use RDKafkaErrorCode as Code;
        match self.consumer.commit(&self.list(next)?, CommitMode::Sync) {
            Ok(()) => Ok(true),
            Err(error) => match error.rdkafka_error_code() {
                Some(
                    Code::RebalanceInProgress
                    | Code::CoordinatorLoadInProgress
                    | Code::CoordinatorNotAvailable
                    | Code::NotCoordinator,
                ) => Ok(false),
                Some(code) if kafka::is_passing(code) => Ok(false),
                _ => Err(format!("commit of `{}`: {error}", self.topic)),
            },
        }
    }

    /// Leaves the group when it is dropped: somebody else goes on at once.
    pub(super) fn leave(self) {
        drop(self);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.consumer.context().closing.store(true, Ordering::Release);
        // A rebalance that was never answered would keep the handle from closing.
        let held = self.consumer.assignment().ok().filter(|held| held.count() > 0);
        if let Some(Err(error)) = held.map(|held| self.consumer.incremental_unassign(&held)) {
            tracing::debug!(target: "peakpost::feedback", %error, "unassign while leaving");
        }
    }
}

/// Whether a reader's error is worth beginning anew: what is about the way to the broker passes.
pub(super) fn judge(error: &KafkaError) -> Result<(), String> {
    match error.rdkafka_error_code() {
        Some(code) if kafka::is_passing(code) => Ok(()),
        _ => {
            Err(format!("events cannot be read: {error}; hint: check the ACLs of the topic and of the workers' group"))
        }
    }
}
