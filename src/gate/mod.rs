//! May I send n to this provider now? One machine per provider: buckets, concurrency, stops, and who waits.
//!
//! Why: a limit that every worker keeps for itself is kept by nobody. One task owns this machine; a shard asks
//! for up to 64 requests at a time, and gets one permit; what is not used of it is
//! spent. A permit is all limits or none; a refusal by one leaks nothing of another.
//! Must not know: jobs, vendors, tasks, channels.

pub mod bucket;
pub mod limit;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::job::Lane;
use bucket::Bucket;
use limit::{Limit, Unit};

/// Longest time between a permit's making and its redemption: less than J, which covers the way to the vendor too.
pub const PERMIT_LIFE: Duration = Duration::from_millis(20);

/// Most requests in one ask.
pub const REQUESTS_MAX: u32 = 64;

/// One provider's limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Every one of them holds.
    pub limits: Vec<Limit>,
    /// Requests at the provider at the same time: at least 2 (one is always kept for transactional).
    pub concurrency: u32,
    /// Share of each bucket's burst and of the concurrency kept for transactional: 0 to 0.9.
    pub reserve: f64,
    /// How far apart a permit and its arrival at the vendor's door can be.
    pub jitter: Duration,
    /// When both lanes wait: how many permits transactional gets for each of marketing's.
    pub weight: u32,
}

/// A shard asks for leave to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose ask it is; comes back with the grant.
    pub shard: usize,
    /// In which lane.
    pub lane: Lane,
    /// Requests wanted, up to [`REQUESTS_MAX`].
    pub requests: u32,
    /// Messages wanted, over all of them.
    pub messages: u32,
    /// Most messages that one request carries.
    pub per_request: u32,
}

/// Leave to send. Only the gate makes one, and it is needed to reach a provider.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit's units are spent whether it is used or not, its slots must be given back"]
pub struct SendPermit {
    lane: Lane,
    requests: u32,
    messages: u32,
    deadline: Instant,
}

impl SendPermit {
    /// In which lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Requests it allows; each holds one slot until it is given back.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Messages it allows, over all requests.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Not to be redeemed after this.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// An answered ask.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose ask it was.
    pub shard: usize,
    /// How long it waited.
    pub waited: Duration,
    /// The leave.
    pub permit: SendPermit,
}

/// One provider's gate.
#[derive(Debug)]
pub struct Gate {
    buckets: Vec<Bucket>,
    slots: Slots,
    waiting: [VecDeque<(Instant, Ask)>; 2],
    /// Permits given to transactional while marketing waited, since marketing's last turn.
    ahead: u32,
    weight: u32,
    stopped_until: Option<Instant>,
    origin: Instant,
}

#[derive(Debug)]
struct Slots {
    free: u32,
    /// What marketing may still take: never more than all but the reserve are marketing's.
    lendable: u32,
}

impl Gate {
    /// A gate with empty buckets.
    #[must_use]
    pub fn new(config: &Config, now: Instant) -> Self {
        let bucket = |limit: &Limit| Bucket::new(*limit, config.reserve, config.jitter, Duration::ZERO);
        let reserved = bucket::share(config.concurrency, config.reserve).clamp(1, config.concurrency - 1);
        Self {
            buckets: config.limits.iter().map(bucket).collect(),
            slots: Slots { free: config.concurrency, lendable: config.concurrency - reserved },
            waiting: [VecDeque::new(), VecDeque::new()],
            ahead: 0,
            weight: config.weight.max(1),
            stopped_until: None,
            origin: now,
        }
    }

    /// Takes an ask into the queue; `turn` answers it.
    pub fn ask(&mut self, ask: Ask, now: Instant) {
        self.waiting[ask.lane.index()].push_back((now, ask));
    }

    /// Requests of a permit in `lane` have ended, or were never made.
    pub fn release(&mut self, lane: Lane, requests: u32) {
        self.slots.free += requests;
        if lane == Lane::Marketing {
            self.slots.lendable += requests;
        }
    }

