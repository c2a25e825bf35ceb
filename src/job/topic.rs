//! The names of the line's topics.
//!
//! Why: readers, writers and checks must agree on them to the letter.
//! Must not know: what the topics are for.

use super::Lane;

/// Topic names under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
    jobs: [String; 2],
}

impl Topics {
    /// Names under `prefix` (letters, digits, `.`, `_`, `-`).
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), jobs: Lane::ALL.map(|lane| format!("{prefix}.jobs.{lane}")) }
    }

    /// The empty topic whose partitions the group divides.
    #[must_use]
    pub fn homes(&self) -> String {
        format!("{}.homes", self.prefix)
    }

    /// The jobs of one lane.
    #[must_use]
    pub fn jobs(&self, lane: Lane) -> &str {
        &self.jobs[lane.index()]
    }

    /// The lane of a jobs topic.
    #[must_use]
    pub fn lane_of(&self, topic: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| self.jobs(*lane) == topic)
    }

    /// What became of each job.
    #[must_use]
    pub fn outcomes(&self) -> String {
        format!("{}.outcomes", self.prefix)
    }

    /// What could not be sent.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }
}
