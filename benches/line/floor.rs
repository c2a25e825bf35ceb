//! The floor: a bare loop that reads the same jobs, posts the same bodies and writes the same outcomes.
//!
//! Why: what is left when everything is taken away that makes a dispatcher one (limits, lanes, receipts in order, commits,
//! retries, metrics) is what librdkafka, the HTTP client and the formats cost.
//! Must not know: the daemon.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_bodies::{BodyExt, Full};
use hyper_tokio::client::legacy::Client;
use hyper_tokio::client::legacy::connect::HttpConnector;
use hyper_tokio::rt::TokioExecutor;
use peakpost::job::receipt::End;
use peakpost::job::source::Layout;
use peakpost::job::topic::Topics;
use peakpost::job::{Incoming, Job, Lane, Source, Wall, Way};
use peakpost::ledger::Ledger;
use peakpost::outcome::record::{Place, Record, VERSION};
use peakpost::provider::secret::Secret;
use peakpost::provider::{Kind, Request, sendgrid, webhook};
use peakpost::sim::vendor::SimConfig;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::world::PARTITIONS;

/// Requests at a time, the daemon's as well. A simulator on loopback answers sooner than Kafka makes outcomes durable,
/// and the daemon sends nothing while as much is not durable as may be at the provider: with less, both would wait.
pub const CONCURRENCY: usize = 256;

/// Counts what is durable.
#[derive(Clone, Default)]
struct Durable(Arc<AtomicUsize>);

impl ClientContext for Durable {}

impl ProducerContext for Durable {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(usize::from(result.is_ok()), Ordering::Relaxed);
    }
}

/// One request and the jobs in it.
type Batch = (Request, Vec<Job>);

pub fn run(arguments: &[String]) {
    let [shape, brokers, prefix, vendor] = arguments else { return };
    let topics = Topics::new(prefix);
    let SimConfig { sendgrid_key, webhook_secret, .. } = SimConfig::default();
    let kind = match &**shape {
        "batch" => {
            let config =
                sendgrid::Config { base_url: vendor.clone(), key: Secret::new(&sendgrid_key), batch_max: 1000 };
            Kind::SendGrid(sendgrid::SendGrid::new(config).unwrap())
        }
        _ => Kind::Webhook(webhook::Webhook::new(&webhook_secret, None).unwrap()),
    };
    let (to_wire, mut batches) = tokio::sync::mpsc::channel::<Batch>(2 * CONCURRENCY);
    let (from, servers) = (topics.clone(), brokers.clone());
    std::thread::spawn(move || read(&servers, &from, &kind, &to_wire));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let durable = Durable::default();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("acks", "all");
        client.set("compression.type", "lz4").set("linger.ms", "5").set("batch.num.messages", "10000");
        client.set("queue.buffering.max.messages", "1000000").set("queue.buffering.max.kbytes", "262144");
        let producer: ThreadedProducer<Durable> = ThreadedProducer::from_config_and_context(&client, durable).unwrap();
        let producer = Arc::new(producer);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        let slots = Arc::new(tokio::sync::Semaphore::new(CONCURRENCY));
        let outcomes: Arc<str> = topics.outcomes().into();
        let jobs_topic: Arc<str> = topics.jobs(Lane::Marketing).into();
        while let Some((request, jobs)) = batches.recv().await {
            let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
            let (http, producer) = (http.clone(), Arc::clone(&producer));
            let (outcomes, jobs_topic) = (Arc::clone(&outcomes), Arc::clone(&jobs_topic));
            tokio::spawn(async move {
                let mut call = hyper::Request::post(request.url.as_str()).body(Full::new(request.body)).unwrap();
                *call.headers_mut() = request.headers;
                let reply = http.request(call).await.unwrap();
                assert!(reply.status().is_success(), "the vendor said {}", reply.status());
                let _body = reply.into_body().collect().await;
                drop(slot);
                let mut line = Vec::with_capacity(512);
                for job in jobs {
                    line.clear();
                    outcome(&job, &jobs_topic, &mut line);
                    let home = i32::from(job.receipt.source().home);
                    let mut record = BaseRecord::<(), [u8]>::to(&outcomes).payload(&line).partition(home);
                    while let Err((_, kept)) = producer.send(record) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        record = kept;
                    }
                    let _settled = job.into_receipt().settle(0, End::Terminal);
                }
            });
        }
    });
}

