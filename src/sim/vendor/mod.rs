//! Simulated vendors: one loopback HTTP server that speaks three wire formats, keeps each vendor's rules and
//! limits, fails on request, and logs every arrival.
//!
//! Why: a run is judged by what arrived, and a friendly fake hides what a vendor would have refused.
//! Must not know: the dispatcher under test.
//!
//! | request | vendor |
//! |---|---|
//! | `POST /hook/…` | signed webhook; the job is named by `webhook-id` |
//! | `POST /v3/mail/send` | `SendGrid`; the job is named by the custom args `peakpost_tenant` and `peakpost_id` |
//! | `POST /2010-04-01/Accounts/{AC}/Messages.json` | Twilio; the job is named by `Tags`, the same two in JSON |
//! | `GET /arrivals`, `GET /requests` | the log as JSON lines; `?from=N&max=M` reads a part |
//! | `PUT /behaviour/{vendor}` | replaces the knobs of `webhook`, `sendgrid` or `twilio`: [`Behaviour`] in JSON |
//!
//! [`Simulator::feedback`] makes the vendors tell later what became of the messages they took, signed, in their own words.
//!
//! Magic recipients:
//!
//! | recipient | answer |
//! |---|---|
//! | mail to `invalid-…@…` | 400 that names the personalization |
//! | mail to `poison-…@…` | 400 that names nothing |
//! | number ending in 0001 or 0004 | 21610 unsubscribed |
//! | … 0002 | 21612 no route |
//! | … 0003 | 21408 region not enabled |
//! | … 0008 | 21611 sender's queue full |
//! | … 0009 | 21614 not a mobile number |
//! | `/hook/answer/{200–599}` | that status |
//!
//! (The endings are those of Twilio's test numbers, which are full numbers; 0001 is `invalid` there.)

mod answer;
mod behaviour;
pub mod feedback;
mod journal;
mod listener;
mod sendgrid;
mod server;
mod throttle;
mod twilio;
mod webhook;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use behaviour::{Behaviour, Flap, Latency, Lie, Limit, RetryAfter, Unit};

use super::arrivals::{Seen, Vendor};
use feedback::{FeedbackConfig, Told};
use journal::Journal;
use listener::{Bounded, Cut};
use server::Shared;

/// Most connections at a time; an HTTP/1.1 connection carries one request at a time.
const MAX_CONNECTIONS: usize = 4096;

/// How long [`Simulator::shutdown`] waits for requests that are being read or answered.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// What a simulator needs to start. The default listens on any free loopback port with credentials of its own.
#[derive(Clone)]
pub struct SimConfig {
    /// Where to listen; loopback only. Port 0 takes a free one.
    pub addr: SocketAddr,
    /// The API key that the mail vendor accepts.
    pub sendgrid_key: String,
    /// The account that the SMS vendor accepts.
    pub twilio_sid: String,
    /// Its password (auth token).
    pub twilio_password: String,
    /// The key webhooks are signed with: `whsec_` and base64.
    pub webhook_secret: String,
    /// Seeds faults, latencies and message ids.
    pub seed: u64,
    /// A file that every arrival is appended to as a JSON line, at least each 100 ms.
    pub journal: Option<PathBuf>,
    /// Most messages kept in memory. When they are reached every request is answered 503, so that nothing is
    /// taken that is not logged; taking the log makes room.
    pub max_messages: usize,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            sendgrid_key: "SG.simulated.key".to_owned(),
            twilio_sid: format!("AC{:032x}", 1),
            twilio_password: "simulated".to_owned(),
            webhook_secret: "whsec_c2ltdWxhdGVkLXNlY3JldC1vZi10aGlydHktdHdv".to_owned(),
            seed: 1,
            journal: None,
            max_messages: 20_000_000,
        }
    }
}

/// The running simulator. Dropped without [`Simulator::shutdown`] it stops too, but nobody waits for it.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    journal: Option<Journal>,
    runtime: Handle,
}

impl Simulator {
    /// Starts listening; runs on the tokio runtime it is called in.
    ///
    /// # Errors
    /// When the address is not loopback or taken, the webhook secret has another form, or the journal cannot
    /// be opened.
    pub async fn start(config: SimConfig) -> Result<Self, String> {
        if !config.addr.ip().is_loopback() {
            return Err(format!("the simulator listens on loopback only, not on {}", config.addr));
        }
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared::new(&config, stopped.clone())?);
        let journal = config.journal.map(|path| Journal::start(&path, &shared)).transpose()?;
        let failed =
            |e: std::io::Error| format!("cannot listen on {}: {e}; hint: port 0 takes a free one", config.addr);
        let listener = TcpListener::bind(config.addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let app = axum::Router::new().fallback(server::answer).with_state(Arc::clone(&shared));
        let app = app.into_make_service_with_connect_info::<Cut>();
        let serve =
            axum::serve(Bounded::new(listener, MAX_CONNECTIONS), app).with_graceful_shutdown(server::stopped(stopped));
        let server = tokio::spawn(async move { serve.await });
        Ok(Self { addr, shared, stop, server, journal, runtime: Handle::current() })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replaces a vendor's knobs from the next request on. What its limit counted so far stays counted.
    ///
    /// # Errors
    /// Names the value that makes no sense; nothing is changed.
    pub fn set_behaviour(&self, vendor: Vendor, behaviour: Behaviour) -> Result<(), String> {
        self.shared.set_behaviour(vendor, behaviour)
    }

    /// Answers 429 to every request to `vendor` before `until`; a time that has passed lifts it.
    pub fn throttle_until(&self, vendor: Vendor, until: Instant) {
        self.shared.throttle_until(vendor, until);
    }

    /// A copy of what arrived so far.
    #[must_use]
    pub fn arrivals(&self) -> Seen {
        self.shared.lock().seen.clone()
    }

    /// What arrived since it was last taken; forgets it. The journal keeps it.
    #[must_use]
    pub fn take_arrivals(&self) -> Seen {
        std::mem::take(&mut self.shared.lock().seen)
    }

    /// From now on tells a listener what becomes of the messages that are taken. Told once more, it goes on with the new
    /// configuration; what was about to be told is not told.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn feedback(&self, config: FeedbackConfig) -> Result<(), String> {
        let feedback = feedback::start(config, self.stop.subscribe(), &self.runtime)?;
        self.shared.lock().feedback = Some(feedback);
        Ok(())
    }

    /// The listener is elsewhere now: what has not been heard yet is told there.
    pub fn feedback_moves(&self, listener: SocketAddr) {
        if let Some(feedback) = &self.shared.lock().feedback {
            feedback.moves(listener);
        }
    }

    /// Everything that was or will be said, exactly.
    #[must_use]
    pub fn told(&self) -> Told {
        self.shared.lock().feedback.as_ref().map(feedback::Feedback::told).unwrap_or_default()
    }

    /// Stops accepting, releases what hangs, waits for answers under way (at most 5 s), completes the journal.
    ///
    /// # Errors
    /// When the server broke down or the journal could not be written.
    pub async fn shutdown(mut self) -> Result<(), String> {
        // Without a receiver the server has ended already, which the next line finds out.
        let _ended = self.stop.send(true);
        match tokio::time::timeout(SHUTDOWN_GRACE, &mut self.server).await {
            Ok(ended) => {
                ended.map_err(|e| e.to_string())?.map_err(|e| format!("the simulator's server broke down: {e}"))?;
            }
            Err(_) => self.server.abort(),
        }
        match self.journal {
            Some(journal) => tokio::task::spawn_blocking(|| journal.finish()).await.map_err(|e| e.to_string())?,
            None => Ok(()),
        }
    }
}
