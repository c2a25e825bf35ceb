//! Jobs of which nobody knows whether they were sent, until their vendor tells, or for too long.
//!
//! Why: a quarantined job is never sent again, so what is told of it later is all that says what became of it. It may be told
//! before the job is known to be quarantined: a vendor that does not answer can deliver all the same, at once.
//! Must not know: Kafka, who reads, who writes.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::event::{self, Happened};
use crate::job::{Channel, Home, Wall};
use crate::outcome::record::Record as Outcome;
use crate::outcome::{Kind, Reason};

/// Most jobs known per partition; what is quarantined beyond them counts as unresolved at once.
pub const KNOWN_MAX: usize = 20_000;
/// Jobs of which something was told lately, per partition: what is quarantined later than so many others were spoken of is
/// resolved by what comes after that alone.
pub const LATELY_MAX: usize = 20_000;
/// A resolved job is known for so long, in milliseconds: whoever takes over within it does not resolve it again.
const RESOLVED_FOR: i64 = 3_600_000;
/// With what the keys of such jobs begin in the reputation topic: no tenant's name can.
const MARK: &str = "?/";

/// What is waited for, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Channels in which a message that may have been sent is never sent again.
    pub channels: Vec<Channel>,
    /// After so long without a word a job counts as unresolved.
    pub unresolved_after: Duration,
}

/// What is to be made durable, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Whoever takes the partition over must know this: a record under a key.
    Keep {
        /// The key.
        key: Box<str>,
        /// The job's last outcome.
        record: Box<[u8]>,
    },
    /// The same, and it is the job's outcome that its vendor has told.
    Resolve {
        /// The key.
        key: Box<str>,
        /// The job's last outcome: the one to be written.
        record: Box<[u8]>,
        /// The partition of its outcomes.
        home: Home,
        /// The job's id.
        id: Box<str>,
    },
    /// Nobody needs to know the key any more. `unresolved`: nothing was ever told.
    Forget {
        /// The key.
        key: Box<str>,
        /// Its time is over.
        unresolved: bool,
    },
}

/// What is known of a job.
#[derive(Debug)]
enum Known {
    /// Quarantined, and nothing was told. The outcome.
    Open(Box<[u8]>),
    Resolved,
}

/// What was told of a job.
#[derive(Debug)]
struct Word {
    happened: Happened,
    provider: Box<str>,
    event: Box<str>,
    vendor_id: Box<str>,
    detail: Box<str>,
    heard_ms: i64,
}

/// The quarantined jobs of one partition of the events.
#[derive(Debug)]
pub struct Doubts {
    channels: Vec<Channel>,
    after_ms: i64,
    /// By key, with the time from which on it is known.
    known: HashMap<Box<str>, (Known, i64)>,
    /// The first word on a job, by its key's hash, and these in the order in which they came.
    lately: HashMap<u64, Word>,
    order: VecDeque<u64>,
    steps: Vec<Step>,
}

/// Whether a key of the reputation topic is of these jobs, and not of a count.
#[must_use]
pub fn is_key(key: &str) -> bool {
    key.starts_with(MARK)
}

fn key(tenant: &str, id: &str) -> Box<str> {
    format!("{MARK}{tenant}/{id}").into()
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Reads the outcome of a quarantined job. `None`: it is none.
fn quarantined(record: &[u8]) -> Option<Outcome<'_>> {
    let outcome: Outcome<'_> = serde_json::from_slice(record).ok()?;
    (outcome.outcome == Kind::Quarantined.as_str() && !outcome.id.is_empty()).then_some(outcome)
}

