//! Changes of ownership: homes that come, homes that go, homes that stop.
//!
//! Why: what is safe here is the order. Coming: start offsets, then the fence, then reading. Going: nothing new,
//! receipts back, a last commit, and only then let go. Other homes run on meanwhile.
//! Must not know: what is read or how it is handed over.

use std::time::Instant;

use super::home::{Owned, Phase};
use super::owner::{Leaving, Owner};
use super::{Drained, FirstStart, after};
use crate::job::receipt::Why;
use crate::job::{Home, Job, Lane, Receipt};
use crate::ledger::Ledger;

/// Longest wait for one answer of the broker while homes are opened.
const ASK: std::time::Duration = std::time::Duration::from_secs(5);
/// Wait before homes that could not be opened are tried again.
const REOPEN: std::time::Duration = std::time::Duration::from_millis(500);

impl Owner {
    pub(super) fn assigned(&mut self, homes: &[Home]) -> Result<(), String> {
        tracing::info!(target: "peakpost::intake", ?homes, "assigned");
        self.membership.accept(homes)?;
        self.assigned.extend(homes.iter().filter(|home| **home < self.partitions));
        self.reopen_at = None;
        self.status.send_modify(|status| status.joined = true);
        Ok(())
    }

    /// The group has given these homes away already: nothing of them may be sent or committed any more.
    pub(super) fn lost(&mut self, homes: &[Home]) -> Result<(), String> {
        tracing::warn!(target: "peakpost::intake", ?homes, "homes lost: the group gave them away before we let go");
        for home in homes {
            self.assigned.remove(home);
            self.links.ownership.close(*home);
            self.purge(*home, Why::Revoked);
            if let Some(Owned { phase: Phase::Live { .. }, .. }) = self.owned.remove(home) {
                self.data.close(*home);
            }
        }
        self.membership.let_go(homes)
    }

    /// Finds start offsets for new homes and asks for their fence. Tried again until the broker answers.
    pub(super) fn open_homes(&mut self, now: Instant) {
        let new: Vec<Home> = self.assigned.iter().copied().collect();
        if !new.is_empty() && self.reopen_at.is_none_or(|at| at <= now) {
            match self.starts(&new) {
                Ok(starts) => {
                    for (home, start, outcomes_end) in starts {
                        self.epoch += 1;
                        let ledger = Ledger::new(home, self.epoch, start, outcomes_end);
                        let phase = Phase::Fencing { commit: self.fence.hurry() };
                        self.owned.insert(home, Owned { ledger, phase, start });
                    }
                    self.assigned.clear();
                    self.reopen_at = None;
                }
                Err(error) => {
                    tracing::warn!(target: "peakpost::intake", error, "homes cannot be opened yet; trying again");
                    self.reopen_at = Some(after(now, REOPEN));
                }
            }
        }
        let fence = &self.fence;
        let fenced = |phase: &Phase| matches!(phase, Phase::Fencing { commit } if fence.reached(*commit));
        let ready: Vec<Home> = self.owned.iter().filter(|(_, o)| fenced(&o.phase)).map(|(home, _)| *home).collect();
        for home in ready {
            let Some(owned) = self.owned.get_mut(&home) else { continue };
            match self.data.open(home, owned.start) {
                Ok(queues) => {
                    self.links.ownership.open(home, owned.ledger.epoch());
                    owned.phase = Phase::Live { queues };
                }
                Err(error) => self.stop_home(home, error),
            }
        }
    }

    /// Where reading starts in each of these homes: the committed offset; the first-start rule only in a topic
    /// in which the group has never committed; the beginning in partitions that were added later.
    fn starts(&self, new: &[Home]) -> Result<Vec<(Home, [i64; 2], i64)>, String> {
        let topics = &self.config.topics;
        let mut starts: Vec<(Home, [i64; 2], i64)> = new.iter().map(|home| (*home, [0; 2], 0)).collect();
        for lane in Lane::ALL {
            let topic = topics.jobs(lane);
            let committed = self.membership.committed(topic, self.partitions, ASK)?;
            for (home, start, _) in &mut starts {
                start[lane.index()] = match committed.iter().find(|c| c.home == *home) {
                    Some(c) => c.next,
                    None => {
                        let (first, end) = self.membership.bounds(topic, *home, ASK)?;
                        let latest = committed.is_empty() && self.config.first_start == FirstStart::Latest;
                        if latest { end } else { first }
                    }
                };
            }
        }
        for (home, _, outcomes_end) in &mut starts {
            *outcomes_end = self.membership.bounds(&topics.outcomes(), *home, ASK)?.1;
        }
        Ok(starts)
    }

