//! One limit's bucket: GCRA on `governor`, with our own cell and clock, room reserved for transactional, and a size
//! that follows the homes owned and what the vendor bears.
//!
//! Why the arithmetic: a bucket of burst b that refills one unit every t lets at most b − 1 + ⌈W′/t⌉ units through
//! in any W′. With W′ = W + J (J: how far apart grant and arrival can be) and t = W′/(limit − b + 1) that is the
//! limit itself, so no window at the vendor's door is over it while arrivals jitter by at most J.
//! Where several instances share the limit, each holds the part of its homes: h of P, with h/P of the burst and of
//! the refill. What all of them let through in W′ is at most the sum of their bursts and of their refills, b + W′·r
//! with r = (limit − b)/W′: the limit again, however homes are spread. A bucket starts empty, and a part that comes
//! adds room and refill but never a unit: neither a restart, even in a loop, nor a move of homes adds a burst. The factor
//! learned from the vendor makes both smaller, never larger, and changes like a part.
//! Must not know: providers, who waits, which homes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::limit::Limit;
use crate::job::Lane;

/// The bucket's theoretical arrival time. One task owns it; it is atomic only because governor's store is
/// shared between the two limiters below.
#[derive(Clone, Debug)]
struct Cell(Arc<AtomicU64>);

impl StateStore for Cell {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (answer, next) = f(Some(Nanos::new(self.0.load(Ordering::Relaxed))))?;
        self.0.store(next.as_u64(), Ordering::Relaxed);
        Ok(answer)
    }
}

/// The time of the present call, set by the caller.
#[derive(Clone, Debug)]
struct CallTime(Arc<AtomicU64>);

impl Clock for CallTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

type Limiter = RateLimiter<NotKeyed, Cell, CallTime, NoOpMiddleware<Nanos>>;

/// How a limit is kept by those that share it.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// Parts it is cut in, one for each home. 1: it is kept whole, by one owner at a time.
    pub parts: u32,
    /// Share of the burst kept for transactional: 0 to 0.9.
    pub reserve: f64,
    /// How far apart a permit and its arrival at the vendor's door can be.
    pub jitter: Duration,
}

/// A limit and what is left of it here.
#[derive(Debug)]
pub struct Bucket {
    /// What it keeps, together with everyone else's.
    pub limit: Limit,
    keeping: Keeping,
    /// Parts held here.
    held: u32,
    /// The part of burst and refill in use: more than 0, at most 1.
    factor: f64,
    time: CallTime,
    cell: Cell,
    /// What `cell` was before the present try, to go back to if another limit refuses.
    marked: u64,
    /// `None`: no part of it is held.
    part: Option<Part>,
}

/// The limiters of the parts held.
#[derive(Debug)]
struct Part {
    /// Sees the whole burst.
    transactional: Limiter,
    /// Same cell, smaller burst: what marketing may not touch is what transactional finds at once.
    marketing: Limiter,
    grant_max: [u32; 2],
    burst: u32,
    interval: Duration,
}

impl Bucket {
    /// A bucket of which nothing is held yet.
    #[must_use]
    pub fn new(limit: Limit, keeping: Keeping) -> Self {
        let (time, cell) = (CallTime(Arc::default()), Cell(Arc::default()));
        Self { limit, keeping, held: 0, factor: 1.0, time, cell, marked: 0, part: None }
    }

    /// The burst of all parts together: at least one unit for each.
    fn burst(&self) -> u32 {
        (self.limit.count / 20).max(self.keeping.parts)
    }

    /// W + J, in nanoseconds.
    fn span(&self) -> u64 {
        nanos(self.limit.window + self.keeping.jitter)
    }

    /// Units that refill in W + J over all parts.
    fn refill(&self) -> u32 {
        let rest = self.limit.count.saturating_sub(self.burst());
        if self.keeping.parts == 1 { rest + 1 } else { rest.max(1) }
    }

    /// Time between two units where `held` parts are held (at least one).
    fn interval(&self, held: u32) -> Duration {
        let units = u128::from(self.refill()) * u128::from(held);
        let span = u128::from(self.span()) * u128::from(self.keeping.parts);
        Duration::from_nanos(u64::try_from(span.div_ceil(units)).unwrap_or(u64::MAX).max(1))
    }

    /// So many of the limit's parts are held from now on. What was there stays, as far as it has room.
    pub fn hold(&mut self, held: u32, now: Duration) {
        let held = held.min(self.keeping.parts);
        if held != self.held {
            self.resize(held, now);
        }
    }

    /// The limit is another from now on, of the same unit and window; what was there stays, as far as it has room.
    pub fn change(&mut self, limit: Limit, keeping: Keeping, now: Duration) {
        let (before, held) = (self.left(now), self.held);
        (self.limit, self.keeping) = (limit, keeping);
        self.open(held, before, now);
    }

