//! The intake thread: one turn after another, serve the group, take receipts back, commit, read.
//!
//! Why: one owner for ledgers, offsets and the lease. Nothing here waits for a shard; when a shard's inbox is
//! full, reading stops until it has room.
//! Must not know: how a job is sent or an outcome written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use tokio::sync::watch;

use super::data::{Ahead, Data};
use super::fence::Fence;
use super::home::{Owned, Phase};
use super::look::Look;
use super::membership::{Event, Membership, Position, Refused};
use super::reading::Pace;
use super::restore::Restore;
use super::trim::Trim;
use super::{Config, Drained, Links, Status, after};
use crate::job::receipt::{Back, Why};
use crate::job::source::Layout;
use crate::job::{Home, Job, Lane, Source};
use crate::lane::inbox::Turned;
use crate::ledger::{Ledger, Returned, encode_metadata};

/// Longest sleep: callbacks and receipts wake the thread, this is for time alone.
const SLEEP: Duration = Duration::from_millis(50);

/// How often every source is committed though nothing has changed: a broker forgets what it has not heard of for days.
const COMMIT_ALL: Duration = Duration::from_secs(3600);
/// How often tiers and holds are trimmed.
const TRIM: Duration = Duration::from_secs(60);

/// Homes on their way out.
pub(super) struct Leaving {
    pub(super) homes: Vec<Home>,
    pub(super) deadline: Instant,
    /// The commit that must be acknowledged before they are let go; set once their receipts are back.
    pub(super) commit: Option<u64>,
    /// The group has given them away meanwhile: none will be. Told of only at a stop, when no membership follows.
    pub(super) out: bool,
}

pub(super) struct Owner {
    pub(super) config: Config,
    pub(super) links: Links,
    pub(super) stop: Receiver<Duration>,
    pub(super) status: watch::Sender<Status>,
    pub(super) membership: Membership,
    pub(super) layout: Layout,
    /// Reads the lanes.
    pub(super) data: Data,
    /// Reads tiers and holds.
    pub(super) later: Data,
    pub(super) look: Look,
    /// Tiers and holds that are to be read from now on.
    pub(super) waking: BTreeSet<(Source, Home)>,
    pub(super) restore: Restore,
    pub(super) fence: Fence,
    /// `None` where the broker cannot delete records.
    pub(super) trim: Option<Trim>,
    pub(super) trim_at: Option<Instant>,
    pub(super) commit_all_at: Instant,
    pub(super) partitions: Home,
    /// Assigned by the group; where they start is not known yet.
    pub(super) assigned: BTreeSet<Home>,
    pub(super) owned: BTreeMap<Home, Owned>,
    /// Ledgers of homes that went while jobs of theirs were out, until these are back or the time is over: before
    /// that this instance must not open the home again, or it would send them twice.
    pub(super) ghosts: BTreeMap<Home, Ledger>,
    pub(super) epoch: u32,
    pub(super) events: VecDeque<Event>,
    pub(super) leaving: Option<Leaving>,
    pub(super) stopping: bool,
    pub(super) reopen_at: Option<Instant>,
    pub(super) outgoing: Vec<Vec<Job>>,
    /// Purges that found a shard's inbox full.
    pub(super) purges: Vec<(usize, Home, u32, Why)>,
    pub(super) turned: Vec<Turned>,
    pub(super) pace: Pace,
    /// The home whose turn to be read comes first.
    pub(super) first: Home,
}

impl Owner {
    pub(super) fn new(
        config: Config,
        links: Links,
        stop: Receiver<Duration>,
        status: watch::Sender<Status>,
    ) -> Result<Self, String> {
        let wake = std::thread::current();
        let partitions = links.ownership.homes();
        let membership = Membership::join(&config, wake.clone())?;
        let data = |ahead| Data::new(&config, ahead, links.metrics.clone(), partitions, wake.clone());
        let (data, later) = (data(Ahead::Far)?, data(Ahead::Little)?);
        let look = Look::start(membership.asker(), config.topics.clone(), wake.clone())?;
        let layout = config.topics.layout();
        let now = links.clock.mono();
        let restore = Restore::new(&config, wake)?;
        let fence = Fence::new(config.commit_interval, config.lease);
        let trim = if config.trims { Some(Trim::new(&config)?) } else { None };
        let outgoing = links.shards.iter().map(|_| Vec::new()).collect();
        Ok(Self {
            config,
            links,
            stop,
            status,
            membership,
            layout,
            data,
            later,
            look,
            waking: BTreeSet::new(),
            restore,
            fence,
            trim,
            trim_at: None,
            commit_all_at: now,
            partitions,
            assigned: BTreeSet::new(),
            owned: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            epoch: 0,
            events: VecDeque::new(),
            leaving: None,
            stopping: false,
            reopen_at: None,
            outgoing,
            purges: Vec::new(),
            turned: Vec::new(),
            pace: Pace::default(),
            first: 0,
        })
    }

