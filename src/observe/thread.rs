//! A thread that works until it is told to end.
//!
//! Why: a Kafka client may block when it is made, read and dropped, so each of those who follow a topic has a thread of
//! its own; how it is begun, watched and ended is said once.
//! Must not know: what is done there.

use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use tokio::sync::oneshot;

/// A running thread. Dropping it tells the thread to end as well, and waits for nothing.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    /// Nothing is ever sent: that it is dropped is the word.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// By which the thread learns that it is to end.
#[derive(Debug)]
pub struct Stop(Receiver<()>);

impl Stop {
    /// Whether it is to end.
    #[must_use]
    pub fn is_told(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits so long, or until it is to end. Whether it is.
    #[must_use]
    pub fn told_within(&self, wait: Duration) -> bool {
        self.0.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }
}

impl Running {
    /// Starts a thread of that name.
    ///
    /// # Errors
    /// When the system has none.
    pub fn start(name: &'static str, work: impl FnOnce(&Stop) + Send + 'static) -> Result<Self, String> {
        let (stop, stopped) = bounded(1);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&Stop(stopped)));
        let thread = thread.map_err(|e| format!("cannot start the thread `{name}`: {e}"))?;
        Ok(Self { name, stop, thread })
    }

    /// The same for work that must first succeed in making something: returns when that is made.
    ///
    /// # Errors
    /// When the system has no thread, or why nothing was made.
    pub async fn ready<T>(
        name: &'static str,
        make: impl FnOnce() -> Result<T, String> + Send + 'static,
        work: impl FnOnce(T, &Stop) + Send + 'static,
    ) -> Result<Self, String> {
        let (tell, told) = oneshot::channel();
        let running = Self::start(name, move |stop| {
            let (made, said) = match make() {
                Ok(made) => (Some(made), Ok(())),
                Err(why) => (None, Err(why)),
            };
            // Who has gone meanwhile has dropped the word to end as well.
            let _gone = tell.send(said);
            if let Some(made) = made {
                work(made, stop);
            }
        })?;
        told.await.map_err(|_| format!("the thread `{name}` ended early; see the log"))??;
        Ok(running)
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Tells it to end and waits for that.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!(target: "peakpost::app", thread = self.name, "a thread panicked");
        }
    }
}
