//! The dead letters' desk: reads them, and sends chosen ones on their way again at a pace of its own.
//!
//! Why: a redrive is a second peak at the worst time; it is smooth, bounded, and can be interrupted at any letter.
//! Must not know: command lines, files.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Failure;
use crate::config::Config;
use crate::job::topic::Topics;
use crate::job::{Lane, Source, Wall};
use crate::observe::Clock;
use crate::outcome::letter::{Left, Letter, Terms};
use crate::outcome::selection::{Selection, Span};
use crate::settle;
use crate::settle::dead::{Reader, Step, Trouble};
use crate::settle::redrive::Writer;

/// The brokers are away when nothing has come, or nothing was acknowledged, for so long.
const SILENCE: Duration = Duration::from_secs(60);
/// How often progress is told.
const TELL: Duration = Duration::from_millis(500);
/// Longest nap between two looks at a signal.
const NAP: Duration = Duration::from_millis(20);

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unavailable(text) => Self::Unavailable(text),
            Trouble::Misconfigured(text) => Self::Misconfigured(text),
            Trouble::Broken(text) => Self::Broken(text),
        }
    }
}

/// Everything a look at dead letters needs.
pub struct Desk {
    settle: settle::Config,
    group: String,
    topics: Topics,
    wait: Duration,
    embedded: bool,
    clock: Clock,
}

/// Which letters are redriven, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which.
    pub selection: Selection,
    /// Letters of this generation or above stay.
    pub generation_max: u16,
    /// At most so many in a second.
    pub per_second: f64,
    /// At most so many in all.
    pub limit: u64,
}

/// How a redrive stands.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// From where each partition goes on: before it, every letter was looked at, and its job acknowledged if it was
    /// redriven.
    pub spans: Vec<Span>,
    /// Redriven and acknowledged.
    pub redriven: u64,
    /// Selected, but left where they are.
    pub left: BTreeMap<Left, u64>,
}

/// How a redrive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every letter was looked at.
    Done,
    /// The limit is reached.
    Limit,
    /// It was asked to stop.
    Stopped,
}

