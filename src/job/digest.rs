//! What stands for a text in this process: 128 bits of a keyed hash; and how maps are kept whose keys are hashes.
//!
//! Why: the texts by which jobs and flows are known are looked up for every message, in several maps. Hashed once, they
//! are found and compared by two words, and no map keeps the texts. The key is drawn when the process starts, so that
//! nobody can choose texts that meet in a map, or that are taken for one another.
//! Must not know: what the texts mean.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

static KEY: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);

/// Stands for what it was made of: two that differ never meet. Means nothing outside this process. Two words: the alignment
/// of one twice as large would make whatever holds it larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u64; 2]);

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

impl Digest {
    /// Of these texts, in this order. `Hash` ends each of them, so they do not run into one another.
    #[must_use]
    pub fn of(texts: impl Hash) -> Self {
        let mut hasher = KEY.build_hasher();
        texts.hash(&mut hasher);
        let half = hasher.finish();
        // Of the same and one byte more: to a keyed hash that is another text, and its hash says nothing of the first.
        hasher.write_u8(0);
        Self([half, hasher.finish()])
    }
}

/// For keys that are as random as can be already: a part of the key is its hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = (n >> 64) as u64;
    }
}