    /// Runs until it is stopped and drained.
    pub(super) fn run(mut self) -> Result<Drained, String> {
        loop {
            let now = self.links.clock.mono();
            if let Ok(limit) = self.stop.try_recv() {
                self.stopping = true;
                // Homes that are ours but not begun stay so.
                self.assigned.clear();
                self.close(self.owned.keys().copied().collect(), Why::Shutdown, after(now, limit));
            }
            self.serve_group()?;
            let freed = self.take_back();
            self.open_homes(now);
            self.look(now)?;
            self.commit(now);
            if let Some(drained) = self.advance_leaving(now)? {
                // Leaving waits for the coordinator. Where it does not answer, the session's end tells it.
                match drained.committed && !self.links.ownership.lease_left(now).is_zero() {
                    true => self.membership.leave(),
                    false => std::mem::forget(self.membership),
                }
                return Ok(drained);
            }
            let read = if self.hand_over() { self.read(now) } else { 0 };
            self.hand_over();
            self.publish(now);
            if read == 0 && !freed {
                std::thread::park_timeout(SLEEP);
            }
        }
    }

    fn serve_group(&mut self) -> Result<(), String> {
        if let Some(home) = self.data.poll().or_else(|| self.later.poll()) {
            self.stop_home(home, "a record came outside its partition's queue".to_owned());
        }
        self.restore.poll();
        while let Some(event) = self.membership.poll() {
            match event {
                // An answer concerns what is out now, also while homes are leaving.
                Event::Committed(lanes, later) => self.committed(&lanes, later),
                other => self.events.push_back(other),
            }
        }
        // One change of ownership at a time; the group waits for us to let go.
        while self.leaving.is_none() && !self.stopping {
            match self.events.pop_front() {
                None | Some(Event::Committed(..)) => break,
                Some(Event::Assigned(homes)) => self.assigned(&homes)?,
                Some(Event::Revoked { homes, lost: true }) => self.lost(&homes)?,
                Some(Event::Revoked { homes, lost: false }) => {
                    let deadline = after(self.links.clock.mono(), self.config.drain);
                    tracing::info!(target: "peakpost::intake", ?homes, "homes go to another owner: draining them");
                    self.close(homes, Why::Revoked, deadline);
                }
            }
        }
        Ok(())
    }

    fn take_back(&mut self) -> bool {
        let mut any = false;
        while let Ok(batch) = self.links.back.try_recv() {
            any = true;
            for back in batch {
                match back {
                    Back::Settled(settled) => {
                        self.reaches(&settled);
                        let owned = self.owned.get_mut(&settled.source.home).map(|owned| &mut owned.ledger);
                        let ghost = self.ghosts.get_mut(&settled.source.home);
                        let _counted =
                            [owned, ghost].into_iter().flatten().any(|l| l.settle(&settled) == Returned::Counted);
                    }
                    Back::Abandoned(abandoned) => {
                        let owned = self.owned.get_mut(&abandoned.source.home).map(|owned| &mut owned.ledger);
                        let ghost = self.ghosts.get_mut(&abandoned.source.home);
                        let _counted =
                            [owned, ghost].into_iter().flatten().any(|l| l.abandon(&abandoned) == Returned::Counted);
                    }
                    Back::HomeRefused { home, epoch, error } => {
                        if self.owned.get(&home).is_some_and(|owned| owned.ledger.epoch() == epoch) {
                            self.stop_home(home, error);
                        }
                    }
                }
            }
        }
        any
    }

    /// Commits every home that has start offsets, when it is time. It renews the lease, so it is sent even
    /// when nothing has changed.
    fn commit(&mut self, now: Instant) {
        if !self.fence.due(now) {
            return;
        }
        if now >= self.commit_all_at {
            self.commit_all_at = after(now, COMMIT_ALL);
            self.commit_all_again();
        }
        let mut positions = Vec::with_capacity(self.owned.len() * Lane::ALL.len());
        // What was read back anyway at a restart need not be exact.
        let drift = self.config.duplicate_window as i64 / 2;
        for (home, owned) in self.owned.iter_mut().filter(|(_, owned)| !matches!(owned.phase, Phase::Restoring { .. }))
        {
            for (commit, said) in owned.ledger.commits().into_iter().zip(&mut owned.committed) {
                let same = said.is_some_and(|(next, from)| next == commit.next && commit.outcomes_from - from < drift);
                // The lanes' commits are what renews the lease; the others are made when there is something to say.
                let is_lane = matches!(commit.source, Source::Jobs(_));
                if same && !is_lane {
                    continue;
                }
                *said = Some((commit.next, commit.outcomes_from));
                let topic = self.config.topics.source(commit.source);
                let metadata = encode_metadata(commit.outcomes_from);
                positions.push(Position { topic, is_lane, home: *home, next: commit.next, metadata });
            }
        }
        if positions.is_empty() {
            return;
        }
        match self.membership.commit(&positions) {
            Ok(()) => self.fence.sent(now),
            Err(error) => {
                tracing::debug!(target: "peakpost::intake", error, "commit not sent; trying again");
                self.commit_all_again();
            }
        }
    }

