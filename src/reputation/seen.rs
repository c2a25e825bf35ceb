//! Which events were counted lately: a bounded memory of one partition, for each kind of event its own.
//!
//! Why: a campaign is opened a million times while five people complain. In one memory the openings would push the complaints
//! out, and a complaint told again would count twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::{Happened, Record};

/// Events remembered of each kind in a partition: repeats that come after so many others of their kind are not recognised.
pub const SEEN_MAX: usize = 100_000;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<Happened, Kind>);

#[derive(Debug, Default)]
struct Kind {
    seen: HashSet<u64>,
    /// The same, the oldest first.
    order: VecDeque<u64>,
}

impl Seen {
    /// Remembers an event. `false`: it was known.
    pub(super) fn remember(&mut self, event: &Record<'_>) -> bool {
        let mut id = DefaultHasher::new();
        event.event.hash(&mut id);
        let id = id.finish();
        let kind = self.0.entry(event.happened).or_default();
        if !kind.seen.insert(id) {
            return false;
        }
        kind.order.push_back(id);
        if kind.order.len() > SEEN_MAX
            && let Some(oldest) = kind.order.pop_front()
        {
            kind.seen.remove(&oldest);
        }
        true
    }
}
