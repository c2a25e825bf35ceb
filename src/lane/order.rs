//! Jobs with one key go out one after another, in the order in which they came.
//!
//! Why: "your order was shipped" must not overtake "we have your order". Who has no turn yet is parked here, outside
//! the queues, so that no batch holds two of one key. Bounded by what intake lets in.
//! Must not know: what a key means, whether its holder queues, waits or is at a provider.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Who goes, and who is parked behind whom.
#[derive(Debug)]
pub struct Order<K, T> {
    /// Keys that are held, each with those parked behind its holder.
    keys: HashMap<K, VecDeque<T>>,
    parked: usize,
}

impl<K, T> Default for Order<K, T> {
    fn default() -> Self {
        Self { keys: HashMap::new(), parked: 0 }
    }
}

impl<K: Hash + Eq, T> Order<K, T> {
    /// A job arrives. It comes back if it goes on now: it then holds its key until [`Order::leave`]. `None`: it is
    /// parked behind those of its key that came before.
    #[must_use = "what comes back goes on now"]
    pub fn enter(&mut self, key: K, job: T) -> Option<T> {
        match self.keys.entry(key) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                Some(job)
            }
            Entry::Occupied(mut held) => {
                held.get_mut().push_back(job);
                self.parked += 1;
                None
            }
        }
    }

    /// The holder of a key is through, or was given back. Returns the next of that key, which now holds it. A key
    /// that nobody holds is left alone.
    #[must_use = "the next goes on now"]
    pub fn leave(&mut self, key: &K) -> Option<T> {
        let next = self.keys.get_mut(key)?.pop_front();
        match next {
            Some(_) => self.parked -= 1,
            None => drop(self.keys.remove(key)),
        }
        next
    }

    /// Jobs parked behind the holder of a key.
    #[must_use]
    pub fn parked_behind(&self, key: &K) -> usize {
        self.keys.get(key).map_or(0, VecDeque::len)
    }

    /// Jobs parked, over all keys.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Drops whole keys, the holder's mark with them, and returns their parked jobs. A holder of such a key that is
    /// still out must not [`Order::leave`] later: somebody else may hold the key by then.
    #[must_use = "these jobs are still owed"]
    pub fn forget(&mut self, mut keys: impl FnMut(&K) -> bool) -> Vec<T> {
        let gone: Vec<T> = self.keys.extract_if(|key, _| keys(key)).flat_map(|(_, parked)| parked).collect();
        self.parked -= gone.len();
        gone
    }
}
