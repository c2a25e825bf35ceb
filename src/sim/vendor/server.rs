//! The simulator's one handler: reads a request, has it judged, decides its fate, logs it, answers or does not.
//!
//! Why: fate, limit and log entry are settled under one lock, so the log is in the order of its times and agrees
//! with the limit to the nanosecond. Latency comes after, without the lock.
//! Must not know: any vendor's rules.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ring::hmac;
use serde::Serialize;
use tokio::sync::watch;

use super::SimConfig;
use super::answer::{Answer, Judged};
use super::behaviour::{Behaviour, Fate, Lie, Mood};
use super::feedback::{self, Feedback};
use super::listener::Cut;
use super::{sendgrid, throttle, twilio, webhook};
use crate::sim::arrivals::{Arrival, RequestArrival, Seen, Vendor};

/// Bodies above this are not read at all.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// What the requests share.
pub(super) struct Shared {
    start: Instant,
    seed: u64,
    max_messages: usize,
    sendgrid_key: String,
    twilio: twilio::Account,
    webhook_key: hmac::Key,
    next_request: AtomicU64,
    stopped: watch::Receiver<bool>,
    core: Mutex<Core>,
}

/// What is decided under the lock.
pub(super) struct Core {
    moods: [Mood; Vendor::ALL.len()],
    pub(super) seen: Seen,
    /// Lines for the journal; `None` without one.
    pub(super) pending: Option<Vec<u8>>,
    /// Who tells what becomes of messages; `None`: nobody.
    pub(super) feedback: Option<Feedback>,
}

/// An answer and how long it takes; without an answer the connection is cut.
struct Ruling<'s> {
    answer: Option<Answer>,
    after: Duration,
    sent: bool,
    /// Until the answer is given.
    _at_work: Option<AtWork<'s>>,
}

/// A request that the vendor let in. Dropped with its answer, and when its client has gone.
struct AtWork<'s>(&'s Shared, Vendor);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.lock().moods[self.1.index()].answered();
    }
}

impl Shared {
    pub(super) fn new(config: &SimConfig, stopped: watch::Receiver<bool>) -> Result<Self, String> {
        let moods = Vendor::ALL.map(|vendor| Mood::new(config.seed ^ vendor.index() as u64));
        Ok(Self {
            start: Instant::now(),
            seed: config.seed,
            max_messages: config.max_messages,
            sendgrid_key: config.sendgrid_key.clone(),
            twilio: twilio::Account { sid: config.twilio_sid.clone(), password: config.twilio_password.clone() },
            webhook_key: webhook::key(&config.webhook_secret)?,
            next_request: AtomicU64::new(0),
            stopped,
            core: Mutex::new(Core { moods, seen: Seen::default(), pending: None, feedback: None }),
        })
    }

    /// A panic elsewhere must not silence the log.
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_behaviour(&self, vendor: Vendor, behaviour: Behaviour) -> Result<(), String> {
        behaviour.check()?;
        if behaviour.concurrency.is_some() && vendor != Vendor::Twilio {
            return Err("`concurrency` is a cap of Twilio's; no other vendor here has one".to_owned());
        }
        let mut core = self.lock();
        let now = self.nanos(Instant::now());
        core.moods[vendor.index()].set(behaviour, now);
        Ok(())
    }

