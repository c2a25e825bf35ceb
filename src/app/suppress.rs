//! The desk of suppressions: says who must not be written to, takes it back, and looks it up.
//!
//! Why: a person's wish to be left alone comes by telephone, and a list of them with every move from another system.
//! Must not know: command lines, files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::message::Message;

use super::Failure;
use crate::config::Config;
use crate::job::{Channel, field};
use crate::observe::Clock;
use crate::outcome::Cause;
use crate::recipient;
use crate::recipient::address::Keyer;
use crate::recipient::feed::Feed;
use crate::recipient::reader::{Came, Reader};
use crate::recipient::suppression::Key;
pub use crate::recipient::suppression::{Scope, Suppression, tenant_of};
use crate::recipient::writer::Writer;

/// Longest wait for one answer of the brokers.
const WAIT: Duration = Duration::from_secs(10);
/// Longest wait for the next record.
const LOOK: Duration = Duration::from_millis(50);
/// How often the partitions are asked where they end.
const ASK: Duration = Duration::from_secs(1);
/// Records between two words about progress.
const TELL_EVERY: u64 = 10_000;

/// One wish, as a person says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The address, number, token or URL.
    pub to: String,
    /// How the messages travel.
    pub channel: Channel,
    /// Whose messages; `None`: everybody's.
    pub tenant: Option<String>,
    /// Which of them.
    pub scope: Scope,
    /// Why.
    pub reason: Cause,
}

impl Wish {
    /// Whether the channel could have such a recipient: a typing error would suppress nobody.
    ///
    /// # Errors
    /// What the channel's recipients look like.
    pub fn check(&self) -> Result<(), String> {
        let to = self.to.trim();
        let (fits, what) = match self.channel {
            Channel::Email => (field::mailbox(to).is_ok(), "a mailbox"),
            Channel::Sms => (field::phone(to).is_ok(), "a number (`+` and 7 to 15 digits)"),
            Channel::Push => (field::token(to, 4096).is_ok(), "a device token"),
            Channel::Webhook => (field::http_url(to).is_ok(), "an http(s) URL"),
        };
        if fits { Ok(()) } else { Err(format!("the recipient is not {what}; hint: its channel is {}", self.channel)) }
    }
}

/// Everything that is needed to look at suppressions and to change them.
pub struct Desk {
    config: recipient::Config,
    clock: Clock,
}

