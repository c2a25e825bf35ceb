//! Changes of ownership: homes that come, homes that go, homes that stop.
//!
//! Why: what is safe here is the order. Coming: start offsets, then the fence, then reading. Going: nothing new,
//! receipts back, a last commit, and only then let go. Other homes run on meanwhile.
//! Must not know: what is read or how it is handed over.

use std::collections::BTreeMap;
use std::time::Instant;

use super::home::{Owned, Phase};
use super::later::Later;
use super::owner::{Leaving, Owner};
use super::restore::{Past, Span};
use super::{Drained, FirstStart, after};
use crate::job::receipt::Why;
use crate::job::{Home, Job, Lane, Receipt, Source};
use crate::lane::inbox::Turned;
use crate::ledger::Ledger;
use crate::ledger::usage::Latest;
use crate::observe::failpoint::failpoint;

/// Longest wait for one answer of the broker while homes are opened.
const ASK: std::time::Duration = std::time::Duration::from_secs(5);
/// Wait before homes that could not be opened are tried again.
const REOPEN: std::time::Duration = std::time::Duration::from_millis(500);

/// Where a home starts.
struct Start {
    home: Home,
    /// The next offset of each source, by its number.
    next: Vec<i64>,
    /// The outcomes that tell what was done above.
    outcomes: Span,
    /// What was spent, all of it.
    usage: Span,
}

impl Owner {
    pub(super) fn assigned(&mut self, homes: &[Home]) -> Result<(), String> {
        tracing::info!(target: "peakpost::intake", ?homes, "assigned");
        self.membership.accept(homes)?;
        self.assigned.extend(homes.iter().filter(|home| **home < self.partitions));
        self.reopen_at = None;
        let opening = self.assigned.len();
        self.status.send_modify(|status| (status.joined, status.opening) = (true, opening));
        Ok(())
    }

    /// The group has given these homes away already: nothing of them may be sent or committed any more.
    pub(super) fn lost(&mut self, homes: &[Home]) -> Result<(), String> {
        tracing::warn!(target: "peakpost::intake", ?homes, "homes lost: no heartbeat was answered in time, so the group may have given them away; is Kafka reachable?");
        for home in homes {
            self.assigned.remove(home);
            self.links.ownership.let_go(*home);
            self.purge(*home, Why::Revoked);
            if let Some(owned) = self.owned.remove(home) {
                self.end_reading(*home, &owned.phase);
                self.haunt(*home, owned);
            }
        }
        self.status.send_modify(|status| status.joined = false);
        self.membership.let_go(homes)
    }

    /// Remembers what is still out of a home that has gone. Should the home come back to us, it is opened only once
    /// the last outcome of it is durable: until then its record would be read as one that nobody has sent.
    fn haunt(&mut self, home: Home, owned: Owned) {
        if owned.ledger.outstanding() > 0 {
            self.ghosts.insert(home, owned.ledger);
        }
    }

    /// Stops whatever reads for a home.
    fn end_reading(&self, home: Home, phase: &Phase) {
        match phase {
            Phase::Live { later, .. } => {
                self.data.close(&Lane::ALL.map(|lane| (Source::Jobs(lane), home)));
                let awake = later.iter().filter(|later| later.is_awake());
                self.later.close(&awake.map(|later| (later.source, home)).collect::<Vec<_>>());
            }
            // What restores stops by itself when its phase ends.
            Phase::Restoring { .. } | Phase::Fencing { .. } | Phase::Closing | Phase::Stopped => {}
        }
    }

    /// Moves a home to another phase. One that has not learnt what was done before is forgotten instead: a commit
    /// of what it knows would hide the rest from the next owner.
    fn end_as(&mut self, home: Home, phase: Phase) {
        let Some(mut owned) = self.owned.remove(&home) else { return };
        self.end_reading(home, &owned.phase);
        if !matches!(owned.phase, Phase::Restoring { .. }) {
            owned.phase = phase;
            self.owned.insert(home, owned);
        }
    }