    pub(super) fn throttle_until(&self, vendor: Vendor, until: Instant) {
        self.lock().moods[vendor.index()].throttle_until(self.nanos(until));
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn judge(&self, vendor: Vendor, request: u64, head: &Parts, body: &[u8]) -> Judged {
        let id: u128 = SmallRng::seed_from_u64(self.seed.rotate_left(32) ^ request).random();
        match vendor {
            Vendor::Webhook => webhook::judge(&self.webhook_key, since_1970().as_secs().cast_signed(), head, body),
            Vendor::SendGrid => {
                sendgrid::judge(&self.sendgrid_key, URL_SAFE_NO_PAD.encode(id.to_be_bytes()), head, body)
            }
            Vendor::Twilio => twilio::judge(&self.twilio, &format!("SM{id:032x}"), head, body),
        }
    }

    /// Decides and logs.
    fn rule(&self, vendor: Vendor, request: u64, judged: Judged) -> Ruling<'_> {
        let Judged { keys, mut answer, taken } = judged;
        let messages = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let mut core = self.lock();
        // Read under the lock, so that the log's times ascend.
        let at = self.nanos(Instant::now());
        let full = core.seen.messages.len() + keys.len() > self.max_messages;
        let mood = &mut core.moods[vendor.index()];
        let fate = if full { Fate::Fail(503) } else { mood.decide(at, messages) };
        let (behaviour, latency, left) = (mood.behaviour, mood.latency(), mood.left(at));
        let let_in = !full && !matches!(fate, Fate::Throttle(_));
        let at_work = mood.at_work() + u32::from(!let_in);
        if let (Vendor::SendGrid, Some((limit, left, free))) = (vendor, left) {
            answer = throttle::rate_headers(answer, Some(limit), left, throttle::whole_seconds(since_1970(), free));
        }
        let limit = left.map(|(limit, ..)| limit);
        let mut told = 0;
        let (answer, after, sent) = match fate {
            Fate::Rules => (Some(if taken { lied(answer, behaviour.lie) } else { answer }), latency, taken),
            Fate::Fail(status) => (Some(failed(vendor, status)), latency, false),
            Fate::Silence(hold) => (None, hold, taken),
            Fate::Throttle(wait) => {
                let (answer, wait) = throttle::answer(vendor, wait, behaviour.retry_after, limit, since_1970());
                told = wait;
                (Some(answer), latency, false)
            }
        };
        let answer = match vendor {
            Vendor::Twilio => answer.map(|a| a.with("twilio-concurrent-requests", at_work.to_string())),
            Vendor::Webhook | Vendor::SendGrid => answer,
        };
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let until = if told > 0 { at.saturating_add(told) } else { 0 };
        core.seen.requests.push(RequestArrival { at, vendor, answer: status, messages, until });
        if !full {
            core.log(keys.into_iter().map(|key| Arrival { at, request, vendor, key, answer: status, sent }));
        }
        drop(core);
        Ruling { answer, after, sent, _at_work: let_in.then(|| AtWork(self, vendor)) }
    }

    /// Waits, but not beyond the simulator's end.
    async fn pause(&self, time: Duration) {
        if time > Duration::ZERO {
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = stopped(self.stopped.clone()) => {}
            }
        }
    }

    fn control(&self, method: &Method, head: &Parts, body: &[u8]) -> Answer {
        let path = head.uri.path();
        match (method.as_str(), path) {
            ("GET", "/arrivals") => self.lines(head, |seen| &seen.messages),
            ("GET", "/requests") => self.lines(head, |seen| &seen.requests),
            ("PUT", _) => match path.strip_prefix("/behaviour/").map(|vendor| self.steer(vendor, body)) {
                Some(Ok(())) => Answer::empty(),
                Some(Err(why)) => Answer::text(400, why),
                None => Answer::text(404, "not found"),
            },
            _ => Answer::text(404, "not found"),
        }
    }

    fn steer(&self, vendor: &str, body: &[u8]) -> Result<(), String> {
        self.set_behaviour(vendor.parse()?, serde_json::from_slice(body).map_err(|e| e.to_string())?)
    }

    /// The log, or the part that `from` and `max` ask for, as JSON lines.
    fn lines<T: Serialize + Clone>(&self, head: &Parts, list: impl Fn(&Seen) -> &Vec<T>) -> Answer {
        let (mut from, mut max) = (0_usize, usize::MAX);
        for (name, value) in url::form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes()) {
            match (&*name, value.parse()) {
                ("from", Ok(n)) => from = n,
                ("max", Ok(n)) => max = n,
                _ => return Answer::text(400, "only `from` and `max`, whole numbers, are known"),
            }
        }
        let part: Vec<T> = list(&self.lock().seen).iter().skip(from).take(max).cloned().collect();
        let mut out = Vec::new();
        for entry in &part {
            line(&mut out, entry);
        }
        Answer { body: out.into(), ..Answer::empty() }.with("content-type", "application/x-ndjson")
    }
}

