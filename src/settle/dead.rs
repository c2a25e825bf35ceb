//! Reads letters back from the dead topic.
//!
//! Why: what was written for people to look at must be readable without stopping anything: no group is joined and
//! nothing is committed, so a reader is never in a daemon's way.
//! Must not know: which letters are wanted, what is done with them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::topic_partition_list::Offset;

use crate::job::{Home, Wall};
use crate::observe::kafka;
use crate::outcome::letter::Letter;
use crate::outcome::selection::Span;

/// Longest wait for one answer of the broker.
const WAIT: Duration = Duration::from_secs(10);

/// A letter is written after its job has died, by another clock than the one that asks: so much is read in addition.
const CLOCKS_APART_MS: i64 = 3_600_000;

/// A broker that says that there is no more is believed after this much silence: a replica may lag behind, and before
/// the end there may be offsets without a record.
const QUIET: Duration = Duration::from_secs(2);

/// Why letters cannot be read or redriven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The brokers do not answer.
    Unavailable(String),
    /// Topics, rights or settings are wrong.
    Misconfigured(String),
    /// Something went wrong on the way; another run may do.
    Broken(String),
}

/// One step of reading.
#[derive(Debug)]
pub enum Step<T> {
    /// A letter was taken.
    Letter(T),
    /// Nothing came in time.
    Waiting,
    /// Everything is read.
    End,
}

/// A reader of the dead topic.
pub struct Reader {
    consumer: BaseConsumer,
    topic: String,
    /// What is being read, each from where it goes on.
    spans: Vec<Span>,
    /// Partitions of which the broker says that there is no more.
    over: BTreeSet<i32>,
    /// For how long nothing has come.
    quiet: Duration,
}

