//! The ops listener: /metrics, /livez, /readyz, /explain.
//!
//! Why: Prometheus and the orchestrator ask here; it answers from snapshots, so that asking never slows sending.
//! Must not know: how any number comes about.

mod explain;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::dispatch::GateHandle;
use crate::intake::Status;
use crate::observe::{Clock, Metrics};
use crate::recipient::Recipients;

pub use explain::Explained;

/// What the listener shows.
#[derive(Debug)]
pub struct View {
    /// How intake is doing.
    pub status: watch::Receiver<Status>,
    /// Who must not be written to, and whether that is known.
    pub recipients: Arc<Recipients>,
    /// The time.
    pub clock: Clock,
    /// Every metric.
    pub metrics: Metrics,
    /// Every provider's gate, to be asked what binds.
    pub gates: Vec<GateHandle>,
}

/// A bound ops listener.
#[derive(Debug)]
pub struct Console {
    listener: tokio::net::TcpListener,
}

impl Console {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(addr: SocketAddr) -> Result<Self, String> {
        let listener = tokio::net::TcpListener::bind(addr)
            .await
            .map_err(|e| format!("cannot listen on {addr}: {e}; hint: `ops.listen` in the configuration"))?;
        Ok(Self { listener })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn addr(&self) -> Result<SocketAddr, String> {
        self.listener.local_addr().map_err(|e| e.to_string())
    }

    /// Answers until the task is dropped.
    pub async fn serve(self, view: View) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/explain", get(explain::explain))
            .with_state(Arc::new(view));
        if let Err(error) = axum::serve(self.listener, router).await {
            tracing::error!(target: "peakpost::console", %error, "the ops listener has ended");
        }
    }
}

async fn metrics(State(view): State<Arc<View>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], view.metrics.render()).into_response()
}

/// Alive as long as the intake thread is.
async fn livez(State(view): State<Arc<View>>) -> Response {
    match view.status.has_changed() {
        Ok(_) => (StatusCode::OK, "alive\n").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the intake thread has ended\n").into_response(),
    }
}

/// Ready when the group has given us our homes, we may send for them and know to whom not, and nothing is stopped or
/// draining.
async fn readyz(State(view): State<Arc<View>>) -> Response {
    let status = view.status.borrow().clone();
    let mut faults: Vec<String> =
        status.stopped.iter().map(|(home, error)| format!("home {home} has stopped: {error}")).collect();
    if !status.joined {
        faults.push(
            "the group has not given this instance its homes yet, or it has lost them; is Kafka reachable?".to_owned(),
        );
    } else if !status.leased && !status.homes.is_empty() {
        faults.push(
            "the lease has run out: no commit was acknowledged in time; is the group's coordinator up?".to_owned(),
        );
    }
    faults.extend(view.recipients.fault(view.clock.mono()));
    if status.opening > 0 {
        faults.push(format!("{} homes are being opened", status.opening));
    }
    if !status.draining.is_empty() {
        faults.push(format!("draining: {}", status.draining));
    }
    match faults.is_empty() {
        true => {
            let body = format!("ready, {} homes\n{}", status.homes.len(), view.metrics.stopped_providers());
            (StatusCode::OK, body).into_response()
        }
        false => (StatusCode::SERVICE_UNAVAILABLE, faults.join("\n") + "\n").into_response(),
    }
}
