//! Feedback: what simulated vendors tell of the messages they took, signed, batched, late, again and out of order, until it
//! is heard.
//!
//! Why: whoever listens is judged by what was said, so an exact list is kept of what was said and what of it was answered.
//! Must not know: the listener under test, but for its address.

mod model;
mod read;
mod send;
mod sign;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

pub use model::{Complaints, Model};
pub use sign::{Signed, Signer};

pub(super) use read::messages;

use crate::event::Happened;
use crate::sim::arrivals::Vendor;
use model::Message;

/// Requests' worth of messages between the vendors' door and whoever tells.
const QUEUE: usize = 4096;

/// How vendors tell what becomes of messages.
#[derive(Clone, Debug)]
pub struct FeedbackConfig {
    /// Where the listener is. What stands before it (names, TLS, proxies) is left out.
    pub listener: SocketAddr,
    /// The URL that each vendor was given, by [`Vendor::index`]; its path is asked at `listener`, and where a vendor signs
    /// URLs, the whole is signed. `None`: this vendor tells nothing. A message that names its own goes before it.
    pub urls: [Option<String>; Vendor::ALL.len()],
    /// The vendors' keys.
    pub signer: Arc<Signer>,
    /// What happens.
    pub model: Model,
    /// Seeds what happens to whom, and when it is told.
    pub seed: u64,
}

/// One event that must be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who says it.
    pub vendor: Vendor,
    /// The vendor's id of it.
    pub id: Arc<str>,
    /// What happened.
    pub happened: Happened,
    /// Whose message it was, as the send had it echoed; empty where it had not.
    pub tenant: Box<str>,
    /// The campaign, likewise.
    pub campaign: Box<str>,
    /// The job's id, likewise.
    pub job: Box<str>,
    /// The lane's word, likewise.
    pub lane: Box<str>,
    /// The domain of a mail's recipient; empty for others.
    pub domain: Box<str>,
    /// Whether a request with it was answered 2xx.
    pub heard: bool,
}

/// Everything that was or will be said.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Each event that must be heard, once, in the order in which it was made up.
    pub events: Vec<Said>,
    /// Tellings of any event that are not answered 2xx yet.
    pub waiting: usize,
    /// Tellings that were answered 2xx.
    pub tellings: u64,
    /// Requests by answer; 0: none.
    pub answers: BTreeMap<u16, u64>,
    /// How long each 2xx took.
    pub took: Vec<Duration>,
}

/// The way to whoever tells. Ends when the last of these is dropped, or with the simulator.
#[derive(Clone)]
pub(super) struct Feedback {
    messages: mpsc::Sender<Vec<Message>>,
    told: Arc<Mutex<Told>>,
    listener: Arc<watch::Sender<SocketAddr>>,
}

impl Feedback {
    /// These have been sent. Waits while too much is about to be told.
    pub(super) async fn take(&self, messages: Vec<Message>) {
        // Only when the simulator has ended.
        let _ended = self.messages.send(messages).await;
    }

    pub(super) fn moves(&self, listener: SocketAddr) {
        self.listener.send_replace(listener);
    }

    pub(super) fn told(&self) -> Told {
        lock(&self.told).clone()
    }
}

/// A panic elsewhere must not hide what was said.
fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to tell.
pub(super) fn start(
    config: FeedbackConfig,
    stopped: watch::Receiver<bool>,
    runtime: &Handle,
) -> Result<Feedback, String> {
    let (messages, queue) = mpsc::channel(QUEUE);
    let (listener, at) = watch::channel(config.listener);
    let told = Arc::new(Mutex::new(Told::default()));
    let teller = send::Teller::new(config, Arc::clone(&told), at)?;
    runtime.spawn(async move {
        tokio::select! {
            () = teller.run(queue) => {}
            () = super::server::stopped(stopped) => {}
        }
    });
    Ok(Feedback { messages, told, listener: Arc::new(listener) })
}
