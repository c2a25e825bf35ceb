//! Makes connections: resolves by the guard, connects, speaks TLS, all of it within one time.
//!
//! Why: a connection that cannot be made in time is the one failure of which it is sure that nothing was written.
//! Must not know: requests.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_tokio::client::legacy::connect::HttpConnector;
use hyper_tokio::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::guard::{Failed, Resolver};

/// A quiet connection is asked for a sign of life so often, and is dead after so many without one.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(15), 3);

/// The connector of one provider.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
    within: Duration,
}

impl Connector {
    /// Connects within `within`, TLS included; certificates are judged as the system judges them.
    pub(super) fn new(resolver: Resolver, within: Duration) -> Result<Self, String> {
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        // Shared out among a name's addresses: one that does not answer must not use up the others' time.
        http.set_connect_timeout(Some(within));
        http.set_keepalive(Some(KEEPALIVE.0));
        http.set_keepalive_interval(Some(KEEPALIVE.0));
        http.set_keepalive_retries(Some(KEEPALIVE.1));
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
            .map_err(|e| format!("cannot judge certificates: {e}"))?;
        Ok(Self { https: tls.https_or_http().enable_all_versions().wrap_connector(http), within })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, within) = (self.https.call(to), self.within);
        Box::pin(async move {
            match tokio::time::timeout(within, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {within:?}").into()),
            }
        })
    }
}
