//! The settle thread: takes settlements in, produces their records, gives receipts back when acknowledged.
//!
//! Why: one owner for everything that is on its way to durable, so that no two threads can disagree about it.
//! Must not know: how records look (`letter`) or travel (`producer`).

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use slab::Slab;

use super::letter;
use super::producer::{Delivered, Failure, Producer, Record};
use super::tally::Tally;
use super::{Deferral, Links, Settlement, Subject, Telling, Work, WriteAhead};
use crate::job::Home;
use crate::job::receipt::{Back, Why};
use crate::job::topic::Topics;
use crate::observe::failpoint::failpoint;
use crate::outcome::Kind;

/// How long the thread sleeps for new work while records are out: the resolution of settle latency.
const TICK: Duration = Duration::from_millis(1);
/// How long it sleeps when nothing is out.
const IDLE: Duration = Duration::from_millis(100);
/// How long a record waits before it is produced again.
const AGAIN: Duration = Duration::from_millis(250);

/// Which of its records a settlement needs next, after what is told of its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Its dead letter.
    Dead,
    /// The record with which it goes on.
    Deferral,
    /// The mark beside what its vendor may tell of it.
    Mark,
    /// Its outcome.
    Outcome,
}

/// What is on its way to durable.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are settlements")]
enum Entry {
    Settlement {
        settlement: Settlement,
        needs: Needs,
        /// The offset of the record before the outcome, or -1.
        before: i64,
    },
    WriteAhead(WriteAhead),
    Order(Telling),
}

impl Entry {
    /// Whether the daemon's end waits for it: not for what nobody is left to spend, nor for orders, which are a help to
    /// others and hold nothing up.
    fn is_awaited(&self) -> bool {
        matches!(self, Self::Settlement { .. })
    }

    /// What is told of its recipient is dealt with. `false`: there was nothing to tell.
    fn has_told(&mut self) -> bool {
        match self {
            Self::Settlement { settlement, .. } => settlement.suppression.take().is_some(),
            Self::WriteAhead(_) | Self::Order(_) => false,
        }
    }
}

pub(super) struct Stage {
    topics: Topics,
    outcomes: String,
    dead: String,
    usage: String,
    control: String,
    suppressions: String,
    events: String,
    producer: Producer,
    links: Links,
    told: Tally,
    entries: Slab<Entry>,
    /// How many of them the daemon's end does not wait for.
    unawaited: usize,
    /// Slots whose next record is not with the producer yet.
    backlog: VecDeque<usize>,
    /// Slots that failed, and when they are produced again.
    again: VecDeque<(Instant, usize)>,
    refused: BTreeSet<(Home, u32)>,
    /// Homes whose write-aheads were refused for good.
    unspendable: BTreeSet<Home>,
    /// Topics that refused for good what others were to be told.
    unheard: BTreeSet<String>,
    outbox: Vec<Back>,
    buffer: Vec<u8>,
}

