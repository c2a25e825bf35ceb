//! The listener: limits, then who speaks, then what was said, then Kafka, then an answer.
//!
//! Why: it is reached by anybody. Whatever is wrong with a request has one and the same empty answer, costs little, and
//! is counted; a vendor whose request is right has 204 when its events are durable and 503 when they are not.
//! Must not know: what follows from an event.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::BytesMut;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_tokio::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::publish::{DURABLE_WITHIN, Event, Publisher, Undone};
use super::recent::{Print, Recent, print};
use super::{Config, Links};
use crate::event::{self, Heard, Record, VERSION};
use crate::job::Wall;
use crate::observe::{Clock, Metrics};
use crate::provider::{Call, Ear, Turned};
use crate::recipient::address::Keyer;
use crate::recipient::mailbox::Mailboxes;

/// Where providers' doors are.
const PATH: &str = "/feedback/";
/// Connections for each request at work: most of them are idle, or slow.
const CONNECTIONS_EACH: usize = 4;
/// Events that are surely remembered as written.
const REMEMBERED: usize = 100_000;
/// After an accept that failed: out of file descriptors, or the peer has gone.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);
/// In the metric, for what names no provider: no provider can be called so.
const NOBODY: &str = "?";

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
    /// Too many are at work.
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

/// A bound listener that answers nobody yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

/// A listener at work. Dropped without [`Listening::stop`] it ends in the middle of requests.
#[derive(Debug)]
pub struct Listening {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    patience: Duration,
}

/// What every request needs.
struct Shared {
    doors: BTreeMap<Box<str>, Ear>,
    keyer: Keyer,
    mailboxes: Mailboxes,
    metrics: Metrics,
    clock: Clock,
    publisher: Publisher,
    recent: Mutex<Recent>,
    at_work: Semaphore,
    body_max: usize,
    read_timeout: Duration,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(addr: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|e| format!("cannot listen on {addr}: {e}; hint: `feedback.listen` in the configuration"))?;
        Ok(Self { listener })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn addr(&self) -> Result<SocketAddr, String> {
        self.listener.local_addr().map_err(|e| e.to_string())
    }

    /// Begins to answer, in a task of its own.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub fn serve(self, config: &Config, links: Links) -> Result<Listening, String> {
        let shared = Arc::new(Shared {
            publisher: Publisher::new(config)?,
            doors: links.doors.into_iter().map(|door| (door.provider.into(), door.ear)).collect(),
            keyer: links.keyer,
            mailboxes: links.mailboxes,
            metrics: links.metrics,
            clock: links.clock,
            recent: Mutex::new(Recent::new(REMEMBERED)),
            at_work: Semaphore::new(config.concurrency),
            body_max: config.body_max,
            read_timeout: config.read_timeout,
        });
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Semaphore::new(config.concurrency * CONNECTIONS_EACH));
        let task = tokio::spawn(accept(self.listener, shared, connections, stopped));
        Ok(Listening { stop, task, patience: config.read_timeout * 2 + DURABLE_WITHIN })
    }
}