impl Desk {
    /// The desk of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            settle: config.settle.clone(),
            group: config.intake.group.clone(),
            topics: config.topics.topics.clone(),
            wait: config.rules.tiers.horizon(),
            embedded: config.embedded,
            clock: Clock::default(),
        }
    }

    /// The topic of the letters.
    #[must_use]
    pub fn topic(&self) -> String {
        self.topics.dead()
    }

    /// The topics that redriven jobs go to, each to its lane's.
    #[must_use]
    pub fn tiers(&self) -> String {
        Lane::ALL.map(|lane| self.topics.source(Source::Delay(lane, 0))).join(" and ")
    }

    /// How long they wait there.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// The brokers, as configured.
    #[must_use]
    pub fn brokers(&self) -> &str {
        let brokers = self.settle.client.iter().find(|(key, _)| key == "bootstrap.servers");
        brokers.map_or("", |(_, brokers)| brokers)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Wall {
        self.clock.wall()
    }

    /// What a letter is held to.
    #[must_use]
    pub fn terms(&self, generation_max: u16) -> Terms<'_> {
        Terms { topics: &self.topics, generation_max, wait: self.wait }
    }

    fn reader(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(&self.settle.client, &self.group, self.topics.dead())?)
    }

    /// What the dead topic holds now.
    ///
    /// # Errors
    /// When it is not there or the brokers do not answer.
    pub fn whole(&self) -> Result<Vec<Span>, Failure> {
        Ok(self.reader()?.whole()?)
    }

    /// The same without what is surely older than the selection wants, where the broker can tell.
    ///
    /// # Errors
    /// As above.
    pub fn spans(&self, selection: &Selection) -> Result<Vec<Span>, Failure> {
        let reader = self.reader()?;
        let mut spans = reader.whole()?;
        if let Some(since) = selection.since_ms.filter(|_| !self.embedded) {
            reader.skip_to(Wall(since), &mut spans)?;
        }
        Ok(spans)
    }

    /// Reads every letter of these; `tell` hears how many offsets are left.
    ///
    /// # Errors
    /// When reading cannot go on.
    pub fn scan(
        &self,
        spans: Vec<Span>,
        mut each: impl FnMut(&Letter<'_>),
        mut tell: impl FnMut(u64),
    ) -> Result<(), Failure> {
        let mut reader = self.reader()?;
        reader.start(spans)?;
        let mut heard = self.clock.mono();
        loop {
            let step = reader.next(NAP, &mut each)?;
            tell(reader.spans().iter().map(Span::left).sum());
            match step {
                Step::Letter(()) => heard = self.clock.mono(),
                Step::Waiting => self.still(heard, "no letter has come")?,
                Step::End => return Ok(()),
            }
        }
    }

    fn still(&self, since: Instant, what: &str) -> Result<(), Failure> {
        let silent = self.clock.mono().saturating_duration_since(since);
        match silent > SILENCE {
            true => Err(Failure::Unavailable(format!("{what} for {} s; are the brokers there?", silent.as_secs()))),
            false => Ok(()),
        }
    }

    /// Fails unless redriven jobs have a place for every partition of the dead topic.
    ///
    /// # Errors
    /// What is missing, with the command that makes it.
    pub fn check_tier(&self) -> Result<(), Failure> {
        let counts = self.reader()?.partitions()?;
        let of = |topic: &str| counts.get(topic).copied().unwrap_or(0);
        for topic in Lane::ALL.map(|lane| self.topics.source(Source::Delay(lane, 0))) {
            let there = of(topic);
            if there == 0 || there < of(&self.topic()) {
                return Err(Failure::Misconfigured(format!(
                    "redriven jobs go to `{topic}`, which has {there} partitions and must have {}; hint: `peakpost topics create`",
                    of(&self.topic())
                )));
            }
        }
        Ok(())
    }

    /// Redrives what the order says out of `spans`. `stop` counts the wishes to stop: at the first nothing more is
    /// sent, at the second acknowledgements are not waited for either. `tell` hears of progress now and then, and at
    /// the end, however that comes about; when it fails, so does the redrive.
    ///
    /// # Errors
    /// When reading or writing cannot go on. What was told last is true.
    pub fn redrive(
        &self,
        order: &Order,
        spans: Vec<Span>,
        stop: &AtomicUsize,
        mut tell: impl FnMut(&Progress) -> Result<(), String>,
    ) -> Result<(Ended, Progress), Failure> {
        let mut reader = self.reader()?;
        reader.start(spans)?;
        let writer = Writer::new(&self.settle, self.topics.clone())?;
        let now = self.clock.mono();
        let mut run = Run {
            desk: self,
            order,
            reader,
            writer,
            left: BTreeMap::new(),
            sent: 0,
            pace: Pace::new(order.per_second, now),
            moved: now,
        };
        let ended = run.all(stop, &mut tell);
        let ended = ended.and_then(|ended| run.land(stop, &mut tell).map(|()| ended));
        let progress = run.progress();
        let told = tell(&progress).map_err(Failure::Broken);
        let ended = ended?;
        told?;
        Ok((ended, progress))
    }
}

/// One redrive under way.
struct Run<'d> {
    desk: &'d Desk,
    order: &'d Order,
    reader: Reader,
    writer: Writer,
    left: BTreeMap<Left, u64>,
    sent: u64,
    pace: Pace,
    /// When a letter came or an acknowledgement.
    moved: Instant,
}

