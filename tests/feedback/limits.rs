//! What is slow, silent, large or many, and the end.
//!
//! Why: a limit that does not hold is found by a stranger.
//! Must not know: TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::world::{LONG, READ, World, event, request, status};

/// A connection on which so much has been said.
fn said(world: &World, bytes: &[u8]) -> TcpStream {
    let mut stream = world.connect();
    stream.write_all(bytes).unwrap();
    stream
}

/// The request without its wish that the connection be closed.
fn kept(request: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(request).replace("connection: close\r\n", "").into_bytes()
}

/// Reads one answer, which must be 204.
fn answered(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&answer));
}

/// Who sends a byte now and then, or nothing, is cut off; who sends too much is turned away before it is read.
#[test]
fn slow_and_large_requests_are_cut_off() {
    let world = World::new(8);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let large = format!("POST /feedback/gate HTTP/1.1\r\nhost: any\r\ncontent-length: {}\r\n\r\n", 1 << 30);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked =
        format!("POST /feedback/gate HTTP/1.1\r\nhost: any\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}");
    let table: [(&str, &[u8], u16, &str); 5] = [
        ("nothing at all", b"", 0, ""),
        ("half a head", &whole[..40], 0, ""),
        ("half a body", &whole[..whole.len() - 10], 404, "too_slow"),
        ("a declared GiB", large.as_bytes(), 404, "too_large"),
        ("chunks without an end", chunked.as_bytes(), 404, "too_large"),
    ];
    for (why, bytes, expected, result) in table {
        let mut stream = world.connect();
        stream.write_all(bytes).unwrap();
        let began = Instant::now();
        assert!([expected, 408].contains(&status(stream)), "{why}: {expected} expected");
        assert!(began.elapsed() < READ * 5, "{why}: it was waited for {:?}", began.elapsed());
        if !result.is_empty() {
            assert!(world.counted(result) > 0, "{why}: must be counted as {result}");
        }
    }
    assert_eq!(world.post(&event("a", "x@y.example")), 204, "and the next is heard");
}

/// Whoever's bytes come slowly holds no place of those at work, however many they are.
#[test]
fn slow_bodies_keep_nobody_out() {
    let world = World::patient(2, LONG);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let (head, rest) = whole.split_at(whole.len() - 5);
    let slow: Vec<TcpStream> = (0..5).map(|_| said(&world, head)).collect();
    for n in 0..3 {
        assert_eq!(world.post(&event(&format!("b{n}"), "x@y.example")), 204, "heard beside five slow ones");
    }
    for mut stream in slow {
        stream.write_all(rest).unwrap();
        assert_eq!(status(stream), 204, "who was slow is heard, too");
    }
    assert_eq!(world.counted("busy"), 0);
}

/// While Kafka keeps two waiting, a third is told to come again at once.
#[test]
fn beyond_what_it_can_carry_it_says_503() {
    let world = World::new(2);
    assert_eq!(world.post(&event("a", "x@y.example")), 204);
    world.broker.obey("down 1").unwrap();
    let (began, world) = (Instant::now(), &world);
    let busy = std::thread::scope(|scope| {
        let posts = ["b", "c", "d"].map(|id| {
            scope.spawn(move || {
                assert_eq!(world.post(&event(id, "x@y.example")), 503, "{id}: Kafka is away");
                began.elapsed()
            })
        });
        posts.into_iter().map(|post| post.join().unwrap()).min().unwrap()
    });
    assert!(busy < Duration::from_secs(2), "the third must not wait for the others: {busy:?}");
    assert_eq!((world.counted("busy"), world.counted("not_durable")), (1, 2));
}

