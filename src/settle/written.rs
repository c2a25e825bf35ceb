//! Settlements as they wait for the broker: their records, written down, and their receipts.
//!
//! Why: a job is written down while it is at hand, and then let go of. What waits for an acknowledgement is a third of
//! its size, and lies beside what is produced with it.
//! Must not know: producers, retries.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::letter::{self, Letter};
use super::{Deferral, Parts, Settlement, Subject, Telling, Unrecorded};
use crate::job::receipt::End;
use crate::job::topic::Topics;
use crate::job::{Lane, Receipt, Source};
use crate::outcome::{Kind, Reason};

/// The topics into which is written, each by its name.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) topics: Topics,
    pub(super) outcomes: String,
    pub(super) dead: String,
    pub(super) usage: String,
    pub(super) control: String,
    pub(super) suppressions: String,
    pub(super) events: String,
}

impl Names {
    pub(super) fn new(topics: &Topics) -> Self {
        Self {
            outcomes: topics.outcomes(),
            dead: topics.dead(),
            usage: topics.usage(),
            control: topics.control(),
            suppressions: topics.suppressions(),
            events: topics.events(),
            topics: topics.clone(),
        }
    }

    pub(super) fn of(&self, to: To) -> &str {
        match to {
            To::Suppressions => &self.suppressions,
            To::Dead => &self.dead,
            To::Source(source) => self.topics.source(source),
            To::Events => &self.events,
        }
    }
}

/// Where a record goes that comes before its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// What follows for the recipient.
    Suppressions,
    /// Its dead letter.
    Dead,
    /// The record with which it goes on.
    Source(Source),
    /// The mark beside what its vendor may tell of it.
    Events,
}

/// A record that must be durable before its outcome.
#[derive(Debug)]
pub(super) struct First {
    pub(super) to: To,
    /// `None`: by its key.
    pub(super) partition: Option<i32>,
    pub(super) key: Box<[u8]>,
    pub(super) letter: Letter<'static>,
}

/// One settlement, written down.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) receipt: Receipt,
    /// What comes before its outcome, the first last. Nearly none has any.
    pub(super) first: Vec<First>,
    /// Its outcome's key and record, in the words of its batch.
    pub(super) key: Range<u32>,
    pub(super) record: Range<u32>,
    pub(super) lane: Lane,
    pub(super) kind: Kind,
    pub(super) reason: Reason,
    pub(super) hop: u16,
    pub(super) decided: Instant,
    /// It goes on there, in its own home: another home's records are not this one's to count.
    goes_on: Option<Source>,
    /// Counts it for as long as it lives.
    _unrecorded: Option<Unrecorded>,
}

impl Written {
    /// What its durable outcome means for its job. `deferred_at` is the offset of the record with which it goes on.
    pub(super) fn end(&self, deferred_at: i64) -> End {
        match self.kind {
            Kind::Deferred => End::Deferred(self.goes_on.map(|to| (to, deferred_at))),
            Kind::Duplicate => End::Repeat,
            _ => End::Terminal,
        }
    }
}

/// What was handed over at once.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) settlements: Vec<Written>,
    /// The keys and records of their outcomes.
    pub(super) words: Arc<Vec<u8>>,
}

/// What an outcome and its key take, mostly.
const WORDS: usize = 512;

impl Batch {
    /// Writes them down, and lets go of their jobs.
    pub(super) fn write(batch: impl ExactSizeIterator<Item = Settlement>, names: &Names) -> Self {
        let mut words = Vec::with_capacity(batch.len() * WORDS);
        let settlements = batch.map(|settlement| write(settlement, names, &mut words)).collect();
        Self { settlements, words: Arc::new(words) }
    }
}

fn write(mut settlement: Settlement, names: &Names, words: &mut Vec<u8>) -> Written {
    let before = end(words);
    words.extend_from_slice(key(&settlement).as_bytes());
    let key = before..end(words);
    letter::outcome(&settlement, &names.topics, words);
    let record = key.end..end(words);
    let Parts { lane, way, .. } = settlement.subject.parts();
    let hop = way.hop;
    let own = settlement.subject.receipt().source().home;
    let mut first = Vec::new();
    if let Some(told) = settlement.suppression.take() {
        let Telling { key, value } = *told;
        let letter = Letter::plain(Cow::Owned(value));
        first.push(First { to: To::Suppressions, partition: None, key: key.into(), letter });
    }
    first.extend(second(&settlement, names, &words[range(&key)], &words[range(&record)]));
    first.reverse();
    let Settlement { subject, outcome, deferral, decided, unrecorded, .. } = settlement;
    Written {
        receipt: subject.into_receipt(),
        first,
        key,
        record,
        lane,
        kind: outcome.kind,
        reason: outcome.reason,
        hop,
        decided,
        goes_on: deferral.filter(|deferral| deferral.home == own).map(|deferral| deferral.to),
        _unrecorded: unrecorded,
    }
}

/// What comes before an outcome, after what is told of its recipient.
fn second(settlement: &Settlement, names: &Names, key: &[u8], record: &[u8]) -> Option<First> {
    let own = Some(i32::from(settlement.subject.receipt().source().home));
    let (to, partition, key, letter) = match (settlement.outcome.kind, &settlement.subject, settlement.deferral) {
        (Kind::Dead, ..) => (To::Dead, own, key, letter::dead(settlement, &names.topics)),
        (Kind::Deferred, Subject::Job(job), Some(Deferral { to, due, home })) => {
            (To::Source(to), Some(i32::from(home)), key, letter::deferred(job, due, &names.topics))
        }
        _ => {
            let told_under = settlement.told_under.as_deref()?;
            (To::Events, None, told_under.as_bytes(), Letter::plain(Cow::Borrowed(record)))
        }
    };
    Some(First { to, partition, key: key.into(), letter: letter.into_owned() })
}

/// By what its outcome is known: its job's id.
fn key(settlement: &Settlement) -> Cow<'_, str> {
    match &settlement.subject {
        Subject::Job(job) => Cow::Borrowed(&*job.spec().id),
        Subject::Malformed(m) => letter::own_names(&m.incoming.bytes).0.unwrap_or_default(),
    }
}

/// Where the next words stand. A batch is as large as a turn's jobs, which are far from filling four gigabytes.
fn end(words: &[u8]) -> u32 {
    u32::try_from(words.len()).unwrap_or(u32::MAX)
}

/// The same, as slices are asked for.
pub(super) fn range(of: &Range<u32>) -> Range<usize> {
    of.start as usize..of.end as usize
}
