//! Reads what earlier owners of a home made durable, so that nothing of it is done again.
//!
//! Why: jobs finish out of order, so above the committed offset there are finished ones. Their outcomes tell;
//! the commit's metadata says from which offset on they have to be read.
//! Must not know: what the outcomes say beyond whose they are.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use super::Config;
use crate::job::receipt::End;
use crate::job::topic::Topics;
use crate::job::{Home, JobKey};
use crate::ledger::Ledger;
use crate::observe::failpoint::failpoint;
use crate::observe::kafka;
use crate::outcome::record::Record;
use crate::outcome::{Kind, Reason};

/// Most outcomes read in one turn of the owner.
const TURN: usize = 4096;

/// Where a home's outcomes are read from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) end: i64,
}

/// How reading a home's outcomes stands.
pub(super) enum Progress {
    /// Call again.
    More,
    /// Everything up to the end is in the ledger.
    Done,
    /// They cannot be read.
    Failed(String),
}

/// The handle that reads outcomes, and nothing else.
pub(super) struct Restore {
    consumer: Arc<BaseConsumer>,
    topics: Topics,
    wake: Thread,
}

/// One home's outcomes, being read.
pub(super) struct Reading {
    queue: PartitionQueue<DefaultConsumerContext>,
    end: i64,
}

impl Restore {
    pub(super) fn new(config: &Config, wake: Thread) -> Result<Self, String> {
        let mut client = kafka::client(&config.client);
        client
            .set("group.id", &config.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "1024");
        let consumer: BaseConsumer = client.create().map_err(|e| format!("cannot make the outcomes consumer: {e}"))?;
        Ok(Self { consumer: Arc::new(consumer), topics: config.topics.clone(), wake })
    }

    /// Starts reading a home's outcomes.
    pub(super) fn open(&self, home: Home, span: Span) -> Result<Reading, String> {
        let topic = self.topics.outcomes();
        let partition = i32::from(home);
        let mut queue = self
            .consumer
            .split_partition_queue(&topic, partition)
            .ok_or_else(|| format!("no queue for `{topic}` partition {home}"))?;
        let wake = self.wake.clone();
        queue.set_nonempty_callback(move || wake.unpark());
        let mut tpl = TopicPartitionList::new();
        tpl.add_partition_offset(&topic, partition, Offset::Offset(span.from)).map_err(|e| e.to_string())?;
        self.consumer.incremental_assign(&tpl).map_err(|e| format!("assign outcomes of home {home}: {e}"))?;
        Ok(Reading { queue, end: span.end })
    }

    /// Stops reading a home's outcomes.
    pub(super) fn close(&self, home: Home) {
        let mut tpl = TopicPartitionList::new();
        tpl.add_partition(&self.topics.outcomes(), i32::from(home));
        if let Err(error) = self.consumer.incremental_unassign(&tpl) {
            tracing::warn!(target: "peakpost::intake", home, %error, "unassign outcomes");
        }
    }

    /// Serves the client's own events.
    pub(super) fn poll(&self) {
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            tracing::debug!(target: "peakpost::intake", %error, "outcomes client");
        }
    }

    /// Takes what has come into the ledger.
    pub(super) fn read(&self, reading: &Reading, ledger: &mut Ledger) -> Progress {
        for _ in 0..TURN {
            match reading.queue.poll(Duration::ZERO) {
                None => return Progress::More,
                Some(Ok(message)) => {
                    failpoint!("inside_restore");
                    self.note(message.payload().unwrap_or_default(), message.offset(), ledger);
                    if message.offset() + 1 >= reading.end {
                        return Progress::Done;
                    }
                }
                // The end as the broker sees it: a gap before it (compaction, markers) hides no outcome.
                Some(Err(KafkaError::PartitionEOF(_))) => return Progress::Done,
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(code) if kafka::is_passing(code) => {}
                    _ => return Progress::Failed(format!("outcomes: {error}")),
                },
            }
        }
        Progress::More
    }

    fn note(&self, payload: &[u8], offset: i64, ledger: &mut Ledger) {
        // An outcome that cannot be read (a later version's) hides nothing worse than one repeated send.
        let Ok(record) = serde_json::from_slice::<Record<'_>>(payload) else { return };
        if record.source.partition != ledger.home() {
            return;
        }
        // A topic that is no longer configured is not read, but the ids that came by it are known all the same.
        if let Some(source) = self.topics.source_of(&record.source.topic) {
            ledger.done_before(source, record.source.offset, offset);
        }
        let end = match Kind::ALL.into_iter().find(|kind| kind.as_str() == record.outcome) {
            Some(Kind::Duplicate) | None => return,
            Some(Kind::Deferred) if record.reason == Reason::InFlight.as_str() => return,
            Some(Kind::Deferred) => End::Deferred(None),
            Some(_) => End::Terminal,
        };
        if !record.id.is_empty() {
            let job = JobKey::new(&record.tenant, &record.id, record.generation);
            ledger.known().settled(job, record.hop, end);
        }
    }
}