/// Bodies on their way have so many bytes together: for one at work, one body's worth.
#[test]
fn bytes_on_their_way_are_bounded() {
    let world = World::patient(1, LONG);
    let large = vec![b'x'; 40 << 10];
    let head = format!(
        "POST /feedback/gate HTTP/1.1\r\nhost: any\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        41 << 10
    );
    let begun = || said(&world, &[head.as_bytes(), &large[..]].concat());
    let ended = |mut stream: TcpStream| {
        // Who was turned away half-read may be reset before it reads its answer.
        let _reset = stream.write_all(&large[..1 << 10]);
        status(stream)
    };
    let (both, began) = ([begun(), begun()], Instant::now());
    while world.counted("busy") == 0 {
        assert!(began.elapsed() < LONG / 2, "two bodies had room for one");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(world.post(&event("a", "x@y.example")), 204, "a small one has room beside the other");
    let mut answers = both.map(ended);
    answers.sort_unstable();
    assert!([[0, 404], [404, 503]].contains(&answers), "one was turned away, one read to its end: {answers:?}");
    assert_eq!((ended(begun()), world.counted("busy")), (404, 1), "and there is room again");
}

/// A byte now and then goes on for no longer than silence does.
#[test]
fn a_drip_is_cut_off() {
    let world = World::new(8);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let body = whole.len() - world.signed(&event("a", "x@y.example")).body.len();
    for (part, from, expected) in [("the head", 0, 0), ("the body", body, 404)] {
        let mut stream = said(&world, &whole[..from]);
        stream.set_read_timeout(Some(READ / 10)).unwrap();
        let (began, mut next) = (Instant::now(), from);
        // A look for an answer takes as long as a byte may.
        while stream.peek(&mut [0]).is_err() {
            assert!(began.elapsed() < READ * 5, "{part}: {} bytes came, one at a time", next - from);
            // It may be cut off meanwhile.
            let _reset = stream.write_all(&whole[next..=next]);
            next += 1;
        }
        let got = status(stream);
        assert!([expected, 408].contains(&got), "{part}: {expected} expected: {got}");
        assert!(began.elapsed() > READ / 2, "{part}: slow is not too slow");
    }
    assert_eq!(world.counted("too_slow"), 1);
}

/// A connection may ask again and again; who asks nothing more is cut off.
#[test]
fn an_idle_connection_is_closed() {
    let world = World::new(8);
    let whole = kept(&request(&world.signed("[]")));
    let mut stream = world.connect();
    for _ in 0..3 {
        stream.write_all(&whole).unwrap();
        answered(&mut stream);
    }
    let began = Instant::now();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "nothing more is said");
    assert!((READ / 2..READ * 5).contains(&began.elapsed()), "closed after {:?}", began.elapsed());
}

/// No connection lives for ever; what is at work on it then is answered.
#[test]
fn a_connection_ends_between_two_requests() {
    let world = World::with(8, LONG, READ, None);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let (head, rest) = whole.split_at(whole.len() - 5);
    let (began, mut busy, mut idle) = (Instant::now(), said(&world, head), world.connect());
    idle.write_all(&kept(&whole)).unwrap();
    answered(&mut idle);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "it is closed");
    assert!((READ / 2..READ * 5).contains(&began.elapsed()), "closed after {:?}", began.elapsed());
    busy.write_all(rest).unwrap();
    assert_eq!(status(busy), 204, "what was at work is answered");
}

/// Who asks and asks and reads no answer is cut off like one who is silent.
#[test]
fn who_reads_no_answers_is_cut_off() {
    let world = World::new(1);
    let asks = b"GET / HTTP/1.1\r\nhost: any\r\n\r\n".repeat(1_000);
    let deaf: Vec<TcpStream> = (0..4)
        .map(|_| {
            // A small window is full soon.
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4 << 10).unwrap();
            let stream = world.runtime.block_on(socket.connect(world.at)).unwrap().into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream.set_write_timeout(Some(READ / 4)).unwrap();
            stream
        })
        .collect();
    for mut stream in &deaf {
        // Until nothing more is taken from it, which is when its answers are stuck.
        while stream.write_all(&asks).is_ok() {}
    }
    assert_eq!(world.post("[]"), 204, "there is room when those have been cut off; hint: how does a connection end?");
}

/// More connections than it takes wait until one is over, and then are heard.
#[test]
fn connections_are_capped() {
    let world = World::new(1);
    let idle: Vec<TcpStream> = (0..4).map(|_| world.connect()).collect();
    let began = Instant::now();
    assert_eq!(world.post(&event("a", "x@y.example")), 204, "heard when idle ones have been cut off");
    assert!(began.elapsed() > READ / 2, "the fifth was taken beside four; hint: is the cap gone?");
    drop(idle);
}

/// A stop answers what is at work, closes what is idle, and accepts nothing more.
#[test]
fn a_stop_answers_what_is_at_work() {
    let mut world = World::new(8);
    let whole = request(&world.signed(&event("a", "x@y.example")));
    let (head, rest) = whole.split_at(whole.len() - 5);
    let (mut busy, idle) = (world.connect(), world.connect());
    busy.write_all(head).unwrap();
    // Both are accepted when a third has been answered.
    assert_eq!(world.post("[]"), 204);
    let listening = world.listening.take().unwrap();
    let stopping = world.runtime.spawn(listening.stop());
    assert_eq!(status(idle), 0, "an idle connection is closed");
    let began = Instant::now();
    // The door and the connections are closed side by side.
    while TcpStream::connect_timeout(&world.at, READ).is_ok() {
        assert!(began.elapsed() < LONG, "somebody is still let in");
    }
    busy.write_all(rest).unwrap();
    assert_eq!(status(busy), 204, "what was at work is answered");
    assert!(world.runtime.block_on(stopping).unwrap(), "in time");
    assert_eq!(world.events(1).len(), 1);
}
