//! What shards say to a gate and hear from it: asks, answers, permits, what replies mean.
//!
//! Why: only a permit opens the door to a provider, and only the gate makes one.
//! Must not know: how limits are kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limit::Unit;
use super::report::By;
use super::turns::Waiting;
use crate::job::Lane;
use crate::outcome::Code;

/// Longest time between a permit's making and its redemption: less than J, which covers the way to the vendor too.
pub const PERMIT_LIFE: Duration = Duration::from_millis(20);

/// Most requests in one ask.
pub const REQUESTS_MAX: u32 = 64;

/// Jobs that are alike to a provider's limits: of one tenant and, where it limits senders, of one sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Whose messages they are.
    pub tenant: Box<str>,
    /// Who they are from; empty where it does not matter.
    pub sender: Box<str>,
}

/// A shard asks for leave to send. One at a time for each lane and flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose ask it is; comes back with the answer.
    pub shard: usize,
    /// In which lane.
    pub lane: Lane,
    /// Of which flow.
    pub flow: Arc<Flow>,
    /// Requests wanted, up to [`REQUESTS_MAX`].
    pub requests: u32,
    /// Messages wanted, over all of them.
    pub messages: u32,
    /// Most messages that one request carries.
    pub per_request: u32,
}

impl Ask {
    /// The part of it that slots and `room`, by unit, allow: requests and messages.
    pub(super) fn cut(&self, slots: u32, room: [u32; 2]) -> (u32, u32) {
        let requests = self.requests.min(slots).min(room[Unit::Requests.index()]);
        let messages = self.messages.min(room[Unit::Messages.index()]).min(requests.saturating_mul(self.per_request));
        // Fewer messages need fewer requests; what is taken and not used is spent.
        let share = u64::from(self.requests) * u64::from(messages);
        let needed = share.div_ceil(u64::from(self.messages.max(1)));
        (requests.min(u32::try_from(needed).unwrap_or(u32::MAX)), messages)
    }
}

/// In which period of the breaker a permit was made, and whether it is a probe. It travels with the request and back;
/// only the gate reads it. The default is no probe, of a gate's first period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    pub(super) period: u64,
    /// The probe's number.
    pub(super) probe: Option<u64>,
}

/// What a reply means for everyone who wants to send here, not only for its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The provider is well: a yes, or a no to these jobs alone.
    Well,
    /// A server error, silence, no connection.
    Failed,
    /// Too fast.
    Throttled {
        /// The vendor's time, if it named one; what is absurd was cut where it was read.
        wait: Option<Duration>,
        /// It holds only for what this sender sends; `None`: for the account.
        sender: Option<Box<str>>,
    },
    /// It turns everything away: credentials, account, configuration.
    Down(Code),
    /// It says nothing about the provider (the word of one job's own endpoint; a panic of ours).
    Nothing,
}

/// Leave to send. Only the gate makes one, and it is needed to reach a provider.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit's units are spent whether it is used or not, its slots must be given back"]
pub struct SendPermit {
    lane: Lane,
    requests: u32,
    messages: u32,
    deadline: Instant,
    pass: Pass,
}

impl SendPermit {
    pub(super) fn new(lane: Lane, requests: u32, messages: u32, deadline: Instant, pass: Pass) -> Self {
        Self { lane, requests, messages, deadline, pass }
    }

    /// In which lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Requests it allows; each holds one slot until it is given back.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Messages it allows, over all requests.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Not to be redeemed after this.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What travels with each of its requests, and with what is given back of it.
    #[must_use]
    pub fn pass(&self) -> Pass {
        self.pass
    }
}

/// What a gate says.
#[derive(Debug, PartialEq, Eq)]
pub enum Say {
    /// The leave.
    Go(SendPermit),
    /// Nothing goes here until then, as far as is known: go elsewhere, or ask again then.
    Elsewhere {
        /// When.
        until: Instant,
        /// Why: the warm-up's cap is spent; and, where some route names another provider, the breaker or a stop.
        by: By,
    },
}

/// An answered ask.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose ask it was …
    pub shard: usize,
    /// … in which lane …
    pub lane: Lane,
    /// … of which flow.
    pub flow: Arc<Flow>,
    /// How long it waited.
    pub waited: Duration,
    /// The answer.
    pub say: Say,
}

impl Answer {
    pub(super) fn new((asked, ask): Waiting, now: Instant, say: Say) -> Self {
        let waited = now.saturating_duration_since(asked);
        Self { shard: ask.shard, lane: ask.lane, flow: ask.flow, waited, say }
    }
}