impl Doubts {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            channels: config.channels.clone(),
            after_ms: i64::try_from(config.unresolved_after.as_millis()).unwrap_or(i64::MAX),
            known: HashMap::new(),
            lately: HashMap::new(),
            order: VecDeque::new(),
            steps: Vec::new(),
        }
    }

    /// What an earlier worker has kept, in the order in which it was written; no record: it was forgotten.
    ///
    /// # Errors
    /// Why the record cannot be read.
    pub fn restore(&mut self, key: &str, record: Option<&[u8]>) -> Result<(), String> {
        let Some(record) = record else {
            self.known.remove(key);
            return Ok(());
        };
        let outcome: Outcome<'_> = serde_json::from_slice(record).map_err(|e| format!("no outcome: {e}"))?;
        let known =
            if outcome.outcome == Kind::Quarantined.as_str() { Known::Open(record.into()) } else { Known::Resolved };
        self.known.insert(key.into(), (known, outcome.at_ms));
        Ok(())
    }

    /// A record that is no event. `false`: nor is it the outcome of a quarantined job. `dealt_with`: a worker before this one
    /// has kept it.
    pub fn quarantined(&mut self, record: &[u8], dealt_with: bool) -> bool {
        let Some(outcome) = quarantined(record) else { return false };
        let key = key(&outcome.tenant, &outcome.id);
        if dealt_with || self.known.contains_key(&key) {
            return true;
        }
        if self.known.len() >= KNOWN_MAX {
            self.steps.push(Step::Forget { key, unresolved: true });
        } else if let Some(word) = self.lately.remove(&hash(&key)) {
            self.resolve(key, outcome, &word);
        } else {
            self.known.insert(key.clone(), (Known::Open(record.into()), outcome.at_ms));
            self.steps.push(Step::Keep { key, record: record.into() });
        }
        true
    }

    /// An event that is told for the first time. `dealt_with`: a worker before this one has acted on it.
    pub fn hear(&mut self, event: &event::Record<'_>, dealt_with: bool) {
        if event.id.is_empty() || !self.channels.contains(&event.channel) {
            return;
        }
        let key = key(&event.tenant, &event.id);
        match self.known.get_mut(&key) {
            Some((known, _)) if !dealt_with => {
                let Known::Open(record) = std::mem::replace(known, Known::Resolved) else { return };
                if let Some(outcome) = quarantined(&record) {
                    self.resolve(key, outcome, &Word::of(event));
                }
            }
            Some(_) => {}
            None => self.remember(hash(&key), event),
        }
    }

    fn remember(&mut self, key: u64, event: &event::Record<'_>) {
        if self.lately.contains_key(&key) {
            return;
        }
        self.lately.insert(key, Word::of(event));
        self.order.push_back(key);
        if self.order.len() > LATELY_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.lately.remove(&oldest);
        }
    }

    /// The job's outcome once more, with what was told of it.
    fn resolve(&mut self, key: Box<str>, quarantined: Outcome<'_>, word: &Word) {
        let home = quarantined.source.partition;
        let outcome = Outcome {
            outcome: Kind::Resolved.as_str().into(),
            reason: Reason::Told.as_str().into(),
            happened: word.happened.as_str().into(),
            event: (&*word.event).into(),
            detail: (&*word.detail).into(),
            provider: (&*word.provider).into(),
            vendor_id: (&*word.vendor_id).into(),
            // By no clock of ours: written twice, it is the same twice.
            at_ms: word.heard_ms,
            ..quarantined
        };
        let mut record = Vec::new();
        outcome.write(&mut record);
        let record: Box<[u8]> = record.into();
        self.known.insert(key.clone(), (Known::Resolved, word.heard_ms));
        self.steps.push(Step::Resolve { key, record, home, id: (&*outcome.id).into() });
    }

    /// What is to be made durable since this was asked last. What was waited for too long is given up.
    pub fn take_steps(&mut self, now: Wall) -> Vec<Step> {
        let (steps, after) = (&mut self.steps, self.after_ms);
        self.known.retain(|key, (known, since)| {
            let unresolved = matches!(known, Known::Open(_));
            let over = now.0.saturating_sub(*since) >= if unresolved { after } else { RESOLVED_FOR };
            if over {
                steps.push(Step::Forget { key: key.clone(), unresolved });
            }
            !over
        });
        std::mem::take(steps)
    }

    /// How many jobs wait for a word.
    #[must_use]
    pub fn open(&self) -> usize {
        self.known.values().filter(|(known, _)| matches!(known, Known::Open(_))).count()
    }
}

impl Word {
    fn of(event: &event::Record<'_>) -> Self {
        Self {
            happened: event.happened,
            provider: (&*event.provider).into(),
            event: (&*event.event).into(),
            vendor_id: (&*event.vendor_id).into(),
            detail: (&*event.detail).into(),
            heard_ms: event.heard_ms,
        }
    }
}
