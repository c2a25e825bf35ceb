//! Keeps requests away from addresses that are not the internet's: loopback, private, link-local, metadata.
//!
//! Why: a webhook's URL is written by strangers. The name is resolved once and the connection goes to exactly
//! the addresses judged here, so a second look-up cannot answer differently (DNS rebinding).
//! Must not know: which provider asks. Ranges: IANA special-purpose address registries (RFC 6890 and successors).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_tokio::client::legacy::connect::dns::Name;
use tower_service::Service;
use url::{Host, Url};

/// Why a connection is not made.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Judges addresses; resolves names for the connector.
#[derive(Debug)]
pub struct Guard {
    /// Lower-case host names and literal addresses that may be reached although they are private.
    allow: Vec<String>,
}

impl Guard {
    /// A guard that lets `allow` pass by name.
    #[must_use]
    pub fn new(allow: &[String]) -> Self {
        Self { allow: allow.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    fn allows(&self, host: &str) -> bool {
        self.allow.iter().any(|allowed| allowed == host)
    }

    /// Judges a URL whose host is an address literal; names pass, they are judged when resolved.
    ///
    /// # Errors
    /// Names the address and why.
    pub fn judge_literal(&self, url: &Url) -> Result<(), String> {
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err("the URL has no host".to_owned()),
        };
        match is_public(ip) || self.allows(&ip.to_string()) {
            true => Ok(()),
            false => Err(format!("{ip} is not a public address; hint: `allow_hosts` lets it pass by name")),
        }
    }

    /// The addresses of a name that may be connected to.
    ///
    /// # Errors
    /// When it cannot be resolved, or none of its addresses may.
    pub async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, Failed> {
        let host = name.to_ascii_lowercase();
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
        let allowed = self.allows(&host);
        let public: Vec<SocketAddr> = found.iter().copied().filter(|a| allowed || is_public(a.ip())).collect();
        if public.is_empty() {
            return Err(Box::new(Forbidden { host, found: found.len() }));
        }
        Ok(public)
    }
}

/// The guard as the connector asks it.
#[derive(Clone, Debug)]
pub(super) struct Resolver(pub(super) Arc<Guard>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = Arc::clone(&self.0);
        Box::pin(async move { guard.resolve(name.as_str()).await.map(Vec::into_iter) })
    }
}

/// A name that resolves to no address we may connect to.
#[derive(Debug)]
struct Forbidden {
    host: String,
    found: usize,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, found } = self;
        write!(f, "none of the {found} addresses of `{host}` is public; hint: `allow_hosts` lets it pass by name")
    }
}

impl std::error::Error for Forbidden {}

/// Whether a failure is this guard's, or has it among its causes.
#[must_use]
pub fn is_forbidden(e: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(e);
    while let Some(c) = cause {
        if c.is::<Forbidden>() {
            return true;
        }
        cause = c.source();
    }
    false
}

/// Whether an address is one of the public internet. IPv6 forms that carry an IPv4 address are judged by it.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| is_public_v6(v6), is_public_v4),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || a == 10
        || a == 127
        || (a == 100 && (64..=127).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..=31).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224)
}

/// The IPv4 address inside mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`), 6to4 (`2002::/16`) and the deprecated
/// compatible (`::/96`) forms.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let low = || Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(low()),
        [0x2002, hi, lo, ..] => Some(Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo))),
        [0, 0, 0, 0, 0, 0, hi, lo] if hi != 0 || lo > 1 => Some(low()),
        _ => None,
    }
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // Global unicast is 2000::/3; everything else (loopback, ULA, link-local, multicast, SRv6 5f00::/16,
    // local-use NAT64 64:ff9b:1::/48) is not. Within it, leave out Teredo and protocol assignments 2001::/23,
    // documentation 2001:db8::/32 and 3fff::/20.
    (s[0] & 0xe000) == 0x2000
        && !(s[0] == 0x2001 && (s[1] < 0x0200 || s[1] == 0x0db8))
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}
