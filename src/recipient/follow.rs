//! Follows the suppressions topic into the table, for as long as the daemon lives, and proves again and again that nothing
//! is missed.
//!
//! Why: on a thread of its own, because no home that comes or goes and no full read-ahead may hold up somebody's wish to
//! be left alone. It keeps nothing on disk: the table is read again from the beginning at every start.
//! Must not know: who asks the table, what is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::message::Message;

use super::feed::Feed;
use super::reader::{Came, Reader};
use super::suppression::{self, Key};
use super::{Config, Recipients};
use crate::job::Home;
use crate::observe::thread::{Running, Stop};
use crate::observe::{Clock, Metrics};

/// The thread looks this often whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// With every so manieth question the partitions are counted.
const COUNTED: u32 = 30;
/// So many questions within the longest staleness: some may fail.
const QUESTIONS: u32 = 5;

/// Starts reading the topic of so many partitions. Does not wait: until everything has been read, `recipients` are not
/// open.
///
/// # Errors
/// When the client or the thread cannot be made.
pub async fn follow(
    config: &Config,
    homes: Home,
    recipients: Arc<Recipients>,
    metrics: Metrics,
    clock: Clock,
) -> Result<Running, String> {
    let config = config.clone();
    // The client is made and dropped on the thread, which may have to wait for it.
    let reading = move || {
        let mut reader = Reader::new(&config)?;
        reader.assign(0..i32::from(homes))?;
        Ok(Follower {
            reader,
            read: i32::from(homes),
            there: i32::from(homes),
            asked: 0,
            recipients,
            metrics,
            since: clock.mono(),
            clock,
            every: config.max_stale / QUESTIONS,
            feed: None,
            was_open: None,
            deaf: false,
            foreign: false,
        })
    };
    Running::ready("suppressions", reading, Follower::run).await
}

struct Follower {
    reader: Reader,
    /// The partitions that are read.
    read: i32,
    /// As many there were when they were counted last.
    there: i32,
    /// Questions so far.
    asked: u32,
    recipients: Arc<Recipients>,
    metrics: Metrics,
    clock: Clock,
    /// Between two questions.
    every: Duration,
    /// `None` until the partitions have said where they begin.
    feed: Option<Feed>,
    /// As was told last; `None`: it never was open.
    was_open: Option<bool>,
    deaf: bool,
    /// A record was no suppression.
    foreign: bool,
    since: Instant,
}

impl Follower {
    fn run(mut self, stop: &Stop) {
        let mut ask_at = self.since;
        while !stop.is_told() {
            if self.clock.mono() >= ask_at {
                self.ask();
                self.show();
                ask_at = self.clock.mono() + self.every;
            }
            // Before the first answer nothing could be said of what comes.
            if self.feed.is_some() {
                self.look();
            } else {
                std::thread::park_timeout(LOOK);
            }
        }
    }

    /// Asks where the partitions end; before the first time, where they begin.
    fn ask(&mut self) {
        let asked = self.clock.mono();
        if self.feed.is_none() {
            match self.reader.starts(self.every) {
                Ok(starts) => self.feed = Some(Self::begin(&starts)),
                Err(error) => return self.not_heard(&error),
            }
        }
        match (self.whole().and_then(|()| self.reader.ends(self.every)), &mut self.feed) {
            (Ok(ends), Some(feed)) => {
                self.deaf = false;
                feed.told(asked, &ends);
            }
            (Err(error), _) => self.not_heard(&error),
            (Ok(_), None) => {}
        }
    }

    /// A partition that was added is read by nobody, and what is in it stands in no order with what was elsewhere. Looked at
    /// now and then; no answer is no news.
    fn whole(&mut self) -> Result<(), String> {
        self.asked = self.asked.wrapping_add(1);
        if self.asked.is_multiple_of(COUNTED) {
            self.there = self.reader.count(self.every).unwrap_or(self.there);
        }
        match self.there == self.read {
            true => Ok(()),
            false => Err(format!(
                "the topic has {} partitions, of which {} are read; hint: it must have as many as all others from its making on",
                self.there, self.read
            )),
        }
    }

    fn begin(starts: &[i64]) -> Feed {
        let gone: i64 = starts.iter().sum();
        if gone > 0 {
            let hint = "its cleanup.policy must be `compact` alone (the embedded broker keeps 5 MiB of a partition)";
            tracing::warn!(
                target: "peakpost::suppressions", gone, hint,
                "the oldest records of the suppressions topic were deleted: whoever only they named is written to again"
            );
        }
        Feed::new(starts)
    }

    fn look(&mut self) {
        let Some(feed) = &mut self.feed else { return };
        match self.reader.look(LOOK) {
            Ok(Came::Record(place, message)) => {
                match Key::parse(message.key().unwrap_or_default()) {
                    Ok(key) => self.recipients.table().set(&key, message.payload().map(suppression::reason)),
                    // Once: there may be millions of them.
                    Err(why) if !std::mem::replace(&mut self.foreign, true) => {
                        let (partition, offset) = (message.partition(), message.offset());
                        tracing::warn!(
                            target: "peakpost::suppressions", partition, offset, why,
                            "a record that is no suppression is passed over; so are others without a word"
                        );
                    }
                    Err(_) => {}
                }
                feed.read(place, message.offset());
            }
            Ok(Came::Over(place)) => feed.over(place),
            Ok(Came::Nothing) => {}
            Err(error) => return self.not_heard(&error),
        }
        if let Some(since) = feed.fresh() {
            self.recipients.fresh(since);
            if self.was_open != Some(true) {
                self.show();
            }
        }
    }

    /// Once; the client tries again by itself, and readiness says so each time.
    fn not_heard(&mut self, error: &str) {
        if !std::mem::replace(&mut self.deaf, true) {
            tracing::error!(
                target: "peakpost::suppressions", error,
                "suppressions are not heard; sending stops when that lasts"
            );
        }
    }

    /// Shows how it stands, and tells of every change.
    fn show(&mut self) {
        let now = self.clock.mono();
        let entries = self.recipients.table().len();
        self.metrics.suppressions_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        let stale = self.recipients.stale(now).unwrap_or_else(|| now.saturating_duration_since(self.since));
        self.metrics.suppressions_stale.set(stale.as_secs_f64());
        let open = self.recipients.open(now);
        match (self.was_open, open) {
            (None, true) => {
                let took = format!("{:.1}", now.saturating_duration_since(self.since).as_secs_f64());
                tracing::info!(target: "peakpost::suppressions", entries, took_s = took, "all suppressions are read: sending may begin");
            }
            (Some(false), true) => {
                tracing::info!(target: "peakpost::suppressions", entries, "suppressions are heard again: sending goes on");
            }
            (Some(true), false) => {
                let stale_s = stale.as_secs();
                tracing::error!(target: "peakpost::suppressions", stale_s, "suppressions are not heard: nothing is sent until they are");
            }
            _ => return,
        }
        self.was_open = Some(open);
    }
}
