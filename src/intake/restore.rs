//! Reads what earlier owners of a home made durable, so that nothing of it is done again.
//!
//! Why: jobs finish out of order, so above the committed offset there are finished ones. Their outcomes tell;
//! the commit's metadata says from which offset on they have to be read. And what was spent of a long limit stays spent.
//! Must not know: what the outcomes say beyond whose they are; what a record of what was spent says.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use super::Config;
use crate::job::receipt::End;
use crate::job::topic::Topics;
use crate::job::{Home, JobKey};
use crate::ledger::Ledger;
use crate::ledger::usage::Latest;
use crate::observe::failpoint::failpoint;
use crate::observe::kafka;
use crate::outcome::record::Record;
use crate::outcome::{Kind, Reason};

/// Most records of one partition read in one turn of the owner.
const TURN: usize = 4096;

/// What is read back of a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// What became of its jobs.
    Outcomes,
    /// What was spent of its share of long limits.
    Usage,
}

/// Where a partition is read from and to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) end: i64,
}

impl From<(i64, i64)> for Span {
    fn from((from, end): (i64, i64)) -> Self {
        Self { from, end }
    }
}

/// The handle that reads what is past, and nothing else.
pub(super) struct Restore {
    consumer: Arc<BaseConsumer>,
    topics: Topics,
    wake: Thread,
}

/// One partition, being read. Dropping it stops that.
pub(super) struct Reading {
    consumer: Arc<BaseConsumer>,
    past: Past,
    topic: String,
    home: Home,
    queue: PartitionQueue<DefaultConsumerContext>,
    end: i64,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Self { consumer, topic, home, .. } = self;
        let mut tpl = TopicPartitionList::new();
        tpl.add_partition(topic, i32::from(*home));
        if let Err(error) = consumer.incremental_unassign(&tpl) {
            tracing::warn!(target: "peakpost::intake", topic, home, %error, "unassign");
        }
    }
}

impl Restore {
    pub(super) fn new(config: &Config, wake: Thread) -> Result<Self, String> {
        let mut client = kafka::reader(&config.client, &config.group);
        client
            .set("enable.partition.eof", "true")
            // What retention takes away between the look for the beginning and the reading is gone for us as well.
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "1024");
        let consumer: BaseConsumer = client.create().map_err(|e| format!("cannot make the restoring consumer: {e}"))?;
        Ok(Self { consumer: Arc::new(consumer), topics: config.topics.clone(), wake })
    }

    /// Starts reading one partition of a home's past.
    pub(super) fn open(&self, past: Past, home: Home, span: Span) -> Result<Reading, String> {
        let topic = match past {
            Past::Outcomes => self.topics.outcomes(),
            Past::Usage => self.topics.usage(),
        };
        let partition = i32::from(home);
        let mut queue = self
            .consumer
            .split_partition_queue(&topic, partition)
            .ok_or_else(|| format!("no queue for `{topic}` partition {home}"))?;
        let wake = self.wake.clone();
        queue.set_nonempty_callback(move || wake.unpark());
        let mut tpl = TopicPartitionList::new();
        tpl.add_partition_offset(&topic, partition, Offset::Offset(span.from)).map_err(|e| e.to_string())?;
        self.consumer.incremental_assign(&tpl).map_err(|e| format!("assign `{topic}` partition {home}: {e}"))?;
        Ok(Reading { consumer: Arc::clone(&self.consumer), past, topic, home, queue, end: span.end })
    }

    /// Serves the client's own events.
    pub(super) fn poll(&self) {
        match self.consumer.poll(Duration::ZERO) {
            None => {}
            // Queues are split before they are assigned, so records do not come this way.
            Some(Ok(stray)) => {
                let (topic, partition) = (stray.topic(), stray.partition());
                tracing::error!(target: "peakpost::intake", topic, partition, "a record of the past went astray: its home may never open; restart");
            }
            Some(Err(error)) => tracing::debug!(target: "peakpost::intake", %error, "restoring client"),
        }
    }

    /// Takes what has come of a home's past. Readings that are at their end are gone afterwards.
    pub(super) fn read(
        &self,
        readings: &mut Vec<Reading>,
        ledger: &mut Ledger,
        usage: &mut Latest,
    ) -> Result<(), String> {
        for n in (0..readings.len()).rev() {
            let reading = &readings[n];
            let ended = reading.read(|message| match reading.past {
                Past::Outcomes => {
                    failpoint!("inside_restore");
                    self.note(message.payload().unwrap_or_default(), message.offset(), ledger);
                }
                Past::Usage => usage.take(message.key().unwrap_or_default(), message.payload()),
            })?;
            if ended {
                readings.swap_remove(n);
            }
        }
        Ok(())
    }

    fn note(&self, payload: &[u8], offset: i64, ledger: &mut Ledger) {
        // An outcome that cannot be read (a later version's) hides nothing worse than one repeated send.
        let Ok(record) = serde_json::from_slice::<Record<'_>>(payload) else { return };
        // What is told of a job after its end settles nothing.
        if record.source.partition != ledger.home() || record.outcome == Kind::Resolved.as_str() {
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

impl Reading {
    /// Hands over what has come, a turn's worth at most. `true`: that was all up to the end.
    fn read(&self, mut take: impl FnMut(&BorrowedMessage<'_>)) -> Result<bool, String> {
        for _ in 0..TURN {
            match self.queue.poll(Duration::ZERO) {
                None => return Ok(false),
                Some(Ok(message)) => {
                    take(&message);
                    if message.offset() + 1 >= self.end {
                        return Ok(true);
                    }
                }
                // The end as the broker sees it: a gap before it (compaction, markers) hides no record.
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(code) if kafka::is_passing(code) => {}
                    _ => return Err(format!("`{}` partition {} cannot be read: {error}", self.topic, self.home)),
                },
            }
        }
        Ok(false)
    }
}
