//! Whose turn it is, and whether all limits let it go.
//!
//! Why: a permit is all limits that apply or none, and who waits for what decides whether others may pass: nobody
//! passes one who waits for the account, because that would take what he waits for; everybody passes one whose own
//! sender or tenant is at a limit.
//! Must not know: what changes limits, who shows them.

use std::time::{Duration, Instant};

use super::ask::{Answer, Ask, PERMIT_LIFE, Say, SendPermit};
use super::budget::Write;
use super::carrier::Scope;
use super::limit::{Limit, Unit};
use super::report::{Bound, By};
use super::scoped::{Full, Group};
use super::{Gate, State, scoped, terms};
use crate::job::{Lane, Wall};

/// Why the one whose turn it is does not go.
enum Refusal {
    /// Its own sender or tenant is at a limit; others may pass.
    Own(Instant),
    /// The whole lane is to go elsewhere, or ask again then.
    Elsewhere(By, Instant),
    /// Nobody may pass, in this lane or another: that would take what it waits for. Look again then.
    Until(Bound, Instant),
    /// The lane waits for what only the other lane may have, for a slot, a home or a write.
    Lane(Bound, Option<Instant>),
}

impl Gate {
    /// Lets those go whose turn it is, until somebody must wait.
    pub(super) fn answer_all(
        &mut self,
        now: Instant,
        wall: Wall,
        answers: &mut Vec<Answer>,
        writes: &mut Vec<Write>,
        bound: &mut Option<Bound>,
    ) -> Option<Instant> {
        // Lanes that wait for something the other may have.
        let mut out = [false; 2];
        let mut wake: Option<Instant> = None;
        while let Some(lane) = self.first_lane(out) {
            match self.try_first(lane, now, wall, writes) {
                Ok(answer) => answers.push(answer),
                Err(Refusal::Own(until)) => self.waiting[lane.index()].park(until),
                Err(Refusal::Elsewhere(by, until)) => self.send_away(lane, until, by, now, answers),
                Err(Refusal::Until(by, until)) => {
                    *bound = Some(by);
                    return Some(wake.map_or(until, |wake| wake.min(until)));
                }
                Err(Refusal::Lane(by, until)) => {
                    *bound = Some(by);
                    wake = wake.into_iter().chain(until).min();
                    // What transactional lacks, marketing does not have either.
                    out[Lane::Marketing.index()] = true;
                    out[lane.index()] = true;
                }
            }
        }
        wake
    }

    /// Answers everybody of a lane: nothing goes here until then.
    pub(super) fn send_away(&mut self, lane: Lane, until: Instant, by: By, now: Instant, answers: &mut Vec<Answer>) {
        let asks = self.waiting[lane.index()].clear();
        answers.extend(asks.into_iter().map(|waiting| Answer::new(waiting, now, Say::Elsewhere { until, by })));
    }

    /// Whose turn it is: transactional, but after `weight` of its grants one of marketing's.
    fn first_lane(&self, out: [bool; 2]) -> Option<Lane> {
        let waits = |lane: Lane| !out[lane.index()] && !self.waiting[lane.index()].is_idle();
        match (waits(Lane::Transactional), waits(Lane::Marketing)) {
            (false, false) => None,
            (false, true) => Some(Lane::Marketing),
            (true, true) if self.ahead >= self.config.weight.max(1) => Some(Lane::Marketing),
            (true, _) => Some(Lane::Transactional),
        }
    }

    /// Answers the first ask of a lane, or says why it must wait.
    fn try_first(&mut self, lane: Lane, now: Instant, wall: Wall, writes: &mut Vec<Write>) -> Result<Answer, Refusal> {
        let Some(mut ask) = self.waiting[lane.index()].first().map(|(_, ask)| ask.clone()) else {
            return Err(Refusal::Lane(Bound::of(By::Concurrency), None));
        };
        if let Some(until) = self.sender_stops.until(&ask.flow.sender, now) {
            return Err(Refusal::Own(until));
        }
        if !self.breaker.has_room() {
            return Err(self.no_probe(now));
        }
        if self.breaker.state() == State::Probe {
            (ask.requests, ask.messages) = (1, 1);
        }
        let slots = self.slots.usable(lane);
        if slots == 0 {
            let slowed = self.slowed().filter(|_| self.slots.most() < self.slots.here());
            let by = if self.slots.here() == 0 { By::Share } else { slowed.unwrap_or(By::Concurrency) };
            return Err(Refusal::Lane(Bound::of(by), None));
        }
        if self.unrecorded >= self.slots.here().saturating_mul(ask.per_request) {
            return Err(Refusal::Until(Bound::of(By::Outcomes), now + RECORDING));
        }
        // Transactional has had its share before marketing's turn came: what is kept for it would never be left.
        let shared = lane == Lane::Marketing && !self.waiting[Lane::Transactional.index()].is_idle();
        let purse = if shared { Lane::Transactional } else { lane };
        let (requests, messages) =
            self.take(&ask, [lane, purse], slots, now, wall, writes).map_err(|full| self.name(full))?;
        self.slots.take(lane, requests);
        self.ahead = match lane {
            Lane::Transactional if !self.waiting[Lane::Marketing.index()].is_idle() => self.ahead.saturating_add(1),
            _ => 0,
        };
        let weight = self.config.tenant_weights.get(&ask.flow.tenant).copied().unwrap_or(1);
        let asked = self.waiting[lane.index()].granted(messages, weight).unwrap_or(now);
        self.history.granted(messages, now);
        let pass = self.breaker.pass(now);
        let permit = SendPermit::new(lane, requests, messages, now + PERMIT_LIFE, pass);
        Ok(Answer::new((asked, ask), now, Say::Go(permit)))
    }

