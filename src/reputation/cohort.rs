//! A stream at one provider and mailbox provider, its sends of one window, and what was heard of them: the words of the
//! reputation topic.
//!
//! Why: complaints come hours after delivery. Compared with what was delivered in the same hours they would make a growing
//! campaign look good and one that has ended look bad; so each is counted with the send that caused it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::Happened;
use crate::job::{Channel, Home, Lane, Wall, field};

/// Whose reputation a send spends, and with whom. Reads and writes as `tenant/channel/lane/provider/mailbox`, `-` for no
/// mailbox provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    /// The job's tenant.
    pub tenant: Box<str>,
    /// How it travels.
    pub channel: Channel,
    /// Its lane.
    pub lane: Lane,
    /// The provider's name in the configuration.
    pub provider: Box<str>,
    /// The mailbox provider's name in the configuration; empty for other channels than email.
    pub mailbox: Box<str>,
}

/// No mailbox provider, in text.
const NONE: &str = "-";
/// A name in a stream is at most so long.
const NAME_MAX: usize = 64;

impl Stream {
    /// The mailbox provider for people and labels: `-` where there is none.
    #[must_use]
    pub fn mailbox_word(&self) -> &str {
        if self.mailbox.is_empty() { NONE } else { &self.mailbox }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, channel, lane, provider, .. } = self;
        write!(f, "{tenant}/{channel}/{lane}/{provider}/{}", self.mailbox_word())
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "hint: `tenant/channel/lane/provider/mailbox`, as in `acme/email/marketing/sendgrid-main/gmail`; `-` for \
                    no mailbox";
        let parts: Vec<&str> = text.split('/').collect();
        let [tenant, channel, lane, provider, mailbox] = parts[..] else {
            return Err(format!("`{text}` is no stream; {hint}"));
        };
        let found = Channel::ALL.into_iter().find(|known| known.as_str() == channel);
        let channel = found.ok_or_else(|| format!("unknown channel `{channel}`; {hint}"))?;
        let mailbox = if mailbox == NONE { "" } else { mailbox };
        Self::new(tenant, channel, lane.parse()?, provider, mailbox)
            .ok_or_else(|| format!("`{text}`: a name is letters, digits, `.`, `_`, `-`; {hint}"))
    }
}

impl Stream {
    /// A stream by its names. `None`: one of them is no name, and would not be read as it was written.
    #[must_use]
    pub fn new(tenant: &str, channel: Channel, lane: Lane, provider: &str, mailbox: &str) -> Option<Self> {
        let named = |name: &str| name != NONE && field::label(name, NAME_MAX).is_ok();
        let names = named(tenant) && named(provider) && (mailbox.is_empty() || named(mailbox));
        let (tenant, provider, mailbox) = (tenant.into(), provider.into(), mailbox.into());
        names.then_some(Self { tenant, channel, lane, provider, mailbox })
    }
}

/// The sends of one stream that were made within one window.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cohort {
    /// Whose.
    pub stream: Stream,
    /// When the window began, in seconds since 1970; or when the stream was released within it.
    pub start: i64,
}

impl Cohort {
    /// The key of its partial count out of one partition of the events.
    #[must_use]
    pub fn key(&self, partition: Home) -> String {
        format!("{}/{}/{partition}", self.stream, self.start)
    }

    /// Reads what [`Cohort::key`] wrote.
    ///
    /// # Errors
    /// Why it is no such key.
    pub fn parse(key: &str) -> Result<(Self, Home), String> {
        let fault = || format!("`{key}` is no key of a count");
        let (rest, partition) = key.rsplit_once('/').ok_or_else(fault)?;
        let (stream, start) = rest.rsplit_once('/').ok_or_else(fault)?;
        let (start, partition) = (start.parse().map_err(|_| fault())?, partition.parse().map_err(|_| fault())?);
        Ok((Self { stream: stream.parse()?, start }, partition))
    }
}

/// What was heard of a cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Arrived.
    pub delivered: u32,
    /// The address does not exist.
    pub hard: u32,
    /// Turned down for what it is or where it comes from.
    pub blocked: u32,
    /// Called spam.
    pub complained: u32,
    /// Wants no more.
    pub unsubscribed: u32,
}

impl Counts {
    /// Counts one event. `false`: it is of a kind that is not counted here.
    pub fn add(&mut self, happened: Happened) -> bool {
        let count = match happened {
            Happened::Delivered => &mut self.delivered,
            Happened::BouncedHard => &mut self.hard,
            Happened::BouncedBlocked => &mut self.blocked,
            Happened::Complained => &mut self.complained,
            Happened::Unsubscribed => &mut self.unsubscribed,
            Happened::BouncedSoft | Happened::VendorSuppressed | Happened::Opened | Happened::Clicked => return false,
        };
        *count = count.saturating_add(1);
        true
    }

    /// Whether anything but deliveries is in it.
    #[must_use]
    pub fn has_bad(&self) -> bool {
        *self != Self { delivered: self.delivered, ..Self::default() }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            delivered: self.delivered.saturating_add(other.delivered),
            hard: self.hard.saturating_add(other.hard),
            blocked: self.blocked.saturating_add(other.blocked),
            complained: self.complained.saturating_add(other.complained),
            unsubscribed: self.unsubscribed.saturating_add(other.unsubscribed),
        }
    }
}

/// All that one partition of the events has said of a cohort up to some point: a record of the reputation topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The offset after the last event that is in it: one that was read before is not counted again.
    pub upto: i64,
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Partial {
    /// In JSON.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        // Numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`Partial::value`] wrote.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn parse(value: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(value).map_err(|e| format!("its value cannot be read: {e}"))
    }
}

/// The start of the window in which something was sent.
#[must_use]
pub fn window_of(sent: Wall, window_s: i64) -> i64 {
    let seconds = sent.0.div_euclid(1000);
    seconds - seconds.rem_euclid(window_s.max(1))
}
