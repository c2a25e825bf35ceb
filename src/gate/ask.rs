//! What shards say to a gate and hear from it: asks, answers, permits.
//!
//! Why: only a permit opens the door to a provider, and only the gate makes one.
//! Must not know: how limits are kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limit::Unit;
use super::turns::Waiting;
use crate::job::Lane;

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

/// Leave to send. Only the gate makes one, and it is needed to reach a provider.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit's units are spent whether it is used or not, its slots must be given back"]
pub struct SendPermit {
    lane: Lane,
    requests: u32,
    messages: u32,
    deadline: Instant,
}

impl SendPermit {
    pub(super) fn new(lane: Lane, requests: u32, messages: u32, deadline: Instant) -> Self {
        Self { lane, requests, messages, deadline }
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
}

/// What a gate says.
#[derive(Debug, PartialEq, Eq)]
pub enum Say {
    /// The leave.
    Go(SendPermit),
    /// The warm-up's cap is spent until then: go elsewhere, or ask again then.
    Spill(Instant),
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
