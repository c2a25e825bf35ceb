//! A listener with a broker behind it, and who asks it over the wire.
//!
//! Why: requests are written byte by byte here, so that each can stop anywhere.
//! Must not know: what is asked of the listener.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use peakpost::feedback::{Config, Door, Links, Listener, Listening, TlsConfig};
use peakpost::job::topic::Topics;
use peakpost::observe::{Clock, Metrics};
use peakpost::provider::Ear;
use peakpost::provider::secret::Secret;
use peakpost::recipient::address::Keyer;
use peakpost::recipient::mailbox::Mailboxes;
use peakpost::sim::broker::Broker;
use peakpost::sim::vendor::feedback::{Signed, Signer};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const SECRET: &str = "whsec_b25lLXNlY3JldC1mb3ItYWxsLW9mLXRoZXNlLXRlc3Rz";
/// The listener's patience with slow peers; short, so that tests need not wait.
pub const READ: Duration = Duration::from_secs(1);
/// Far longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(20);

/// A listener with a broker behind it.
pub struct World {
    pub runtime: tokio::runtime::Runtime,
    pub broker: Broker,
    topics: Topics,
    pub metrics: Metrics,
    pub at: SocketAddr,
    pub listening: Option<Listening>,
    signer: Signer,
}

impl World {
    pub fn new(concurrency: usize) -> Self {
        Self::patient(concurrency, READ)
    }

    /// One with other patience for slow peers.
    pub fn patient(concurrency: usize, read_timeout: Duration) -> Self {
        Self::with(concurrency, read_timeout, LONG, None)
    }

    pub fn with(concurrency: usize, read_timeout: Duration, connection_max: Duration, tls: Option<TlsConfig>) -> Self {
        let topics = Topics::new("feedback");
        let broker = Broker::start(vec![topics.clone()], 2, 1).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let metrics = Metrics::new().unwrap();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls,
            body_max: 64 << 10,
            concurrency,
            read_timeout,
            connection_max,
            client: vec![("bootstrap.servers".to_owned(), broker.brokers.clone())],
            topic: topics.events(),
        };
        let links = Links {
            doors: vec![Door {
                provider: "gate".to_owned(),
                ear: Ear::signed(&Secret::new(SECRET), Duration::from_secs(300)).unwrap(),
            }],
            keyer: Keyer::new(b"a key of sixteen bytes or more").unwrap(),
            mailboxes: mailboxes(),
            metrics: metrics.clone(),
            clock: Clock::default(),
        };
        let (at, listening) = runtime.block_on(async {
            let listener = Listener::bind(config.listen).await.unwrap();
            (listener.addr().unwrap(), listener.serve(&config, links).unwrap())
        });
        let signer = Signer::new("token", SECRET).unwrap();
        Self { runtime, broker, topics, metrics, at, listening: Some(listening), signer }
    }

    pub fn signed(&self, body: &str) -> Signed {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        self.signer.webhook(now.cast_signed(), body.as_bytes().to_vec())
    }

    /// A connection on which nothing has been said.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// The answer's status to a request of these bytes; 0: the connection was closed without one.
    pub fn post(&self, body: &str) -> u16 {
        let mut stream = self.connect();
        stream.write_all(&request(&self.signed(body))).unwrap();
        status(stream)
    }

    pub fn counted(&self, result: &str) -> u64 {
        ["gate", "?"].iter().map(|name| self.metrics.feedback_requests.with_label_values(&[name, result]).get()).sum()
    }

    pub fn stop(&mut self) -> bool {
        self.runtime.block_on(self.listening.take().unwrap().stop())
    }

    /// Values of the events topic; waits for `count` of them.
    pub fn events(&self, count: usize) -> Vec<serde_json::Value> {
        self.records(count).into_iter().map(|(_, value)| value).collect()
    }

    /// The same with their keys.
    pub fn records(&self, count: usize) -> Vec<(String, serde_json::Value)> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.broker.brokers).set("group.id", "look");
        let consumer: BaseConsumer = client.create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..2 {
            list.add_partition_offset(&self.topics.events(), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut all, began) = (Vec::new(), Instant::now());
        while all.len() < count {
            assert!(began.elapsed() < LONG, "{} events of {count}", all.len());
            if let Some(message) = consumer.poll(Duration::from_millis(50)) {
                let message = message.unwrap();
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                all.push((key, serde_json::from_slice(message.payload().unwrap()).unwrap()));
            }
        }
        all
    }
}

pub fn mailboxes() -> Mailboxes {
    let gmail = ["gmail.com".to_owned(), "GoogleMail.com".to_owned()];
    Mailboxes::new([("gmail", &gmail[..])]).unwrap()
}

/// A whole request, after which the connection closes.
pub fn request(signed: &Signed) -> Vec<u8> {
    let headers: Vec<String> = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (headers, length) = (headers.concat(), signed.body.len());
    let first = "POST /feedback/gate HTTP/1.1\r\nhost: any\r\nconnection: close\r\n";
    let head = format!("{first}{headers}content-length: {length}\r\n\r\n");
    [head.into_bytes(), signed.body.clone()].concat()
}

pub fn status(mut stream: impl Read) -> u16 {
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _reset = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

pub fn event(id: &str, to: &str) -> String {
    format!(
        r#"{{"id":"{id}","event":"complained","to":"{to}","channel":"email","at":1700000000,"peakpost_id":"job-1","peakpost_tenant":"acme","peakpost_lane":"marketing","peakpost_sent":1699990000}}"#
    )
}