impl Core {
    fn log(&mut self, arrivals: impl Iterator<Item = Arrival>) {
        let from = self.seen.messages.len();
        self.seen.messages.extend(arrivals);
        if let Some(pending) = &mut self.pending {
            self.seen.messages[from..].iter().for_each(|arrival| line(pending, arrival));
        }
    }
}

/// Writing these types to memory cannot fail: their keys are strings and their numbers whole.
fn line(out: &mut Vec<u8>, entry: &impl Serialize) {
    if serde_json::to_writer(&mut *out, entry).is_ok() {
        out.push(b'\n');
    }
}

/// Resolves when the simulator ends.
pub(super) async fn stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the simulator was dropped, which ends it too.
    let _dropped = stopped.wait_for(|stop| *stop).await;
}

/// Answers one request, or cuts its connection.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answer = respond(&shared, &head, body).await;
    if answer.is_none() {
        cut.cut();
    }
    // On a cut connection this goes nowhere.
    answer.unwrap_or_else(Answer::empty).into_response()
}

async fn respond(shared: &Shared, head: &Parts, body: Body) -> Option<Answer> {
    // Too large, or broken off by the client: it never arrived as a whole, so there is nothing to log.
    let body = to_bytes(body, MAX_BODY_BYTES).await.ok()?;
    let Some(vendor) = vendor(head.uri.path()) else { return Some(shared.control(&head.method, head, &body)) };
    if head.method != Method::POST {
        return Some(Answer::text(405, "method not allowed"));
    }
    let request = shared.next_request.fetch_add(1, Ordering::Relaxed);
    let judged = shared.judge(vendor, request, head, &body);
    let feedback = shared.lock().feedback.clone();
    let feedback = feedback.filter(|_| judged.taken);
    let feedback = feedback.map(|to| (feedback::messages(vendor, &body, &judged.answer), to));
    drop(body);
    let ruling = shared.rule(vendor, request, judged);
    if let Some((messages, to)) = feedback.filter(|_| ruling.sent) {
        to.take(messages).await;
    }
    shared.pause(ruling.after).await;
    ruling.answer
}

fn vendor(path: &str) -> Option<Vendor> {
    match path {
        "/v3/mail/send" => Some(Vendor::SendGrid),
        _ if path.starts_with("/hook/") => Some(Vendor::Webhook),
        _ if path.starts_with("/2010-04-01/Accounts/") => Some(Vendor::Twilio),
        _ => None,
    }
}

fn failed(vendor: Vendor, status: u16) -> Answer {
    let text = if status == 503 { "Service Unavailable" } else { "Internal Server Error" };
    match vendor {
        Vendor::Webhook => Answer::text(status, text),
        Vendor::SendGrid => sendgrid::error(status, text),
        // Codes 20500 and 20503 are unverified.
        Vendor::Twilio => twilio::error(status, 20_000 + u32::from(status), text),
    }
}

fn lied(answer: Answer, lie: Option<Lie>) -> Answer {
    match lie {
        None => answer,
        Some(Lie::Html) => {
            let page = "<!doctype html><title>Sign in</title><p>Please sign in to the network.";
            Answer { body: page.into(), ..Answer::empty() }.with("content-type", "text/html; charset=utf-8")
        }
        Some(Lie::HalfJson) => Answer { body: "{\"errors\":[{\"mess".into(), ..answer },
        Some(Lie::Huge) => Answer { body: vec![b' '; 16 * 1024 * 1024].into(), ..answer },
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
