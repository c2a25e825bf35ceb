//! Follows the outcomes and dead topics while a run lasts, and keeps what became of every job.
//!
//! Why: the embedded broker trims what it holds, so the account is kept as the records come; a gap in their
//! offsets would be noticed and fails the run.
//! Must not know: the daemon. It reads what upstream would read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use rdkafka::{TopicPartitionList, message::BorrowedMessage};

use crate::job::Home;
use crate::job::topic::Topics;
use crate::outcome::Kind;
use crate::outcome::record::Record;

/// What the outcomes topic said.
#[derive(Debug, Default)]
pub struct Account {
    /// Terminal outcomes of jobs: key `tenant/id` to (outcome, reason). A second one for the same job is in
    /// `repeated`.
    pub jobs: HashMap<Box<str>, (Box<str>, Box<str>)>,
    /// Outcomes of records that are no jobs, by reason.
    pub invalid: HashMap<Box<str>, u64>,
    /// Jobs with more than one terminal outcome.
    pub repeated: u64,
    /// Dead letters, by reason.
    pub letters: HashMap<Box<str>, u64>,
    /// Time from broker timestamp to acceptance in milliseconds, by lane.
    pub latency_ms: HashMap<Box<str>, Vec<u32>>,
    /// Records that were trimmed before they were read, or could not be read.
    pub gaps: u64,
}

/// A running audit.
#[derive(Debug)]
pub struct Audit {
    /// Outcomes seen so far.
    pub seen: Arc<AtomicU64>,
    /// Those of them that are the end of a job, or of a record that is none.
    pub ended: Arc<AtomicU64>,
    account: Arc<Mutex<Account>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Audit {
    /// Follows `<prefix>.outcomes` and `<prefix>.dead` from their beginning.
    ///
    /// # Errors
    /// When the consumer cannot be made.
    pub fn start(brokers: &str, topics: &Topics, partitions: Home) -> Result<Self, String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "peakpost-audit")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .create()
            .map_err(|e| format!("cannot make the audit's consumer: {e}"))?;
        let mut list = TopicPartitionList::new();
        for topic in [topics.outcomes(), topics.dead()] {
            for partition in 0..i32::from(partitions) {
                list.add_partition_offset(&topic, partition, Offset::Offset(0)).map_err(|e| e.to_string())?;
            }
        }
        consumer.assign(&list).map_err(|e| format!("audit: {e}"))?;
        let (account, seen, stop) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let terminal = Arc::default();
        let reader = Reader { outcomes: topics.outcomes(), next: HashMap::new(), terminal: Arc::clone(&terminal) };
        let (to, count, ended) = (Arc::clone(&account), Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || reader.run(&consumer, &to, &count, &ended))
            .map_err(|e| format!("cannot start the audit: {e}"))?;
        Ok(Self { seen, ended: terminal, account, stop, thread })
    }

    /// Ends the audit and hands over the account.
    #[must_use]
    pub fn finish(self) -> Account {
        self.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            tracing::error!(target: "peakpost::sim", "the audit panicked");
        }
        self.account.lock().map(|mut account| std::mem::take(&mut *account)).unwrap_or_default()
    }
}

struct Reader {
    outcomes: String,
    /// The offset expected next, by topic and partition.
    next: HashMap<(bool, i32), i64>,
    terminal: Arc<AtomicU64>,
}

impl Reader {
    fn run(mut self, consumer: &BaseConsumer, account: &Mutex<Account>, seen: &AtomicU64, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let Some(first) = consumer.poll(Duration::from_millis(50)) else { continue };
            let Ok(mut account) = account.lock() else { return };
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Ok(message) => seen.fetch_add(u64::from(self.take(&message, &mut account)), Ordering::Relaxed),
                    Err(error) => {
                        // A lost connection is no loss: what was missed would show as a gap in the offsets.
                        tracing::warn!(target: "peakpost::sim", %error, "audit");
                        0
                    }
                };
                next = consumer.poll(Duration::ZERO);
            }
        }
    }

    /// Notes one record; says whether it is an outcome.
    fn take(&mut self, message: &BorrowedMessage<'_>, account: &mut Account) -> bool {
        let is_outcome = message.topic() == self.outcomes;
        let next = self.next.entry((is_outcome, message.partition())).or_insert(0);
        if message.offset() != *next {
            account.gaps += 1;
        }
        *next = message.offset() + 1;
        if !is_outcome {
            *account.letters.entry(header(message, "peakpost-reason").into()).or_default() += 1;
            return false;
        }
        let Ok(record) = serde_json::from_slice::<Record<'_>>(message.payload().unwrap_or_default()) else {
            account.gaps += 1;
            return true;
        };
        if Kind::ALL.iter().any(|kind| !kind.is_terminal() && kind.as_str() == record.outcome) || record.late {
            return true;
        }
        self.terminal.fetch_add(1, Ordering::Relaxed);
        if record.id.is_empty() {
            *account.invalid.entry((*record.reason).into()).or_default() += 1;
            return true;
        }
        if record.outcome == "accepted" {
            let ms = u32::try_from(record.at_ms.saturating_sub(record.enqueued_ms).max(0)).unwrap_or(u32::MAX);
            account.latency_ms.entry((*record.lane).into()).or_default().push(ms);
        }
        let key = format!("{}/{}", record.tenant, record.id).into_boxed_str();
        let said = ((*record.outcome).into(), (*record.reason).into());
        if account.jobs.insert(key, said).is_some() {
            account.repeated += 1;
        }
        true
    }
}

fn header(message: &BorrowedMessage<'_>, name: &str) -> String {
    use rdkafka::message::Headers as _;
    let found = message.headers().and_then(|headers| headers.iter().find(|h| h.key == name));
    found.and_then(|h| h.value).map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default()
}
