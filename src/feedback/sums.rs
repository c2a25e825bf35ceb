//! Follows the counts of all workers and the operator's releases, and tells this instance what they come to.
//!
//! Why: every instance adds up the same records and so decides alike, without asking anybody; and who starts knows what is
//! blocked before it sends.

mod feed;
mod tell;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use tokio::sync::watch;

use self::feed::{Came, Feed};
use super::CountConfig;
use crate::control::Release;
use crate::job::Home;
use crate::observe::thread::{Running, Stop};
use crate::observe::{Clock, Metrics};
use crate::reputation::{Cohort, Partial, Sums, Verdicts};

/// Longest wait for the next of what was there before.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Longest wait for a count; the thread looks as often whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// How far the clock may be ahead of who releases a stream, in milliseconds.
const AHEAD_MS: i64 = 60_000;
/// Most counts taken in one turn.
const TURN: usize = 10_000;
/// Verdicts are made anew so often at most …
const DECIDE: Duration = Duration::from_millis(500);
/// … and so often at least: time passes as well.
const DECIDE_ANYWAY: Duration = Duration::from_secs(10);

/// What this instance goes by. The newest verdicts are always there.
pub type Told = watch::Receiver<Arc<Verdicts>>;

/// Starts reading. Returns once everything that was there has been read. `homes`: partitions of the topics.
///
/// # Errors
/// When the topics cannot be read to their ends, with a hint.
pub async fn follow(
    config: &CountConfig,
    homes: Home,
    metrics: Metrics,
    clock: Clock,
) -> Result<(Running, Told), String> {
    let (verdicts, newest) = watch::channel(Arc::default());
    let config = config.clone();
    // The clients are made and dropped on the thread, which may have to wait for them.
    let caught_up = move || {
        let mut reader = Reader::new(config, homes, verdicts, metrics, clock)?;
        reader.catch_up().map(|()| reader)
    };
    Ok((Running::ready("reputation", caught_up, Reader::follow).await?, newest))
}

struct Reader {
    config: CountConfig,
    counts: Feed,
    control: Feed,
    sums: Sums,
    verdicts: watch::Sender<Arc<Verdicts>>,
    metrics: Metrics,
    clock: Clock,
    told: tell::Teller,
    /// Something has come since verdicts were made.
    news: bool,
    decided: Instant,
}

impl Reader {
    fn new(
        config: CountConfig,
        homes: Home,
        verdicts: watch::Sender<Arc<Verdicts>>,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<Self, String> {
        let counts = Feed::new(&config, config.topics.reputation(), homes)?;
        let control = Feed::new(&config, config.topics.control(), homes)?;
        let (sums, told, decided) = (Sums::default(), tell::Teller::default(), clock.mono());
        Ok(Self { config, counts, control, sums, verdicts, metrics, clock, told, news: true, decided })
    }

    /// Reads every partition to the end that it has now.
    fn catch_up(&mut self) -> Result<(), String> {
        let mut heard = self.clock.mono();
        while !(self.counts.is_caught_up() && self.control.is_caught_up()) {
            let wait = if self.counts.is_caught_up() { Duration::ZERO } else { LOOK };
            if self.look(wait)? {
                heard = self.clock.mono();
                // Weeks may lie there, of which days matter.
                self.sums.forget(&self.config.reputation, self.clock.wall());
            }
            if self.clock.mono() > heard + CATCH_UP {
                let left = [&self.counts, &self.control].map(Feed::left).concat();
                return Err(format!(
                    "nothing came for {CATCH_UP:?}, and not all is read: {left}; hint: are their brokers reachable?"
                ));
            }
        }
        self.decide();
        Ok(())
    }

    fn follow(mut self, stop: &Stop) {
        let mut deaf = false;
        while !stop.is_told() {
            match self.look(LOOK) {
                Ok(true) => deaf = false,
                Ok(false) => {}
                Err(error) => {
                    // Once; the client tries again by itself, and says so each time.
                    if !std::mem::replace(&mut deaf, true) {
                        tracing::error!(target: "peakpost::reputation", error, "what others count is not heard: no new block begins here");
                    }
                }
            }
            let since = self.clock.mono().saturating_duration_since(self.decided);
            if (self.news && since >= DECIDE) || since >= DECIDE_ANYWAY {
                self.decide();
            }
        }
    }

    /// Takes what has come. `true`: something has.
    fn look(&mut self, wait: Duration) -> Result<bool, String> {
        let before = self.news;
        self.news = false;
        let sums = &mut self.sums;
        let mut news = false;
        let mut wait = wait;
        let mut left = TURN;
        while left > 0
            && let Came::Record = self.counts.look(wait, |record| {
                let key = std::str::from_utf8(record.key().unwrap_or_default()).map_err(|e| e.to_string())?;
                let (cohort, partition) = Cohort::parse(key)?;
                // A count that was taken away has grown too old to matter.
                if let Some(value) = record.payload() {
                    sums.put(cohort, partition, Partial::parse(value)?);
                }
                Ok(())
            })?
        {
            (news, wait, left) = (true, Duration::ZERO, left - 1);
        }
        let rest = if self.counts.is_caught_up() { Duration::from_millis(10) } else { Duration::ZERO };
        let (sums, now) = (&mut self.sums, self.clock.wall());
        while let Came::Record = self.control.look(rest, |record| {
            let release = record.payload().map(|value| Release::parse(record.key().unwrap_or_default(), value));
            if let Some(release) = release.transpose()?.flatten() {
                // It would lift what has not even happened.
                if release.at.0 > now.0.saturating_add(AHEAD_MS) {
                    return Err("a release of tomorrow; hint: is the clock right where it was given?".to_owned());
                }
                sums.release(release.stream.parse()?, release.at);
            }
            Ok(())
        })? {
            news = true;
        }
        self.news = before || news;
        Ok(news)
    }

    fn decide(&mut self) {
        let now = self.clock.wall();
        (self.news, self.decided) = (false, self.clock.mono());
        self.sums.forget(&self.config.reputation, now);
        let new = Arc::new(self.sums.verdicts(&self.config.reputation, now));
        self.told.tell(&new, now, &self.metrics);
        self.verdicts.send_if_modified(|old| {
            let is_news = !new.holds_alike(old, now);
            *old = new;
            is_news
        });
    }
}
