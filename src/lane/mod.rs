//! Queues of one provider's jobs in one lane, grouped by what may share a request; and jobs that wait for a time.
//!
//! Why: a batch is only worth its name if jobs that fit together are found without searching; groups take
//! turns, so that one campaign does not starve another. Bounded by what intake lets in.
//! Must not know: limits, vendors, clocks.

pub mod aside;
pub mod flows;
pub mod gather;
pub mod inbox;
pub mod order;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Instant;

use crate::job::digest::AsItIs;

/// Jobs of one lane for one provider.
#[derive(Debug)]
pub struct Queue<T> {
    /// By their keys, which are hashes.
    groups: HashMap<u64, VecDeque<(Instant, T)>, BuildHasherDefault<AsItIs>>,
    /// Keys of the groups, in the order of their turns. Holds exactly the keys of `groups`.
    turns: VecDeque<u64>,
    len: usize,
}

/// Whether the next job of a group joins the batch that is being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It joins.
    Take,
    /// Not this one; look at the next.
    Skip,
    /// The batch is full.
    Full,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { groups: HashMap::default(), turns: VecDeque::new(), len: 0 }
    }
}

impl<T> Queue<T> {
    /// Jobs waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many requests, of at most `per_request` jobs each, the next turns would fill, up to `requests_max`; and
    /// with how many jobs.
    #[must_use]
    pub fn upcoming(&self, requests_max: usize, per_request: usize) -> (usize, usize) {
        let (mut requests, mut jobs, mut gone) = (0, 0, 0);
        loop {
            let before = requests;
            // One round of turns: a request of each group that has jobs left after `gone` of them.
            for left in self.turns.iter().map(|key| self.groups[key].len().saturating_sub(gone)).filter(|n| *n > 0) {
                if requests == requests_max {
                    return (requests, jobs);
                }
                requests += 1;
                jobs += left.min(per_request);
            }
            if requests == before {
                return (requests, jobs);
            }
            gone += per_request;
        }
    }

    /// Whether anybody of this group waits.
    #[must_use]
    pub fn has_group(&self, key: u64) -> bool {
        self.groups.contains_key(&key)
    }

    /// When the longest-waiting job came.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.groups.values().filter_map(|group| group.front()).map(|(at, _)| *at).min()
    }

    /// Every job that waits, group by group.
    pub fn jobs(&self) -> impl Iterator<Item = &T> {
        self.groups.values().flatten().map(|(_, job)| job)
    }

    /// Appends a job to its group.
    pub fn push(&mut self, key: u64, at: Instant, job: T) {
        self.group(key).push_back((at, job));
        self.len += 1;
    }

    fn group(&mut self, key: u64) -> &mut VecDeque<(Instant, T)> {
        let turns = &mut self.turns;
        self.groups.entry(key).or_insert_with(|| {
            turns.push_back(key);
            VecDeque::new()
        })
    }

    /// Takes a batch of at most `most` from the group whose turn it is, in order; `fit` is asked for each job. The
    /// group then goes to the end of the turns. Returns its key; `None` when nobody waits.
    pub fn take(&mut self, out: &mut Vec<T>, most: usize, mut fit: impl FnMut(&T) -> Fit) -> Option<u64> {
        let key = self.turns.pop_front()?;
        let group = self.groups.get_mut(&key)?;
        let before = group.len();
        let mut skipped = Vec::new();
        let mut left = most.min(before);
        out.reserve(left);
        while left > 0
            && let Some((at, job)) = group.pop_front()
        {
            match fit(&job) {
                Fit::Take => {
                    out.push(job);
                    left -= 1;
                }
                Fit::Skip => skipped.push((at, job)),
                Fit::Full => {
                    group.push_front((at, job));
                    break;
                }
            }
        }
        for entry in skipped.into_iter().rev() {
            group.push_front(entry);
        }
        self.len -= before - group.len();
        if group.is_empty() {
            self.groups.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        Some(key)
    }

    /// Takes out every job that `leaves` says.
    pub fn remove_if(&mut self, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        self.groups.retain(|_, group| {
            let (out, stay): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(group).into_iter().partition(|(_, job)| leaves(job));
            gone.extend(out.into_iter().map(|(_, job)| job));
            *group = stay;
            !group.is_empty()
        });
        let groups = &self.groups;
        self.turns.retain(|key| groups.contains_key(key));
        self.len -= gone.len();
        gone
    }
}

/// Jobs that wait in memory for a time, earliest first; equal times in the order they came.
#[derive(Debug)]
pub struct Waiting<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    seq: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: Instant,
    seq: u64,
    job: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), seq: 0 }
    }
}

impl<T> Waiting<T> {
    /// Jobs waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Lets a job wait until `at`.
    pub fn push(&mut self, at: Instant, job: T) {
        self.heap.push(Reverse(Due { at, seq: self.seq, job }));
        self.seq += 1;
    }

    /// When the first is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    /// The first job, if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due.job)
    }

    /// Takes out every job that `leaves` says.
    pub fn remove_if(&mut self, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let (gone, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.heap).into_iter().partition(|Reverse(due)| leaves(&due.job));
        self.heap = stay.into();
        gone.into_iter().map(|Reverse(due)| due.job).collect()
    }
}
