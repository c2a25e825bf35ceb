//! TLS at the listener: who is served what, when, and what a broken renewal changes.
//!
//! Why: vendors talk to no other endpoint, and a certificate that is renewed and not served is an outage weeks later.
//! Must not know: limits that are the same without it.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peakpost::feedback::TlsConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::world::{LONG, READ, World, event, request, status};

/// How often the listener looks at its files.
const LOOK: Duration = Duration::from_millis(50);

/// Certificates that sign themselves, valid to 2120: `one` and `two`, `.pem` and `.key`.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// The listener's own files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put("one.pem", "cert");
        files.put("one.key", "key");
        files
    }

    fn put(&self, from: &str, to: &str) {
        std::fs::copy(data(from), self.at(to)).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self) -> TlsConfig {
        TlsConfig::read(&self.at("cert"), &self.at("key"), LOOK).unwrap()
    }

    fn world(&self, concurrency: usize) -> World {
        World::with(concurrency, READ, LONG, Some(self.read()))
    }
}

/// What a vendor that trusts this certificate alone is answered; `None`: no connection.
fn post(world: &World, trusts: &str, version: &'static SupportedProtocolVersion, body: &str) -> Option<u16> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(data(trusts)).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(client), "feedback.test".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, world.connect());
    stream.write_all(&request(&world.signed(body))).ok()?;
    Some(status(stream))
}

#[test]
fn vendors_are_heard_over_tls() {
    let mut world = Files::new().world(8);
    for (version, id) in [(&TLS12, "a"), (&TLS13, "b")] {
        assert_eq!(post(&world, "one.pem", version, &event(id, "x@y.example")), Some(204), "{version:?}");
    }
    assert_eq!(world.events(2).len(), 2);
    assert_eq!(post(&world, "two.pem", &TLS13, "[]"), None, "who trusts another certificate says nothing");
    assert_ne!(world.post("[]"), 204, "nobody is heard in the clear");
    assert_eq!(world.counted("taken"), 2);
    assert!(world.stop(), "in time");
}

/// Who connects and does not shake hands is cut off, and counts to the connections until then.
#[test]
fn a_slow_handshake_is_cut_off() {
    let world = Files::new().world(1);
    let mut silent: Vec<TcpStream> = (0..4).map(|_| world.connect()).collect();
    // The beginning of a greeting.
    silent[0].write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let began = Instant::now();
    assert_eq!(post(&world, "one.pem", &TLS13, "[]"), Some(204), "heard when the silent ones have been cut off");
    let took = began.elapsed();
    assert!((READ / 2..READ * 5).contains(&took), "after {took:?}; hint: a handshake counts, and has its time");
}

/// A renewed certificate is served without a restart; one that cannot be used changes nothing.
#[test]
fn a_renewed_certificate_is_served() {
    let files = Files::new();
    let world = files.world(8);
    let heard = |trusts| post(&world, trusts, &TLS13, "[]") == Some(204);
    let until = |trusts, why: &str| {
        let began = Instant::now();
        while !heard(trusts) {
            assert!(began.elapsed() < LONG, "{why}: it is not served");
        }
    };
    let stays = |trusts, why: &str| {
        let began = Instant::now();
        while began.elapsed() < LOOK * 6 {
            assert!(heard(trusts), "{why}: what was served must stay");
        }
    };
    files.put("two.pem", "cert");
    stays("one.pem", "a certificate without its key");
    files.put("two.key", "key");
    until("two.pem", "both renewed");
    assert!(!heard("one.pem"), "the old one is gone");
    std::fs::write(files.at("cert"), "").unwrap();
    stays("two.pem", "an empty file");
    std::fs::remove_file(files.at("key")).unwrap();
    stays("two.pem", "a file that is gone");
    files.put("one.key", "key");
    files.put("one.pem", "cert");
    until("one.pem", "mended");
}
