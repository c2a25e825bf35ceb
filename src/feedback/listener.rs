//! The listener: takes connections, at most so many and none for ever, and hands on what is asked on them.
//!
//! Why: it is reached by anybody. Who is slow, silent or many must cost it little, and a stop must answer what is at work.
//! Must not know: what a request says, how it is answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_tokio::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::publish::DURABLE_WITHIN;
use super::request::Desk;
use super::tls::Served;
use super::{Config, Links};

/// Connections for each request at work: most of them are idle, or slow.
const CONNECTIONS_EACH: usize = 4;
/// What a connection may have read ahead, in bytes: a head must fit, bodies come in parts of it.
const BUFFER: usize = 64 << 10;
/// After an accept that failed: out of file descriptors, or the peer has gone.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

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

/// What every connection needs.
#[derive(Clone)]
struct Line {
    desk: Arc<Desk>,
    tls: Option<Served>,
    read_timeout: Duration,
    connection_max: Duration,
    patience: Duration,
    stopped: watch::Receiver<bool>,
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
        let (stop, stopped) = watch::channel(false);
        // For a body, and then for Kafka.
        let patience = config.read_timeout + DURABLE_WITHIN * 2;
        let line = Line {
            desk: Arc::new(Desk::new(config, links)?),
            tls: config.tls.clone().map(super::TlsConfig::serve),
            read_timeout: config.read_timeout,
            connection_max: config.connection_max,
            patience,
            stopped,
        };
        let connections = Arc::new(Semaphore::new(config.concurrency * CONNECTIONS_EACH));
        let task = tokio::spawn(accept(self.listener, line, connections));
        // The producer takes a moment to end, too.
        Ok(Listening { stop, task, patience: patience + DURABLE_WITHIN })
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

async fn accept(listener: TcpListener, line: Line, connections: Arc<Semaphore>) {
    let mut lines = JoinSet::new();
    loop {
        let next = async {
            // Never closed; if it were, nobody would be let in.
            let Ok(slot) = Arc::clone(&connections).acquire_owned().await else { return std::future::pending().await };
            (listener.accept().await, slot)
        };
        tokio::select! {
            () = told(line.stopped.clone()) => break,
            (accepted, slot) = next => match accepted {
                Ok((stream, _)) => {
                    lines.spawn(line.clone().run(stream, slot));
                }
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
        }
        while lines.try_join_next().is_some() {}
    }
    drop(listener);
    while lines.join_next().await.is_some() {}
    // The producer ends with its last user, and may take a moment for it.
    let _ended = tokio::task::spawn_blocking(move || drop(line)).await;
}

/// Resolves when the listener is to end.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that nobody listens any more, which is as good.
    let _dropped = stopped.wait_for(|stop| *stop).await;
}

impl Line {
    /// One connection to its end.
    async fn run(self, stream: TcpStream, _slot: OwnedSemaphorePermit) {
        // Small answers must not wait for the peer's acknowledgement; failing to set it only costs time.
        let _slow = stream.set_nodelay(true);
        let Some(served) = &self.tls else { return self.talk(stream).await };
        let tls = served.borrow().clone();
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.read_timeout, tls.accept(stream)) => shaken,
            () = told(self.stopped.clone()) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.talk(stream).await,
            // Whoever comes along can make any number of these: not for the log of every day.
            Ok(Err(error)) => tracing::debug!(target: "peakpost::feedback", %error, "no handshake"),
            Err(_) => tracing::debug!(target: "peakpost::feedback", "no handshake in time"),
        }
    }

    /// What goes wrong here is the peer's matter.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let service = service_fn(|request| {
            let desk = Arc::clone(&self.desk);
            async move { Ok::<_, Infallible>(desk.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // From the last answer on: who asks nothing more is cut off, too.
            .header_read_timeout(self.read_timeout)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ended = connection.as_mut() => return,
            () = told(self.stopped.clone()) => {}
            () = tokio::time::sleep(self.connection_max) => {}
        }
        connection.as_mut().graceful_shutdown();
        // Who does not read its answers would be waited for without end.
        let _ended = tokio::time::timeout(self.patience, connection).await;
    }
}
