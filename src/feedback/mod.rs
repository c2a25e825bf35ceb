//! What vendors say later: a public listener that answers once every event is durable, workers that count it once in the
//! fleet, and the sums that every instance follows.
//!
//! Why: a vendor forgets what was answered with 2xx, so nothing is answered so before Kafka has it; and whoever else finds
//! the address must neither change anything nor learn anything. A complaint is heard by one instance and concerns all of
//! them; a crash must neither lose it nor count it twice.
//! Must not know: what follows from a count (reputation), vendors' words (provider), who sends.

pub mod doubts;
mod dropped;
mod listener;
mod publish;
pub mod recent;
mod request;
pub mod sums;
mod tls;
pub mod workers;

use std::net::SocketAddr;
use std::time::Duration;

use crate::job::topic::Topics;
use crate::observe::{Clock, Metrics};
use crate::provider::Ear;
use crate::recipient::address::Keyer;
use crate::recipient::mailbox::Mailboxes;
use crate::reputation;

pub use listener::{Listener, Listening};
pub use tls::TlsConfig;

/// What the listener may take, and where it writes to.
#[derive(Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// With what it speaks TLS; `None`: plain HTTP, for a proxy in front that does.
    pub tls: Option<TlsConfig>,
    /// Most bytes of a request's body; at least what a vendor puts into one (SendGrid: 768 KB).
    pub body_max: usize,
    /// Most requests that are verified or made durable at a time; the next is answered 503. Four times as many connections
    /// may be there. Bodies on their way may have `concurrency` times `body_max` bytes together; a byte more is 503.
    pub concurrency: usize,
    /// Longest time for a handshake, for a request's head (from the answer before it on), and for its body.
    pub read_timeout: Duration,
    /// Longest life of a connection; what is at work then is still answered.
    pub connection_max: Duration,
    /// librdkafka properties common to every client (brokers, TLS, SASL). Never printed: passwords are in them.
    pub client: Vec<(String, String)>,
    /// The topic of events.
    pub topic: String,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("body_max", &self.body_max)
            .field("concurrency", &self.concurrency)
            .field("read_timeout", &self.read_timeout)
            .field("connection_max", &self.connection_max)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// A provider that is listened to.
#[derive(Debug)]
pub struct Door {
    /// Its name in the configuration: the last part of the path.
    pub provider: String,
    /// Who may speak for it.
    pub ear: Ear,
}

/// What the listener shares with others.
#[derive(Debug)]
pub struct Links {
    /// Providers that are listened to; any other is unknown here.
    pub doors: Vec<Door>,
    /// Hides recipients.
    pub keyer: Keyer,
    /// Names mailbox providers.
    pub mailboxes: Mailboxes,
    /// Every metric.
    pub metrics: Metrics,
    /// The clock.
    pub clock: Clock,
}

/// Where what was said lies, and how it is counted.
#[derive(Clone)]
pub struct CountConfig {
    /// librdkafka properties common to every client (brokers, TLS, SASL). Never printed: passwords are in them.
    pub client: Vec<(String, String)>,
    /// Topic names.
    pub topics: Topics,
    /// The line's consumer group.
    pub group: String,
    /// Time after which the group gives a silent worker's partitions away.
    pub session_timeout: Duration,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// What counts mean.
    pub reputation: reputation::Config,
    /// Which jobs wait for a word, and how long.
    pub doubts: doubts::Config,
    /// Who is listened to, and whose mailboxes it writes to (empty: to none): what is shown of these begins at 0, so that the
    /// first event is seen as one.
    pub shown: Vec<(Box<str>, Box<str>)>,
}

impl CountConfig {
    /// The group of the workers.
    #[must_use]
    pub fn workers(&self) -> String {
        format!("{}-feedback", self.group)
    }
}

impl std::fmt::Debug for CountConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountConfig")
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("reputation", &self.reputation)
            .field("doubts", &self.doubts)
            .finish_non_exhaustive()
    }
}
