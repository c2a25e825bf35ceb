//! One limit's bucket: GCRA on `governor`, with our own cell and clock, and room reserved for transactional.
//!
//! Why the arithmetic: a bucket of burst b that refills one unit every t lets at most b − 1 + ⌈W′/t⌉ units
//! through in any W′. With W′ = W + J (J: how far apart grant and arrival can be) and t = W′/(limit − b + 1)
//! that is the limit itself, so no window at the vendor's door is over it while arrivals jitter by at most J.
//! A bucket starts empty: a restart, even in a loop, never adds a burst.
//! Must not know: providers, who waits.

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

/// A limit and what is left of it.
#[derive(Debug)]
pub struct Bucket {
    /// What it keeps.
    pub limit: Limit,
    time: CallTime,
    cell: Cell,
    /// Sees the whole burst.
    transactional: Limiter,
    /// Same cell, smaller burst: what marketing may not touch is what transactional finds at once.
    marketing: Limiter,
    grant_max: [u32; 2],
    interval: Duration,
}

/// A bucket's state before a try, to go back to if another limit refuses.
#[derive(Clone, Copy, Debug)]
pub struct Saved(u64);

impl Bucket {
    /// An empty bucket. `reserve` is the share of the burst kept for transactional (0 to 0.9); `now` counts
    /// from any fixed point.
    #[must_use]
    pub fn new(limit: Limit, reserve: f64, jitter: Duration, now: Duration) -> Self {
        let burst = (limit.count / 20).max(1);
        let lent = burst - share(burst, reserve);
        let span = u64::try_from((limit.window + jitter).as_nanos()).unwrap_or(u64::MAX);
        let interval = Duration::from_nanos(span.div_ceil(u64::from(limit.count - burst + 1)).max(1));
        let time = CallTime(Arc::new(AtomicU64::new(0)));
        let tau = interval * (burst - 1);
        let start = nanos(now) + nanos(tau) + nanos(interval);
        let cell = Cell(Arc::new(AtomicU64::new(start)));
        let limiter = |burst: u32| {
            let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::with_period(interval).unwrap_or(Quota::per_hour(NonZeroU32::MIN)).allow_burst(burst);
            RateLimiter::new(quota, cell.clone(), time.clone())
        };
        let (transactional, marketing) = (limiter(burst), limiter(lent));
        // Half the burst per grant: the other half absorbs a late wake-up, so that nothing runs over unused.
        let grant_max = [burst.div_ceil(2), lent.div_ceil(2).max(1)];
        Self { limit, time, cell, transactional, marketing, grant_max, interval }
    }

    /// The most units one grant may take.
    #[must_use]
    pub fn grant_max(&self, lane: Lane) -> u32 {
        self.grant_max[lane.index()]
    }

    /// Units per second it refills with: what can be used in the long run.
    #[must_use]
    pub fn rate(&self) -> f64 {
        1.0 / self.interval.as_secs_f64()
    }

    /// The state, to be restored if the grant comes to nothing.
    #[must_use]
    pub fn save(&self) -> Saved {
        Saved(self.cell.0.load(Ordering::Relaxed))
    }

    /// Undoes every take since `saved`.
    pub fn restore(&mut self, saved: Saved) {
        self.cell.0.store(saved.0, Ordering::Relaxed);
    }

    /// Takes `units` (1 to `grant_max`) now, or says when they may be there.
    ///
    /// # Errors
    /// The time, on the clock of `now`, before which it is of no use to ask again.
    pub fn take(&mut self, lane: Lane, units: u32, now: Duration) -> Result<(), Duration> {
        self.time.0.store(nanos(now), Ordering::Relaxed);
        let limiter = match lane {
            Lane::Transactional => &self.transactional,
            Lane::Marketing => &self.marketing,
        };
        let units = NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN);
        match limiter.check_n(units) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                Err(Duration::from_nanos(until.earliest_possible().duration_since(Nanos::new(0)).as_u64()))
            }
            // Never: units are at most `grant_max`, which is at most the burst. Waiting a burst is the safe side.
            Err(_) => Err(now + self.interval * self.grant_max[0]),
        }
    }
}

/// `part` (0 to 1) of `whole`, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32 is one")]
pub(super) fn share(whole: u32, part: f64) -> u32 {
    (f64::from(whole) * part.clamp(0.0, 1.0)).ceil() as u32
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
