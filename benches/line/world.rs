//! A broker with preloaded jobs and a validating simulator, for one run of the daemon or of the floor.
//!
//! Must not know: how either works.

use std::path::{Path, PathBuf};
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::job::topic::Topics;
use peakpost::sim::load::{Generator, Mix, Shape as Job, Targets};
use peakpost::sim::vendor::SimConfig;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::Shape;
use super::floor::CONCURRENCY;
use super::process::{Cost, Process, until};

/// Partitions: the embedded broker keeps 5 MiB of each.
pub const PARTITIONS: u16 = 48;

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Messages a second from the first tenth to the last that the vendor took.
    pub rate: f64,
    pub cost: Cost,
    /// What the others needed per message, in the same time.
    pub broker_us: f64,
    pub vendor_us: f64,
}

/// Everything around one run.
pub struct World {
    shape: Shape,
    jobs: usize,
    daemon: PathBuf,
    dir: tempfile::TempDir,
    brokers: String,
    prefix: String,
    broker: Option<Process>,
    vendor: Process,
}

impl World {
    pub fn new(shape: Shape, jobs: usize, daemon: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("line-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        let vendor = Process::start(daemon, &["sim", "provider", "--listen", "127.0.0.1:0"], true);
        let partitions = PARTITIONS.to_string();
        let arguments = [
            "sim",
            "broker",
            "--prefix",
            &prefix,
            "--partitions",
            &partitions,
            "--provider",
            "vendor",
            "--tier",
            "10s",
        ];
        let real = std::env::var("PEAKPOST_TEST_BROKERS").ok();
        let broker = real.is_none().then(|| Process::start(daemon, &arguments, true));
        let brokers = real.unwrap_or_else(|| broker.as_ref().map(|b| b.said.clone()).unwrap_or_default());
        let world = Self { shape, jobs, daemon: daemon.to_owned(), dir, brokers, prefix, broker, vendor };
        world.configure();
        if world.broker.is_none() {
            let made = std::process::Command::new(daemon)
                .args(["topics", "create", "--config"])
                .arg(world.dir.path().join("line.toml"))
                .stdout(std::process::Stdio::null())
                .status();
            assert!(made.unwrap().success(), "the topics were not made");
        }
        world.preload();
        world
    }

    /// The daemon's configuration: one provider that takes as much as it can.
    fn configure(&self) {
        let SimConfig { sendgrid_key, webhook_secret, .. } = SimConfig::default();
        let file = |name: &str, text: &str| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("file:{}", path.display())
        };
        let (channel, provider) = match self.shape {
            Shape::Batch => {
                let key = file("key", &sendgrid_key);
                let url = &self.vendor.said;
                let limit = "limits = [\"50_000_000 messages/s\"]";
                ("email", format!("kind = \"sendgrid\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n{limit}"))
            }
            Shape::Single => {
                let secret = file("secret", &webhook_secret);
                ("webhook", format!("kind = \"webhook\"\nsecret = \"{secret}\"\nlimits = [\"5_000_000 requests/s\"]"))
            }
        };
        let recipients = file("recipients", "a-key-for-benches-of-32-characters");
        let (brokers, prefix, embedded) = (&self.brokers, &self.prefix, self.broker.is_some());
        let text = format!(
            "[kafka]\nbrokers = \"{brokers}\"\nprefix = \"{prefix}\"\ngroup = \"{prefix}\"\nembedded = {embedded}\n\
             [topics]\npartitions = {PARTITIONS}\nreplication = 1\n[delay]\ntiers = [\"10s\"]\n[ops]\nlisten = \"127.0.0.1:0\"\n\
             [suppressions]\nkey = \"{recipients}\"\n[intake]\nduplicate_window = 5000\n[log]\nfilter = \"warn\"\n[tenants.\"*\"]\nfrom = [\"*\"]\n\
             [[providers]]\nname = \"vendor\"\n{provider}\nconcurrency = {CONCURRENCY}\nallow_hosts = [\"127.0.0.1\"]\n\
             [[routes]]\nchannel = \"{channel}\"\nprovider = \"vendor\"\n"
        );
        std::fs::write(self.dir.path().join("line.toml"), text).unwrap();
    }