    /// Only this part (more than 0, at most 1) of burst and refill is used from now on; no unit comes with it.
    pub fn scale(&mut self, factor: f64, now: Duration) {
        if self.factor.total_cmp(&factor).is_ne() {
            let left = self.left(now);
            self.factor = factor;
            self.open(self.held, left, now);
        }
    }

    fn resize(&mut self, held: u32, now: Duration) {
        let left = self.left(now);
        self.open(held, left, now);
    }

    /// What is there, in units.
    fn left(&self, now: Duration) -> f64 {
        let Some(part) = &self.part else { return 0.0 };
        let full = nanos(part.interval * part.burst);
        let there = (nanos(now) + full).saturating_sub(self.cell.0.load(Ordering::Relaxed)).min(full);
        there as f64 / part.interval.as_nanos() as f64
    }

    fn open(&mut self, held: u32, left: f64, now: Duration) {
        self.held = held;
        if held == 0 {
            self.part = None;
            return;
        }
        let all = u64::from(self.burst()) * u64::from(held) / u64::from(self.keeping.parts);
        let burst = u32::try_from(part_of(all, self.factor)).unwrap_or(u32::MAX).max(1);
        // One unit cannot be parted: where there is no other, both lanes have it.
        let lent = (burst - share(burst, self.keeping.reserve)).max(1);
        let interval = Duration::from_nanos(part_of(nanos(self.interval(held)), 1.0 / self.factor));
        // governor counts from the time at which a limiter is made; all of ours count from the beginning.
        self.time.0.store(0, Ordering::Relaxed);
        let limiter = |burst: u32| {
            let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::with_period(interval).unwrap_or(Quota::per_hour(NonZeroU32::MIN)).allow_burst(burst);
            RateLimiter::new(quota, self.cell.clone(), self.time.clone())
        };
        let full = nanos(interval * burst);
        let kept = part_of(nanos(interval), left.min(f64::from(burst)));
        self.cell.0.store((nanos(now) + full).saturating_sub(kept.min(full)), Ordering::Relaxed);
        // Half the burst per grant: the other half absorbs a late wake-up, so that nothing runs over unused.
        let grant_max = [burst.div_ceil(2), lent.div_ceil(2)];
        self.part = Some(Part { transactional: limiter(burst), marketing: limiter(lent), grant_max, burst, interval });
    }

    /// The most units one grant may take. 0: no part is held.
    #[must_use]
    pub fn grant_max(&self, lane: Lane) -> u32 {
        self.part.as_ref().map_or(0, |part| part.grant_max[lane.index()])
    }

    /// Units per second it refills with here: what can be used in the long run.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.part.as_ref().map_or(0.0, |part| 1.0 / part.interval.as_secs_f64())
    }

    /// The same if every part were held and the factor were 1.
    #[must_use]
    pub fn rate_of_all(&self) -> f64 {
        1.0 / self.interval(self.keeping.parts).as_secs_f64()
    }

    /// A try begins: it may come to nothing.
    pub fn mark(&mut self) {
        self.marked = self.cell.0.load(Ordering::Relaxed);
    }

    /// Undoes every take since the mark.
    pub fn undo(&mut self) {
        self.cell.0.store(self.marked, Ordering::Relaxed);
    }

    /// Takes `units` (1 to `grant_max`) now, or says when they may be there.
    ///
    /// # Errors
    /// The time, on the clock of `now`, before which it is of no use to ask again. The end of time: no part is held.
    pub fn take(&mut self, lane: Lane, units: u32, now: Duration) -> Result<(), Duration> {
        let Some(part) = &self.part else { return Err(Duration::MAX) };
        self.time.0.store(nanos(now), Ordering::Relaxed);
        let limiter = match lane {
            Lane::Transactional => &part.transactional,
            Lane::Marketing => &part.marketing,
        };
        let units = NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN);
        match limiter.check_n(units) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                Err(Duration::from_nanos(until.earliest_possible().duration_since(Nanos::new(0)).as_u64()))
            }
            // Never: units are at most `grant_max`, which is at most the burst. Waiting a burst is the safe side.
            Err(_) => Err(now + part.interval * part.grant_max[0]),
        }
    }
}

/// `part` (0 to 1) of `whole`, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32 is one")]
pub(super) fn share(whole: u32, part: f64) -> u32 {
    (f64::from(whole) * part.clamp(0.0, 1.0)).ceil() as u32
}

/// So many times as much, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and a cast saturates")]
pub(super) fn part_of(whole: u64, times: f64) -> u64 {
    (whole as f64 * times.max(0.0)).floor() as u64
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
