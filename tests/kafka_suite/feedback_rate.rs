//! How fast vendors have their answer, at which rate: requests of 50 events, signed before the clock starts.
//!
//! Why: a vendor that waits too long hangs up and tells again, and so a slow listener has more to do, not less.
//! `PEAKPOST_FEEDBACK=full` climbs to 2,000 requests a second on a real Kafka (see README.md, "The code").
//! Must not know: how requests are verified, how events are written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peakpost::sim::vendor::feedback::Signed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::feedback::{mails, now_s, settings, signer};
use crate::support::daemon::Daemon;
use crate::support::timed::{in_time, judged};
use crate::support::{World, kafka};

/// Events in one request, as vendors batch them.
const BATCH: usize = 50;
/// What a vendor waits at most for its 2xx, 99 times of 100: in the full run, and in the small one, which has a debug build
/// beside whatever else the machine does.
const IN_TIME: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];
/// Requests a second of the full run, each for so long.
const LADDER: [usize; 5] = [250, 500, 1_000, 1_500, 2_000];
const RUNG: usize = 10;
/// Before it: requests a second, for so many seconds.
const WARMING: (usize, usize) = (100, 5);
/// Connections that vendors keep.
const CONNECTIONS: usize = 64;

/// Steady rates, one after the other, each request at its time whatever became of those before. All rates of the small run
/// and the lowest of the full one must keep the promise; how far up it is kept is printed.
#[test]
fn answers_come_in_time() {
    judged(|| {
        let world = World::alone("feedback-rate");
        let full = world.real && std::env::var("PEAKPOST_FEEDBACK").is_ok_and(|word| word == "full");
        let signer = signer(&world);
        let daemon = Daemon::ready(&world, "daemon", &settings(&world, &signer));
        let at = daemon.feedback();
        let small = [(world.scale(30, 20), world.scale(10, 5))];
        // A broker that has just been started is slow at first: the full run's first rung is not judged.
        let ladder = [WARMING].into_iter().chain(LADDER.map(|rate| (rate, RUNG)));
        let rungs = if full { ladder.collect() } else { small.to_vec() };
        let allowed = IN_TIME[usize::from(!full)];
        let (mut told, mut kept, mut missed) = (0, None, None);
        for (rate, seconds) in rungs {
            let warming = full && told == 0;
            let ids = told..told + rate * seconds;
            let signed = ids.map(|n| signer.sendgrid(now_s(), mails(n * BATCH..(n + 1) * BATCH)));
            let requests: Vec<Vec<u8>> = signed.map(|signed| posted(&signed)).collect();
            told += requests.len();
            let (cpu, client) = (daemon.cpu(), cpu_of_us());
            let (answers, over) = world.block_on(post(at, requests, rate));
            let cores = |used: Duration| used.as_secs_f64() / over.as_secs_f64();
            let (cpu, client) = (cores(daemon.cpu().saturating_sub(cpu)), cores(cpu_of_us().saturating_sub(client)));
            let mut took: Vec<Duration> = answers.iter().copied().flatten().collect();
            took.sort_unstable();
            let of = |percent: usize| took[(took.len() - 1) * percent / 100];
            let p99 = of(99);
            let reached = took.len() as f64 / over.as_secs_f64();
            println!(
                "   {rate} requests/s of {BATCH} events for {seconds} s: {reached:.0}/s taken, {:.0} events/s; 2xx p50 {:?}, \
                 p99 {p99:?}, most {:?}; 503 {}; the daemon {cpu:.2} cores, vendors {client:.2}",
                reached * BATCH as f64,
                of(50),
                of(100),
                answers.len() - took.len(),
            );
            match took.len() == answers.len() && p99 <= allowed && missed.is_none() {
                _ if warming => {}
                true => kept = Some(rate),
                false => missed = missed.or(Some((rate, p99))),
            }
            // What was answered 503 is told again, and heard.
            let written = || kafka::count(&world, &world.topics.events());
            assert!(written() >= (took.len() * BATCH) as u64, "what was answered 2xx is in the topic");
            if took.len() == answers.len() && missed.is_none() {
                assert_eq!(written(), (told * BATCH) as u64, "every event once");
            }
        }
        daemon.stop();
        let real = world.real;
        world.finish();
        if real {
            println!("   2xx p99 within {allowed:?} up to {kept:?} requests/s");
            in_time(kept.is_some(), || format!("2xx p99 at (requests/s, p99) {missed:?}, at most {allowed:?}"));
        } else {
            World::left_out("the promise of 50 ms: no replica is waited for");
        }
    });
}

/// A request as it goes over the wire.
fn posted(signed: &Signed) -> Vec<u8> {
    let headers: Vec<String> = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let length = signed.body.len();
    let head = format!(
        "POST /feedback/mail HTTP/1.1\r\nhost: feedback.example\r\n{headers}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &signed.body].concat()
}

/// Posts so many requests a second. The time of each from when it was to be posted to its 2xx (`None`: it is to come
/// again), and of all.
async fn post(at: SocketAddr, requests: Vec<Vec<u8>>, rate: usize) -> (Vec<Option<Duration>>, Duration) {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now() + Duration::from_millis(100);
    let mut lines = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        lines.spawn(async move {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answers = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(n) else { return answers };
                let due = began + Duration::from_secs_f64(n as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                stream.write_all(request).await.unwrap();
                let status = answer(&mut stream).await;
                assert!(status == "204" || status == "503", "request {n}: {status}");
                answers.push((status == "204").then(|| due.elapsed()));
            }
        });
    }
    let answers = lines.join_all().await.concat();
    (answers, began.elapsed())
}

/// The status of an answer without a body.
async fn answer(stream: &mut TcpStream) -> String {
    let (mut bytes, mut length) = ([0; 1024], 0);
    while !bytes[..length].ends_with(b"\r\n\r\n") {
        let more = stream.read(&mut bytes[length..]).await.unwrap();
        assert!(more > 0, "hung up on: {}", String::from_utf8_lossy(&bytes[..length]));
        length += more;
    }
    String::from_utf8_lossy(&bytes[9..12]).into_owned()
}

/// Processor time that this process has used: the vendors.
fn cpu_of_us() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the name, which is in brackets: the 12th and 13th fields, in hundredths of a second.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
    Duration::from_millis(10 * fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
}
