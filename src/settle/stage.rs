//! The settle thread: takes settlements in, produces their records, gives receipts back when acknowledged.
//!
//! Why: one owner for everything that is on its way to durable, so that no two threads can disagree about it.
//! Must not know: how records look (`letter`) or travel (`producer`).

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use prometheus::Histogram;
use slab::Slab;

use super::letter;
use super::producer::{Delivered, Failure, Producer, Record};
use super::{Deferral, Links, Parts, Settlement, Subject};
use crate::job::receipt::{Back, Why};
use crate::job::topic::Topics;
use crate::job::{Home, Lane};
use crate::observe::failpoint::failpoint;
use crate::outcome::{Kind, Outcome};

/// How long the thread sleeps for new work while records are out: the resolution of settle latency.
const TICK: Duration = Duration::from_millis(1);
/// How long it sleeps when nothing is out.
const IDLE: Duration = Duration::from_millis(100);
/// How long a record waits before it is produced again.
const AGAIN: Duration = Duration::from_millis(250);

/// Which of its records a settlement needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Its dead letter.
    Dead,
    /// The record with which it goes on.
    Deferral,
    /// Its outcome. With the offset of the record before it.
    Outcome(i64),
}

#[derive(Debug)]
struct Entry {
    settlement: Settlement,
    needs: Needs,
}

pub(super) struct Stage {
    topics: Topics,
    outcomes: String,
    dead: String,
    producer: Producer,
    links: Links,
    hops: [Histogram; 2],
    latency: Histogram,
    entries: Slab<Entry>,
    /// Slots whose next record is not with the producer yet.
    backlog: VecDeque<usize>,
    /// Slots that failed, and when they are produced again.
    again: VecDeque<(Instant, usize)>,
    refused: BTreeSet<(Home, u32)>,
    outbox: Vec<Back>,
    buffer: Vec<u8>,
}

impl Stage {
    pub(super) fn new(topics: Topics, producer: Producer, links: Links) -> Self {
        Self {
            outcomes: topics.outcomes(),
            dead: topics.dead(),
            topics,
            producer,
            hops: Lane::ALL.map(|lane| links.metrics.hops.with_label_values(&[lane.as_str()])),
            latency: links.metrics.settle_latency.with_label_values::<&str>(&[]),
            links,
            entries: Slab::new(),
            backlog: VecDeque::new(),
            again: VecDeque::new(),
            refused: BTreeSet::new(),
            outbox: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Runs until every sender is gone and everything is written.
    pub(super) fn run(mut self, inbox: &Receiver<Vec<Settlement>>) -> Result<(), String> {
        let mut open = true;
        let mut delivered = Vec::new();
        while open || !self.entries.is_empty() || !self.outbox.is_empty() {
            open = self.take_in(inbox, open);
            self.produce();
            self.producer.poll(&mut delivered);
            for report in delivered.drain(..) {
                self.delivered(report);
            }
            self.send_back();
            if let Some(fatal) = self.producer.fatal() {
                return Err(format!("the outcomes producer failed for good: {fatal}; hint: restart, nothing is lost"));
            }
        }
        Ok(())
    }

    /// Waits for work, but only as long as nothing else is to be done.
    fn take_in(&mut self, inbox: &Receiver<Vec<Settlement>>, open: bool) -> bool {
        let wait = if self.entries.is_empty() && self.outbox.is_empty() { IDLE } else { TICK };
        if !open {
            std::thread::park_timeout(TICK);
            return false;
        }
        match inbox.recv_timeout(wait) {
            Ok(batch) => self.accept(batch),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        while let Ok(batch) = inbox.try_recv() {
            self.accept(batch);
        }
        true
    }

    fn accept(&mut self, batch: Vec<Settlement>) {
        for settlement in batch {
            let needs = match settlement.outcome.kind {
                Kind::Dead => Needs::Dead,
                Kind::Deferred => Needs::Deferral,
                _ => Needs::Outcome(-1),
            };
            let slot = self.entries.insert(Entry { settlement, needs });
            self.backlog.push_back(slot);
        }
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
        failpoint!("before_outcome");
        let Entry { settlement, needs } = &self.entries[slot];
        let source = settlement.subject.receipt().source();
        let partition = i32::from(source.home);
        let key = match &settlement.subject {
            Subject::Job(job) => Cow::Borrowed(&*job.spec().id),
            Subject::Malformed(m) => letter::own_names(&m.incoming.bytes).0.unwrap_or_default(),
        };
        let key = key.as_bytes();
        let (topic, letter) = match (needs, &settlement.subject, settlement.deferral) {
            (Needs::Dead, ..) => (&*self.dead, letter::dead(settlement, &self.topics)),
            (Needs::Deferral, Subject::Job(job), Some(Deferral { to, due })) => {
                (self.topics.source(to), letter::deferred(job, due, &self.topics))
            }
            _ => {
                self.buffer.clear();
                letter::outcome(settlement, &self.topics, &mut self.buffer);
                (&*self.outcomes, letter::Letter::plain(&self.buffer))
            }
        };
        let headers = letter.headers();
        self.producer.send(&Record { topic, partition, key, payload: &letter.payload, headers, slot })
    }

    fn delivered(&mut self, report: Delivered) {
        let slot = report.slot;
        let (offset, before) = match (report.result, self.entries[slot].needs) {
            (Err(failure), _) => return self.failed(slot, failure),
            (Ok(offset), Needs::Outcome(before)) => (offset, before),
            (Ok(offset), Needs::Dead | Needs::Deferral) => {
                failpoint!("between_deferral");
                self.entries[slot].needs = Needs::Outcome(offset);
                self.backlog.push_back(slot);
                return;
            }
        };
        failpoint!("after_outcome");
        let Entry { settlement, .. } = self.entries.remove(slot);
        self.count(&settlement);
        let end = settlement.end(before);
        self.outbox.push(Back::Settled(settlement.subject.into_receipt().settle(offset, end)));
    }

    fn count(&self, settlement: &Settlement) {
        let Parts { lane, way, .. } = settlement.subject.parts();
        let Outcome { kind, reason, .. } = &settlement.outcome;
        let metrics = &self.links.metrics;
        metrics.outcomes.with_label_values(&[lane.as_str(), kind.as_str(), reason.as_str()]).inc();
        if kind.is_terminal() {
            self.hops[lane.index()].observe(f64::from(way.hop));
        }
        let took = self.links.clock.mono().saturating_duration_since(settlement.decided).as_secs_f64();
        self.latency.observe(took);
    }

    fn failed(&mut self, slot: usize, failure: Failure) {
        match failure {
            Failure::Passing(error) => {
                self.links.metrics.settle_retries.inc();
                tracing::warn!(target: "peakpost::settle", error, "outcome not acknowledged; producing it again");
                self.again.push_back((self.links.clock.mono() + AGAIN, slot));
            }
            Failure::ForGood(error) => {
                let receipt = self.entries.remove(slot).settlement.subject.into_receipt();
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
