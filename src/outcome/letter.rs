//! A dead letter as it is read back, and what gives it another try.
//!
//! Why: `settle` writes letters; people list, read and redrive them. What a letter says of itself, and whether
//! sending its job again can come to anything, must not depend on who asks.
//! Must not know: Kafka clients, clocks, command lines.

use std::borrow::Cow;
use std::time::Duration;

use super::Code;
use crate::job::topic::Topics;
use crate::job::trip::{OURS, Place, Trip};
use crate::job::{Channel, Home, Wall, parse};

/// One record of the dead topic.
#[derive(Clone)]
pub struct Letter<'a> {
    /// Its partition: the home in which the job died.
    pub partition: Home,
    /// Its offset.
    pub offset: i64,
    /// Its broker timestamp.
    pub stamp: Wall,
    /// Its key: the job's id, if the record gave one.
    pub key: &'a [u8],
    /// The original record's bytes; of one above 512 KiB the first 4 KiB.
    pub bytes: &'a [u8],
    /// The original record's headers, then ours.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// Why a letter is not redriven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Only the record's beginning is kept.
    Cut,
    /// Its bytes are no job: it would be buried again.
    NoJob,
    /// It does not say which record of this line's jobs topics asked for the send.
    NoOrigin,
    /// It was redriven as often as it may be.
    Generation,
}

impl Left {
    /// Why it stays, and what helps.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "the record was above 512 KiB and only its beginning is kept: upstream must send it again",
            Self::NoJob => "the bytes are no job and would be buried again: upstream must mend and send them again",
            Self::NoOrigin => "no origin in a jobs topic of this line: produce it to its jobs topic by hand",
            Self::Generation => "redriven as often as --max-generation allows: find out why it dies",
        }
    }
}

/// What a redrive is held to.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// This line's topics.
    pub topics: &'t Topics,
    /// A letter of this generation or above stays.
    pub generation_max: u16,
    /// How long the tier waits that the job goes to.
    pub wait: Duration,
}

/// Reasons after which the last attempt may have reached the recipient.
const DOUBTFUL: [Code; 5] = [Code::ServerError, Code::Timeout, Code::Connection, Code::Nonsense, Code::Panicked];

impl<'a> Letter<'a> {
    /// What our header of this name says (`reason` for `peakpost-reason`). Ours come last, so the last one counts.
    #[must_use]
    pub fn said(&self, name: &str) -> Option<&'a str> {
        let ours = |key: &str| key.strip_prefix(OURS) == Some(name);
        let found = self.headers.iter().rev().find(|(key, _)| ours(key))?;
        std::str::from_utf8(found.1?).ok()
    }

    /// Why the job died; empty if the letter does not say.
    #[must_use]
    pub fn reason(&self) -> &'a str {
        self.said("reason").unwrap_or("")
    }

    /// When it died; its broker timestamp if it does not say.
    #[must_use]
    pub fn at(&self) -> Wall {
        self.said("at-ms").and_then(|ms| ms.parse().ok()).map_or(self.stamp, Wall)
    }

    /// The job's campaign. Older letters say it in their bytes alone.
    #[must_use]
    pub fn campaign(&self) -> Option<Cow<'a, str>> {
        self.said("campaign").map(Cow::Borrowed).or_else(|| self.member("campaign"))
    }

    /// The job's channel. Older letters say it in their bytes alone.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        let word = self.said("channel").map(Cow::Borrowed).or_else(|| self.member("channel"))?;
        Channel::ALL.into_iter().find(|channel| channel.as_str() == word)
    }

    fn member(&self, name: &'static str) -> Option<Cow<'a, str>> {
        #[derive(serde::Deserialize)]
        struct Members {
            campaign: Option<serde_json::Value>,
            channel: Option<serde_json::Value>,
        }
        let members: Members = serde_json::from_slice(self.bytes).ok()?;
        let found = if name == "campaign" { members.campaign } else { members.channel };
        found?.as_str().map(|text| Cow::Owned(text.to_owned()))
    }

    /// How often the job was redriven before it died.
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.said("generation").and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The size of the original record in bytes, if only its beginning is kept.
    #[must_use]
    pub fn cut_from(&self) -> Option<&'a str> {
        self.said("size")
    }

    /// Whether its last attempt may have reached the recipient: a redrive can send it once more.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        DOUBTFUL.iter().any(|code| code.as_str() == self.reason())
    }

    /// The original record's own headers.
    pub fn carried(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        self.headers.iter().copied().filter(|(key, _)| !key.starts_with(OURS))
    }

    /// The record in a jobs topic of this line that asked for the send.
    fn origin(&self, topics: &Topics) -> Option<Place<'a>> {
        let mut parts = self.said("origin")?.rsplitn(3, '/');
        let (offset, partition, topic) = (parts.next()?, parts.next()?, parts.next()?);
        topics.lane_of(topic)?;
        Some(Place { topic: Cow::Borrowed(topic), partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    }

    /// The trip on which the job sets out again: of a new generation, with nothing tried yet, due after the tier.
    ///
    /// # Errors
    /// Why it stays in the dead topic.
    pub fn revive(&self, terms: Terms<'_>, now: Wall) -> Result<Trip<'a>, Left> {
        if self.cut_from().is_some() {
            return Err(Left::Cut);
        }
        // By the contract of today: what an older version could not read may be a job by now, and the other way round.
        let spec = parse::parse(self.bytes).map_err(|_| Left::NoJob)?;
        let origin = self.origin(terms.topics).ok_or(Left::NoOrigin)?;
        let generation = self.generation();
        if generation >= terms.generation_max {
            return Err(Left::Generation);
        }
        let wait = i64::try_from(terms.wait.as_millis()).unwrap_or(i64::MAX);
        Ok(Trip {
            tenant: Cow::Owned((*spec.tenant).to_owned()),
            id: Cow::Owned((*spec.id).to_owned()),
            origin,
            hop: 1,
            generation: generation + 1,
            attempts: 0,
            failures: 0,
            unsure: false,
            // Its lane's default maximum age counts anew; an `expires_at` of its own holds as ever.
            first_seen_ms: now.0,
            due_ms: now.0.saturating_add(wait),
            last_error: Cow::Borrowed(self.reason()),
            provider: Cow::Borrowed(""),
        })
    }
}
