//! One request: limits, then who speaks, then what was said, then Kafka, then an answer.
//!
//! Why: whatever is wrong with a request has one and the same empty answer, costs little, and is counted; a vendor whose
//! request is right has 204 when its events are durable and 503 when they are not.
//! Must not know: connections, what follows from an event.

use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::BytesMut;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::publish::{Publisher, Undone};
use super::recent::{Print, Recent, print};
use super::{Config, Links};
use crate::event::{self, Happened, Heard, Record, VERSION};
use crate::job::Wall;
use crate::observe::{Clock, Metrics};
use crate::provider::{Call, Ear, Turned};
use crate::recipient::address::Keyer;
use crate::recipient::mailbox::Mailboxes;

/// Where providers' doors are.
const PATH: &str = "/feedback/";
/// Events that are surely remembered as written.
const REMEMBERED: usize = 100_000;
/// In the metric, for what names no provider: no provider can be called so.
const NOBODY: &str = "?";
/// Room for an event as it is written; most take less.
const RECORD: usize = 512;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// Its events are durable.
    Taken,
    /// So they had been before.
    Repeated,
    /// No door is there.
    Unknown,
    /// It was not sent by the vendor.
    Forged,
    /// It was, but long ago.
    Stale,
    /// It was, and makes no sense.
    Malformed,
    /// Its body is over the limit.
    TooLarge,
    /// Its body did not come in time, or broke off.
    TooSlow,
    /// Too many are at work, or too many bytes are on their way.
    Busy,
    /// Kafka has not taken its events in time.
    NotDurable,
}

impl Answered {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Repeated => "repeated",
            Self::Unknown => "unknown",
            Self::Forged => "forged",
            Self::Stale => "stale",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Busy => "busy",
            Self::NotDurable => "not_durable",
        }
    }

    /// 404 says nothing but that this is no place for the request.
    const fn status(self) -> StatusCode {
        match self {
            Self::Taken | Self::Repeated => StatusCode::NO_CONTENT,
            Self::Busy | Self::NotDurable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown | Self::Forged | Self::Stale | Self::Malformed | Self::TooLarge | Self::TooSlow => {
                StatusCode::NOT_FOUND
            }
        }
    }
}

impl From<Undone> for Answered {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full => Self::Busy,
            Undone::Failed => Self::NotDurable,
        }
    }
}

/// Where requests are answered.
pub(super) struct Desk {
    doors: BTreeMap<Box<str>, Ear>,
    keyer: Keyer,
    mailboxes: Mailboxes,
    metrics: Metrics,
    clock: Clock,
    publisher: Publisher,
    recent: Mutex<Recent>,
    at_work: Semaphore,
    /// Bytes of bodies that may be on their way, of all requests together.
    room: Semaphore,
    body_max: usize,
    read_timeout: Duration,
}

/// An event that is not known to be written.
struct Fresh<'a> {
    heard: &'a Heard,
    key: String,
    print: Print,
}

impl Desk {
    /// # Errors
    /// When the producer cannot be made.
    pub(super) fn new(config: &Config, links: Links) -> Result<Self, String> {
        Ok(Self {
            publisher: Publisher::new(config)?,
            doors: links.doors.into_iter().map(|door| (door.provider.into(), door.ear)).collect(),
            keyer: links.keyer,
            mailboxes: links.mailboxes,
            metrics: links.metrics,
            clock: links.clock,
            recent: Mutex::new(Recent::new(REMEMBERED)),
            at_work: Semaphore::new(config.concurrency),
            room: Semaphore::new(config.concurrency.saturating_mul(config.body_max)),
            body_max: config.body_max,
            read_timeout: config.read_timeout,
        })
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let begun = self.clock.mono();
        let door = (request.uri().path().strip_prefix(PATH))
            .filter(|_| *request.method() == Method::POST)
            .and_then(|name| self.doors.get_key_value(name));
        let (provider, answered) = match door {
            Some((name, ear)) => (&**name, self.take(name, ear, request).await.unwrap_or_else(|turned| turned)),
            None => (NOBODY, Answered::Unknown),
        };
        let status = answered.status();
        self.metrics.feedback_requests.with_label_values(&[provider, answered.as_str()]).inc();
        if status.is_success() {
            let took = self.clock.mono().saturating_duration_since(begun);
            self.metrics.feedback_latency.with_label_values(&[provider]).observe(took.as_secs_f64());
        } else {
            // Whoever comes along can make any number of these: not for the log of every day.
            tracing::debug!(target: "peakpost::feedback", provider, result = answered.as_str(), "turned away");
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    }

    /// `Err` is for what ends on the way.
    async fn take(&self, provider: &str, ear: &Ear, request: Request<Incoming>) -> Result<Answered, Answered> {
        let (head, body) = request.into_parts();
        let declared = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: usize| length > self.body_max) {
            return Err(Answered::TooLarge);
        }
        let (body, room) = match tokio::time::timeout(self.read_timeout, self.read(body)).await {
            Ok(read) => read?,
            Err(_) => return Err(Answered::TooSlow),
        };
        // Only now: who is slow holds no place of those who are not.
        let _at_work = self.at_work.try_acquire().map_err(|_| Answered::Busy)?;
        let now = self.clock.wall();
        let call = Call { query: head.uri.query(), headers: &head.headers, body: &body };
        let heard = ear.hear(&call, now).map_err(|turned| match turned {
            Turned::Forged => Answered::Forged,
            Turned::Stale => Answered::Stale,
            Turned::Malformed(_) => Answered::Malformed,
        })?;
        drop((body, room));
        self.write(provider, &heard, now).await
    }