    /// Stops homes for good or for another owner: nothing new is read, what waits is given back.
    pub(super) fn close(&mut self, homes: Vec<Home>, why: Why, deadline: Instant) {
        for home in &homes {
            self.assigned.remove(home);
            self.links.ownership.close(*home);
            self.purge(*home, why);
            if let Some(owned) = self.owned.get_mut(home)
                && !matches!(owned.phase, Phase::Stopped)
            {
                if matches!(owned.phase, Phase::Live { .. }) {
                    self.data.close(*home);
                }
                owned.phase = Phase::Closing;
            }
        }
        self.leaving = Some(Leaving { homes, deadline, commit: None });
    }

    pub(super) fn stop_home(&mut self, home: Home, error: String) {
        let Some(owned) = self.owned.get_mut(&home) else { return };
        tracing::error!(
            target: "peakpost::intake", home, error,
            "home stopped: nothing of it is read or sent until a restart; other homes go on"
        );
        if matches!(owned.phase, Phase::Live { .. }) {
            self.data.close(home);
        }
        owned.phase = Phase::Stopped;
        self.links.ownership.close(home);
        self.purge(home, Why::HomeStopped);
        self.status.send_modify(|status| status.stopped.push((home, error)));
    }

    /// Gives back what waits here of a home, and tells every shard to do the same.
    fn purge(&mut self, home: Home, why: Why) {
        let of_home = |receipt: &Receipt| receipt.source().home == home;
        let mut waiting: Vec<Receipt> = Vec::new();
        for (shard, jobs) in self.outgoing.iter_mut().enumerate() {
            waiting.extend(jobs.extract_if(.., |job| of_home(&job.receipt)).map(Job::into_receipt));
            self.purges.push((shard, home, why));
        }
        let malformed = self.malformed.extract_if(.., |m| of_home(&m.incoming.receipt));
        waiting.extend(malformed.map(|m| m.incoming.receipt));
        for receipt in waiting {
            let abandoned = receipt.abandon(why);
            if let Some(owned) = self.owned.get_mut(&home) {
                owned.ledger.abandon(&abandoned);
            }
        }
    }

    /// Moves homes that leave: receipts back, then a last commit, then let go.
    pub(super) fn advance_leaving(&mut self, now: Instant) -> Result<Option<Drained>, String> {
        let Some(leaving) = &mut self.leaving else { return Ok(None) };
        let owned = &self.owned;
        let left: usize = leaving.homes.iter().filter_map(|home| owned.get(home)).map(|o| o.ledger.outstanding()).sum();
        if left > 0 && now < leaving.deadline {
            return Ok(None);
        }
        let fence = &mut self.fence;
        let number = *leaving.commit.get_or_insert_with(|| fence.hurry());
        let committed = fence.reached(number) || owned.is_empty();
        if !committed && now < after(leaving.deadline, self.config.lease) {
            return Ok(None);
        }
        if left > 0 {
            tracing::warn!(
                target: "peakpost::intake",
                left, homes = ?leaving.homes,
                "drain is over with jobs still at a provider: their next owner sends them again (duplicates)"
            );
        }
        if self.stopping {
            return Ok(Some(Drained { left, committed }));
        }
        let Some(leaving) = self.leaving.take() else { return Ok(None) };
        for home in &leaving.homes {
            self.owned.remove(home);
        }
        self.membership.let_go(&leaving.homes)?;
        tracing::info!(target: "peakpost::intake", homes = ?leaving.homes, left, "let go");
        Ok(None)
    }
}