    /// The breaker probes, and as many probes are out as may be.
    fn no_probe(&self, now: Instant) -> Refusal {
        let lost = self.breaker.next_lost().unwrap_or(now + PROBING);
        match self.config.elsewhere {
            true => Refusal::Elsewhere(By::Breaker, now + PROBING),
            false => Refusal::Until(Bound::of(By::Breaker), lost),
        }
    }

    /// A limit that binds earlier than it is configured is named for what makes it.
    fn name(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Until(Bound { by: By::Limit, at }, until) => {
                Refusal::Until(Bound { by: self.slowed().unwrap_or(By::Limit), at }, until)
            }
            refusal => refusal,
        }
    }

    /// Takes from all limits that apply, or from none. `lanes`: whose budgets and grants, whose buckets.
    fn take(
        &mut self,
        ask: &Ask,
        lanes: [Lane; 2],
        slots: u32,
        now: Instant,
        wall: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<(u32, u32), Refusal> {
        let [lane, purse] = lanes;
        let (at, origin) = (self.since_origin(now), self.origin);
        let terms = terms(&self.config, &self.name, self.homes, self.writer);
        let config = &self.config;
        let sender = |name: &str, limits: &[Limit]| scoped(config, terms, limits, Scope::Sender(name));
        let tenant = |name: &str, limits: &[Limit]| scoped(config, terms, limits, Scope::Tenant(name));
        let sender = self.senders.get(&ask.flow.sender, sender, &self.owned, self.homes, at);
        let tenant = self.tenants.get(&ask.flow.tenant, tenant, &self.owned, self.homes, at);
        let mut groups = [(By::Limit, Some(&mut self.account)), (By::Sender, sender), (By::Tenant, tenant)];
        let wanted = |unit| if unit == Unit::Requests { ask.requests } else { ask.messages };
        let soon =
            |wall_then: Wall| now + Duration::from_millis(u64::try_from(wall_then.0 - wall.0).unwrap_or(0).max(1));
        let mut room = [u32::MAX; 2];
        for (by, group) in present(&mut groups) {
            match group.room(lane, wanted, wall, &mut self.tag, writes) {
                Ok(there) => room = [room[0].min(there[0]), room[1].min(there[1])],
                Err(full) => return Err(refusal(by, full, origin, now, soon)),
            }
        }
        if let Some(warm_up) = &mut self.warm_up {
            let there = warm_up.room(lane, ask.messages, wall, &mut self.tag, writes);
            room[Unit::Messages.index()] = room[Unit::Messages.index()].min(there.map_err(|until| match until {
                Some(until) => Refusal::Elsewhere(By::WarmUp, soon(until)),
                None => Refusal::Lane(Bound::of(By::WarmUp), None),
            })?);
        }
        let (requests, messages) = ask.cut(slots, room);
        let units = [requests, messages];
        let mut refused = None;
        for (by, group) in present(&mut groups) {
            if let Err(full) = group.take(purse, units, at) {
                // The account's refusal outweighs a sender's: nobody may pass.
                refused.get_or_insert(refusal(by, full, origin, now, soon));
            }
        }
        if let Some(refused) = refused {
            for (_, group) in present(&mut groups) {
                group.undo();
            }
            return Err(refused);
        }
        for (_, group) in present(&mut groups) {
            group.spend(lane, units, wall);
        }
        if let Some(warm_up) = &mut self.warm_up {
            warm_up.spend(lane, messages, wall);
        }
        Ok((requests, messages))
    }
}

/// Whoever gets no probe looks again after this: by then they are likely answered.
const PROBING: Duration = Duration::from_secs(1);
/// A sender or tenant that has no part here may get one; it is looked at again after this.
const NO_PART: Duration = Duration::from_secs(1);
/// How soon it is looked again whether outcomes have become durable: nobody tells.
const RECORDING: Duration = Duration::from_millis(2);
/// A write is acknowledged long before this; the acknowledgement lets everybody look again.
const WRITING: Duration = Duration::from_secs(1);

/// The groups that there are, of all that may apply.
fn present<'a>(groups: &'a mut [(By, Option<&mut Group>); 3]) -> impl Iterator<Item = (By, &'a mut Group)> {
    groups.iter_mut().filter_map(|(by, group)| Some((*by, &mut **group.as_mut()?)))
}

/// What a full group means for the one whose turn it is.
fn refusal(by: By, full: Full, origin: Instant, now: Instant, soon: impl Fn(Wall) -> Instant) -> Refusal {
    if by != By::Limit {
        return Refusal::Own(match full {
            Full::NoPart => now + NO_PART,
            Full::Writing(_) => now + WRITING,
            Full::Bucket(_, until) => origin + until,
            Full::Budget(_, until) => soon(until),
        });
    }
    match full {
        Full::NoPart => Refusal::Lane(Bound::of(By::Share), None),
        Full::Bucket(at, until) => Refusal::Until(Bound { by, at }, origin + until),
        Full::Budget(at, until) => Refusal::Lane(Bound { by: By::Budget, at }, Some(soon(until))),
        Full::Writing(at) => Refusal::Lane(Bound { by: By::Usage, at }, None),
    }
}
