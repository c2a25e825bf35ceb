//! How many jobs of a stalled provider may be put aside, so that others behind them in the partition are reached.
//!
//! Why: a partition is read in order and only so far ahead. Once its window is full of jobs of one provider that
//! takes nothing, nobody behind them goes out. Moving those jobs to a topic of their own costs a write and a read
//! each, so it is done only while somebody else runs dry, only in partitions in which somebody else does come, and
//! never to what would go out within seconds anyway.
//! Must not know: topics, windows, jobs; why a provider stalls.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::job::Home;

/// Jobs that may be moved for each job of another provider that came by the same partition: where as little as one
/// in a thousand is somebody else's, reading never stands still.
const EARNED: usize = 1000;
/// What a partition gives one provider at most: five windows of the default size. Also the most that is ever moved
/// for nothing where the others have stopped coming.
const CREDIT_MAX: usize = 50_000;
/// A provider that has not come by for longer is not missed. Long, because whoever is kept from coming by cannot
/// come by; what is moved for nothing is bounded by the credit.
const MISSED: Duration = Duration::from_secs(600);
/// So few jobs are too few for any provider.
const FEW: f64 = 64.0;
/// Who has fewer jobs than it gets rid of in this many seconds will soon run dry.
const AHEAD: f64 = 1.0;
/// What a provider gets rid of in this many seconds stays.
const KEEP: f64 = 5.0;
/// Jobs that came this long ago, and none has left since: the provider stands still, more jobs are no help to it.
/// Longer than most vendors take to answer, short because until then others are moved for one that may be blocked.
const STILL: Duration = Duration::from_secs(2);
/// Time constant of a rate, in seconds.
const MEMORY: f64 = 5.0;
/// A rate is not measured over less than this, in seconds.
const MEASURED_LEAST: f64 = 0.25;

/// Where a job was read: its home, and which of the home's topics.
type Partition = (Home, u16);

/// The head-of-line rules of one shard.
#[derive(Debug)]
pub struct Aside {
    providers: Vec<Provider>,
    /// By partition that others than one have come by: what may still be moved from it, by provider.
    credit: HashMap<Partition, Vec<usize>>,
}

/// What is remembered of a provider, over all partitions.
#[derive(Clone, Debug, Default)]
struct Provider {
    /// When jobs of it came last.
    came: Option<Instant>,
    /// When the first jobs came since one has left for good.
    waits_since: Option<Instant>,
    rate: Rate,
}

impl Aside {
    /// For `providers` providers, numbered from 0. Remembers a number for each of them and each partition.
    #[must_use]
    pub fn new(providers: usize) -> Self {
        Self { providers: vec![Provider::default(); providers], credit: HashMap::new() }
    }

    /// `n` jobs of a provider were read from a partition.
    pub fn came(&mut self, from: Partition, provider: usize, n: u32, now: Instant) {
        let Some(known) = self.providers.get_mut(provider).filter(|_| n > 0) else { return };
        known.came = Some(now);
        known.waits_since = known.waits_since.or(Some(now));
        let credit = self.credit.entry(from).or_insert_with(|| vec![0; self.providers.len()]);
        let earned = (n as usize).saturating_mul(EARNED);
        for (_, credit) in credit.iter_mut().enumerate().filter(|(other, _)| *other != provider) {
            *credit = credit.saturating_add(earned).min(CREDIT_MAX);
        }
    }

    /// `n` jobs of a provider left for good.
    pub fn through(&mut self, provider: usize, n: u32, now: Instant) {
        let Some(known) = self.providers.get_mut(provider).filter(|_| n > 0) else { return };
        known.waits_since = None;
        known.rate.add(n, now);
    }

    /// How many jobs of a provider may be moved from a partition now. `depth`: the jobs queued now, by provider,
    /// wherever they were read. To be asked only while the partition's window is full: as long as it is read on,
    /// nobody stands in anybody's way.
    #[must_use]
    pub fn may_move(&self, from: Partition, provider: usize, depth: &[usize], now: Instant) -> usize {
        let credit = self.credit.get(&from).and_then(|credit| credit.get(provider)).copied().unwrap_or(0);
        let Some(known) = self.providers.get(provider).filter(|_| credit > 0) else { return 0 };
        let queued = |provider: usize| depth.get(provider).copied().unwrap_or(0);
        let mut others = self.providers.iter().enumerate().filter(|(other, _)| *other != provider);
        if !others.any(|(other, known)| known.starves(queued(other), now)) {
            return 0;
        }
        credit.min(queued(provider).saturating_sub(whole(known.rate.per_second(now) * KEEP)))
    }

    /// Whether jobs of a provider have waited for a while and none has left for good since.
    #[must_use]
    pub fn stands_still(&self, provider: usize, now: Instant) -> bool {
        let since = self.providers.get(provider).and_then(|known| known.waits_since);
        since.is_some_and(|since| now.saturating_duration_since(since) > STILL)
    }

    /// `n` jobs of a provider were moved from a partition.
    pub fn moved(&mut self, from: Partition, provider: usize, n: usize) {
        if let Some(credit) = self.credit.get_mut(&from).and_then(|credit| credit.get_mut(provider)) {
            *credit = credit.saturating_sub(n);
        }
    }

    /// A home went.
    pub fn forget(&mut self, home: Home) {
        self.credit.retain(|(of, _), _| *of != home);
    }
}

impl Provider {
    /// Whether it would soon have nothing to send though it sends, and there may be more for it behind the others.
    fn starves(&self, depth: usize, now: Instant) -> bool {
        let within = |at: Option<Instant>, most| at.is_some_and(|at| now.saturating_duration_since(at) <= most);
        // Without a job at hand it does not stand still, whatever became of the last one.
        let stands_still = depth > 0 && self.waits_since.is_some() && !within(self.waits_since, STILL);
        let wanted = FEW.max(self.rate.per_second(now) * AHEAD);
        within(self.came, MISSED) && !stands_still && (depth as f64) < wanted
    }
}

/// Jobs per second over the last seconds.
#[derive(Clone, Debug, Default)]
struct Rate {
    /// Jobs at `at`, those of some time ago counted the less.
    sum: f64,
    /// When measuring began, and up to when `sum` is reckoned.
    span: Option<(Instant, Instant)>,
}

impl Rate {
    fn add(&mut self, n: u32, now: Instant) {
        let (since, at) = self.span.unwrap_or((now, now));
        let passed = seconds(at, now);
        // After a long rest nothing of the old is left, and it is measured anew rather than from zero upwards.
        let since = if passed > 4.0 * MEMORY { now } else { since };
        self.sum = self.sum * (-passed / MEMORY).exp() + f64::from(n);
        self.span = Some((since, at.max(now)));
    }

    fn per_second(&self, now: Instant) -> f64 {
        let Some((since, at)) = self.span else { return 0.0 };
        // What a steady rate of one a second would have summed up to in this time.
        let one = MEMORY * (1.0 - (-seconds(since, now).max(MEASURED_LEAST) / MEMORY).exp());
        self.sum * (-seconds(at, now) / MEMORY).exp() / one
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floored, and a float's cast saturates")]
fn whole(jobs: f64) -> usize {
    jobs.floor() as usize
}
