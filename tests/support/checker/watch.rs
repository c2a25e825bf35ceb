//! Looks at a run while it lasts, as upstream or an operator would: reads every topic of the line, and asks again and
//! again what the group has committed.
//!
//! Why: the embedded broker trims what it holds, and whether a commit came too early shows only at that time.
//! Must not know: what is right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use peakpost::outcome::record::{self, Record};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::history::{Asked, Commit, Dump, Ending, Letter, Place};

/// How often commits are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often new topics are looked for.
const DISCOVER: Duration = Duration::from_secs(2);
/// Longest wait for one answer; a broker that is away is asked again.
const ANSWER: Duration = Duration::from_secs(2);

/// Somebody who looks.
pub struct Watch {
    /// Outcomes seen so far.
    pub seen: Arc<AtomicU64>,
    /// Jobs (and records that are none) with a terminal outcome so far, each counted once.
    pub ended: Arc<AtomicU64>,
    eyes: Arc<Eyes>,
    threads: Vec<JoinHandle<()>>,
}

/// What both threads share.
struct Eyes {
    brokers: String,
    prefix: String,
    dump: Mutex<Dump>,
    /// Topics of the line with their partitions.
    topics: Mutex<BTreeMap<Arc<str>, u16>>,
    /// The next offset of every partition that is read.
    next: Mutex<HashMap<(Arc<str>, i32), i64>>,
    stop: AtomicBool,
}