impl Desk {
    /// The desk of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { config: config.suppressions.clone(), clock: Clock::default() }
    }

    /// Asks until it is answered: who leads a partition that was made a moment ago, or is moving, is not known at once.
    fn patiently<T>(&self, ask: impl Fn() -> Result<T, String>) -> Result<T, Failure> {
        let began = self.clock.mono();
        loop {
            match ask() {
                Err(e) if self.clock.mono().saturating_duration_since(began) > WAIT => return Err(away(&e)),
                Err(_) => std::thread::park_timeout(LOOK),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.config.topic
    }

    fn keyer(&self) -> Result<&Keyer, Failure> {
        self.config.keyer.as_ref().map_err(|fault| Failure::Misconfigured(fault.clone()))
    }

    /// The suppression that a wish is. `by`: who says so.
    ///
    /// # Errors
    /// When there is no secret to hash with.
    pub fn suppression(&self, wish: &Wish, by: &str) -> Result<Suppression, Failure> {
        Ok(Suppression {
            channel: wish.channel,
            tenant: wish.tenant.as_deref().map(Into::into),
            recipient: self.keyer()?.hash(wish.channel, &wish.to),
            scope: wish.scope,
            reason: wish.reason,
            by: by.into(),
            at: self.clock.wall(),
        })
    }

    /// Writes suppressions, or takes them back; returns when all in-sync replicas hold them. `tell` hears how many those
    /// are.
    ///
    /// # Errors
    /// When the broker does not take them; some may be written then, and writing them again changes nothing.
    pub fn write(
        &self,
        all: impl Iterator<Item = Result<(Suppression, bool), Failure>>,
        mut tell: impl FnMut(u64),
    ) -> Result<u64, Failure> {
        let topic = self.topic();
        let failed = |e: String| {
            Failure::Unavailable(format!(
                "`{topic}` does not take records: {e}; hint: check the brokers and the topic's ACLs"
            ))
        };
        if Reader::new(&self.config).map_err(Failure::Misconfigured)?.count(WAIT).map_err(|e| away(&e))? == 0 {
            return Err(self.not_there());
        }
        let writer = Writer::new(&self.config).map_err(Failure::Misconfigured)?;
        for (n, one) in (0_u64..).zip(all) {
            let (suppression, stands) = one?;
            let value = stands.then(|| suppression.value());
            writer.send(&suppression.key(), value.as_deref()).map_err(failed)?;
            if n % TELL_EVERY == 0 {
                tell(writer.acknowledged().map_err(failed)?);
            }
        }
        writer.finish().map_err(failed)
    }

    /// Every suppression of a recipient, whoever's messages they are about. `tell` hears how many records are left.
    ///
    /// # Errors
    /// When the topic cannot be read to its end.
    pub fn find(&self, channel: Channel, to: &str, tell: impl FnMut(u64)) -> Result<Vec<Suppression>, Failure> {
        let wanted = self.keyer()?.hash(channel, to);
        let mut found = BTreeMap::new();
        let take = |key: &[u8], value: Option<&[u8]>| {
            if Key::parse(key).is_ok_and(|key| key.recipient == wanted) {
                keep(&mut found, key, value);
            }
        };
        let mut reader = Reader::new(&self.config).map_err(Failure::Misconfigured)?;
        let all = 0..self.count(&reader)?;
        self.scan(&mut reader, all, take, tell)?;
        Ok(found.into_values().collect())
    }

    /// Hands every suppression that stands to `each`, a partition after the other, so that no more than one of them is in
    /// memory. `tell` hears of how many partitions how many are done.
    ///
    /// # Errors
    /// When the topic cannot be read to its end, or `each` says so.
    pub fn every(
        &self,
        mut each: impl FnMut(&Suppression) -> Result<(), Failure>,
        mut tell: impl FnMut(u64, u64),
    ) -> Result<u64, Failure> {
        let mut reader = Reader::new(&self.config).map_err(Failure::Misconfigured)?;
        let count = self.count(&reader)?;
        let mut sum = 0;
        for partition in 0..count {
            tell(u64::try_from(partition).unwrap_or(0), u64::try_from(count).unwrap_or(0));
            let mut standing = BTreeMap::new();
            let take = |key: &[u8], value: Option<&[u8]>| keep(&mut standing, key, value);
            self.scan(&mut reader, partition..partition + 1, take, |_| {})?;
            standing.values().try_for_each(&mut each)?;
            sum += standing.len() as u64;
        }
        Ok(sum)
    }

    fn count(&self, reader: &Reader) -> Result<i32, Failure> {
        match reader.count(WAIT).map_err(|e| away(&e))? {
            0 => Err(self.not_there()),
            count => Ok(count),
        }
    }

    fn not_there(&self) -> Failure {
        Failure::Misconfigured(format!("topic `{}` is not there; hint: `peakpost topics create`", self.topic()))
    }

    /// Reads these partitions to the end that they have now.
    fn scan(
        &self,
        reader: &mut Reader,
        partitions: Range<i32>,
        mut take: impl FnMut(&[u8], Option<&[u8]>),
        mut tell: impl FnMut(u64),
    ) -> Result<(), Failure> {
        reader.assign(partitions).map_err(Failure::Broken)?;
        let mut feed = Feed::new(&self.patiently(|| reader.starts(WAIT))?);
        let (mut asked, mut read): (Option<Instant>, u64) = (None, 0);
        loop {
            let now = self.clock.mono();
            if asked.is_none_or(|at| at + ASK <= now) {
                asked = Some(now);
                feed.told(now, &self.patiently(|| reader.ends(WAIT))?);
            }
            if feed.fresh().is_some() {
                return Ok(());
            }
            match reader.look(LOOK).map_err(Failure::Misconfigured)? {
                Came::Record(place, message) => {
                    take(message.key().unwrap_or_default(), message.payload());
                    feed.read(place, message.offset());
                    read += 1;
                    if read.is_multiple_of(TELL_EVERY) {
                        tell(feed.left());
                    }
                }
                Came::Over(place) => feed.over(place),
                Came::Nothing => {}
            }
        }
    }
}

/// The last record of a key stands for all before it. What is no suppression is passed over, as the daemon does.
fn keep(standing: &mut BTreeMap<Vec<u8>, Suppression>, key: &[u8], value: Option<&[u8]>) {
    match value.map(|value| Suppression::parse(key, value)) {
        Some(Ok(suppression)) => {
            standing.insert(key.to_vec(), suppression);
        }
        Some(Err(_)) => {}
        None => {
            standing.remove(key);
        }
    }
}

fn away(error: &str) -> Failure {
    Failure::Unavailable(format!("{error}; hint: check `kafka.brokers`, the network and the TLS settings"))
}