    fn topics(&self) -> Topics {
        Topics::new(&self.prefix)
    }

    /// Enqueues as upstream would, in lz4; fails when the embedded broker has trimmed any of it.
    fn preload(&self) {
        let shape = if self.shape == Shape::Batch { Job::TemplateMail } else { Job::Webhook };
        let targets = Targets { webhook_base_url: self.vendor.said.clone(), prefix: self.prefix.clone() };
        let generator = Generator::new(1, Mix::only(Lane::Marketing, shape), targets).unwrap();
        let settings =
            [("acks", "all"), ("linger.ms", "20"), ("compression.type", "lz4"), ("batch.num.messages", "10000")];
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        for (key, value) in settings {
            client.set(key, value);
        }
        let producer: BaseProducer = client.create().unwrap();
        let topics = self.topics();
        let topic = topics.jobs(Lane::Marketing);
        for job in generator.take(self.jobs) {
            let mut record = BaseRecord::to(topic).key(&job.key).payload(&job.payload);
            while let Err((_, kept)) = producer.send(record) {
                producer.poll(Duration::from_millis(1));
                record = kept;
            }
        }
        producer.flush(Duration::from_secs(120)).unwrap();
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let kept: i64 = (0..i32::from(PARTITIONS))
            .map(|p| consumer.fetch_watermarks(topic, p, Duration::from_secs(10)).map_or(0, |(low, high)| high - low))
            .sum();
        assert_eq!(kept, self.jobs as i64, "the broker did not keep them all; hint: fewer --jobs");
    }

    pub fn daemon(&self) -> Figures {
        let config = self.dir.path().join("line.toml");
        let process = Process::start(&self.daemon, &["run", "--config", config.to_str().unwrap()], false);
        self.watch(process)
    }

    pub fn floor(&self) -> Figures {
        let own = std::env::current_exe().unwrap();
        let arguments = ["--floor", self.shape.as_str(), &self.brokers, &self.prefix, &self.vendor.said];
        self.watch(Process::start(&own, &arguments, false))
    }

    /// Until every job has arrived and has its outcome.
    fn watch(&self, mut process: Process) -> Figures {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let outcomes = self.topics().outcomes();
        let ended = || -> i64 {
            let of = |p| consumer.fetch_watermarks(&outcomes, p, Duration::from_secs(10)).map_or(0, |(_, high)| high);
            (0..i32::from(PARTITIONS)).map(of).sum()
        };
        // What it costs to start, to join and to warm up is nobody's message.
        let warm = self.jobs / 10;
        until("the first messages are taken", || arrival(&self.vendor.said, warm));
        let (own, broker, vendor) = (process.cpu(), self.broker.as_ref().map(Process::cpu), self.vendor.cpu());
        // The vendor's log first: asking it costs one request, not one per partition.
        until("every message is taken", || {
            assert!(process.runs(), "it has ended early");
            arrival(&self.vendor.said, self.jobs - 1)
        });
        until("every outcome is written", || (ended() >= self.jobs as i64).then_some(()));
        let each = |time: Duration| time.as_secs_f64() * 1e6 / (self.jobs - warm) as f64;
        let spent = |now: Duration, before: Duration| each(now.saturating_sub(before));
        let cost = Cost { cpu_us: spent(process.cpu(), own), rss_mib: process.peak_mib() };
        let first = arrival(&self.vendor.said, warm).unwrap_or_default();
        let last = arrival(&self.vendor.said, self.jobs - 1).unwrap_or_default();
        Figures {
            rate: (self.jobs - warm) as f64 / Duration::from_nanos(last.saturating_sub(first)).as_secs_f64(),
            cost,
            broker_us: self.broker.as_ref().zip(broker).map_or(0.0, |(process, before)| spent(process.cpu(), before)),
            vendor_us: spent(self.vendor.cpu(), vendor),
        }
    }
}

/// When the n-th message arrived, in nanoseconds on the vendor's clock, if it has.
fn arrival(vendor: &str, n: usize) -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("{vendor}/arrivals?from={n}&max=1");
    let body = runtime.block_on(async { reqwest::get(url).await.ok()?.bytes().await.ok() })?;
    let arrival: serde_json::Value = serde_json::from_slice(&body).ok()?;
    arrival["at"].as_u64()
}
