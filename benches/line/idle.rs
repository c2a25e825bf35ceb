//! How long a transactional message is underway when there is nothing else to do.
//!
//! Why: a password reset is worth what it takes from Kafka to the wire. Beside the daemon a bare reader of the same topic
//! says when Kafka has delivered the job; the endpoint says when the first byte has come.
//! Must not know: the daemon's insides.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use peakpost::job::Lane;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord};

use super::Shape;
use super::world::{self, Load, World};

/// Messages that are timed, one after the other, and so many before them that are not.
const COUNT: usize = 1_000;
const WARMING: usize = 50;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);

pub fn run(daemon: &Path) {
    let world = World::new(Load::of(Shape::Single, 0), daemon);
    let topics = world.topics();
    let topic = topics.jobs(Lane::Transactional);
    let (url, arrived) = endpoint();
    let delivered = reader(&world.brokers, topic);
    let _process = world.start();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &world.brokers).set("linger.ms", "0");
    let producer: BaseProducer = client.create().unwrap();
    let (mut total, mut kafka, mut line) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..WARMING + COUNT {
        let job =
            format!(r#"{{"id":"idle-{n}","tenant":"shop","channel":"webhook","to":"{url}","content":{{"code":{n}}}}}"#);
        let key = format!("key-{n}");
        let began = Instant::now();
        producer.send(BaseRecord::to(topic).key(&key).payload(&job)).unwrap();
        producer.poll(Duration::ZERO);
        // The first waits for the daemon to join its group.
        let at = arrived.recv_timeout(Duration::from_secs(60)).unwrap();
        let read = delivered.recv_timeout(Duration::from_secs(60)).unwrap();
        if n >= WARMING {
            total.push(at - began);
            kafka.push(read - began);
            line.push(at.saturating_duration_since(read));
        }
        std::thread::sleep(PAUSE);
    }
    println!("idle: {COUNT} transactional messages, one each {PAUSE:?}");
    let quantiles = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        [50, 99].map(|percent| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3)
    };
    let show = |what: &str, [p50, p99]: [f64; 2]| println!("  {what:54} p50 {p50:6.2} ms  p99 {p99:6.2} ms");
    show("from the producer to the first byte at the endpoint", quantiles(&mut total));
    show("from the producer to a bare reader of the topic", quantiles(&mut kafka));
    show("from that reader to the first byte, message by message", quantiles(&mut line));
}

/// Takes every request, and says when its first byte came.
fn endpoint() -> (String, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, arrived) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            std::thread::spawn(move || serve(&mut stream.unwrap(), &tell));
        }
    });
    (url, arrived)
}

/// One connection, to its end. Its requests come one at a time and hold one small object each.
fn serve(stream: &mut (impl Read + Write), tell: &Sender<Instant>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if request.is_empty() && tell.send(Instant::now()).is_err() {
            return;
        }
        request.extend_from_slice(&buffer[..count]);
        if request.ends_with(b"}") {
            request.clear();
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// Says when a bare reader has each record.
fn reader(brokers: &str, topic: &str) -> Receiver<Instant> {
    let consumer = world::reader(brokers, topic);
    let (tell, delivered) = channel();
    std::thread::spawn(move || {
        loop {
            if let Some(Ok(_)) = consumer.poll(Duration::from_secs(1))
                && tell.send(Instant::now()).is_err()
            {
                return;
            }
        }
    });
    delivered
}
