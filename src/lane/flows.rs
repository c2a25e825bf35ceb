//! One provider's jobs, kept apart by flow: whose they are and, where it matters, in whose name they are sent.
//!
//! Why: a limit that binds one tenant or one sender must not hold up the others, and room is shared fairly only among
//! those whose wishes are told apart. Each flow asks for leave to send once at a time in each lane. Those that have
//! something to ask for stand in a list, so nobody is looked at in vain; those that only wait for the retry budget
//! stand in another.
//! Must not know: limits, permits, who sends.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Instant;

use slab::Slab;

use super::{Fit, Queue};
use crate::job::Lane;
use crate::job::digest::{AsItIs, Digest};

/// In which of a flow's queues a job waits. They take turns: new work must not wait behind an outage's retries, nor
/// retries behind a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It was never sent.
    Fresh,
    /// It comes back: deferred, throttled, or a part of a batch that was split.
    Again,
    /// Its last attempt may have been sent: it goes as far as the retry budget spares it.
    Unsure,
}

impl Stand {
    /// Every stand, in the order of their turns.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Again, Self::Unsure];
}

/// A flow's number: good while somebody of it waits or an ask is out.
pub type FlowId = usize;

/// What a flow could send now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upcoming {
    /// Requests.
    pub requests: usize,
    /// Jobs in them.
    pub jobs: usize,
    /// Those of the jobs that the retry budget must spare.
    pub unsure: u32,
}

/// Flows of one provider. `F` is what is handed out for a flow that asks.
#[derive(Debug)]
pub struct Flows<F, T> {
    /// By tenant and sender.
    ids: HashMap<Digest, FlowId, BuildHasherDefault<AsItIs>>,
    entries: Slab<Entry<F, T>>,
    lanes: [Lists; 2],
}

#[derive(Debug)]
struct Entry<F, T> {
    key: Digest,
    flow: F,
    lanes: [InLane<T>; 2],
}

/// One flow's jobs in one lane.
#[derive(Debug)]
struct InLane<T> {
    queues: [Queue<T>; 3],
    /// The stand whose turn it is.
    turn: usize,
    /// Whether it stands in the list of the hungry, and of the poor.
    hungry: bool,
    poor: bool,
    /// An ask is out, and so many of the unsure are meant by it.
    asked: Option<u32>,
}

/// One lane, over all flows.
#[derive(Debug, Default)]
struct Lists {
    /// Flows that have something to ask for, and no ask out.
    hungry: VecDeque<FlowId>,
    /// Flows that had nothing but what waits for the retry budget when they were looked at last.
    poor: VecDeque<FlowId>,
    /// Jobs, by stand.
    waiting: [usize; 3],
    asks: usize,
    /// Unsure jobs that are meant by the asks.
    promised: u32,
}

impl<T> Default for InLane<T> {
    fn default() -> Self {
        Self { queues: Default::default(), turn: 0, hungry: false, poor: false, asked: None }
    }
}

impl<T> InLane<T> {
    fn is_empty(&self) -> bool {
        self.queues.iter().all(Queue::is_empty)
    }

    /// Whether nobody points at it.
    fn is_idle(&self) -> bool {
        self.is_empty() && !self.hungry && !self.poor && self.asked.is_none()
    }
}

impl<F, T> Default for Flows<F, T> {
    fn default() -> Self {
        Self { ids: HashMap::default(), entries: Slab::new(), lanes: Default::default() }
    }
}

impl<F, T> Flows<F, T> {
    /// The flow of a tenant and a sender, if somebody of it waits or an ask is out.
    #[must_use]
    pub fn find(&self, tenant: &str, sender: &str) -> Option<FlowId> {
        self.ids.get(&Digest::of((tenant, sender))).copied()
    }

    /// The same; a new one is made of `flow`. The caller lets somebody wait in it.
    pub fn enter(&mut self, tenant: &str, sender: &str, flow: impl FnOnce() -> F) -> FlowId {
        let key = Digest::of((tenant, sender));
        let entries = &mut self.entries;
        *self.ids.entry(key).or_insert_with(|| entries.insert(Entry { key, flow: flow(), lanes: Default::default() }))
    }

