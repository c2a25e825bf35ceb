//! What may be in memory of the line, by what its configuration allows.
//!
//! Why: whoever sizes a container asks before the worst week, and whoever looks at a large process asks in it.
//! Must not know: how much of it is used.

use std::fmt;

use super::Config;
use crate::job::Lane;

/// Bytes at most, when this instance owns every home. What it is made of beside (code, buffers of connections,
/// suppressions) is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Records of jobs and what is kept beside them.
    pub jobs: usize,
    /// Of that, for each lane of each home.
    pub lane: usize,
    /// What the Kafka client has fetched ahead.
    pub fetched: usize,
    /// Ids that are remembered.
    pub ids: usize,
    /// Outcomes on their way to Kafka.
    pub outcomes: usize,
}

/// An id in its table, and in the list of its age.
const ID: usize = 2 * 100;
/// What is fetched ahead of a tier or a hold, of each home.
const LATER: usize = 64 << 10;

impl Config {
    /// What it allows.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let (intake, homes) = (&self.intake, usize::from(self.topics.partitions));
        let later = intake.topics.layout().later().count() * homes * LATER;
        Memory {
            jobs: intake.memory_bytes,
            lane: intake.memory_bytes / 4 * 3 / (homes * Lane::ALL.len()).max(1),
            fetched: intake.memory_bytes / 4 + later,
            ids: homes * intake.duplicate_window * ID,
            outcomes: self.settle.queue_bytes,
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, lane, fetched, ids, outcomes } = self;
        write!(
            f,
            "{} MiB of jobs in all, with what is kept beside their records ({} KiB per lane and home when this instance \
             owns all, a quarter for tiers and holds); {} MiB fetched ahead; at most {} MiB for ids that are remembered \
             and {} MiB for outcomes on their way",
            jobs >> 20,
            lane >> 10,
            fetched >> 20,
            ids >> 20,
            outcomes >> 20,
        )
    }
}
