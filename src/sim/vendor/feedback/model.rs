//! What becomes of messages that a vendor took: how many bounce, who complains, how late and how often it is told.
//!
//! Why: complaints come hours after the send, three times on the average and dozens of times on a bad day, in any order.
//! A listener that has only met well-behaved feedback is not tested.
//! Must not know: wire formats, clocks, HTTP.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::sign;
use crate::event::Happened;
use crate::job::Channel;
use crate::sim::arrivals::Vendor;

/// What vendors say of the messages they took. Shares are from 0 to 1. The default is a list in good order, told within
/// seconds: scale `read_after` up for hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Share of messages whose address is gone.
    pub hard: f64,
    /// Share of messages that do not arrive this time. `SendGrid` goes on by itself and says nothing of it: there they
    /// count to the blocked.
    pub soft: f64,
    /// Share of messages that the receiving side turns down.
    pub blocked: f64,
    /// Share of messages that the vendor itself does not send.
    pub dropped: f64,
    /// Of the delivered: who opens it.
    pub opened: f64,
    /// Of the delivered: who follows a link.
    pub clicked: f64,
    /// Of the delivered: who wants no more.
    pub unsubscribed: f64,
    /// Of the delivered: who calls it spam. The first that fits counts; text messages have none.
    pub complaints: Vec<Complaints>,
    /// Mean time from the send to its end, exponentially spread.
    pub delivered_after: Duration,
    /// Mean time from the delivery to what a reader does, likewise.
    pub read_after: Duration,
    /// Mean time from anything to its telling, likewise: what disturbs the order.
    pub told_after: Duration,
    /// Share of events that are told again, 3 to 46 times in all.
    pub again: f64,
    /// Mean time from one telling to the next, exponentially spread.
    pub again_after: Duration,
    /// How often a vendor tells what is due (`SendGrid`: 30 s).
    pub batch_every: Duration,
    /// Most events in one request; Twilio tells one at a time.
    pub batch_max: usize,
}

/// Who complains how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Complaints {
    /// Of this tenant's messages; `None`: of any.
    pub tenant: Option<String>,
    /// Of this campaign's.
    pub campaign: Option<String>,
    /// At this domain.
    pub domain: Option<String>,
    /// The share.
    pub rate: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            hard: 0.005,
            soft: 0.01,
            blocked: 0.005,
            dropped: 0.002,
            opened: 0.2,
            clicked: 0.03,
            unsubscribed: 0.002,
            complaints: vec![Complaints { rate: 0.0005, ..Complaints::default() }],
            delivered_after: Duration::from_millis(200),
            read_after: Duration::from_millis(500),
            told_after: Duration::from_millis(200),
            again: 0.1,
            again_after: Duration::from_millis(100),
            batch_every: Duration::from_millis(50),
            batch_max: 200,
        }
    }
}

/// A message that a vendor took, with what it will say of it each time.
#[derive(Debug)]
pub(in crate::sim::vendor) struct Message {
    pub(super) vendor: Vendor,
    pub(super) channel: Channel,
    pub(super) to: Box<str>,
    /// The vendor's own id.
    pub(super) id: Box<str>,
    /// What the sender had put in to be told again.
    pub(super) echo: Vec<(String, String)>,
    /// Where the sender wants to be told, if the message says so.
    pub(super) callback: Option<Box<str>>,
}

impl Message {
    pub(super) fn echoed(&self, name: &str) -> &str {
        self.echo.iter().find(|(k, _)| k == name).map_or("", |(_, value)| value)
    }

    pub(super) fn domain(&self) -> &str {
        self.to.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Something that nobody needs to know.
    Passing,
    /// Something that must be heard.
    Heard(Happened),
}

/// One event that is to be told once.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) message: Arc<Message>,
    pub(super) what: What,
    /// The vendor's id of it; the same each time it is told.
    pub(super) id: Arc<str>,
    /// When it happened, in seconds since 1970.
    pub(super) at_s: i64,
    /// Its place in the simulator's own list, if it must be heard.
    pub(super) place: Option<usize>,
}

/// An event of a message, and after what times it is told.
pub(super) struct Fate {
    pub(super) what: What,
    pub(super) id: Arc<str>,
    /// After the send.
    pub(super) happens: Duration,
    /// Likewise, one for each telling.
    pub(super) told: Vec<Duration>,
}

impl Model {
    /// Everything that will be said of a message.
    pub(super) fn fates(&self, message: &Message, rng: &mut SmallRng) -> Vec<Fate> {
        let mut happen = Vec::new();
        happen.push((What::Passing, Duration::ZERO));
        let arrives = after(rng, self.delivered_after);
        let mut one_of = rng.random::<f64>();
        let ends = [
            (self.hard, Happened::BouncedHard),
            (
                self.soft,
                if message.vendor == Vendor::SendGrid { Happened::BouncedBlocked } else { Happened::BouncedSoft },
            ),
            (self.blocked, Happened::BouncedBlocked),
            (self.dropped, Happened::VendorSuppressed),
        ];
        let mut falls = |share: f64| {
            one_of -= share;
            one_of < 0.0
        };
        let end = ends.into_iter().find(|(share, _)| falls(*share)).map_or(Happened::Delivered, |(_, end)| end);
        happen.push((What::Heard(end), arrives));
        if end == Happened::Delivered {
            let does = [
                (self.opened, Happened::Opened),
                (self.clicked, Happened::Clicked),
                (self.unsubscribed, Happened::Unsubscribed),
                (self.complains(message), Happened::Complained),
            ];
            for (share, what) in does {
                let texts = message.channel == Channel::Sms && what != Happened::Unsubscribed;
                if !texts && rng.random::<f64>() < share {
                    happen.push((What::Heard(what), arrives + after(rng, self.read_after)));
                }
            }
        }
        happen.into_iter().map(|(what, happens)| self.fate(message, what, happens, rng)).collect()
    }

    fn fate(&self, message: &Message, what: What, happens: Duration, rng: &mut SmallRng) -> Fate {
        let mut told = vec![happens + after(rng, self.told_after)];
        if rng.random::<f64>() < self.again {
            for n in 1..rng.random_range(3..=46) {
                told.push(told[n - 1] + after(rng, self.again_after));
            }
        }
        let random: u128 = rng.random();
        let id = match (message.vendor, what) {
            (Vendor::Twilio, What::Heard(Happened::Unsubscribed)) => format!("SM{random:032x}--"),
            (Vendor::Twilio, _) => {
                let (status, code) = sign::twilio_status(what);
                format!("{}-{status}-{code}", message.id)
            }
            (Vendor::SendGrid | Vendor::Webhook, _) => format!("{random:032x}"),
        };
        Fate { what, id: id.into(), happens, told }
    }

    fn complains(&self, message: &Message) -> f64 {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let (tenant, campaign) = (message.echoed("peakpost_tenant"), message.echoed("peakpost_campaign"));
        let fits =
            |of: &&Complaints| is(&of.tenant, tenant) && is(&of.campaign, campaign) && is(&of.domain, message.domain());
        self.complaints.iter().find(fits).map_or(0.0, |of| of.rate)
    }
}

/// An exponentially spread time, at most ten times its mean.
fn after(rng: &mut SmallRng, mean: Duration) -> Duration {
    let u: f64 = 1.0 - rng.random::<f64>();
    mean.mul_f64((-u.ln()).min(10.0))
}
