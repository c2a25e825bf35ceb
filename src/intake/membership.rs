//! The membership handle: subscribes to the homes topic alone, and makes every commit.
//!
//! Why: commits made by a member are fenced by the group's generation, so an instance that was declared dead
//! cannot move offsets. Callbacks only pass messages; the owner decides when a home is let go.
//! Must not know: jobs topics' content, ledgers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use super::Config;
use crate::job::Home;
use crate::ledger;
use crate::observe::failpoint::failpoint;
use crate::observe::kafka;

/// What the group tells its member.
#[derive(Debug)]
pub(super) enum Event {
    /// These homes are ours.
    Assigned(Vec<Home>),
    /// These homes go to somebody else once we let go. `lost`: they have gone already.
    Revoked { homes: Vec<Home>, lost: bool },
    /// A commit was answered: that of the lanes, and that of tiers and holds.
    Committed(Result<(), Refused>, Result<(), Refused>),
}

/// Why a commit was not acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) error: String,
    /// The group does not know this member any more: the homes have gone, and nothing of them can be committed.
    pub(super) out: bool,
}

impl Refused {
    fn new(error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let out = matches!(error.rdkafka_error_code(), Some(Code::UnknownMemberId | Code::IllegalGeneration));
        Self { error: error.to_string(), out }
    }
}

#[derive(Default)]
struct Context {
    events: Mutex<VecDeque<Event>>,
    /// Set before the handle is dropped: from then on nobody serves events, so homes are let go at once.
    closing: AtomicBool,
}

impl Context {
    fn push(&self, event: Event) {
        if let Ok(mut events) = self.events.lock() {
            events.push_back(event);
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "peakpost::intake", %error, reason, "membership client error");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, tpl: &mut TopicPartitionList) {
        let homes = tpl.elements().iter().filter_map(|e| Home::try_from(e.partition()).ok()).collect();
        if self.closing.load(Ordering::Acquire) {
            let let_go = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(tpl),
                RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.unassign(),
            };
            if let Err(error) = let_go {
                tracing::warn!(target: "peakpost::intake", %error, "unassign while closing");
            }
        } else if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.push(Event::Assigned(homes));
        } else {
            self.push(Event::Revoked { homes, lost: consumer.assignment_lost() });
        }
    }
}

/// One commit of one source partition.
pub(super) struct Position<'a> {
    pub(super) topic: &'a str,
    /// Whether it is a lane's jobs topic: the lease hangs on these alone.
    pub(super) is_lane: bool,
    pub(super) home: Home,
    pub(super) next: i64,
    pub(super) metadata: String,
}

/// What the group has committed for one source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) next: i64,
    /// Where a restart reads outcomes from; `None` when the metadata cannot be read.
    pub(super) outcomes_from: Option<i64>,
}

pub(super) struct Membership {
    consumer: Arc<BaseConsumer<Context>>,
    /// Commits wait for their answer on a thread of their own: the client has no answer for a commit that nobody
    /// waits for, and the owner must not wait.
    commits: Sender<Requests>,
    committer: JoinHandle<()>,
    /// Asks for offsets of partitions. It fetches nothing: a broker answers the requests of a connection in turn,
    /// and a question behind a long fetch would wait for it.
    asker: Arc<BaseConsumer>,
    homes_topic: String,
}