impl Watch {
    /// Looks at the line with this prefix, whose group has the same name, from its beginning.
    pub fn start(brokers: &str, prefix: &str) -> Self {
        let eyes = Arc::new(Eyes {
            brokers: brokers.to_owned(),
            prefix: format!("{prefix}."),
            dump: Mutex::default(),
            topics: Mutex::default(),
            next: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (seen, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&seen), Arc::clone(&ended));
        let reader = Reader { eyes: Arc::clone(&eyes), counts, names: HashMap::new(), over: HashSet::new() };
        let looker = Arc::clone(&eyes);
        let group = prefix.to_owned();
        let read = std::thread::spawn(move || reader.run());
        let look = std::thread::spawn(move || looker.look(&group));
        Self { seen, ended, eyes, threads: vec![read, look] }
    }

    /// Whether everything up to the present end of every topic has been read.
    pub fn has_all(&self) -> bool {
        let consumer = self.eyes.consumer(&[]);
        let topics = self.eyes.topics.lock().unwrap().clone();
        topics.iter().all(|(topic, partitions)| {
            (0..i32::from(*partitions)).all(|partition| {
                let Ok((low, end)) = consumer.fetch_watermarks(topic, partition, ANSWER) else { return false };
                let next = self.eyes.next.lock().unwrap().get(&(Arc::clone(topic), partition)).copied();
                end == low || next.is_some_and(|next| next >= end)
            })
        })
    }

    /// Stops looking.
    pub fn finish(self) -> Dump {
        self.eyes.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.eyes.dump.lock().unwrap())
    }
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Eyes {
    fn consumer(&self, more: &[(&str, &str)]) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("enable.auto.commit", "false");
        config.set("fetch.wait.max.ms", "50").set("auto.offset.reset", "earliest");
        // It never joins; committed offsets are asked for by the group's name.
        config.set("group.id", "peakpost-watch");
        for (key, value) in more {
            config.set(*key, *value);
        }
        config.create().unwrap()
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_source(&self, topic: &str) -> bool {
        let name = topic.strip_prefix(&self.prefix).unwrap_or_default();
        ["jobs.", "delay.", "hold."].iter().any(|kind| name.starts_with(kind))
    }

    /// Topics of the line that were not known yet.
    fn discover(&self, consumer: &BaseConsumer) -> Vec<(Arc<str>, u16)> {
        let Ok(metadata) = consumer.fetch_metadata(None, ANSWER) else { return Vec::new() };
        let mut known = self.topics.lock().unwrap();
        let mut new = Vec::new();
        for topic in metadata.topics() {
            let name = topic.name().strip_prefix(&self.prefix).unwrap_or_default();
            let ours = self.is_source(topic.name()) || name == "outcomes" || name == "dead";
            if ours && !topic.partitions().is_empty() && !known.contains_key(topic.name()) {
                let entry: (Arc<str>, u16) = (topic.name().into(), u16::try_from(topic.partitions().len()).unwrap());
                known.insert(Arc::clone(&entry.0), entry.1);
                new.push(entry);
            }
        }
        new
    }

    /// Asks for commits until it is told to stop, and once more then.
    fn look(&self, group: &str) {
        let asker = self.consumer(&[("group.id", group)]);
        let mut last = HashMap::new();
        loop {
            let over = self.over();
            self.look_once(&asker, &mut last);
            if over {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn look_once(&self, asker: &BaseConsumer, last: &mut HashMap<(Arc<str>, u16), i64>) {
        let topics = self.topics.lock().unwrap().clone();
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in topics.iter().filter(|(topic, _)| self.is_source(topic)) {
            list.add_partition_range(topic, 0, i32::from(*partitions) - 1);
        }
        if list.count() == 0 {
            return;
        }
        let Ok(committed) = asker.committed_offsets(list, ANSWER) else { return };
        let at_ms = now_ms();
        let outcomes = format!("{}outcomes", self.prefix);
        let mut ends: HashMap<u16, Option<i64>> = HashMap::new();
        for element in committed.elements() {
            let Offset::Offset(next) = element.offset() else { continue };
            let Some((topic, _)) = topics.get_key_value(element.topic()) else { continue };
            let home = u16::try_from(element.partition()).unwrap();
            if last.insert((Arc::clone(topic), home), next) == Some(next) {
                continue;
            }
            let ask = || asker.fetch_watermarks(&outcomes, i32::from(home), ANSWER).ok().map(|(_, end)| end);
            let outcomes_end = *ends.entry(home).or_insert_with(ask);
            let commit = Commit { at_ms, topic: Arc::clone(topic), home, next, outcomes_end };
            self.dump.lock().unwrap().commits.push(commit);
        }
    }
}

/// The ids that a record gives itself.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Names {
    id: String,
    tenant: String,
}

struct Reader {
    eyes: Arc<Eyes>,
    counts: (Arc<AtomicU64>, Arc<AtomicU64>),
    /// One copy of each topic's name.
    names: HashMap<String, Arc<str>>,
    /// What has ended: jobs by key and generation, records that are none by their place.
    over: HashSet<(Box<str>, u16)>,
}

impl Reader {
    fn run(mut self) {
        let consumer = self.eyes.consumer(&[]);
        let mut looked: Option<Instant> = None;
        while !self.eyes.over() {
            if looked.is_none_or(|at| at.elapsed() > DISCOVER) {
                self.follow(&consumer);
                looked = Some(Instant::now());
            }
            let Some(first) = consumer.poll(Duration::from_millis(20)) else { continue };
            let mut next = Some(first);
            while let Some(message) = next {
                // A lost connection is no loss: what was missed would show as a gap in the offsets.
                if let Ok(message) = message {
                    self.take(&message);
                }
                next = consumer.poll(Duration::ZERO);
            }
        }
    }

    fn follow(&self, consumer: &BaseConsumer) {
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in self.eyes.discover(consumer) {
            for partition in 0..i32::from(partitions) {
                list.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
            }
        }
        if list.count() > 0 {
            consumer.incremental_assign(&list).unwrap();
        }
    }

    fn place(&mut self, topic: &str, home: u16, offset: i64) -> Place {
        if !self.names.contains_key(topic) {
            self.names.insert(topic.to_owned(), topic.into());
        }
        Place { topic: Arc::clone(&self.names[topic]), home, offset }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let (topic, offset) = (message.topic(), message.offset());
        let at = self.place(topic, u16::try_from(message.partition()).unwrap(), offset);
        let expected = {
            let mut next = self.eyes.next.lock().unwrap();
            next.insert((Arc::clone(&at.topic), message.partition()), offset + 1).unwrap_or(0)
        };
        // What waited is trimmed once it is committed; nothing else may be missing.
        let trimmable = topic.contains(".delay.") || topic.contains(".hold.");
        if offset != expected && !trimmable {
            self.eyes.dump.lock().unwrap().unread.push(format!("{at:?} came after offset {expected}"));
        }
        let payload = message.payload().unwrap_or_default();
        if self.eyes.is_source(topic) {
            let names: Names = serde_json::from_slice(payload).unwrap_or_default();
            let key = format!("{}/{}", names.tenant, names.id).into();
            self.eyes.dump.lock().unwrap().asked.push(Asked { place: at, key });
        } else if topic.strip_prefix(&self.eyes.prefix) == Some("dead") {
            let header = |name: &str| {
                let found = message.headers().and_then(|headers| headers.iter().find(|h| h.key == name));
                found.and_then(|h| h.value).map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default()
            };
            let letter = Letter { origin: header("peakpost-origin"), reason: header("peakpost-reason").into() };
            self.eyes.dump.lock().unwrap().letters.push(letter);
        } else {
            self.take_outcome(&at, message.timestamp().to_millis().unwrap_or_default(), payload);
        }
    }

    fn take_outcome(&mut self, at: &Place, stamped_ms: i64, payload: &[u8]) {
        let record: Record<'_> = match serde_json::from_slice(payload) {
            Ok(record) => record,
            Err(e) => {
                self.eyes.dump.lock().unwrap().unread.push(format!("{at:?} is no outcome: {e}"));
                return;
            }
        };
        let mut place = |p: &record::Place<'_>| self.place(&p.topic, p.partition, p.offset);
        let (origin, source) = (place(&record.origin), place(&record.source));
        let key = if record.id.is_empty() { String::new() } else { format!("{}/{}", record.tenant, record.id) };
        let ending = Ending {
            offset: at.offset,
            home: at.home,
            stamped_ms,
            kind: (*record.outcome).into(),
            reason: (*record.reason).into(),
            key: key.into(),
            generation: record.generation,
            late: record.late,
            origin,
            source,
        };
        let name = if ending.key.is_empty() { format!("{:?}", ending.source).into() } else { ending.key.clone() };
        let ended = ending.is_terminal() && self.over.insert((name, ending.generation));
        self.eyes.dump.lock().unwrap().endings.push(ending);
        self.counts.0.fetch_add(1, Ordering::Relaxed);
        self.counts.1.fetch_add(u64::from(ended), Ordering::Relaxed);
    }
}