    /// Brings new homes to life, a step at a time: where they start, what was done before, the fence, reading.
    pub(super) fn open_homes(&mut self, now: Instant) {
        self.find_starts(now);
        let restore = &self.restore;
        let mut failed = Vec::new();
        for (home, owned) in &mut self.owned {
            let Phase::Restoring { readings } = &mut owned.phase else { continue };
            match restore.read(readings, &mut owned.ledger, &mut owned.usage) {
                Ok(()) if readings.is_empty() => owned.phase = Phase::Fencing { commit: self.fence.hurry() },
                Ok(()) => {}
                Err(error) => failed.push((*home, error)),
            }
        }
        let fence = &self.fence;
        let fenced = |phase: &Phase| matches!(phase, Phase::Fencing { commit } if fence.reached(*commit));
        for (home, owned) in self.owned.iter_mut().filter(|(_, owned)| fenced(&owned.phase)) {
            let lanes = Lane::ALL.map(Source::Jobs);
            match self.data.open(&lanes.map(|source| (source, *home, owned.ledger.next(source)))) {
                Ok(lanes) => {
                    let epoch = owned.ledger.epoch();
                    if let Some(to) = &self.links.usage {
                        // Without a receiver there is nobody left who would spend.
                        let _ended = to.blocking_send(std::mem::take(&mut owned.usage).opened(*home, epoch));
                    }
                    self.links.ownership.open(*home, epoch);
                    let later = self.layout.later().map(Later::asleep).collect();
                    owned.phase = Phase::Live { lanes, later };
                    self.look.hurry();
                }
                Err(error) => failed.push((*home, error)),
            }
        }
        for (home, error) in failed {
            self.stop_home(home, error);
        }
    }

    /// Finds start offsets for new homes. Tried again until the broker answers.
    fn find_starts(&mut self, now: Instant) {
        self.ghosts.retain(|_, ledger| ledger.outstanding() > 0);
        if self.assigned.iter().all(|home| self.ghosts.contains_key(home)) || self.reopen_at.is_some_and(|at| at > now)
        {
            return;
        }
        let opened = self.starts().and_then(|starts| {
            for Start { home, next, outcomes, usage } in starts {
                self.epoch += 1;
                let depth = self.config.duplicate_window;
                let ledger = Ledger::new(home, self.epoch, self.layout, &next, outcomes.end, depth);
                let past = [(Past::Outcomes, outcomes), (Past::Usage, usage)];
                let past = past.into_iter().filter(|(_, span)| span.from < span.end);
                let readings = past.map(|(past, span)| self.restore.open(past, home, span));
                let readings = readings.collect::<Result<Vec<_>, String>>()?;
                let phase = match readings.is_empty() {
                    true => Phase::Fencing { commit: self.fence.hurry() },
                    false => Phase::Restoring { readings },
                };
                let (usage, committed, trimmed) = (Latest::default(), vec![None; next.len()], vec![0; next.len()]);
                self.owned.insert(
                    home,
                    Owned { ledger, usage, phase, committed, trimmed, ends: next, rests: Default::default() },
                );
                self.assigned.remove(&home);
            }
            Ok(())
        });
        self.reopen_at = opened.err().map(|error| {
            tracing::warn!(target: "peakpost::intake", error, "homes cannot be opened yet; trying again");
            after(self.links.clock.mono(), REOPEN)
        });
    }

