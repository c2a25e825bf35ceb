//! Follows the counts of all workers and the operator's releases, and tells this instance what they come to.
//!
//! Why: every instance adds up the same records and so decides alike, without asking anybody; and who starts knows what is
//! blocked before it sends.

mod counted;
mod feed;
mod tell;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use rdkafka::message::Message;
use tokio::sync::watch;

use self::counted::Counted;
use self::feed::{Came, Feed};
use super::workers::Word;
use super::{CountConfig, doubts, dropped};
use crate::control::Release;
use crate::job::Home;
use crate::observe::thread::{Running, Stop};
use crate::observe::{Clock, Metrics};
use crate::reputation::{Cohort, Partial, Stream, Sums, Verdicts};

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

/// How far all of it is known is asked so often …
const ASK: Duration = Duration::from_secs(2);
/// … and an answer waited for so long.
const ANSWER: Duration = Duration::from_secs(2);

/// What this instance goes by. The newest verdicts are always there.
pub type Told = watch::Receiver<Arc<Verdicts>>;

/// Starts reading. Returns once everything that was there has been read. `homes`: partitions of the topics. `words`: where the
/// worker listens.
///
/// # Errors
/// When the topics cannot be read to their ends, with a hint.
pub async fn follow(
    config: &CountConfig,
    homes: Home,
    words: Sender<Word>,
    metrics: Metrics,
    clock: Clock,
) -> Result<(Running, Told), String> {
    let (verdicts, newest) = watch::channel(Arc::default());
    let config = config.clone();
    // The clients are made and dropped on the thread, which may have to wait for them.
    let caught_up = move || {
        let mut reader = Reader::new(config, homes, words, verdicts, metrics, clock)?;
        reader.catch_up().map(|()| reader)
    };
    Ok((Running::ready("reputation", caught_up, Reader::follow).await?, newest))
}

struct Reader {
    config: CountConfig,
    counts: Feed,
    control: Feed,
    counted: Counted,
    sums: Sums,
    words: Sender<Word>,
    verdicts: watch::Sender<Arc<Verdicts>>,
    metrics: Metrics,
    clock: Clock,
    told: tell::Teller,
    /// Something has come since verdicts were made.
    news: bool,
    decided: Instant,
    since: Instant,
    /// Something was not heard, and that was told.
    deaf: bool,
    dropped: dropped::Teller,
}

