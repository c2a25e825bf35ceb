//! What has been spent of long limits, as a home's owners wrote it ahead: the latest record of each key.
//!
//! Why: what was spent must outlive whoever spent it, so that a new owner goes on where the last one stopped.
//! Must not know: what a key or a value says, Kafka clients.

use std::collections::BTreeMap;

use crate::job::Home;

/// A home is about to be opened, and this is what was spent of its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The home.
    pub home: Home,
    /// The ownership period that begins.
    pub epoch: u32,
    /// Key and value of each key's latest record, in the keys' order.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Takes a partition's records in their order and keeps the latest of each key.
#[derive(Clone, Debug, Default)]
pub struct Latest(BTreeMap<Vec<u8>, Vec<u8>>);

impl Latest {
    /// The next record. Without a value it is a tombstone: its key is gone.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => drop(self.0.insert(key.to_vec(), value.to_vec())),
            None => drop(self.0.remove(key)),
        }
    }

    /// What a home is opened with.
    #[must_use]
    pub fn opened(self, home: Home, epoch: u32) -> Opened {
        Opened { home, epoch, records: self.0.into_iter().collect() }
    }
}