impl Listening {
    /// Whether it has ended by itself, which it should not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Accepts nothing more, answers what is at work, and ends. `false`: not in time, the rest was cut off.
    pub async fn stop(mut self) -> bool {
        // Without a receiver it has ended already.
        let _ended = self.stop.send(true);
        let ended = tokio::time::timeout(self.patience, &mut self.task).await.is_ok();
        self.task.abort();
        ended
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
) {
    let mut lines = JoinSet::new();
    loop {
        let next = async {
            // Never closed; if it were, nobody would be let in.
            let Ok(slot) = Arc::clone(&connections).acquire_owned().await else { return std::future::pending().await };
            (listener.accept().await, slot)
        };
        tokio::select! {
            () = told(stopped.clone()) => break,
            (accepted, slot) = next => match accepted {
                Ok((stream, _)) => {
                    lines.spawn(line(stream, slot, Arc::clone(&shared), stopped.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
        }
        while lines.try_join_next().is_some() {}
    }
    drop(listener);
    while lines.join_next().await.is_some() {}
    // The producer ends with its last user, and may take a moment for it.
    let _ended = tokio::task::spawn_blocking(move || drop(shared)).await;
}

/// Resolves when the listener is to end.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that nobody listens any more, which is as good.
    let _dropped = stopped.wait_for(|stop| *stop).await;
}

/// One connection to its end.
async fn line(stream: TcpStream, _slot: OwnedSemaphorePermit, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    // Small answers must not wait for the peer's acknowledgement; failing to set it only costs time.
    let _slow = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.read_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // What goes wrong with a connection is its peer's matter.
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = told(stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
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
        let _at_work = self.at_work.try_acquire().map_err(|_| Answered::Busy)?;
        let (head, body) = request.into_parts();
        let declared = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: usize| length > self.body_max) {
            return Err(Answered::TooLarge);
        }
        let body = tokio::time::timeout(self.read_timeout, read(body, self.body_max)).await;
        let body = body.map_err(|_| Answered::TooSlow)??;
        let now = self.clock.wall();
        let call = Call { query: head.uri.query(), headers: &head.headers, body: &body };
        let heard = ear.hear(&call, now).map_err(|turned| match turned {
            Turned::Forged => Answered::Forged,
            Turned::Stale => Answered::Stale,
            Turned::Malformed(_) => Answered::Malformed,
        })?;
        self.write(provider, &heard, now).await
    }

    /// Makes events durable, but for those that are.
    async fn write(&self, provider: &str, heard: &[Heard], now: Wall) -> Result<Answered, Answered> {
        let keys: Vec<String> = heard.iter().map(|heard| format!("{provider}/{}", heard.id)).collect();
        let prints: Vec<Print> = keys.iter().map(|key| print(key)).collect();
        let fresh: Vec<bool> = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let mut seen = HashSet::new();
            prints.iter().map(|print| !recent.knows(print) && seen.insert(*print)).collect()
        };
        let repeats = fresh.iter().filter(|fresh| !**fresh).count();
        let mut events = Vec::with_capacity(heard.len() - repeats);
        for ((heard, key), _) in heard.iter().zip(keys).zip(&fresh).filter(|(_, fresh)| **fresh) {
            events.push(self.event(provider, &key, heard, now)?);
        }
        if !events.is_empty() {
            self.publisher.publish(&events).await.map_err(|undone| match undone {
                Undone::Full => Answered::Busy,
                Undone::Failed => Answered::NotDurable,
            })?;
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).remember(prints);
        }
        for (heard, _) in heard.iter().zip(&fresh).filter(|(_, fresh)| **fresh) {
            self.metrics.feedback_events.with_label_values(&[provider, heard.happened.as_str()]).inc();
        }
        self.metrics.feedback_repeats.with_label_values(&[provider]).inc_by(repeats as u64);
        Ok(if repeats > 0 && events.is_empty() { Answered::Repeated } else { Answered::Taken })
    }

    /// An event as it stands in the topic. The address ends here.
    fn event(&self, provider: &str, id: &str, heard: &Heard, now: Wall) -> Result<Event, Answered> {
        let recipient = match heard.to.is_empty() {
            true => String::new(),
            false => self.keyer.hash(heard.channel, &heard.to).hex(),
        };
        let record = Record {
            v: VERSION,
            event: id.into(),
            happened: heard.happened,
            provider: provider.into(),
            channel: heard.channel,
            recipient: (&*recipient).into(),
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
        let value = serde_json::to_vec(&record).map_err(|_| Answered::Malformed)?;
        Ok(Event { key: event::key(&recipient, id).to_owned(), value })
    }
}

/// The whole body, if it is not too large.
async fn read(mut body: Incoming, most: usize) -> Result<BytesMut, Answered> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // Trailers say nothing to us.
        let Ok(part) = frame.map_err(|_| Answered::TooSlow)?.into_data() else { continue };
        if bytes.len() + part.len() > most {
            return Err(Answered::TooLarge);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
