//! What instances tell each other: orders, each with its author, its reason and its end.
//!
//! Why: a vendor speaks to one instance and means all of them. An order lies in a compacted topic under a key that says
//! what it governs, so that who starts later finds the last word on it.
//! Must not know: Kafka clients, who carries an order out.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::Wall;

/// No stop is believed to last longer: a wrong clock, or a record by another hand, must not end a provider's work.
pub const STOP_MAX: Duration = Duration::from_secs(3600);

/// An order holds so much longer for those who only hear of it: their clock may be ahead of its author's, and who comes
/// early is turned away again.
pub const CLOCKS_APART: Duration = Duration::from_millis(250);

/// The first part of a stop's key.
const STOP: &str = "stop";

/// A provider takes nothing until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name in the configuration: letters, digits, `.`, `_`, `-`.
    pub provider: Box<str>,
    /// Only of what this sender sends; `None`: of the whole account.
    pub sender: Option<Box<str>>,
    /// When it ends.
    pub until: Wall,
    /// The instance that gave it.
    pub by: Box<str>,
    /// In words, for people.
    pub why: Box<str>,
}

/// What is written under an order's key. Members that are not known here are a later version's, and are passed over.
#[derive(Serialize, Deserialize)]
struct Value<'a> {
    until_ms: i64,
    #[serde(borrow, default)]
    by: Cow<'a, str>,
    #[serde(borrow, default)]
    why: Cow<'a, str>,
}

impl Order {
    /// What it governs: `stop/<provider>` or `stop/<provider>/<sender>`.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match &self.sender {
            None => format!("{STOP}/{}", self.provider).into_bytes(),
            Some(sender) => format!("{STOP}/{}/{sender}", self.provider).into_bytes(),
        }
    }

    /// What it says, in JSON.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let value = Value { until_ms: self.until.0, by: (&*self.by).into(), why: (&*self.why).into() };
        // A number and two texts can always be written.
        serde_json::to_vec(&value).unwrap_or_default()
    }

    /// Reads a record. `None`: it governs something of which only a later version knows.
    ///
    /// # Errors
    /// Why it is no order though its key says so.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Option<Self>, String> {
        let key = String::from_utf8_lossy(key);
        let mut parts = key.splitn(3, '/');
        if parts.next() != Some(STOP) {
            return Ok(None);
        }
        let provider = parts.next().filter(|name| !name.is_empty()).ok_or("its key names no provider")?;
        let Value { until_ms, by, why } =
            serde_json::from_slice(value).map_err(|e| format!("its value cannot be read: {e}"))?;
        Ok(Some(Self {
            provider: provider.into(),
            sender: parts.next().map(Into::into),
            until: Wall(until_ms),
            by: by.into(),
            why: why.into(),
        }))
    }

    /// How long it still holds for an instance that hears of it, at most [`STOP_MAX`] and [`CLOCKS_APART`]. `None`: its
    /// time has passed.
    #[must_use]
    pub fn left(&self, now: Wall) -> Option<Duration> {
        let ms = u64::try_from(self.until.0.saturating_sub(now.0)).ok().filter(|ms| *ms > 0)?;
        Some(Duration::from_millis(ms).min(STOP_MAX) + CLOCKS_APART)
    }
}

/// The first part of a release's key.
const RELEASE: &str = "release";

/// An operator lifts what holds a stream back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which stream, as it is written in logs: `tenant/channel/lane/provider/mailbox`.
    pub stream: Box<str>,
    /// What was sent before this time holds nothing back any more.
    pub at: Wall,
    /// Who gave it.
    pub by: Box<str>,
    /// In words, for people.
    pub why: Box<str>,
}

/// What is written under a release's key.
#[derive(Serialize, Deserialize)]
struct Released<'a> {
    at_ms: i64,
    #[serde(borrow, default)]
    by: Cow<'a, str>,
    #[serde(borrow, default)]
    why: Cow<'a, str>,
}

impl Release {
    /// What it governs: `release/<stream>`.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        format!("{RELEASE}/{}", self.stream).into_bytes()
    }

    /// What it says, in JSON.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let value = Released { at_ms: self.at.0, by: (&*self.by).into(), why: (&*self.why).into() };
        // A number and two texts can always be written.
        serde_json::to_vec(&value).unwrap_or_default()
    }

    /// Reads a record. `None`: it is something else.
    ///
    /// # Errors
    /// Why it is no release though its key says so.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Option<Self>, String> {
        let key = String::from_utf8_lossy(key);
        let Some((RELEASE, stream)) = key.split_once('/') else { return Ok(None) };
        let Released { at_ms, by, why } =
            serde_json::from_slice(value).map_err(|e| format!("its value cannot be read: {e}"))?;
        Ok(Some(Self { stream: stream.into(), at: Wall(at_ms), by: by.into(), why: why.into() }))
    }
}
