//! What a budget writes to the `usage` topic, and how it reads what others wrote there.
//!
//! Why: a long window outlives processes, so what was taken from it must. A key names its writer: no record ever
//! overwrites another owner's, everyone's add up, and a frozen owner that wakes can only add to what is counted.
//! Must not know: topics, partitions, how a budget counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limit::{Unit, window_text};

/// The form of the values. A later one is not understood here.
const VERSION: u32 = 1;

/// What is counted together, whatever the limit on it is today. None of the names holds a line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The provider's name.
    pub provider: Box<str>,
    /// Whose sends: `provider`, `sender:<name>`, `tenant:<name>`, `warm-up`.
    pub scope: Box<str>,
    /// Of what.
    pub unit: Unit,
    /// In any stretch of time this long.
    pub window: Duration,
}

impl Series {
    /// What the keys of all its records begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}\n{}\n{}/{}\n", self.provider, self.scope, self.unit.as_str(), window_text(self.window))
    }

    /// The key of one owner's record: its process, and which of its ownership periods of the home.
    pub(super) fn key(&self, writer: u64, epoch: u32) -> Vec<u8> {
        format!("{}{writer:016x}.{epoch}", self.prefix()).into_bytes()
    }
}

/// Units declared in one slice of time: its index, for transactional, for marketing.
pub(super) type Slice = (i64, u32, u32);

#[derive(Serialize, Deserialize)]
struct Value {
    v: u32,
    /// Milliseconds per slice: what an index means.
    slice_ms: i64,
    slices: Vec<Slice>,
}

pub(super) fn write(slice_ms: i64, slices: Vec<Slice>) -> Vec<u8> {
    // Numbers can always be written; were it not so, an empty value would count as a purse fully spent.
    serde_json::to_vec(&Value { v: VERSION, slice_ms, slices }).unwrap_or_default()
}

/// The slices of a record. None: it is of another form, or damaged.
pub(super) fn read(slice_ms: i64, value: &[u8]) -> Option<Vec<Slice>> {
    let value: Value = serde_json::from_slice(value).ok()?;
    (value.v == VERSION && value.slice_ms == slice_ms).then_some(value.slices)
}