impl Membership {
    pub(super) fn join(config: &Config, wake: Thread) -> Result<Self, String> {
        let fail = |e: KafkaError| format!("cannot join group `{}`: {e}", config.group);
        let asker = Arc::new(kafka::client(&config.client).create().map_err(fail)?);
        let ms = |d: Duration| d.as_millis().to_string();
        let mut client = kafka::reader(&config.client, &config.group);
        client
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "error")
            .set("session.timeout.ms", ms(config.session_timeout))
            .set("heartbeat.interval.ms", ms(config.heartbeat))
            .set("max.poll.interval.ms", ms(config.drain + Duration::from_secs(30)));
        let mut consumer = BaseConsumer::from_config_and_context(&client, Context::default()).map_err(fail)?;
        let unpark = wake.clone();
        consumer.set_nonempty_callback(move || unpark.unpark());
        let homes_topic = config.topics.homes();
        consumer.subscribe(&[&homes_topic]).map_err(fail)?;
        let consumer = Arc::new(consumer);
        let (commits, queue) = bounded(1);
        let of_thread = Arc::clone(&consumer);
        let committer = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || commit_each(&of_thread, &queue, &wake))
            .map_err(|e| format!("cannot start the commit thread: {e}"))?;
        Ok(Self { consumer, commits, committer, asker, homes_topic })
    }

    /// Serves callbacks without waiting, and takes the next event.
    pub(super) fn poll(&self) -> Option<Event> {
        // The homes topic is empty: a message or error here is worth a line, nothing more.
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            tracing::debug!(target: "peakpost::intake", %error, "membership");
        }
        self.consumer.context().events.lock().ok()?.pop_front()
    }

    fn list(&self, homes: &[Home]) -> TopicPartitionList {
        let mut tpl = TopicPartitionList::new();
        for home in homes {
            let mut element = tpl.add_partition(&self.homes_topic, i32::from(*home));
            // Always representable; the topic is empty, so any start is its end.
            let _set = element.set_offset(Offset::Beginning);
        }
        tpl
    }

    pub(super) fn accept(&self, homes: &[Home]) -> Result<(), String> {
        let list = self.list(homes);
        self.consumer.incremental_assign(&list).map_err(|e| format!("incremental assign: {e}"))?;
        // There is nothing to fetch, and a fetch that waits for it would hold up what goes to the same broker: the question
        // for a new coordinator, until the session is over.
        self.consumer.pause(&list).map_err(|e| format!("pause: {e}"))
    }

    pub(super) fn let_go(&self, homes: &[Home]) -> Result<(), String> {
        self.consumer.incremental_unassign(&self.list(homes)).map_err(|e| format!("incremental unassign: {e}"))
    }

    /// Sends a commit, one request per topic: of a request in which only some partitions fail the client says
    /// that it went well, and what fails for a reason of its own (a missing ACL) fails for the whole topic. The
    /// answer to all of them comes as one event.
    pub(super) fn commit(&self, positions: &[Position<'_>]) -> Result<(), String> {
        let (mut lanes, mut later) = (BTreeMap::new(), BTreeMap::new());
        for position in positions {
            let requests = if position.is_lane { &mut lanes } else { &mut later };
            let list: &mut TopicPartitionList = requests.entry(position.topic).or_default();
            let mut element = list.add_partition(position.topic, i32::from(position.home));
            element.set_offset(Offset::Offset(position.next)).map_err(|e| e.to_string())?;
            element.set_metadata(&position.metadata);
        }
        let requests = Requests { lanes: lanes.into_values().collect(), later: later.into_values().collect() };
        self.commits.try_send(requests).map_err(|_| "the commit before it has no answer yet".to_owned())
    }

    /// What the group has committed in a topic, over all its homes. Waits for the broker.
    pub(super) fn committed(
        &self,
        topic: &str,
        homes: Home,
        wait: Duration,
    ) -> Result<BTreeMap<Home, Committed>, String> {
        let mut tpl = TopicPartitionList::new();
        tpl.add_partition_range(topic, 0, i32::from(homes) - 1);
        let tpl =
            self.consumer.committed_offsets(tpl, wait).map_err(|e| format!("committed offsets of `{topic}`: {e}"))?;
        let one = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            e.error().map_err(|e| format!("committed offsets of `{topic}`: {e}"))?;
            let home = Home::try_from(e.partition()).map_err(|e| e.to_string())?;
            Ok(match e.offset() {
                Offset::Offset(next) => {
                    Some((home, Committed { next, outcomes_from: ledger::decode_metadata(e.metadata()) }))
                }
                _ => None,
            })
        };
        tpl.elements().iter().map(one).filter_map(Result::transpose).collect()
    }

    /// Whom to ask for offsets of partitions.
    pub(super) fn asker(&self) -> Arc<BaseConsumer> {
        Arc::clone(&self.asker)
    }

    /// First offset and end of some of a topic's partitions. Waits for the broker.
    pub(super) fn bounds(
        &self,
        topic: &str,
        homes: &[Home],
        wait: Duration,
    ) -> Result<BTreeMap<Home, (i64, i64)>, String> {
        let ask = |which| kafka::offsets(&self.asker, topic, homes.iter().map(|home| i32::from(*home)), which, wait);
        let both = ask(Offset::Beginning)?.into_iter().zip(ask(Offset::End)?);
        Ok(homes.iter().copied().zip(both).collect())
    }

    /// Leaves the group. Waits for the broker; the caller watches the time.
    pub(super) fn leave(self) {
        drop(self.commits);
        if self.committer.join().is_err() {
            tracing::error!(target: "peakpost::intake", "the commit thread panicked");
        }
        self.consumer.context().closing.store(true, Ordering::Release);
        // A revocation that we never answered would keep the handle from closing.
        let held = self.consumer.assignment().ok().filter(|held| held.count() > 0);
        if let Some(Err(error)) = held.map(|held| self.consumer.incremental_unassign(&held)) {
            tracing::warn!(target: "peakpost::intake", %error, "unassign while leaving");
        }
        drop(self.consumer);
    }
}

/// One commit, a request per topic.
struct Requests {
    lanes: Vec<TopicPartitionList>,
    later: Vec<TopicPartitionList>,
}

fn commit_each(consumer: &BaseConsumer<Context>, queue: &Receiver<Requests>, wake: &Thread) {
    for Requests { lanes, later } in queue {
        failpoint!("before_commit");
        let commit = |requests: &[TopicPartitionList]| {
            let answer = requests.iter().try_for_each(|positions| consumer.commit(positions, CommitMode::Sync));
            answer.map_err(|e| Refused::new(&e))
        };
        let lanes = commit(&lanes);
        // One tier that cannot be committed must not cost the lease.
        let later = if lanes.is_ok() { commit(&later) } else { Ok(()) };
        failpoint!("after_commit");
        consumer.context().push(Event::Committed(lanes, later));
        wake.unpark();
    }
}