impl Reader {
    /// A reader of `topic` with the line's client properties. `group` is named for the brokers' access rules only.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn open(properties: &[(String, String)], group: &str, topic: String) -> Result<Self, Trouble> {
        let mut client = kafka::reader(properties, group);
        client
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", "32768");
        let consumer = client.create();
        let consumer =
            consumer.map_err(|e| Trouble::Misconfigured(format!("cannot make the dead letters' reader: {e}")))?;
        Ok(Self { consumer, topic, spans: Vec::new(), over: BTreeSet::new(), quiet: Duration::ZERO })
    }

    /// How many partitions each topic has.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn partitions(&self) -> Result<BTreeMap<String, usize>, Trouble> {
        let metadata = self.consumer.fetch_metadata(None, WAIT).map_err(|e| unavailable(&e))?;
        let there = metadata.topics().iter().filter(|topic| topic.error().is_none());
        Ok(there.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
    }

    /// What the dead topic holds now.
    ///
    /// # Errors
    /// When it is not there or the brokers do not answer.
    pub fn whole(&self) -> Result<Vec<Span>, Trouble> {
        let count = self.partitions()?.get(&self.topic).copied().unwrap_or(0);
        if count == 0 {
            let text = format!("topic `{}` is not there; hint: `peakpost topics create`", self.topic);
            return Err(Trouble::Misconfigured(text));
        }
        let span = |partition| {
            let watermarks = self.consumer.fetch_watermarks(&self.topic, i32::from(partition), WAIT);
            watermarks.map(|(next, end)| Span { partition, next, end }).map_err(|e| unavailable(&e))
        };
        (0..Home::try_from(count).unwrap_or(Home::MAX)).map(span).collect()
    }

    /// Leaves out what was surely written before `since`. Not for the embedded broker, which cannot tell.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn skip_to(&self, since: Wall, spans: &mut [Span]) -> Result<(), Trouble> {
        let mut asked = TopicPartitionList::new();
        for span in &*spans {
            let at = Offset::Offset(since.0.saturating_sub(CLOCKS_APART_MS).max(0));
            asked.add_partition_offset(&self.topic, i32::from(span.partition), at).map_err(|e| unavailable(&e))?;
        }
        let found = self.consumer.offsets_for_times(asked, WAIT).map_err(|e| unavailable(&e))?;
        for span in spans {
            match found.find_partition(&self.topic, i32::from(span.partition)).map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => span.next = offset.clamp(span.next, span.end),
                Some(Offset::End) => span.next = span.end,
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins to read these.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn start(&mut self, spans: Vec<Span>) -> Result<(), Trouble> {
        let mut list = TopicPartitionList::new();
        for span in spans.iter().filter(|span| span.left() > 0) {
            list.add_partition_offset(&self.topic, i32::from(span.partition), Offset::Offset(span.next))
                .map_err(|e| unavailable(&e))?;
        }
        self.spans = spans;
        self.consumer.assign(&list).map_err(|e| unavailable(&e))
    }

    /// Where each partition goes on.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Hands the next letter to `take`; waits for it at most so long.
    ///
    /// # Errors
    /// When reading cannot go on. A broker that is away for a moment is waited for.
    pub fn next<T>(&mut self, wait: Duration, take: impl FnOnce(&Letter<'_>) -> T) -> Result<Step<T>, Trouble> {
        if self.spans.iter().all(|span| span.left() == 0) {
            return Ok(Step::End);
        }
        let message = match self.consumer.poll(wait) {
            None => {
                self.quiet += wait;
                if self.quiet >= QUIET {
                    let over = |span: &&mut Span| self.over.contains(&i32::from(span.partition));
                    self.spans.iter_mut().filter(over).for_each(|span| span.next = span.end);
                }
                return Ok(Step::Waiting);
            }
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.over.insert(partition);
                return Ok(Step::Waiting);
            }
            Some(Err(error)) => return passing(&error).map(|()| Step::Waiting),
        };
        self.quiet = Duration::ZERO;
        self.over.remove(&message.partition());
        let span = self.spans.iter_mut().find(|span| i32::from(span.partition) == message.partition());
        let Some(span) = span.filter(|span| (span.next..span.end).contains(&message.offset())) else {
            // Written since reading began.
            if let Some(span) = self.spans.iter_mut().find(|span| i32::from(span.partition) == message.partition()) {
                span.next = span.end;
            }
            return Ok(Step::Waiting);
        };
        span.next = message.offset() + 1;
        Ok(Step::Letter(take(&letter(span.partition, &message))))
    }
}

fn unavailable(error: &KafkaError) -> Trouble {
    let hint = "hint: check `kafka.brokers`, the network and the TLS settings";
    Trouble::Unavailable(format!("the brokers do not answer: {error}; {hint}"))
}

fn passing(error: &KafkaError) -> Result<(), Trouble> {
    match error.rdkafka_error_code() {
        Some(code) if kafka::is_passing(code) => Ok(()),
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => Err(Trouble::Broken(
            "letters were deleted by retention while they were read; hint: run it again".to_owned(),
        )),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => {
            Err(Trouble::Misconfigured(format!("{error}; hint: check the ACLs of the dead topic and of `kafka.group`")))
        }
        _ => Err(Trouble::Broken(format!("the dead topic cannot be read: {error}"))),
    }
}

fn letter<'m>(partition: Home, message: &'m BorrowedMessage<'_>) -> Letter<'m> {
    Letter {
        partition,
        offset: message.offset(),
        stamp: Wall(message.timestamp().to_millis().unwrap_or(0)),
        key: message.key().unwrap_or_default(),
        bytes: message.payload().unwrap_or_default(),
        headers: headers(message),
    }
}

fn headers<'m>(message: &'m BorrowedMessage<'_>) -> Vec<(&'m str, Option<&'m [u8]>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    // The client panics at a key that is not UTF-8. We write no such key; whoever else does loses that header here.
    let one = |i| catch_unwind(AssertUnwindSafe(|| headers.try_get(i).map(|h| (h.key, h.value)))).ok().flatten();
    (0..headers.count()).filter_map(one).collect()
}
