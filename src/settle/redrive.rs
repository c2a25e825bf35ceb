//! Writes redriven jobs into a delay tier and knows which of them are acknowledged.
//!
//! Why: a letter counts as redriven when all in-sync replicas hold its job, and not a moment earlier; what is on its
//! way is bounded, so that an interruption leaves little to do twice.
//! Must not know: why these letters, how fast, where progress is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slab::Slab;

use super::Config;
use super::dead::Trouble;
use super::producer::{Delivered, Failure, Producer, Record};
use crate::job::topic::Topics;
use crate::job::trip::{HEADER, Trip};
use crate::job::{Home, Lane, Source};
use crate::outcome::letter::Letter;

/// Most jobs on their way: with the largest of them 64 MiB.
const AHEAD_MAX: usize = 256;

/// A writer of redriven jobs.
pub struct Writer {
    producer: Producer,
    topics: Topics,
    /// Letters on their way, by slot.
    ahead: Slab<(Home, i64)>,
    /// The same by partition.
    open: BTreeMap<Home, BTreeSet<i64>>,
    delivered: Vec<Delivered>,
    acknowledged: u64,
}

impl Writer {
    /// A writer into the smallest delay tiers.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub fn new(config: &Config, topics: Topics) -> Result<Self, Trouble> {
        let producer = Producer::new(config).map_err(Trouble::Misconfigured)?;
        Ok(Self { producer, topics, ahead: Slab::new(), open: BTreeMap::new(), delivered: Vec::new(), acknowledged: 0 })
    }

    /// Whether another one may set out.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.ahead.len() < AHEAD_MAX
    }

    /// Whether everything is acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ahead.is_empty()
    }

    /// The first letter of a partition that is not acknowledged yet.
    #[must_use]
    pub fn oldest(&self, partition: Home) -> Option<i64> {
        self.open.get(&partition)?.first().copied()
    }

    /// Sends a letter's job on its trip: into its lane's tier, same partition, its own bytes and headers.
    ///
    /// # Errors
    /// When the broker will not take it.
    pub fn send(&mut self, letter: &Letter<'_>, trip: &Trip<'_>) -> Result<(), Trouble> {
        let note = serde_json::to_vec(trip).map_err(|e| Trouble::Broken(format!("a trip cannot be written: {e}")))?;
        let mut headers: Vec<(&str, Option<&[u8]>)> = letter.carried().collect();
        headers.push((HEADER, Some(&note)));
        // Whose origin is no jobs topic is not revived.
        let lane = self.topics.lane_of(&trip.origin.topic).unwrap_or(Lane::Marketing);
        let topic = self.topics.source(Source::Delay(lane, 0));
        let slot = self.ahead.insert((letter.partition, letter.offset));
        self.open.entry(letter.partition).or_default().insert(letter.offset);
        let record = Record {
            topic,
            partition: Some(i32::from(letter.partition)),
            key: trip.id.as_bytes(),
            payload: letter.bytes,
            headers,
            slot,
        };
        // The producer's queue is far larger than what may be on its way: full, it is so for a moment only.
        while !self.producer.send(&record).map_err(|failure| trouble(failure, topic))? {
            self.producer.poll(&mut self.delivered);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }

    /// How many are acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Takes acknowledgements.
    ///
    /// # Errors
    /// The first failure; what failed stays open.
    pub fn poll(&mut self) -> Result<(), Trouble> {
        self.producer.poll(&mut self.delivered);
        let mut failed = None;
        for report in self.delivered.drain(..) {
            match report.result {
                Ok(_) => {
                    let (partition, offset) = self.ahead.remove(report.slot);
                    self.open.entry(partition).or_default().remove(&offset);
                    self.acknowledged += 1;
                }
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        match (failed, self.producer.fatal()) {
            (Some(failure), _) => Err(trouble(failure, "the delay tier")),
            (None, Some(fatal)) => Err(Trouble::Broken(format!("the producer failed for good: {fatal}"))),
            (None, None) => Ok(()),
        }
    }
}

fn trouble(failure: Failure, topic: &str) -> Trouble {
    match failure {
        Failure::Passing(error) => Trouble::Unavailable(format!("{topic} does not acknowledge: {error}")),
        Failure::ForGood(error) => {
            let hint = "hint: `peakpost topics create`, then check the topic's ACLs and max.message.bytes";
            Trouble::Misconfigured(format!("the broker refuses records of {topic}: {error}; {hint}"))
        }
    }
}
