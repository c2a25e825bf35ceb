//! A warm-up in force: one more budget, whose cap follows the schedule from day to day.
//!
//! Why: a new account, number or address that sends as much as an old one is taken for a thief's. What goes beyond
//! the day's cap takes the next provider of its route.
//! Must not know: routes, who waits.

use super::budget::{self, Budget, Write};
use super::limit::{Limit, Unit};
use super::report::{By, Change, Standing};
use super::scoped::Terms;
use super::warmup::Schedule;
use crate::job::{Lane, Wall};

/// The window of every cap.
const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Without a part of the cap nothing is to be had from waiting; homes may come, or a day with a larger cap.
const NO_PART_MS: i64 = 60_000;

/// A schedule and what has been spent of it.
#[derive(Debug)]
pub(super) struct WarmUp {
    pub(super) schedule: Schedule,
    pub(super) budget: Budget,
    /// The present cap, over all homes. `None`: the schedule is over.
    cap: Option<u32>,
}

impl WarmUp {
    pub(super) fn new(schedule: Schedule, terms: Terms<'_>) -> Self {
        let limit = Limit { count: 0, unit: Unit::Messages, window: DAY };
        Self { schedule, budget: terms.budget(limit, "warm-up", None), cap: Some(0) }
    }

    /// Takes the cap of the present day. Returns what has changed.
    pub(super) fn follow(&mut self, wall: Wall) -> Option<Change> {
        let cap = self.schedule.cap(wall);
        if cap == self.cap {
            return None;
        }
        let number = |cap: Option<u32>| cap.map_or(f64::INFINITY, f64::from);
        let why = cap.map_or("the schedule is over".to_owned(), |cap| format!("{cap} messages/day"));
        let change = Change::new(wall, By::WarmUp, number(self.cap), number(cap), why);
        self.budget.set_terms(budget::Terms { count: cap.unwrap_or(0), ..self.budget.terms() });
        self.cap = cap;
        Some(change)
    }

    /// Messages that may go now. When there may be more, if there are none: `None` says when a write is durable.
    pub(super) fn room(
        &mut self,
        lane: Lane,
        messages: u32,
        wall: Wall,
        tag: &mut u64,
        writes: &mut Vec<Write>,
    ) -> Result<u32, Option<Wall>> {
        if self.cap.is_none() {
            return Ok(u32::MAX);
        }
        self.budget.declare(lane, messages, wall, tag, writes);
        match self.budget.available(lane, wall) {
            0 if self.budget.is_exhausted(lane, wall) => {
                Err(Some(self.budget.next(lane, wall).unwrap_or(Wall(wall.0 + NO_PART_MS))))
            }
            0 => Err(None),
            there => Ok(there),
        }
    }

    /// Spends what [`Self::room`] said is there.
    pub(super) fn spend(&mut self, lane: Lane, messages: u32, wall: Wall) {
        if self.cap.is_some() {
            self.budget.spend(lane, messages, wall);
        }
    }

    pub(super) fn standing(&self, wall: Wall) -> Option<Standing> {
        let of_all = self.cap?;
        let (spent, cap) = self.budget.used(wall);
        let per_s = |count: f64| count / DAY.as_secs_f64();
        Some(Standing {
            limit: format!("{of_all} messages/day"),
            of: "warm-up".to_owned(),
            unit: Unit::Messages.as_str().to_owned(),
            of_all_per_s: per_s(f64::from(of_all)),
            here_per_s: per_s(f64::from(cap)),
            spent: Some(spent),
            cap: Some(cap),
            carried_by: None,
        })
    }
}
