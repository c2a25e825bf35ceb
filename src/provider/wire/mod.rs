//! Moves bytes between us and a vendor: one HTTP client per provider, with the address filter in its connector.
//!
//! Why: what reached the vendor decides whether sending again can send twice, so the wire says at which point
//! it failed. It never follows redirects, never uses a proxy, never retries (one layer retries, and it is not
//! this one): only a request of which nothing was written goes on to another connection when a pooled one was closed.
//! Must not know: vendors, jobs, verdicts.

mod connect;
pub mod guard;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_bodies::{BodyExt, Full};
use hyper::Method;
use hyper::header::{ACCEPT, HeaderValue, USER_AGENT};
use hyper_tokio::client::legacy::{self, Client};
use hyper_tokio::rt::{TokioExecutor, TokioTimer};

use super::{Reply, Request};
use crate::observe::failpoint::failpoint;
use connect::Connector;
use guard::{Guard, Resolver};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(90);

/// Replies are read up to this size; the rest is left unread.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;

/// Where a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// No byte of the request left: resolving, connecting or TLS failed.
    BeforeWrite(String),
    /// The address is one we may not connect to. No byte left.
    Forbidden(String),
    /// No complete answer in time after the request may have been written.
    Timeout(String),
    /// The connection broke after the request may have been written.
    Broken(String),
}

/// Connection settings of one provider.
#[derive(Debug, Clone)]
pub struct WireConfig {
    /// Longest wait for a connection with TLS.
    pub connect_timeout: Duration,
    /// Longest time for one request, connecting included.
    pub request_timeout: Duration,
    /// Most idle connections kept.
    pub idle_connections: usize,
    /// Hosts that may be reached although they are private.
    pub allow_hosts: Vec<String>,
}

/// A provider's HTTP client.
#[derive(Debug, Clone)]
pub struct Wire {
    client: Client<Connector, Full<Bytes>>,
    guard: Arc<Guard>,
    request_timeout: Duration,
}

impl Wire {
    /// Builds the client.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: &WireConfig) -> Result<Self, String> {
        let guard = Arc::new(Guard::new(&config.allow_hosts));
        let connector = Connector::new(Resolver(Arc::clone(&guard)), config.connect_timeout)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.idle_connections)
            .build(connector);
        Ok(Self { client, guard, request_timeout: config.request_timeout })
    }

    /// Sends one request and reads its reply.
    ///
    /// # Errors
    /// Says whether the request can have reached the vendor.
    pub async fn send(&self, request: Request) -> Result<Reply, WireError> {
        // A resolver never sees an address literal, so literals are judged here.
        self.guard.judge_literal(&request.url).map_err(WireError::Forbidden)?;
        let call = call(request)?;
        failpoint!("after_first_byte", soon);
        match tokio::time::timeout(self.request_timeout, self.answer(call)).await {
            Ok(answer) => answer,
            Err(_) => Err(WireError::Timeout(format!("no complete answer within {:?}", self.request_timeout))),
        }
    }

    async fn answer(&self, call: hyper::Request<Full<Bytes>>) -> Result<Reply, WireError> {
        let mut response = self.client.request(call).await.map_err(|e| classify(&e))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while body.len() < MAX_REPLY_BYTES {
            match response.frame().await.map(|frame| frame.map(hyper::body::Frame::into_data)) {
                Some(Ok(Ok(chunk))) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_REPLY_BYTES - body.len())]),
                // Trailers say nothing that we ask for.
                Some(Ok(Err(_))) => {}
                None => break,
                // The head has said yes; the body is only words.
                Some(Err(_)) if (200..300).contains(&status) => break,
                Some(Err(e)) => return Err(WireError::Broken(chain(&e))),
            }
        }
        Ok(Reply { status, headers, body: Bytes::from(body) })
    }
}

/// The request as the client takes it.
fn call(request: Request) -> Result<hyper::Request<Full<Bytes>>, WireError> {
    let mut call = hyper::Request::new(Full::new(request.body));
    *call.method_mut() = Method::POST;
    *call.uri_mut() = String::from(request.url).try_into().map_err(|e| WireError::BeforeWrite(format!("{e}")))?;
    *call.headers_mut() = request.headers;
    for (name, value) in [(USER_AGENT, concat!("peakpost/", env!("CARGO_PKG_VERSION"))), (ACCEPT, "*/*")] {
        call.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    Ok(call)
}

fn classify(e: &legacy::Error) -> WireError {
    match guard::is_forbidden(e) {
        true => WireError::Forbidden(chain(e)),
        false if e.is_connect() => WireError::BeforeWrite(chain(e)),
        false => WireError::Broken(chain(e)),
    }
}

/// The error's causes, without the URL (it may be a recipient).
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = e.source();
    while let Some(c) = cause {
        text.push_str(if text.is_empty() { "" } else { ": " });
        text.push_str(&c.to_string());
        cause = c.source();
    }
    if text.is_empty() { "request failed".to_owned() } else { text }
}