impl Reader {
    fn new(
        config: CountConfig,
        homes: Home,
        words: Sender<Word>,
        verdicts: watch::Sender<Arc<Verdicts>>,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<Self, String> {
        let counts = Feed::new(&config, config.topics.reputation(), homes)?;
        let control = Feed::new(&config, config.topics.control(), homes)?;
        let counted = Counted::new(config.topics.events(), homes);
        let now = clock.mono();
        Ok(Self {
            config,
            counts,
            control,
            counted,
            sums: Sums::default(),
            words,
            verdicts,
            metrics,
            clock,
            told: tell::Teller::default(),
            news: true,
            decided: now,
            since: now,
            deaf: false,
            dropped: dropped::Teller::default(),
        })
    }

    /// Reads every partition to the end that it has now.
    fn catch_up(&mut self) -> Result<(), String> {
        let mut heard = self.clock.mono();
        while !(self.counts.is_caught_up() && self.control.is_caught_up()) {
            let wait = if self.counts.is_caught_up() { Duration::ZERO } else { LOOK };
            if self.look(wait)? {
                heard = self.clock.mono();
                // Weeks may lie there, of which days matter.
                self.forget();
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
        let mut ask_at = self.since;
        while !stop.is_told() {
            if let Err(error) = self.look(LOOK) {
                self.not_heard(&error);
            }
            let now = self.clock.mono();
            let since = now.saturating_duration_since(self.decided);
            if (self.news && since >= DECIDE) || since >= DECIDE_ANYWAY {
                self.decide();
            }
            if now >= ask_at {
                self.ask();
                ask_at = self.clock.mono() + ASK;
            }
        }
    }

    /// Asks how far all of it is known here, and how far the fleet has counted, and shows it.
    fn ask(&mut self) {
        let now = self.clock.mono();
        let heard = self.counts.ask(now, ANSWER).and_then(|()| self.control.ask(now, ANSWER));
        if let Err(error) = heard.and_then(|()| self.counted.ask(self.counts.consumer(), now, ANSWER)) {
            self.not_heard(&error);
        }
        let now = self.clock.mono();
        let age = |fresh: Option<Instant>| now.saturating_duration_since(fresh.unwrap_or(self.since));
        let stale = age(self.counts.fresh().min(self.control.fresh()));
        let uncounted = age(self.counted.fresh());
        self.metrics.reputation_stale.set(stale.as_secs_f64());
        self.metrics.feedback_uncounted.set(uncounted.as_secs_f64());
        self.deaf &= stale.max(uncounted) > ASK * 3;
    }

    /// Once; the client tries again by itself, and says so each time.
    fn not_heard(&mut self, error: &str) {
        if !std::mem::replace(&mut self.deaf, true) {
            tracing::error!(
                target: "peakpost::reputation", error,
                "what the fleet counts is not heard here, or nobody says how far it has counted: a new block may not begin"
            );
        }
    }

    /// Takes what has come. `true`: something has.
    fn look(&mut self, wait: Duration) -> Result<bool, String> {
        let before = self.news;
        self.news = false;
        let (sums, words) = (&mut self.sums, &self.words);
        // Before that the worker has nothing, and reads what is there itself.
        let follows = self.counts.is_caught_up();
        let mut news = false;
        let mut wait = wait;
        let mut left = TURN;
        while left > 0
            && let Came::Record = self.counts.look(wait, |record| {
                let key = std::str::from_utf8(record.key().unwrap_or_default()).map_err(|e| e.to_string())?;
                if doubts::is_key(key) {
                    return Ok(());
                }
                let (cohort, home) = Cohort::parse(key)?;
                // A count that was taken away has grown too old to matter.
                let Some(value) = record.payload() else { return Ok(()) };
                let late = sums.put(cohort.clone(), home, Partial::parse(value)?);
                if let Some(upto) = late.filter(|_| follows) {
                    tell(words, Word::Late { home, cohort, upto });
                }
                Ok(())
            })?
        {
            (news, wait, left) = (true, Duration::ZERO, left - 1);
        }
        let rest = if self.counts.is_caught_up() { Duration::from_millis(10) } else { Duration::ZERO };
        let (sums, words, now) = (&mut self.sums, &self.words, self.clock.wall());
        while let Came::Record = self.control.look(rest, |record| {
            let release = record.payload().map(|value| Release::parse(record.key().unwrap_or_default(), value));
            if let Some(release) = release.transpose()?.flatten() {
                // It would lift what has not even happened.
                if release.at.0 > now.0.saturating_add(AHEAD_MS) {
                    return Err("a release of tomorrow; hint: is the clock right where it was given?".to_owned());
                }
                let stream: Stream = release.stream.parse()?;
                sums.release(stream.clone(), release.at);
                tell(words, Word::Released(stream, release.at));
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
        self.forget();
        let new = Arc::new(self.sums.verdicts(&self.config.reputation, now));
        self.told.tell(&new, now, &self.metrics);
        self.verdicts.send_if_modified(|old| {
            let is_news = !new.holds_alike(old, now);
            *old = new;
            is_news
        });
    }
    fn forget(&mut self) {
        let dropped = self.sums.forget(&self.config.reputation, self.clock.wall());
        self.dropped.tell(&[("sum", dropped)], &self.metrics, self.clock.mono());
    }
}

/// A worker that has no room for it is at its beginning, and reads the counts itself.
fn tell(words: &Sender<Word>, word: Word) {
    let _full = words.try_send(word);
}
