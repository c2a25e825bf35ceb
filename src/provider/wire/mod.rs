//! Moves bytes between us and a vendor: one HTTP client per provider, with the address filter in its connector.
//!
//! Why: what reached the vendor decides whether sending again can send twice, so the wire says at which point
//! it failed. It never follows redirects, never uses a proxy, never retries (one layer retries, and it is not
//! this one).
//! Must not know: vendors, jobs, verdicts.

pub mod guard;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Reply, Request};
use crate::observe::failpoint::failpoint;
use guard::Guard;

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
    client: reqwest::Client,
    guard: Arc<Guard>,
}

impl Wire {
    /// Builds the client.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: &WireConfig) -> Result<Self, String> {
        let guard = Arc::new(Guard::new(&config.allow_hosts));
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::clone(&guard))
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            .pool_max_idle_per_host(config.idle_connections)
            .tcp_nodelay(true)
            .user_agent(concat!("peakpost/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("cannot build the HTTP client: {e}"))?;
        Ok(Self { client, guard })
    }

    /// Sends one request and reads its reply.
    ///
    /// # Errors
    /// Says whether the request can have reached the vendor.
    pub async fn send(&self, request: Request) -> Result<Reply, WireError> {
        // A resolver never sees an address literal, so literals are judged here.
        self.guard.judge_literal(&request.url).map_err(WireError::Forbidden)?;
        let call = self.client.post(request.url).headers(request.headers).body(request.body);
        failpoint!("after_first_byte", soon);
        let mut response = call.send().await.map_err(|e| classify(&e))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while body.len() < MAX_REPLY_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_REPLY_BYTES - body.len())]),
                Ok(None) => break,
                // The head has said yes; the body is only words.
                Err(_) if (200..300).contains(&status) => break,
                Err(e) => return Err(classify(&e)),
            }
        }
        Ok(Reply { status, headers, body: Bytes::from(body) })
    }
}

fn classify(e: &reqwest::Error) -> WireError {
    let text = chain(e);
    if guard::is_forbidden(e) {
        WireError::Forbidden(text)
    } else if e.is_connect() || e.is_builder() {
        WireError::BeforeWrite(text)
    } else if e.is_timeout() {
        WireError::Timeout(text)
    } else {
        WireError::Broken(text)
    }
}

/// The error with its causes, without the URL (it may be a recipient).
fn chain(e: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(e);
    while let Some(c) = cause {
        text.push_str(if text.is_empty() { "" } else { ": " });
        text.push_str(&c.to_string());
        cause = c.source();
    }
    if text.is_empty() { "request failed".to_owned() } else { text }
}