/// Reads, parses, groups by what may share a request, and encodes; never ends by itself.
fn read(brokers: &str, topics: &Topics, kind: &Kind, to_wire: &tokio::sync::mpsc::Sender<Batch>) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("group.id", "floor").set("enable.auto.commit", "false");
    client.set("fetch.wait.max.ms", "100").set("fetch.queue.backoff.ms", "20");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..i32::from(PARTITIONS) {
        assignment.add_partition_offset(topics.jobs(Lane::Marketing), partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut ledgers: Vec<Ledger> =
        (0..PARTITIONS).map(|home| Ledger::new(home, 1, Layout::default(), &[0; 2], 0, 0)).collect();
    let mut groups: HashMap<u64, Vec<Job>> = HashMap::new();
    let most = kind.batch_max();
    let send = |jobs: Vec<Job>| {
        let refs: Vec<&Job> = jobs.iter().collect();
        let wall = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let request = kind.encode(&refs, Wall(i64::try_from(wall).unwrap())).unwrap();
        to_wire.blocking_send((request, jobs)).unwrap();
    };
    loop {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                let home = u16::try_from(message.partition()).unwrap();
                let bytes: Box<[u8]> = message.payload().unwrap().into();
                let source = Source::Jobs(Lane::Marketing);
                let size = u32::try_from(bytes.len()).unwrap();
                let receipt = ledgers[usize::from(home)].deliver(source, message.offset(), size).unwrap();
                let enqueued = Wall(message.timestamp().to_millis().unwrap_or(0));
                let incoming = Incoming {
                    bytes,
                    headers: Vec::new(),
                    enqueued,
                    lane: Lane::Marketing,
                    way: Way::default(),
                    receipt,
                };
                let job = Job::parse(incoming).unwrap();
                let key = kind.batch_key(&job);
                let group = groups.entry(key).or_default();
                group.push(job);
                if group.len() == most {
                    send(std::mem::take(group));
                }
            }
            Some(Err(_)) => {}
            // The end of the backlog: what is left goes as it is.
            None => groups.drain().filter(|(_, jobs)| !jobs.is_empty()).for_each(|(_, jobs)| send(jobs)),
        }
    }
}

/// The outcome that the daemon would write.
fn outcome(job: &Job, topic: &str, out: &mut Vec<u8>) {
    let (spec, source) = (job.spec(), job.receipt.source());
    let place = || Place { topic: Cow::Borrowed(topic), partition: source.home, offset: source.offset };
    let record = Record {
        v: VERSION,
        outcome: Cow::Borrowed("accepted"),
        reason: Cow::Borrowed("accepted"),
        field: Cow::Borrowed(""),
        detail: Cow::Borrowed(""),
        id: Cow::Borrowed(&spec.id),
        tenant: Cow::Borrowed(&spec.tenant),
        campaign: Cow::Borrowed(spec.campaign.as_deref().unwrap_or("")),
        channel: Cow::Borrowed(spec.channel.as_str()),
        lane: Cow::Borrowed(job.lane.as_str()),
        provider: Cow::Borrowed("vendor"),
        vendor_id: Cow::Borrowed(""),
        attempts: 1,
        at_ms: i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap(),
        enqueued_ms: job.enqueued.0,
        origin: place(),
        source: place(),
        hop: 0,
        generation: 0,
        late: false,
        happened: Cow::Borrowed(""),
        event: Cow::Borrowed(""),
    };
    record.write(out);
}
