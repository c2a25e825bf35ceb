//! Which dead letters are meant: by what they say, and by where they lie.
//!
//! Why: `list`, `show` and `redrive` must mean the same letters by the same words, today and after an interruption.
//! Must not know: how letters are read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::letter::Letter;
use crate::job::{Channel, Home, Wall, field};

/// Letters of which all of this is true. The default is every letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// One of these reasons; empty for any.
    pub reasons: Vec<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this campaign.
    pub campaign: Option<String>,
    /// This provider had the last word.
    pub provider: Option<String>,
    /// Of this channel.
    pub channel: Option<Channel>,
    /// With this job id.
    pub id: Option<String>,
    /// Died at this time or later: milliseconds since 1970-01-01 UTC.
    pub since_ms: Option<i64>,
    /// Died before this time, in the same unit.
    pub until_ms: Option<i64>,
}

impl Selection {
    /// Whether a letter is meant.
    #[must_use]
    pub fn takes(&self, letter: &Letter<'_>) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| letter.said(name) == Some(wanted))
        };
        let at = letter.at().0;
        // What is looked up in the bytes comes last: it is the dearest.
        (self.reasons.is_empty() || self.reasons.iter().any(|reason| reason == letter.reason()))
            && is(&self.id, "id")
            && is(&self.tenant, "tenant")
            && is(&self.provider, "provider")
            && self.since_ms.is_none_or(|since| at >= since)
            && self.until_ms.is_none_or(|until| at < until)
            && self.channel.is_none_or(|channel| letter.channel() == Some(channel))
            && self.campaign.as_deref().is_none_or(|campaign| letter.campaign().as_deref() == Some(campaign))
    }
}

impl fmt::Display for Selection {
    /// As options of the command line, times spelt out; empty for every letter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |ms: Option<i64>| ms.map(|ms| Wall(ms).to_string());
        let reasons = self.reasons.iter().map(|reason| ("reason", Some(reason.clone())));
        let others = [
            ("tenant", self.tenant.clone()),
            ("campaign", self.campaign.clone()),
            ("provider", self.provider.clone()),
            ("channel", self.channel.map(|channel| channel.to_string())),
            ("id", self.id.clone()),
            ("since", time(self.since_ms)),
            ("until", time(self.until_ms)),
        ];
        let given = reasons.chain(others).filter_map(|(name, value)| Some((name, value?)));
        for (n, (name, value)) in given.enumerate() {
            write!(f, "{}--{name} {value}", if n > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// A stretch of one partition of the dead topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The partition.
    pub partition: Home,
    /// The offset to go on at.
    pub next: i64,
    /// The offset after the last.
    pub end: i64,
}

impl Span {
    /// Offsets that are left; as many letters, or fewer.
    #[must_use]
    pub fn left(&self) -> u64 {
        u64::try_from(self.end - self.next).unwrap_or(0)
    }
}

/// Reads a time: RFC 3339, or how long ago as in `90s`, `2h`, `1d12h` and `2h ago`.
///
/// # Errors
/// What it must look like.
pub fn moment(text: &str, now: Wall) -> Result<Wall, String> {
    let text = text.trim();
    if field::is_rfc3339(text) {
        let read = text.parse::<jiff::Timestamp>().map_err(|e| format!("`{text}` is no time: {e}"))?;
        return Ok(Wall(read.as_millisecond()));
    }
    let ago = ago(text.strip_suffix("ago").unwrap_or(text).trim_end());
    ago.and_then(|ms| now.0.checked_sub(ms)).map(Wall).ok_or_else(|| {
        format!("`{text}` is no time; hint: `2h`, `1d12h` (ago), or RFC 3339 as in `2026-11-27T02:00:00Z`")
    })
}

fn ago(text: &str) -> Option<i64> {
    let (mut rest, mut sum) = (text, 0_i64);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let unit = tail.chars().next()?;
        let ms = match unit {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            'w' => 604_800_000,
            _ => return None,
        };
        sum = number.parse::<i64>().ok()?.checked_mul(ms)?.checked_add(sum)?;
        rest = tail[unit.len_utf8()..].trim_start();
    }
    (!text.is_empty()).then_some(sum)
}
