//! After this verdict: again when, or give up why; and how many retries a provider is spared ([`budget`]).
//!
//! Why: one layer retries, and it is this one. What may have been sent is only sent again where the channel's
//! rule says that twice is better than never.
//! Must not know: vendors' codes beyond the verdict, queues, clocks (randomness is an argument).

pub mod budget;

use std::time::Duration;

use crate::job::Channel;
use crate::outcome::{Kind, Outcome, Reason, Verdict};

/// What is to happen to a job after a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send it again after this time. `counted` says whether that uses up one of its attempts.
    Again {
        /// Not before.
        after: Duration,
        /// Whether the attempt counts against the limit.
        counted: bool,
    },
    /// This is its outcome.
    Done(Outcome),
}

/// The rules.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most counted attempts per job, the first included.
    pub attempts_max: u16,
    /// Upper bound of the first wait; doubles with each attempt.
    pub backoff: Duration,
    /// Upper bound of every wait.
    pub backoff_max: Duration,
    /// Channels in which a message that may have been sent is never sent again.
    pub quarantine: Vec<Channel>,
}

impl Config {
    /// Decides. `attempts` counts the attempts that count, this one included; `chance` is uniform in [0, 1)
    /// and spreads the waits (full jitter: a wait is anywhere between nothing and its bound). `left` is the time
    /// until the job expires (`None`: it never does): no wait is longer, so that it expires on time, not when the
    /// wait is over.
    #[must_use]
    pub fn next(
        &self,
        verdict: &Verdict,
        channel: Channel,
        attempts: u16,
        chance: f64,
        left: Option<Duration>,
    ) -> Next {
        match self.after(verdict, channel, attempts, chance) {
            Next::Again { after, counted } => {
                Next::Again { after: left.map_or(after, |left| after.min(left)), counted }
            }
            done @ Next::Done(_) => done,
        }
    }

    fn after(&self, verdict: &Verdict, channel: Channel, attempts: u16, chance: f64) -> Next {
        match verdict {
            Verdict::Accepted { vendor_id } => {
                Next::Done(Outcome { vendor_id: vendor_id.clone(), ..Outcome::plain(Kind::Accepted, Reason::Accepted) })
            }
            Verdict::Refused(said) => Next::Done(Outcome::said(Kind::Refused, Reason::Vendor(said.code), said)),
            Verdict::Ambiguous(said) if self.quarantine.contains(&channel) => {
                Next::Done(Outcome::said(Kind::Quarantined, Reason::MaybeSent(said.code), said))
            }
            // The vendor's time is never shortened by jitter, only spread beyond it.
            Verdict::Throttled { wait: Some(wait), .. } => {
                Next::Again { after: *wait + self.backoff.mul_f64(chance), counted: false }
            }
            // Nothing was sent and nothing is wrong with the job: it waits, it does not die of it.
            Verdict::Throttled { wait: None, .. } | Verdict::ProviderDown(_) => {
                Next::Again { after: self.wait(attempts, chance), counted: false }
            }
            Verdict::Ambiguous(said) | Verdict::FailedBeforeWrite(said) if attempts >= self.attempts_max => {
                Next::Done(Outcome::said(Kind::Dead, Reason::AttemptsExhausted(said.code), said))
            }
            Verdict::Ambiguous(_) | Verdict::FailedBeforeWrite(_) => {
                Next::Again { after: self.wait(attempts, chance), counted: true }
            }
        }
    }

    /// Exponential with full jitter.
    fn wait(&self, attempts: u16, chance: f64) -> Duration {
        let doublings = u32::from(attempts.saturating_sub(1)).min(20);
        (self.backoff * (1 << doublings)).min(self.backoff_max).mul_f64(chance)
    }
}
