//! One suppression: who must not be written to, how far that goes, and why; as a record of the suppressions topic.
//!
//! Why: the key says all that sending asks, so that a weaker word never stands in place of a stronger one, and whoever
//! cannot read the value still knows whom it is about.
//! Must not know: Kafka clients, who writes, who asks.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::address::Hashed;
use crate::job::{Channel, Wall, field};
use crate::outcome::Cause;

/// Longest name of a tenant.
const TENANT_MAX: usize = 64;
/// In a key, in place of a tenant: whoever it is.
const ANY: &str = "*";

/// What must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Nothing at all.
    All,
    /// What comes in the marketing lane.
    Marketing,
}

impl Scope {
    /// Both.
    pub const ALL: [Self; 2] = [Self::All, Self::Marketing];

    /// The word in keys and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no scope; hint: all or marketing"))
    }
}

/// Whom and what a suppression is about: its record's key, `<channel>/<tenant or *>/<scope>/<hash>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// How the messages travel.
    pub channel: Channel,
    /// Whose messages; `None`: everybody's.
    pub tenant: Option<&'a str>,
    /// Which of them.
    pub scope: Scope,
    /// To whom.
    pub recipient: Hashed,
}

impl<'a> Key<'a> {
    /// Reads a record's key.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(key: &'a [u8]) -> Result<Self, String> {
        let key = std::str::from_utf8(key).map_err(|_| "its key is not UTF-8".to_owned())?;
        let mut parts = key.split('/');
        let (Some(channel), Some(tenant), Some(scope), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("its key is not `<channel>/<tenant or *>/<scope>/<hash>`".to_owned());
        };
        let channel = Channel::ALL.into_iter().find(|known| known.as_str() == channel);
        Ok(Self {
            channel: channel.ok_or("its key names no channel")?,
            tenant: tenant_of(tenant)?,
            scope: scope.parse()?,
            recipient: Hashed::from_hex(hash).ok_or("its key ends in no hash")?,
        })
    }

    /// The record's key.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let (channel, tenant, scope) = (self.channel, self.tenant.unwrap_or(ANY), self.scope.as_str());
        format!("{channel}/{tenant}/{scope}/{}", self.recipient.hex()).into_bytes()
    }
}

/// Reads a tenant as it stands in keys and files. `None`: any.
///
/// # Errors
/// When no tenant can be called so.
pub fn tenant_of(text: &str) -> Result<Option<&str>, String> {
    match text {
        "" | ANY => Ok(None),
        text => match field::label(text, TENANT_MAX) {
            Ok(()) => Ok(Some(text)),
            Err(_) => Err(format!("a tenant has letters, digits, `.`, `_`, `-`, at most {TENANT_MAX}")),
        },
    }
}

/// Somebody must not be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// How the messages travel.
    pub channel: Channel,
    /// Whose messages; `None`: everybody's.
    pub tenant: Option<Box<str>>,
    /// To whom.
    pub recipient: Hashed,
    /// Which of them.
    pub scope: Scope,
    /// Why.
    pub reason: Cause,
    /// Who said so: a provider's name, `cli`, a file.
    pub by: Box<str>,
    /// Since when.
    pub at: Wall,
}

/// What is written under the key. Members that are not known here are a later version's, and are passed over.
#[derive(Serialize, Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow, default)]
    by: Cow<'a, str>,
    #[serde(default)]
    at_ms: i64,
}

impl Suppression {
    /// Its record's key. Who writes a record without a value under it takes it back.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let Self { channel, tenant, recipient, scope, .. } = self;
        Key { channel: *channel, tenant: tenant.as_deref(), scope: *scope, recipient: *recipient }.to_bytes()
    }

    /// Its record's value, in JSON.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let value = Value { reason: self.reason.as_str().into(), by: (&*self.by).into(), at_ms: self.at.0 };
        // A number and two texts can always be written.
        serde_json::to_vec(&value).unwrap_or_default()
    }

    /// Reads a record that has a value. Whatever the value says, it suppresses: what cannot be read counts as
    /// [`Cause::Manual`].
    ///
    /// # Errors
    /// When its key says of nobody that they are suppressed.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Self, String> {
        let Key { channel, tenant, scope, recipient } = Key::parse(key)?;
        let value: Value<'_> = read(value);
        Ok(Self {
            channel,
            tenant: tenant.map(Into::into),
            recipient,
            scope,
            reason: value.reason.parse().unwrap_or(Cause::Manual),
            by: value.by.into(),
            at: Wall(value.at_ms),
        })
    }
}

/// Why, in a record's value.
#[must_use]
pub fn reason(value: &[u8]) -> Cause {
    read(value).reason.parse().unwrap_or(Cause::Manual)
}

fn read(value: &[u8]) -> Value<'_> {
    serde_json::from_slice(value).unwrap_or(Value { reason: "".into(), by: "".into(), at_ms: 0 })
}