    /// Free request slots.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        self.slots.free
    }

    /// Nothing goes before `until`. A later time extends a stop, an earlier one never shortens it.
    pub fn stop_until(&mut self, until: Instant) {
        self.stopped_until = Some(self.stopped_until.map_or(until, |stop| stop.max(until)));
    }

    /// The end of the present stop, if one is in force.
    #[must_use]
    pub fn stopped(&self, now: Instant) -> Option<Instant> {
        self.stopped_until.filter(|until| *until > now)
    }

    /// The limits and the rates that can be used of them in the long run, in units per second.
    pub fn rates(&self) -> impl Iterator<Item = (Limit, f64)> {
        self.buckets.iter().map(|bucket| (bucket.limit, bucket.rate()))
    }

    /// Answers every ask that can be answered now. Returns when to look again, if only time can help.
    pub fn turn(&mut self, now: Instant, grants: &mut Vec<Grant>) -> Option<Instant> {
        if let Some(until) = self.stopped(now) {
            return self.waiting.iter().any(|queue| !queue.is_empty()).then_some(until);
        }
        loop {
            let first = self.first_lane()?;
            let second = Lane::ALL[1 - first.index()];
            match self.try_head(first, now, grants) {
                Ok(()) => {}
                // Marketing's turn, but it has all the slots it may have: transactional may go on.
                Err(None) if first == Lane::Marketing => match self.try_head(second, now, grants) {
                    Ok(()) => {}
                    Err(wake) => return wake,
                },
                // Nobody passes the one whose turn it is: that would take what it waits for.
                Err(wake) => return wake,
            }
        }
    }

    /// Whose turn it is: transactional, but after `weight` of its grants one of marketing's.
    fn first_lane(&self) -> Option<Lane> {
        let [transactional, marketing] = &self.waiting;
        match (transactional.is_empty(), marketing.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Lane::Marketing),
            (false, false) if self.ahead >= self.weight => Some(Lane::Marketing),
            (false, _) => Some(Lane::Transactional),
        }
    }

    /// Answers the first ask of a lane, or says when it may be answered (`None`: when a slot is given back).
    fn try_head(&mut self, lane: Lane, now: Instant, grants: &mut Vec<Grant>) -> Result<(), Option<Instant>> {
        let Some((asked, ask)) = self.waiting[lane.index()].front().copied() else { return Err(None) };
        let usable = match lane {
            Lane::Transactional => self.slots.free,
            Lane::Marketing => self.slots.free.min(self.slots.lendable),
        };
        let (requests, messages) = self.size(ask, usable);
        if requests == 0 {
            return Err(None);
        }
        // Transactional has had its share before marketing's turn came: what is kept for it would never be left.
        let shared = lane == Lane::Marketing && !self.waiting[Lane::Transactional.index()].is_empty();
        let purse = if shared { Lane::Transactional } else { lane };
        self.take(purse, requests, messages, now).map_err(|wake| Some(self.origin + wake))?;
        self.waiting[lane.index()].pop_front();
        self.slots.free -= requests;
        if lane == Lane::Marketing {
            self.slots.lendable -= requests;
        }
        self.ahead = match lane {
            Lane::Transactional if !self.waiting[Lane::Marketing.index()].is_empty() => self.ahead.saturating_add(1),
            _ => 0,
        };
        let permit = SendPermit { lane, requests, messages, deadline: now + PERMIT_LIFE };
        grants.push(Grant { shard: ask.shard, waited: now.saturating_duration_since(asked), permit });
        Ok(())
    }

    /// The part of an ask that slots and grant caps allow.
    fn size(&self, ask: Ask, slots: u32) -> (u32, u32) {
        let cap = |unit| {
            let caps = self.buckets.iter().filter(|b| b.limit.unit == unit).map(|b| b.grant_max(ask.lane));
            caps.min().unwrap_or(u32::MAX)
        };
        let requests = ask.requests.min(slots).min(cap(Unit::Requests));
        let messages = ask.messages.min(cap(Unit::Messages)).min(requests.saturating_mul(ask.per_request));
        // Fewer messages need fewer requests; what is taken and not used is spent.
        let share = u64::from(ask.requests) * u64::from(messages);
        let needed = share.div_ceil(u64::from(ask.messages.max(1)));
        (requests.min(u32::try_from(needed).unwrap_or(u32::MAX)), messages)
    }

    /// Takes from every bucket or from none.
    fn take(&mut self, lane: Lane, requests: u32, messages: u32, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.origin);
        let saved: Vec<_> = self.buckets.iter().map(Bucket::save).collect();
        let mut wake = None;
        for bucket in &mut self.buckets {
            let units = if bucket.limit.unit == Unit::Requests { requests } else { messages };
            if let Err(until) = bucket.take(lane, units, now) {
                wake = wake.max(Some(until));
            }
        }
        let Some(wake) = wake else { return Ok(()) };
        for (bucket, saved) in self.buckets.iter_mut().zip(saved) {
            bucket.restore(saved);
        }
        Err(wake)
    }
}
