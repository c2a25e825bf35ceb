//! Which events were written lately: a bounded memory of one instance.
//!
//! Why: vendors tell an event three times on the average and dozens of times on a bad day, and a stranger may replay a
//! signed request for as long as it is young. What is written already need not be written again. It spares the topic
//! and counts; it is no promise: another instance, or this one after a restart, writes it once more, under the same key.
//! Must not know: what an event is.

use std::collections::HashSet;

use ring::digest;

/// An event's key, as it is remembered: the first half of its SHA-256.
pub type Print = [u8; 16];

/// What an event's key is remembered by.
#[must_use]
pub fn print(key: &str) -> Print {
    let mut print = [0; 16];
    print.copy_from_slice(&digest::digest(&digest::SHA256, key.as_bytes()).as_ref()[..16]);
    print
}

/// The last `most` to twice as many prints.
#[derive(Debug)]
pub struct Recent {
    most: usize,
    young: HashSet<Print>,
    old: HashSet<Print>,
}

impl Recent {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, young: HashSet::new(), old: HashSet::new() }
    }

    /// Whether it is remembered.
    #[must_use]
    pub fn knows(&self, print: &Print) -> bool {
        self.young.contains(print) || self.old.contains(print)
    }

    /// Remembers these, and forgets what is long ago.
    pub fn remember(&mut self, prints: impl IntoIterator<Item = Print>) {
        for print in prints {
            if self.young.len() >= self.most {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(print);
        }
    }
}