    /// Lets a job wait in a flow; `key` names those that may share a request with it.
    pub fn push(&mut self, id: FlowId, lane: Lane, stand: Stand, key: u64, at: Instant, job: T) {
        let (lists, flow) = (&mut self.lanes[lane.index()], &mut self.entries[id].lanes[lane.index()]);
        flow.queues[stand as usize].push(key, at, job);
        lists.waiting[stand as usize] += 1;
        // One more that waits for the budget is nothing new to a flow that does.
        if !(stand == Stand::Unsure && flow.poor) {
            lists.list(flow, id);
        }
    }

    /// How many flows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Jobs waiting in a lane.
    #[must_use]
    pub fn len(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].waiting.iter().sum()
    }

    /// Whether nobody waits in a lane.
    #[must_use]
    pub fn is_empty(&self, lane: Lane) -> bool {
        self.len(lane) == 0
    }

    /// Jobs waiting in a lane whose last attempt may have been sent.
    #[must_use]
    pub fn unsure(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].waiting[Stand::Unsure as usize]
    }

    /// Asks that are out in a lane.
    #[must_use]
    pub fn asks(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].asks
    }

    /// Of what the retry budget spares, so much is meant by asks that are out in a lane.
    #[must_use]
    pub fn promised(&self, lane: Lane) -> u32 {
        self.lanes[lane.index()].promised
    }

    /// Whether a flow waits for the retry budget alone.
    #[must_use]
    pub fn waits_for_budget(&self) -> bool {
        self.lanes.iter().any(|lists| !lists.poor.is_empty())
    }

    /// The next flow that has something to ask for, and no ask out. It is to be told [`Flows::ask`] or
    /// [`Flows::keep_poor`].
    pub fn next_hungry(&mut self, lane: Lane) -> Option<FlowId> {
        loop {
            let id = self.lanes[lane.index()].hungry.pop_front()?;
            let flow = &mut self.entries[id].lanes[lane.index()];
            flow.hungry = false;
            if !flow.is_empty() {
                return Some(id);
            }
            self.drop_if_idle(id);
        }
    }

    /// The next flow that waits for the retry budget alone, to be told the same.
    pub fn next_poor(&mut self, lane: Lane) -> Option<FlowId> {
        loop {
            let id = self.lanes[lane.index()].poor.pop_front()?;
            let flow = &mut self.entries[id].lanes[lane.index()];
            flow.poor = false;
            if !flow.is_empty() && !flow.hungry && flow.asked.is_none() {
                return Some(id);
            }
            self.drop_if_idle(id);
        }
    }

    /// What a flow could send now: requests of at most `per_request` jobs each, up to `requests_max`, and of the
    /// unsure no more than `spared`.
    #[must_use]
    pub fn upcoming(&self, id: FlowId, lane: Lane, requests_max: usize, per_request: usize, spared: u32) -> Upcoming {
        let mut sum = Upcoming::default();
        for stand in Stand::ALL {
            let queue = &self.entries[id].lanes[lane.index()].queues[stand as usize];
            if queue.is_empty() {
                continue;
            }
            let (requests, jobs) = queue.upcoming(requests_max - sum.requests, per_request);
            let jobs = if stand == Stand::Unsure { jobs.min(spared as usize) } else { jobs };
            sum.requests += requests.min(jobs);
            sum.jobs += jobs;
            if stand == Stand::Unsure {
                sum.unsure = u32::try_from(jobs).unwrap_or(u32::MAX);
            }
        }
        sum
    }

    /// A flow asks; `unsure` of the jobs that it asks for are that.
    pub fn ask(&mut self, id: FlowId, lane: Lane, unsure: u32) -> &F {
        let (lists, entry) = (&mut self.lanes[lane.index()], &mut self.entries[id]);
        entry.lanes[lane.index()].asked = Some(unsure);
        lists.asks += 1;
        lists.promised += unsure;
        &entry.flow
    }

    /// A flow has nothing to send but what the retry budget does not spare now.
    pub fn keep_poor(&mut self, id: FlowId, lane: Lane) {
        let flow = &mut self.entries[id].lanes[lane.index()];
        if !flow.poor {
            flow.poor = true;
            self.lanes[lane.index()].poor.push_back(id);
        }
    }

    /// A flow's ask was answered, and the answer is used up: if anybody is left, it may ask again.
    pub fn answered(&mut self, id: FlowId, lane: Lane) {
        let (lists, flow) = (&mut self.lanes[lane.index()], &mut self.entries[id].lanes[lane.index()]);
        let Some(unsure) = flow.asked.take() else { return };
        lists.asks -= 1;
        lists.promised -= unsure;
        if !flow.is_empty() {
            lists.list(flow, id);
        }
        self.drop_if_idle(id);
    }

    /// Takes a batch of at most `most` jobs from the stand whose turn it is in a flow; of the unsure at most `spared`.
    /// `fit` is asked for each job. Returns the group's key; `None`: nobody may go.
    pub fn take(
        &mut self,
        id: FlowId,
        lane: Lane,
        out: &mut Vec<T>,
        (most, spared): (usize, u32),
        mut fit: impl FnMut(&T) -> Fit,
    ) -> Option<u64> {
        let flow = &mut self.entries[id].lanes[lane.index()];
        for n in 0..Stand::ALL.len() {
            let at = (flow.turn + n) % Stand::ALL.len();
            let most = if at == Stand::Unsure as usize { most.min(spared as usize) } else { most };
            if flow.queues[at].is_empty() || most == 0 {
                continue;
            }
            let before = flow.queues[at].len();
            let key = flow.queues[at].take(out, most, &mut fit);
            self.lanes[lane.index()].waiting[at] -= before - flow.queues[at].len();
            flow.turn = (at + 1) % Stand::ALL.len();
            return key;
        }
        None
    }

    /// Takes out every job that `leaves` says. Flows that are empty then go when their turn or their answer comes.
    pub fn remove_if(&mut self, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        for (_, entry) in &mut self.entries {
            for (lists, flow) in self.lanes.iter_mut().zip(&mut entry.lanes) {
                gone.extend(lists.remove(flow, &mut leaves));
            }
        }
        gone
    }

    /// Whether anybody of this group waits.
    #[must_use]
    pub fn has_group(&self, key: u64) -> bool {
        Lane::ALL.iter().any(|lane| self.queues(*lane).any(|queue| queue.has_group(key)))
    }

    /// Every job that waits in a lane, flow by flow.
    pub fn jobs(&self, lane: Lane) -> impl Iterator<Item = &T> {
        self.queues(lane).flat_map(Queue::jobs)
    }

    /// When the longest-waiting job of a lane came.
    #[must_use]
    pub fn oldest(&self, lane: Lane) -> Option<Instant> {
        self.queues(lane).filter_map(Queue::oldest).min()
    }

    fn queues(&self, lane: Lane) -> impl Iterator<Item = &Queue<T>> {
        self.entries.iter().flat_map(move |(_, entry)| &entry.lanes[lane.index()].queues)
    }

    fn drop_if_idle(&mut self, id: FlowId) {
        if self.entries.get(id).is_some_and(|entry| entry.lanes.iter().all(InLane::is_idle)) {
            let entry = self.entries.remove(id);
            self.ids.remove(&entry.key);
        }
    }
}

impl Lists {
    /// Puts a flow into the list, if it is not there and no ask is out.
    fn list<T>(&mut self, flow: &mut InLane<T>, id: FlowId) {
        if !flow.hungry && flow.asked.is_none() {
            flow.hungry = true;
            self.hungry.push_back(id);
        }
    }
    fn remove<T>(&mut self, flow: &mut InLane<T>, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        for (queue, waiting) in flow.queues.iter_mut().zip(&mut self.waiting) {
            let out = queue.remove_if(&mut leaves);
            *waiting -= out.len();
            gone.extend(out);
        }
        gone
    }
}
