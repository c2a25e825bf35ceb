//! What is read, in which order and how far: lanes as far as there is room, tiers when their heads are due, holds
//! while few of their jobs are in memory. And handing it over.
//!
//! Why: nothing here waits for a shard; when a shard's inbox is full, reading stops until it has room. A partition
//! whose jobs pile up is told to the shards, for only they know who waits for whom.
//! Must not know: ownership, commits, how a job is sent.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;

use super::after;
use super::home::{Owned, Phase, Read};
use super::owner::Owner;
use crate::job::{Home, Lane, Source};
use crate::lane::inbox::{ToShard, shard_of};
use crate::ledger::Ledger;

/// Most records read in one turn, so that the group is served in time.
const TURN: usize = 4096;
/// Most records taken from one partition before the next one gets its turn.
const QUANTUM: usize = 256;
/// How far a partition is read beyond its oldest job that is not through, in windows. More than one, because a request
/// that hangs for seconds is enough to keep that job, and those behind it need not wait; not without end, because what
/// is through above it is kept until it can be committed, and read again after a crash.
const SPREAD: usize = 8;
/// Most jobs of one hold of a lane in memory, over all homes: enough to keep its provider busy, few enough to be no backlog.
const HELD_MAX: usize = 4096;
/// How often heads of tiers and holds are looked at when nothing comes from them.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is shown what waits.
const SHOW: Duration = Duration::from_millis(500);
/// How often the shards are told that a partition is crowded.
const TELL: Duration = Duration::from_millis(100);

/// When what is done again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    look_at: Option<Instant>,
    show_at: Option<Instant>,
    told: BTreeMap<(Home, usize), Instant>,
}

/// How many bytes of records one home may have in memory.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Of each lane: these have three quarters of all.
    lane: usize,
    /// Of all tiers of a lane together: a sixteenth.
    tiers: usize,
    /// Of each hold: these share the last eighth.
    hold: usize,
}

impl Room {
    fn of(memory_bytes: usize, homes: usize, holds: u16) -> Self {
        let home = memory_bytes / homes.max(1);
        Self { lane: home / 4 * 3 / Lane::ALL.len(), tiers: home / 16, hold: home / 16 / usize::from(holds.max(1)) }
    }

    /// Whether half of what a lane may have in memory is free.
    fn is_half_free(self, ledger: &Ledger, lane: Source, window: usize) -> bool {
        ledger.outstanding_bytes(lane) <= self.lane / 2 && ledger.outstanding_in(lane) <= window / 2
    }

    fn is_full(self, owned: &Owned, source: Source, window: usize) -> bool {
        let ledger = &owned.ledger;
        let (used, most) = match source {
            Source::Jobs(_) => (ledger.outstanding_bytes(source), self.lane),
            Source::Delay(lane, _) => (ledger.outstanding_bytes_of_tiers(lane), self.tiers),
            Source::Hold(..) => (ledger.outstanding_bytes(source), self.hold),
        };
        used >= most || ledger.outstanding_in(source) >= window || ledger.span(source) >= window.saturating_mul(SPREAD)
    }
}

impl Owner {
    /// Reads from every live home that has room, a quantum at a time. Returns how many records.
    pub(super) fn read(&mut self, now: Instant) -> usize {
        let mut total = 0;
        let homes: Vec<Home> = self.in_phase(|phase| matches!(phase, Phase::Live { .. }));
        let room = Room::of(self.config.memory_bytes, homes.len(), self.layout.holds);
        let turn = homes.iter().position(|home| *home >= self.first).unwrap_or(0);
        self.first = homes.get(turn + 1).copied().unwrap_or(0);
        let homes = [&homes[turn..], &homes[..turn]].concat();
        if self.pace.look_at.is_none_or(|at| at <= now) {
            // Before the lanes, for what is due has waited; half a turn at most, for they have waited, too.
            total = self.read_later(&homes, room, now);
            self.pace.look_at = (total == 0).then(|| after(now, LOOK));
        }
        for lane in Lane::ALL {
            for &home in &homes {
                if total >= TURN {
                    return total;
                }
                total += self.read_lane(home, lane, room, now);
            }
        }
        total
    }