    /// The whole body, if it is not too large, and the room that it takes.
    async fn read(&self, mut body: Incoming) -> Result<(BytesMut, SemaphorePermit<'_>), Answered> {
        let of = |bytes: usize| u32::try_from(bytes).ok().and_then(|bytes| self.room.try_acquire_many(bytes).ok());
        let (mut bytes, mut room) = (BytesMut::new(), of(0).ok_or(Answered::Busy)?);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            // Trailers say nothing to us.
            let Ok(part) = frame.map_err(|_| Answered::TooSlow)?.into_data() else { continue };
            if bytes.len() + part.len() > self.body_max {
                return Err(Answered::TooLarge);
            }
            room.merge(of(part.len()).ok_or(Answered::Busy)?);
            bytes.extend_from_slice(&part);
        }
        Ok((bytes, room))
    }

    /// Makes events durable, but for those that are.
    async fn write(&self, provider: &str, heard: &[Heard], now: Wall) -> Result<Answered, Answered> {
        let fresh = self.fresh(provider, heard);
        let repeats = heard.len() - fresh.len();
        if !fresh.is_empty() {
            let (mut writing, mut value) = (self.publisher.begin(), Vec::with_capacity(RECORD));
            for Fresh { heard, key, .. } in &fresh {
                value.clear();
                let recipient = self.recipient(heard);
                self.record((provider, key), &recipient, heard, now, &mut value)?;
                writing.event(event::key(&recipient, key), &value)?;
            }
            writing.durable().await?;
            let prints = fresh.iter().map(|fresh| fresh.print);
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).remember(prints);
        }
        for happened in Happened::ALL {
            let count = fresh.iter().filter(|fresh| fresh.heard.happened == happened).count();
            if count > 0 {
                let events = self.metrics.feedback_events.with_label_values(&[provider, happened.as_str()]);
                events.inc_by(count as u64);
            }
        }
        self.metrics.feedback_repeats.with_label_values(&[provider]).inc_by(repeats as u64);
        Ok(if repeats > 0 && fresh.is_empty() { Answered::Repeated } else { Answered::Taken })
    }

    /// Each event once, but for those that were written lately.
    fn fresh<'a>(&self, provider: &str, heard: &'a [Heard]) -> Vec<Fresh<'a>> {
        let with_key = |heard: &'a Heard| {
            let key = [provider, "/", &*heard.id].concat();
            Fresh { heard, print: print(&key), key }
        };
        let mut fresh: Vec<Fresh<'a>> = heard.iter().map(with_key).collect();
        let mut seen = HashSet::with_capacity(fresh.len());
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.retain(|one| !recent.knows(&one.print) && seen.insert(one.print));
        fresh
    }

    /// Whom it is about, hidden: the address ends here. Empty: nobody knows.
    fn recipient(&self, heard: &Heard) -> String {
        match heard.to.is_empty() {
            true => String::new(),
            false => self.keyer.hash(heard.channel, &heard.to).hex(),
        }
    }

    /// An event as it stands in the topic.
    fn record(
        &self,
        (provider, key): (&str, &str),
        recipient: &str,
        heard: &Heard,
        now: Wall,
        to: &mut Vec<u8>,
    ) -> Result<(), Answered> {
        let record = Record {
            v: VERSION,
            event: key.into(),
            happened: heard.happened,
            provider: provider.into(),
            channel: heard.channel,
            recipient: recipient.into(),
            mailbox: self.mailboxes.of(heard.channel, &heard.to).into(),
            id: (&*heard.echo.id).into(),
            tenant: (&*heard.echo.tenant).into(),
            campaign: (&*heard.echo.campaign).into(),
            lane: heard.echo.lane,
            sent_ms: heard.echo.sent.map(|sent| sent.0),
            at_ms: heard.at.0,
            heard_ms: now.0,
            vendor_id: (&*heard.vendor_id).into(),
            detail: (&*heard.detail).into(),
        };
        serde_json::to_writer(to, &record).map_err(|_| Answered::Malformed)
    }
}