    /// Where reading starts in each new home: the committed offset; the first-start rule only in a topic in which
    /// the group has never committed; the beginning in partitions that were added later. And which outcomes tell
    /// what was done above it, and what was spent: a former owner adds nothing to that, for its lease was over before
    /// the group gave the home away.
    fn starts(&self) -> Result<Vec<Start>, String> {
        let topics = &self.config.topics;
        let homes: Vec<Home> = self.assigned.iter().filter(|home| !self.ghosts.contains_key(home)).copied().collect();
        let outcomes = self.membership.bounds(&topics.outcomes(), &homes, ASK)?;
        let usage = match self.links.usage {
            Some(_) => self.membership.bounds(&topics.usage(), &homes, ASK)?,
            None => BTreeMap::new(),
        };
        let mut starts = Vec::new();
        for (&home, &(first, end)) in &outcomes {
            // The latest outcomes are read in any case, for the ids that came lately.
            let lately = end.saturating_sub(self.config.duplicate_window as i64).max(first);
            let usage = usage.get(&home).copied().map_or_else(Span::default, Span::from);
            starts.push((Start { home, next: vec![], outcomes: Span { from: lately, end }, usage }, first));
        }
        for source in self.layout.all() {
            let topic = topics.source(source);
            let committed = self.membership.committed(topic, self.partitions, ASK)?;
            let first_start = matches!(source, Source::Jobs(_)) && committed.is_empty();
            let latest = first_start && self.config.first_start == FirstStart::Latest;
            let new: Vec<Home> = homes.iter().filter(|home| !committed.contains_key(home)).copied().collect();
            let bounds = self.membership.bounds(topic, &new, ASK)?;
            for (start, first_outcome) in &mut starts {
                if let Some(c) = committed.get(&start.home) {
                    let from = self.outcomes_from(c.outcomes_from, *first_outcome, start.outcomes.end);
                    start.outcomes.from = start.outcomes.from.min(from);
                    start.next.push(c.next);
                } else {
                    let (first, end) = bounds[&start.home];
                    start.next.push(if latest { end } else { first });
                }
            }
        }
        Ok(starts.into_iter().map(|(start, _)| start).collect())
    }

    /// From where outcomes are read: what the commit says, or back to the depth when it says nothing usable.
    fn outcomes_from(&self, said: Option<i64>, first: i64, end: i64) -> i64 {
        match said {
            Some(from) if (first..=end).contains(&from) => from,
            _ => {
                let from = end.saturating_sub(self.config.restore_depth).max(first);
                tracing::warn!(target: "peakpost::intake", ?said, first, end, from, "the commit does not say from where outcomes are read");
                from
            }
        }
    }

    /// Stops homes for good or for another owner: nothing new is read, what waits is given back.
    pub(super) fn close(&mut self, homes: Vec<Home>, why: Why, deadline: Instant) {
        for home in &homes {
            self.assigned.remove(home);
            self.links.ownership.close(*home);
            self.purge(*home, why);
            failpoint!("inside_revoke");
            self.end_as(*home, Phase::Closing);
        }
        self.leaving = Some(Leaving { homes, deadline, commit: None, out: false });
    }

    pub(super) fn stop_home(&mut self, home: Home, error: String) {
        tracing::error!(
            target: "peakpost::intake", home, error,
            "home stopped: nothing of it is read or sent until a restart; other homes go on"
        );
        self.links.ownership.close(home);
        self.purge(home, Why::HomeStopped);
        self.end_as(home, Phase::Stopped);
        self.status.send_modify(|status| status.stopped.push((home, error)));
    }

    /// Gives back what waits here of a home, and tells every shard to do the same.
    fn purge(&mut self, home: Home, why: Why) {
        let of_home = |receipt: &Receipt| receipt.source().home == home;
        let mut waiting: Vec<Receipt> = Vec::new();
        for (shard, jobs) in self.outgoing.iter_mut().enumerate() {
            waiting.extend(jobs.extract_if(.., |job| of_home(&job.receipt)).map(Job::into_receipt));
            self.purges.push((shard, home, self.epoch, why));
        }
        waiting.extend(self.turned.extract_if(.., |turned| of_home(turned.receipt())).map(Turned::into_receipt));
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
        // What is durable and not committed is found by the next owner in the outcomes.
        let committed = fence.reached(number) || owned.is_empty() || leaving.out;
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
            leaving.homes.iter().for_each(|home| self.links.ownership.let_go(*home));
            return Ok(Some(Drained { left, committed }));
        }
        let Some(leaving) = self.leaving.take() else { return Ok(None) };
        for home in &leaving.homes {
            self.links.ownership.let_go(*home);
            if let Some(owned) = self.owned.remove(home) {
                self.haunt(*home, owned);
            }
        }
        self.membership.let_go(&leaving.homes)?;
        self.status.send_modify(|status| status.stopped.retain(|(home, _)| !leaving.homes.contains(home)));
        tracing::info!(target: "peakpost::intake", homes = ?leaving.homes, left, "let go");
        Ok(None)
    }
}
