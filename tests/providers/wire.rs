//! What the wire says of a request that was answered, or was not, by a vendor behind a real socket.
//!
//! Why: whether a byte can have reached the vendor decides between sending again and asking nobody twice.
//! Must not know: what vendors' words mean.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use peakpost::provider::Request;
use peakpost::provider::wire::{MAX_REPLY_BYTES, Wire, WireConfig, WireError};
use reqwest::header::{HeaderMap, HeaderValue};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Long enough for loopback under load, short enough to be waited for.
const WITHIN: Duration = Duration::from_millis(500);
/// When the other limit is what is tested.
const LONG: Duration = Duration::from_secs(30);

fn wire(connect_timeout: Duration, request_timeout: Duration) -> Wire {
    // The second call finds the first one's provider in place.
    let _made = rustls::crypto::ring::default_provider().install_default();
    let allow_hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    Wire::new(&WireConfig { connect_timeout, request_timeout, idle_connections: 1, allow_hosts }).expect("a client")
}

fn request(url: &str) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert("x-peakpost", HeaderValue::from_static("one"));
    Request { url: url.parse().expect("a URL"), headers, body: Bytes::from_static(b"{\"to\":1}") }
}

/// A vendor that does this with each connection. Its address, and what it was sent on each.
fn vendor(serve: impl Fn(&mut TcpStream) + Send + 'static) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    let (tell, told) = sync_channel(100);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut read = Vec::new();
            let mut buffer = [0; 4096];
            while !read.ends_with(b"}") {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => read.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let text = String::from_utf8_lossy(&read).into_owned();
            serve(&mut stream);
            if tell.send(text).is_err() {
                return;
            }
        }
    });
    (address, told)
}

fn says(text: &'static str) -> impl Fn(&mut TcpStream) + Send + 'static {
    move |stream| stream.write_all(text.as_bytes()).expect("somebody listens")
}

#[tokio::test]
async fn a_request_is_what_it_says_and_its_reply_is_read() {
    let (address, told) = vendor(says("HTTP/1.1 202 Accepted\r\nX-Id: 7\r\nContent-Length: 2\r\n\r\nok"));
    let reply = wire(LONG, LONG).send(request(&format!("http://{address}/v3/send?a=b#c"))).await.expect("a reply");
    assert_eq!((reply.status, &*reply.body), (202, &b"ok"[..]));
    assert_eq!(reply.headers.get("x-id").map(HeaderValue::as_bytes), Some(&b"7"[..]));
    let sent = told.recv_timeout(LONG).expect("one request").to_ascii_lowercase();
    let (head, body) = sent.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("post /v3/send?a=b http/1.1"), "a fragment is nobody's but ours");
    assert_eq!(body, "{\"to\":1}");
    let mut headers: Vec<&str> = lines.collect();
    headers.sort_unstable();
    let agent = concat!("user-agent: peakpost/", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {address}");
    assert_eq!(headers, ["accept: */*", "content-length: 8", &host, agent, "x-peakpost: one"]);
}

/// What it is when the vendor does that.
#[tokio::test]
async fn how_it_fails_says_whether_a_byte_can_have_left() {
    type Told = fn(&WireError) -> bool;
    let broken: Told = |e| matches!(e, WireError::Broken(_));
    let late: Told = |e| matches!(e, WireError::Timeout(_));
    let rows: [(&str, &'static str, Told); 5] = [
        ("it hangs up without a word", "", broken),
        ("it hangs up within the head", "HTTP/1.1 200 OK\r\nContent-", broken),
        ("it speaks another language", "SSH-2.0-OpenSSH\r\n", broken),
        ("it hangs up within the words of a refusal", "HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\n{\"err", broken),
        ("it says nothing in time", "wait", late),
    ];
    for (what, text, is) in rows {
        let (address, _told) = vendor(move |stream| match text {
            "wait" => {
                // Until the client gives up.
                let _gone = stream.read(&mut [0; 1]);
            }
            _ => says(text)(stream),
        });
        let within = if text == "wait" { WITHIN } else { LONG };
        let failed = wire(LONG, within).send(request(&format!("http://{address}/"))).await.expect_err(what);
        assert!(is(&failed), "{what}: {failed:?}");
        assert!(
            !format!("{failed:?}").contains(&address),
            "{what}: {failed:?} names the URL, which may be a recipient"
        );
    }
}

#[tokio::test]
async fn a_yes_whose_words_break_off_is_a_yes() {
    let (address, _told) = vendor(says("HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nok"));
    let reply = wire(LONG, LONG).send(request(&format!("http://{address}/"))).await.expect("the head has said it");
    assert_eq!((reply.status, &*reply.body), (202, &b"ok"[..]));
}

#[tokio::test]
async fn a_long_reply_is_cut_and_a_redirect_is_a_reply() {
    let long = "x".repeat(4 * MAX_REPLY_BYTES);
    let (address, _told) = vendor(move |stream| {
        // The client may hang up before the end.
        let _sent = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len());
    });
    let reply = wire(LONG, LONG).send(request(&format!("http://{address}/"))).await.expect("a reply");
    assert_eq!(reply.body.len(), MAX_REPLY_BYTES);

    let (other, reached) = vendor(says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let (address, _told) = vendor(move |stream| {
        write!(stream, "HTTP/1.1 307 Elsewhere\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n")
            .expect("sent");
    });
    let reply = wire(LONG, LONG).send(request(&format!("http://{address}/"))).await.expect("a reply");
    assert_eq!(reply.status, 307);
    assert!(reached.try_recv().is_err(), "a redirect was followed: it could lead anywhere");
}

#[tokio::test]
async fn a_connection_that_is_not_made_has_sent_nothing() {
    let before = |e: &WireError| matches!(e, WireError::BeforeWrite(_));
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let failed = wire(LONG, LONG).send(request(&format!("http://{free}/"))).await.expect_err("nobody listens");
    assert!(before(&failed), "refused: {failed:?}");

    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("its address").port();
    let failed = wire(WITHIN, LONG).send(request(&format!("https://localhost:{port}/"))).await.expect_err("no TLS");
    assert!(before(&failed), "it does not answer the handshake: {failed:?}");
}

/// Everything that is checked of a certificate is the library's; that it is checked at all is ours.
#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_spoken_to() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let certificate = CertificateDer::from_pem_file(data.join("one.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(data.join("one.key")).expect("its key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let connection = rustls::ServerConnection::new(config).expect("a connection");
        let mut read = String::new();
        let _ended = rustls::StreamOwned::new(connection, stream).read_to_string(&mut read);
        read
    });
    let failed = wire(LONG, LONG).send(request(&format!("https://localhost:{port}/"))).await.expect_err("no reply");
    assert!(matches!(&failed, WireError::BeforeWrite(why) if why.contains("certificate")), "{failed:?}");
    assert_eq!(server.join().expect("the server ends"), "", "a byte of the request was written");
}