    fn read_lane(&mut self, home: Home, lane: Lane, room: Room, now: Instant) -> usize {
        let source = Source::Jobs(lane);
        let mut count = 0;
        let mut failed = None;
        let Some(Owned { ledger, rests, .. }) = self.owned.get_mut(&home) else { return 0 };
        if rests[lane.index()].lasts(|| room.is_half_free(ledger, source, self.config.window_jobs), now) {
            return 0;
        }
        while count < QUANTUM {
            let Some(owned) = self.owned.get_mut(&home) else { break };
            if room.is_full(owned, source, self.config.window_jobs) {
                owned.rests[lane.index()].begin(now);
                break;
            }
            let read = owned.read(lane);
            match self.place(read, source) {
                Ok(true) => count += 1,
                Ok(false) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.links.metrics.jobs.with_label_values(&[lane.as_str()]).inc_by(count as u64);
        if let Some(error) = failed {
            self.stop_home(home, error);
        }
        self.tell_crowded(home, source, room, now);
        count
    }

    /// Puts what was read where it belongs. `false`: there was nothing.
    fn place(&mut self, read: Read, source: Source) -> Result<bool, String> {
        match read {
            Read::Job(job) => self.outgoing[shard_of(job.spec(), self.links.shards.len())].push(job),
            Read::Turned(turned) => self.turned.push(turned),
            Read::DoneBefore => {
                let topics = &self.config.topics;
                self.links.metrics.restored.with_label_values(&[topics.short(topics.source(source))]).inc();
            }
            Read::Empty => return Ok(false),
            Read::Failed(error) => return Err(error),
        }
        Ok(true)
    }

    /// Reads what is due of tiers, and of holds what has room.
    fn read_later(&mut self, homes: &[Home], room: Room, now: Instant) -> usize {
        let wall = self.links.clock.wall();
        let mut held: HashMap<Source, usize> = HashMap::new();
        let mut total = 0;
        for &home in homes {
            let Some(owned) = self.owned.get(&home) else { continue };
            let later = owned.later().iter().enumerate().filter(|(_, later)| later.is_awake());
            let awake: Vec<(usize, Source)> = later.map(|(index, later)| (index, later.source)).collect();
            for (index, source) in awake {
                let held = held.entry(source).or_insert_with(|| self.outstanding(source));
                let mut count = 0;
                let failed = loop {
                    let enough = matches!(source, Source::Hold(..)) && *held >= HELD_MAX;
                    let Some(owned) = self.owned.get_mut(&home) else { break None };
                    let full = enough || room.is_full(owned, source, self.config.window_jobs);
                    let Phase::Live { later, .. } = &mut owned.phase else { break None };
                    if full || count >= QUANTUM || total + count >= TURN / 2 {
                        // Who is next is looked at all the same: how late it is must show.
                        break later[index].peek(&self.config.topics).err();
                    }
                    let read = later[index].read(&self.config.topics, &mut owned.ledger, wall);
                    match self.place(read, source) {
                        Ok(true) => count += 1,
                        Ok(false) => break None,
                        Err(error) => break Some(error),
                    }
                    *held += 1;
                };
                total += count;
                match (failed, source) {
                    (Some(error), _) => self.stop_home(home, error),
                    // A hold is one provider's alone: nobody else waits in it.
                    (None, Source::Hold(..)) => {}
                    (None, _) => self.tell_crowded(home, source, room, now),
                }
            }
        }
        total
    }

    fn outstanding(&self, source: Source) -> usize {
        self.owned.values().map(|owned| owned.ledger.outstanding_in(source)).sum()
    }

    /// Tells the shards when a source has used all of its room: then nothing behind its jobs is read.
    fn tell_crowded(&mut self, home: Home, source: Source, room: Room, now: Instant) {
        let Some(owned) = self.owned.get(&home) else { return };
        if !room.is_full(owned, source, self.config.window_jobs) {
            return;
        }
        let told = self.pace.told.entry((home, self.layout.index(source))).or_insert(now);
        if *told > now {
            return;
        }
        *told = after(now, TELL);
        for shard in &self.links.shards {
            // A shard without room will be told next time.
            let _full = shard.try_send(ToShard::Crowded { home, source });
        }
    }

    /// Shows what waits in tiers and holds, and how late their heads are.
    pub(super) fn publish_later(&mut self, now: Instant) {
        if self.pace.show_at.is_some_and(|at| at > now) {
            return;
        }
        self.pace.show_at = Some(after(now, SHOW));
        let wall = self.links.clock.wall();
        for (index, source) in self.layout.later().enumerate() {
            let (mut records, mut late) = (0, 0);
            for owned in self.owned.values() {
                let end = owned.ends[self.layout.index(source)];
                records += (end - owned.ledger.next(source)).max(0);
                if let (Source::Delay(..), Phase::Live { later, .. }) = (source, &owned.phase) {
                    late = late.max(later[index].due().map_or(0, |due| (wall.0 - due.0).max(0)));
                }
            }
            let topic = self.config.topics.source(source);
            let label = [self.config.topics.short(topic)];
            self.links.metrics.deferred.with_label_values(&label).set(records);
            if matches!(source, Source::Delay(..)) {
                self.links.metrics.tier_late.with_label_values(&label).set(late as f64 / 1000.0);
            }
        }
    }

    /// Hands over what was read. `false`: a shard has no room, so nothing more is read for now.
    pub(super) fn hand_over(&mut self) -> bool {
        let shards = &self.links.shards;
        self.purges.retain(|(shard, home, epoch, why)| {
            shards[*shard]
                .try_send(ToShard::Purge { home: *home, epoch: *epoch, why: *why })
                .is_err_and(|e| matches!(e, TrySendError::Full(_)))
        });
        let mut room = true;
        if !self.turned.is_empty() {
            let count = self.turned.len();
            let shard = count % shards.len();
            if let Err(TrySendError::Full(ToShard::Turned(kept)) | TrySendError::Closed(ToShard::Turned(kept))) =
                shards[shard].try_send(ToShard::Turned(std::mem::take(&mut self.turned)))
            {
                self.turned = kept;
                room = false;
            }
        }
        for (shard, jobs) in self.outgoing.iter_mut().enumerate().filter(|(_, jobs)| !jobs.is_empty()) {
            // The next turn brings as many, mostly.
            let next = Vec::with_capacity(jobs.len());
            match self.links.shards[shard].try_send(ToShard::Jobs(std::mem::replace(jobs, next))) {
                Ok(()) => {}
                Err(TrySendError::Full(ToShard::Jobs(kept)) | TrySendError::Closed(ToShard::Jobs(kept))) => {
                    *jobs = kept;
                    room = false;
                }
                Err(_) => room = false,
            }
        }
        room
    }
}