    fn commit_all_again(&mut self) {
        for owned in self.owned.values_mut() {
            owned.committed.fill(None);
        }
    }

    fn committed(&mut self, lanes: &Result<(), Refused>, later: Result<(), Refused>) {
        let result = lanes.clone().and(later);
        let label = if result.is_ok() { "acknowledged" } else { "failed" };
        self.links.metrics.commits.with_label_values(&[label]).inc();
        if let Err(Refused { error, out }) = &result {
            tracing::warn!(target: "peakpost::intake", error, "commit failed; trying again");
            self.commit_all_again();
            if let Some(leaving) = self.leaving.as_mut().filter(|_| self.stopping) {
                leaving.out = *out;
            }
        }
        if let Some(until) = self.fence.answered(lanes.is_ok()) {
            self.links.ownership.renew(until);
            if result.is_ok() {
                self.trim();
            }
        }
    }

    /// Lets what lies below the committed offsets of tiers and holds be deleted: after an acknowledged commit, when no
    /// other is out, so that what was said last is committed.
    fn trim(&mut self) {
        let now = self.links.clock.mono();
        let Some(trim) = self.trim.as_ref().filter(|_| self.trim_at.is_none_or(|at| at <= now)) else { return };
        if !self.fence.is_quiet() {
            return;
        }
        if trim.has_failed() {
            self.owned.values_mut().for_each(|owned| owned.trimmed.fill(0));
        }
        let mut below = Vec::new();
        for (home, owned) in &mut self.owned {
            for source in self.layout.later() {
                let index = self.layout.index(source);
                if let Some((next, _)) = owned.committed[index].filter(|(next, _)| *next > owned.trimmed[index]) {
                    below.push((self.config.topics.source(source).to_owned(), *home, next));
                }
            }
        }
        if trim.below(below.clone()) {
            self.trim_at = Some(after(now, TRIM));
            for (topic, home, next) in below {
                let index = self.config.topics.source_of(&topic).map(|source| self.layout.index(source));
                if let (Some(index), Some(owned)) = (index, self.owned.get_mut(&home)) {
                    owned.trimmed[index] = next;
                }
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        self.publish_later(now);
        let metrics = &self.links.metrics;
        metrics.homes_owned.set(self.owned.len() as i64);
        metrics.homes_stopped.set(self.status.borrow().stopped.len() as i64);
        metrics.lease_remaining.set(self.links.ownership.lease_left(now).as_secs_f64());
        for lane in Lane::ALL {
            let source = Source::Jobs(lane);
            let span: usize = self.owned.values().map(|o| o.ledger.span(source)).sum();
            let out: usize = self.owned.values().map(|o| o.ledger.outstanding_in(source)).sum();
            metrics.uncommitted.with_label_values(&[lane.as_str()]).set(span as i64);
            metrics.in_flight_jobs.with_label_values(&[lane.as_str()]).set(out as i64);
        }

        let homes: Vec<Home> = self.owned.keys().copied().collect();
        let opening = self.assigned.len()
            + self.in_phase(|phase| matches!(phase, Phase::Restoring { .. } | Phase::Fencing { .. })).len();
        let leased = !self.links.ownership.lease_left(now).is_zero();
        let draining = self.leaving.as_ref().map_or(String::new(), |leaving| {
            let left: usize =
                leaving.homes.iter().filter_map(|home| self.owned.get(home)).map(|o| o.ledger.outstanding()).sum();
            format!("{left} jobs at providers or on their way to durable, {} homes", leaving.homes.len())
        });
        let had = self.status.borrow().leased;
        match (had, leased) {
            (true, false) => tracing::error!(
                target: "peakpost::intake",
                "no commit was acknowledged within the lease: sending has stopped until one is; is Kafka reachable?"
            ),
            (false, true) => tracing::info!(target: "peakpost::intake", homes = homes.len(), "the lease runs: sending"),
            _ => {}
        }
        self.status.send_if_modified(|status| {
            let changed = status.homes != homes
                || status.draining != draining
                || status.leased != leased
                || status.opening != opening;
            (status.homes, status.draining, status.leased, status.opening) = (homes, draining, leased, opening);
            changed
        });
    }

    pub(super) fn in_phase(&self, is: impl Fn(&Phase) -> bool) -> Vec<Home> {
        self.owned.iter().filter(|(_, owned)| is(&owned.phase)).map(|(home, _)| *home).collect()
    }
}