impl Stage {
    pub(super) fn new(topics: Topics, producer: Producer, links: Links) -> Self {
        Self {
            outcomes: topics.outcomes(),
            dead: topics.dead(),
            usage: topics.usage(),
            control: topics.control(),
            suppressions: topics.suppressions(),
            events: topics.events(),
            topics,
            producer,
            told: Tally::new(&links.metrics),
            links,
            entries: Slab::new(),
            unawaited: 0,
            backlog: VecDeque::new(),
            again: VecDeque::new(),
            refused: BTreeSet::new(),
            unspendable: BTreeSet::new(),
            unheard: BTreeSet::new(),
            outbox: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Runs until every sender is gone and everything is written that is waited for.
    pub(super) fn run(mut self, inbox: &Receiver<Work>) -> Result<(), String> {
        let mut open = true;
        let mut delivered = Vec::new();
        while open || self.entries.len() > self.unawaited || !self.outbox.is_empty() {
            open = self.take_in(inbox, open);
            self.produce();
            self.producer.poll(&mut delivered);
            if !delivered.is_empty() {
                let now = self.links.clock.mono();
                for report in delivered.drain(..) {
                    self.delivered(report, now);
                }
                self.told.show(&self.links.metrics);
            }
            self.send_back();
            if let Some(fatal) = self.producer.fatal() {
                return Err(format!("the outcomes producer failed for good: {fatal}; hint: restart, nothing is lost"));
            }
        }
        Ok(())
    }

    /// Waits for work, but only as long as nothing else is to be done.
    fn take_in(&mut self, inbox: &Receiver<Work>, open: bool) -> bool {
        let wait = if self.entries.is_empty() && self.outbox.is_empty() { IDLE } else { TICK };
        if !open {
            std::thread::park_timeout(TICK);
            return false;
        }
        match inbox.recv_timeout(wait) {
            Ok(work) => self.accept(work),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        while let Ok(work) = inbox.try_recv() {
            self.accept(work);
        }
        true
    }

    fn accept(&mut self, work: Work) {
        match work {
            Work::Settle(batch) => {
                for settlement in batch {
                    let needs = match settlement.outcome.kind {
                        Kind::Dead => Needs::Dead,
                        Kind::Deferred => Needs::Deferral,
                        _ if settlement.told_under.is_some() => Needs::Mark,
                        _ => Needs::Outcome,
                    };
                    self.backlog.push_back(self.entries.insert(Entry::Settlement { settlement, needs, before: -1 }));
                }
            }
            Work::WriteAhead(ahead) => self.accept_beside(Entry::WriteAhead(ahead)),
            Work::Tell(order) => self.accept_beside(Entry::Order(order)),
        }
    }

    /// What settles no job.
    fn accept_beside(&mut self, entry: Entry) {
        self.unawaited += usize::from(!entry.is_awaited());
        self.backlog.push_back(self.entries.insert(entry));
    }

    fn remove(&mut self, slot: usize) -> Entry {
        let entry = self.entries.remove(slot);
        self.unawaited -= usize::from(!entry.is_awaited());
        entry
    }

    fn produce(&mut self) {
        if let Some(&(due, _)) = self.again.front()
            && due <= self.links.clock.mono()
        {
            self.backlog.extend(self.again.drain(..).map(|(_, slot)| slot));
        }
        while let Some(slot) = self.backlog.pop_front() {
            match self.produce_one(slot) {
                Ok(true) => {}
                Ok(false) => {
                    self.backlog.push_front(slot);
                    return;
                }
                Err(failure) => self.failed(slot, failure),
            }
        }
    }

    fn produce_one(&mut self, slot: usize) -> Result<bool, Failure> {
        let tell = |topic: &str, Telling { key, value }: &Telling| {
            self.producer.send(&Record { topic, partition: None, key, payload: value, headers: vec![], slot })
        };
        let (settlement, needs) = match &self.entries[slot] {
            Entry::Settlement { settlement, needs, .. } => match &settlement.suppression {
                Some(suppression) => return tell(&self.suppressions, suppression),
                None => (settlement, *needs),
            },
            Entry::WriteAhead(WriteAhead { home, key, value, .. }) => {
                let (topic, partition) = (&*self.usage, Some(i32::from(*home)));
                return self.producer.send(&Record { topic, partition, key, payload: value, headers: vec![], slot });
            }
            Entry::Order(order) => return tell(&self.control, order),
        };
        failpoint!("before_outcome");
        let own = Some(i32::from(settlement.subject.receipt().source().home));
        let key = match &settlement.subject {
            Subject::Job(job) => Cow::Borrowed(&*job.spec().id),
            Subject::Malformed(m) => letter::own_names(&m.incoming.bytes).0.unwrap_or_default(),
        };
        let (topic, partition, key, letter) = match (needs, &settlement.subject, settlement.deferral) {
            (Needs::Dead, ..) => (&*self.dead, own, &*key, letter::dead(settlement, &self.topics)),
            (Needs::Deferral, Subject::Job(job), Some(Deferral { to, due, home })) => {
                let partition = Some(i32::from(home));
                (self.topics.source(to), partition, &*key, letter::deferred(job, due, &self.topics))
            }
            _ => {
                self.buffer.clear();
                letter::outcome(settlement, &self.topics, &mut self.buffer);
                let letter = letter::Letter::plain(&self.buffer);
                match (needs, &settlement.told_under) {
                    (Needs::Mark, Some(told_under)) => (&*self.events, None, &**told_under, letter),
                    _ => (&*self.outcomes, own, &*key, letter),
                }
            }
        };
        let (key, headers) = (key.as_bytes(), letter.headers());
        self.producer.send(&Record { topic, partition, key, payload: &letter.payload, headers, slot })
    }

    fn delivered(&mut self, report: Delivered, now: Instant) {
        let slot = report.slot;
        let offset = match report.result {
            Ok(offset) => offset,
            Err(failure) => return self.failed(slot, failure),
        };
        if self.entries[slot].has_told() {
            self.backlog.push_back(slot);
            return;
        }
        if let Entry::Settlement { needs: needs @ (Needs::Dead | Needs::Deferral | Needs::Mark), before, .. } =
            &mut self.entries[slot]
        {
            failpoint!("between_deferral");
            (*needs, *before) = (Needs::Outcome, offset);
            self.backlog.push_back(slot);
            return;
        }
        match self.remove(slot) {
            Entry::Settlement { settlement, before, .. } => {
                failpoint!("after_outcome");
                self.told.count(&settlement, now);
                let end = settlement.end(before);
                self.outbox.push(Back::Settled(settlement.subject.into_receipt().settle(offset, end)));
            }
            Entry::Order(_) => {}
            Entry::WriteAhead(ahead) => {
                // Who does not hear of it does not spend it.
                let _unheard = ahead.done.try_send(ahead.tag);
            }
        }
    }

    fn failed(&mut self, slot: usize, failure: Failure) {
        match failure {
            Failure::Passing(error) => {
                self.links.metrics.settle_retries.inc();
                tracing::warn!(target: "peakpost::settle", error, "a record was not acknowledged; producing it again");
                self.again.push_back((self.links.clock.mono() + AGAIN, slot));
            }
            Failure::ForGood(error) => self.refused(slot, error),
        }
    }

    fn refused(&mut self, slot: usize, error: String) {
        if self.entries[slot].has_told() {
            // The vendor knows who is gone, and says so each time: nobody stops for that.
            self.backlog.push_back(slot);
            return Self::not_told(&mut self.unheard, &self.suppressions, &error);
        }
        match self.remove(slot) {
            Entry::Settlement { settlement, .. } => self.stop_home(settlement, error),
            Entry::Order(_) => Self::not_told(&mut self.unheard, &self.control, &error),
            Entry::WriteAhead(WriteAhead { home, .. }) => {
                if self.unspendable.insert(home) {
                    tracing::error!(
                        target: "peakpost::settle",
                        home, topic = self.usage, error,
                        "the broker refuses for good what this home writes ahead: its share of limits per hour, day or \
                         longer is not spent; hint: `peakpost topics create`, then check the topic's ACLs, then restart"
                    );
                }
            }
        }
    }

    /// The broker will never take what others are to be told in this topic. Said once.
    fn not_told(unheard: &mut BTreeSet<String>, topic: &str, error: &str) {
        if unheard.insert(topic.to_owned()) {
            tracing::error!(
                target: "peakpost::settle",
                topic, error,
                "the broker refuses for good what every instance is to be told: each learns of a vendor's stop, or of a \
                 recipient who is gone, by itself and anew; hint: `peakpost topics create`, then check the topic's ACLs"
            );
        }
    }

    /// The broker will never take what this home has to say.
    fn stop_home(&mut self, settlement: Settlement, error: String) {
        let receipt = settlement.subject.into_receipt();
        let (home, epoch) = (receipt.source().home, receipt.epoch());
        self.outbox.push(Back::Abandoned(receipt.abandon(Why::HomeStopped)));
        if self.refused.insert((home, epoch)) {
            tracing::error!(
                target: "peakpost::settle",
                home, error,
                "the broker refuses this home's outcomes for good: the home stops; hint: `peakpost topics create`, \
                 then check the topics' ACLs and max.message.bytes, then restart"
            );
            self.outbox.push(Back::HomeRefused { home, epoch, error });
        }
    }

    /// Hands receipts back. Never waits: the other side may be waiting for this thread.
    fn send_back(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        match self.links.back.try_send(std::mem::take(&mut self.outbox)) {
            Ok(()) => self.links.wake.unpark(),
            Err(crossbeam::channel::TrySendError::Full(kept)) => self.outbox = kept,
            Err(crossbeam::channel::TrySendError::Disconnected(_)) => {}
        }
    }
}
