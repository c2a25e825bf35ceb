//! Which jobs of a home are known: in flight, deferred, or done. So a record that repeats one is told apart from a
//! job that comes back.
//!
//! Why: upstream may enqueue an id twice, and a crash between a deferral's two records leaves the job twice in
//! Kafka. Bounded: of the jobs that are done or deferred, the latest `depth` are remembered, and somewhat more than
//! twice as many mentions of them at most.
//! Must not know: what a job says, how it is sent.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use crate::job::digest::AsItIs;
use crate::job::receipt::End;
use crate::job::{JobKey, Source};

/// Mentions beyond twice the depth before those are looked for that mean nothing any more: it is done for many at once.
const SLACK: usize = 64;

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is its job's turn.
    Goes,
    /// The job goes, went or will go by another record.
    Repeat,
    /// The job's deferral has not been acknowledged yet, or another record of the job is in flight: look again
    /// when that has ended.
    NotYet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This record of it is being dealt with.
    InFlight(Source, i64),
    /// Its next record has the hop of the entry.
    Deferred,
    /// It has its terminal outcome.
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hop: u16,
    state: State,
    /// Number of its latest mention in `settled`; an older mention of it there means nothing.
    mention: u64,
}

impl Entry {
    /// Whether its mention stands in `settled`.
    fn is_mentioned(self) -> bool {
        !matches!(self.state, State::InFlight(..))
    }
}

/// The jobs one home knows.
#[derive(Debug)]
pub struct Known {
    jobs: HashMap<JobKey, Entry, BuildHasherDefault<AsItIs>>,
    /// Those that are not in flight, oldest first.
    settled: VecDeque<(u64, JobKey)>,
    /// How many there are: mentions that mean something.
    remembered: usize,
    mentions: u64,
    depth: usize,
}

impl Known {
    /// Remembers the latest `depth` jobs that are done or deferred.
    #[must_use]
    pub fn new(depth: usize) -> Self {
        Self { jobs: HashMap::default(), settled: VecDeque::new(), remembered: 0, mentions: 0, depth }
    }

    /// Jobs remembered, those in flight included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Judges a record of a job that was deferred `hop` times, and that lies at `offset` of `source`.
    #[must_use]
    pub fn judge(&self, job: JobKey, hop: u16, source: Source, offset: i64) -> Judgement {
        let Some(known) = self.jobs.get(&job) else { return Judgement::Goes };
        match known.state {
            State::Done => Judgement::Repeat,
            _ if hop < known.hop => Judgement::Repeat,
            State::Deferred => Judgement::Goes,
            State::InFlight(..) if hop > known.hop => Judgement::NotYet,
            State::InFlight(s, o) if (s, o) == (source, offset) => Judgement::Goes,
            State::InFlight(..) => Judgement::Repeat,
        }
    }

    /// A record that goes is in flight from now on.
    pub fn taken(&mut self, job: JobKey, hop: u16, source: Source, offset: i64) {
        let mention = self.mentions;
        let before = self.jobs.insert(job, Entry { hop, state: State::InFlight(source, offset), mention });
        self.remembered -= usize::from(before.is_some_and(Entry::is_mentioned));
        self.mentions += 1;
    }

    /// An outcome of a record of the job is durable; the record had been deferred `hop` times.
    pub fn settled(&mut self, job: JobKey, hop: u16, end: End) {
        let (hop, state) = match end {
            End::Terminal => (hop, State::Done),
            End::Deferred(..) => (hop.saturating_add(1), State::Deferred),
            End::Repeat => return,
        };
        // What is known to be further on stays: outcomes are read in the order in which they were written, but a
        // twin's may come late.
        let next = Entry { hop, state, mention: self.mentions };
        match self.jobs.entry(job) {
            Slot::Vacant(slot) => {
                slot.insert(next);
                self.remembered += 1;
            }
            Slot::Occupied(mut slot) => {
                let known = slot.get_mut();
                if state != State::Done && (known.state == State::Done || known.hop > hop) {
                    return;
                }
                self.remembered += usize::from(!known.is_mentioned());
                *known = next;
            }
        }
        self.mentions += 1;
        self.settled.push_back((next.mention, job));
        while self.remembered > self.depth {
            self.forget_oldest();
        }
        // One job may be mentioned often, once for every hop; only its latest mention counts.
        if self.settled.len() > 2 * self.depth + SLACK {
            let jobs = &self.jobs;
            self.settled.retain(|(mention, job)| jobs.get(job).is_some_and(|entry| entry.mention == *mention));
        }
    }

    /// Forgets the oldest mention, and its job if that has no later one.
    fn forget_oldest(&mut self) {
        let Some((mention, job)) = self.settled.pop_front() else { return };
        if let Slot::Occupied(slot) = self.jobs.entry(job)
            && slot.get().mention == mention
        {
            slot.remove();
            self.remembered -= 1;
        }
    }
}