impl Run<'_> {
    fn progress(&self) -> Progress {
        let acknowledged =
            |span: &Span| Span { next: self.writer.oldest(span.partition).unwrap_or(span.next), ..*span };
        Progress {
            spans: self.reader.spans().iter().map(acknowledged).collect(),
            redriven: self.writer.acknowledged(),
            left: self.left.clone(),
        }
    }

    /// Until every letter was looked at, the limit is reached, or somebody asks to stop.
    fn all(
        &mut self,
        stop: &AtomicUsize,
        tell: &mut impl FnMut(&Progress) -> Result<(), String>,
    ) -> Result<Ended, Failure> {
        let mut told = self.desk.clock.mono();
        loop {
            let now = self.acknowledgements()?;
            if now.saturating_duration_since(told) >= TELL {
                told = now;
                tell(&self.progress()).map_err(Failure::Broken)?;
            }
            if stop.load(Ordering::Acquire) > 0 {
                return Ok(Ended::Stopped);
            }
            if self.sent >= self.order.limit {
                return Ok(Ended::Limit);
            }
            let wait = self.pace.wait(now);
            if !self.writer.has_room() {
                self.desk.still(self.moved, "nothing was acknowledged")?;
                std::thread::park_timeout(Duration::from_millis(1));
            } else if !wait.is_zero() {
                // A slow pace is not silence.
                self.moved = if self.writer.is_idle() { now } else { self.moved };
                self.desk.still(self.moved, "nothing was acknowledged")?;
                std::thread::park_timeout(wait.min(NAP));
            } else if self.one(now)? {
                return Ok(Ended::Done);
            }
        }
    }

    /// Looks at one letter. `true`: there are no more.
    fn one(&mut self, now: Instant) -> Result<bool, Failure> {
        let Self { desk, order, reader, writer, left, .. } = self;
        let consider = |letter: &Letter<'_>| {
            if !order.selection.takes(letter) {
                return Ok(false);
            }
            match letter.revive(desk.terms(order.generation_max), desk.clock.wall()) {
                Ok(trip) => writer.send(letter, &trip).map(|()| true),
                Err(why) => {
                    *left.entry(why).or_default() += 1;
                    Ok(false)
                }
            }
        };
        match reader.next(NAP, consider)? {
            Step::End => return Ok(true),
            Step::Waiting => self.desk.still(self.moved, "no letter has come and nothing was acknowledged")?,
            Step::Letter(sent) => {
                self.moved = now;
                if sent? {
                    self.sent += 1;
                    self.pace.spend(now);
                }
            }
        }
        Ok(false)
    }

    /// Waits for what is on its way.
    fn land(
        &mut self,
        stop: &AtomicUsize,
        tell: &mut impl FnMut(&Progress) -> Result<(), String>,
    ) -> Result<(), Failure> {
        while !self.writer.is_idle() && stop.load(Ordering::Acquire) < 2 {
            self.acknowledgements()?;
            self.desk.still(self.moved, "nothing was acknowledged")?;
            std::thread::park_timeout(Duration::from_millis(1));
        }
        tell(&self.progress()).map_err(Failure::Broken)
    }

    fn acknowledgements(&mut self) -> Result<Instant, Failure> {
        let before = self.writer.acknowledged();
        self.writer.poll()?;
        let now = self.desk.clock.mono();
        if self.writer.acknowledged() > before {
            self.moved = now;
        }
        Ok(now)
    }
}

/// An even pace: after one, the next has to wait its share of a second. What was missed is not made up for, but for a
/// moment's worth.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    share: Duration,
    next: Instant,
}

impl Pace {
    /// At most so many in a second.
    #[must_use]
    pub fn new(per_second: f64, now: Instant) -> Self {
        let share = Duration::try_from_secs_f64(per_second.recip()).unwrap_or(Duration::MAX);
        Self { share: share.min(Duration::from_secs(86_400)), next: now }
    }

    /// How long until the next may go.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// One goes now.
    pub fn spend(&mut self, now: Instant) {
        self.next = self.next.max(now.checked_sub(NAP).unwrap_or(now)) + self.share;
    }
}
