//! The settle thread: takes settlements in, produces their records, gives receipts back when acknowledged.
//!
//! Why: one owner for everything that is on its way to durable, so that no two threads can disagree about it.
//! Must not know: how records look (`letter`, `written`) or travel (`producer`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, TryRecvError};
use slab::Slab;

use super::producer::{Delivered, Failure, Producer, Record};
use super::tally::Tally;
use super::written::{Batch, First, Names, To, Written, range};
use super::{Links, Telling, Work, WriteAhead};
use crate::job::receipt::{Back, Why};
use crate::job::{Home, Receipt};
use crate::observe::failpoint::failpoint;

/// How long the thread sleeps while records are out: the resolution of settle latency.
const TICK: Duration = Duration::from_millis(1);
/// How long it sleeps when nothing is out.
const IDLE: Duration = Duration::from_millis(100);
/// How long a record waits before it is produced again.
const AGAIN: Duration = Duration::from_millis(250);

/// What is on its way to durable.
#[derive(Debug)]
enum Entry {
    Settlement {
        settlement: Written,
        /// The words of its batch.
        words: Arc<Vec<u8>>,
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

    /// The record before the outcome that is on its way, if there is one. It is dealt with.
    fn first(&mut self) -> Option<To> {
        match self {
            Self::Settlement { settlement, .. } => settlement.first.pop().map(|first| first.to),
            Self::WriteAhead(_) | Self::Order(_) => None,
        }
    }

    /// Whether what is told of its recipient is on its way.
    fn tells(&self) -> bool {
        matches!(self, Self::Settlement { settlement, .. } if settlement.first.last().is_some_and(|f| f.to == To::Suppressions))
    }
}

pub(super) struct Stage {
    names: Arc<Names>,
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
}

impl Stage {
    pub(super) fn new(names: Arc<Names>, producer: Producer, links: Links) -> Self {
        Self {
            names,
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
        }
    }

    /// Runs until every sender is gone and everything is written that is waited for.
    pub(super) fn run(mut self, inbox: &Receiver<Work>) -> Result<(), String> {
        let mut open = true;
        let mut delivered = Vec::new();
        while open || self.entries.len() > self.unawaited || !self.outbox.is_empty() {
            open = self.take_in(inbox);
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

    /// Takes in what has come, after a pause: a short one while records are out. `false`: no more will come.
    fn take_in(&mut self, inbox: &Receiver<Work>) -> bool {
        if !(self.entries.is_empty() && self.outbox.is_empty()) {
            // Nobody is to wake it for each batch: what comes meanwhile is taken in together.
            std::thread::park_timeout(TICK);
        } else if let Ok(work) = inbox.recv_timeout(IDLE) {
            self.accept(work);
        }
        loop {
            match inbox.try_recv() {
                Ok(work) => self.accept(work),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn accept(&mut self, work: Work) {
        match work {
            Work::Settle(Batch { settlements, words }) => {
                for settlement in settlements {
                    let entry = Entry::Settlement { settlement, words: Arc::clone(&words), before: -1 };
                    self.backlog.push_back(self.entries.insert(entry));
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

    fn produce_one(&self, slot: usize) -> Result<bool, Failure> {
        let (settlement, words) = match &self.entries[slot] {
            Entry::Settlement { settlement, words, .. } => (settlement, words),
            Entry::WriteAhead(WriteAhead { home, key, value, .. }) => {
                let (topic, partition) = (&*self.names.usage, Some(i32::from(*home)));
                return self.producer.send(&Record { topic, partition, key, payload: value, headers: vec![], slot });
            }
            Entry::Order(Telling { key, value }) => {
                let topic = &*self.names.control;
                let record = Record { topic, partition: None, key, payload: value, headers: vec![], slot };
                return self.producer.send(&record);
            }
        };
        failpoint!("before_outcome");
        if let Some(First { to, partition, key, letter }) = settlement.first.last() {
            let (topic, partition, headers) = (self.names.of(*to), *partition, letter.headers());
            return self.producer.send(&Record { topic, partition, key, payload: &letter.payload, headers, slot });
        }
        let (topic, partition) = (&*self.names.outcomes, Some(i32::from(settlement.receipt.source().home)));
        let (key, payload) = (&words[range(&settlement.key)], &words[range(&settlement.record)]);
        self.producer.send(&Record { topic, partition, key, payload, headers: vec![], slot })
    }

    fn delivered(&mut self, report: Delivered, now: Instant) {
        let slot = report.slot;
        let offset = match report.result {
            Ok(offset) => offset,
            Err(failure) => return self.failed(slot, failure),
        };
        if let Some(to) = self.entries[slot].first() {
            if to != To::Suppressions {
                failpoint!("between_deferral");
            }
            if let Entry::Settlement { before, .. } = &mut self.entries[slot] {
                *before = offset;
            }
            self.backlog.push_back(slot);
            return;
        }
        match self.remove(slot) {
            Entry::Settlement { settlement, before, .. } => {
                failpoint!("after_outcome");
                self.told.count(&settlement, now);
                let end = settlement.end(before);
                self.outbox.push(Back::Settled(settlement.receipt.settle(offset, end)));
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
        if self.entries[slot].tells() {
            self.entries[slot].first();
            // The vendor knows who is gone, and says so each time: nobody stops for that.
            self.backlog.push_back(slot);
            return Self::not_told(&mut self.unheard, &self.names.suppressions, &error);
        }
        match self.remove(slot) {
            Entry::Settlement { settlement, .. } => self.stop_home(settlement.receipt, error),
            Entry::Order(_) => Self::not_told(&mut self.unheard, &self.names.control, &error),
            Entry::WriteAhead(WriteAhead { home, .. }) => {
                if self.unspendable.insert(home) {
                    tracing::error!(
                        target: "peakpost::settle",
                        home, topic = self.names.usage, error,
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
    fn stop_home(&mut self, receipt: Receipt, error: String) {
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
