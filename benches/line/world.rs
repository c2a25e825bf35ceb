//! A broker with preloaded jobs and a validating simulator, for one run of the daemon or of the floor.
//!
//! Must not know: how either works.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peakpost::job::Lane;
use peakpost::job::topic::Topics;
use peakpost::sim::load::Targets;
use peakpost::sim::vendor::SimConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use super::Shape;
use super::floor::CONCURRENCY;
use super::preload::{self, KEY, tenant};
use super::process::{Cost, Process, cpu, until};

/// Partitions: the embedded broker keeps 5 MiB of each.
pub const PARTITIONS: u16 = 48;

/// The n-th account.
fn name(n: usize) -> String {
    if n == 0 { "vendor".to_owned() } else { format!("vendor-{n}") }
}

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Messages a second, from the first tenth that the vendor took to the last outcome in Kafka.
    pub rate: f64,
    /// From its start to the first message that the vendor took.
    pub first: Duration,
    pub cost: Cost,
    /// What the others needed per message, in the same time; `None` where nobody has said which process it is.
    pub broker_us: Option<f64>,
    pub vendor_us: f64,
}

/// What a run has to carry.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub shape: Shape,
    /// Jobs that wait when it starts.
    pub jobs: usize,
    /// Accounts, each with tenants of its own.
    pub providers: usize,
    /// Names that the jobs go by, in turn; 0: as upstream names them.
    pub tenants: usize,
    /// Recipients that must not be written to; the jobs' are not among them.
    pub suppressions: usize,
}

impl Load {
    /// One account, and nothing but the jobs.
    pub const fn of(shape: Shape, jobs: usize) -> Self {
        Self { shape, jobs, providers: 1, tenants: 0, suppressions: 0 }
    }
}

/// Everything around one run.
pub struct World {
    load: Load,
    daemon: PathBuf,
    dir: tempfile::TempDir,
    /// What clients connect to.
    pub brokers: String,
    prefix: String,
    broker: Option<Process>,
    vendor: Process,
    /// By which the vendor is asked, and Kafka's administration.
    asks: (Runtime, reqwest::Client),
}

impl World {
    pub fn new(load: Load, daemon: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("line-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        let vendor = Process::start(daemon, &["sim", "provider", "--listen", "127.0.0.1:0"], true);
        let partitions = PARTITIONS.to_string();
        let arguments = ["sim", "broker", "--prefix", &prefix, "--partitions", &partitions, "--tier", "10s"];
        let providers: Vec<String> = (0..load.providers).map(|n| format!("--provider={}", name(n))).collect();
        let arguments: Vec<&str> = arguments.into_iter().chain(providers.iter().map(String::as_str)).collect();
        let real = std::env::var("PEAKPOST_TEST_BROKERS").ok();
        let broker = real.is_none().then(|| Process::start(daemon, &arguments, true));
        let brokers = real.unwrap_or_else(|| broker.as_ref().map(|b| b.said.clone()).unwrap_or_default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asks = (runtime, reqwest::Client::new());
        let world = Self { load, daemon: daemon.to_owned(), dir, brokers, prefix, broker, vendor, asks };
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
        let (channel, provider) = match self.load.shape {
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
        let provider = |n: usize| {
            let name = name(n);
            let whose = if self.load.providers == 1 { String::new() } else { format!("tenant = \"{}\"\n", tenant(n)) };
            format!(
                "[[providers]]\nname = \"{name}\"\n{provider}\nconcurrency = {CONCURRENCY}\nallow_hosts = [\"127.0.0.1\"]\n\
                 [[routes]]\nchannel = \"{channel}\"\nprovider = \"{name}\"\n{whose}"
            )
        };
        let providers: String = (0..self.load.providers).map(provider).collect();
        let recipients = file("recipients", KEY);
        let (brokers, prefix, embedded) = (&self.brokers, &self.prefix, self.broker.is_some());
        let text = format!(
            "[kafka]\nbrokers = \"{brokers}\"\nprefix = \"{prefix}\"\ngroup = \"{prefix}\"\nembedded = {embedded}\n\
             [topics]\npartitions = {PARTITIONS}\nreplication = 1\n[delay]\ntiers = [\"10s\"]\n[ops]\nlisten = \"127.0.0.1:0\"\n\
             [suppressions]\nkey = \"{recipients}\"\n[intake]\nduplicate_window = 5000\n[log]\nfilter = \"warn\"\n[tenants.\"*\"]\nfrom = [\"*\"]\n\
             {providers}"
        );
        std::fs::write(self.dir.path().join("line.toml"), text).unwrap();
    }

    pub fn topics(&self) -> Topics {
        Topics::new(&self.prefix)
    }

    pub fn targets(&self) -> Targets {
        Targets { webhook_base_url: self.vendor.said.clone(), prefix: self.prefix.clone() }
    }

    fn preload(&self) {
        preload::jobs(&self.brokers, self.topics().jobs(Lane::Marketing), self.targets(), &self.load);
        preload::suppressions(&self.brokers, &self.topics().suppressions(), self.load.suppressions);
    }

    /// A daemon that is starting.
    pub fn start(&self) -> Process {
        let config = self.dir.path().join("line.toml");
        Process::start(&self.daemon, &["run", "--config", config.to_str().unwrap()], false)
    }

    /// What the daemon holds at most while the vendor answers nobody, for so long.
    pub fn stalled(&self, over: Duration) -> f64 {
        let hangs = r#"{"hang_rate":1.0,"hang_ms":3600000}"#;
        let url = format!("{}/behaviour/sendgrid", self.vendor.said);
        let (runtime, http) = &self.asks;
        let steer = http.put(url).body(hangs).send();
        assert!(runtime.block_on(steer).unwrap().status().is_success(), "the vendor does not hang");
        let mut process = self.start();
        std::thread::sleep(over);
        assert!(process.runs(), "it has ended early");
        process.peak_mib()
    }

    /// A floor that is starting.
    pub fn start_floor(&self) -> Process {
        let own = std::env::current_exe().unwrap();
        let arguments = ["--floor", self.load.shape.as_str(), &self.brokers, &self.prefix, &self.vendor.said];
        Process::start(&own, &arguments, false)
    }

    pub fn daemon(&self) -> Figures {
        self.watch(self.start())
    }

    pub fn floor(&self) -> Figures {
        self.watch(self.start_floor())
    }

    /// Until every job has arrived and has its outcome.
    fn watch(&self, mut process: Process) -> Figures {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let outcomes = self.topics().outcomes();
        let ended = || -> i64 {
            let of = |p| consumer.fetch_watermarks(&outcomes, p, Duration::from_secs(10)).map_or(0, |(_, high)| high);
            (0..i32::from(PARTITIONS)).map(of).sum()
        };
        let began = Instant::now();
        until("a message is taken", || self.arrived(0));
        let first = began.elapsed();
        // What it costs to start, to join and to warm up is nobody's message.
        let warm = self.load.jobs / 10;
        until("the first messages are taken", || self.arrived(warm));
        let (own, broker, vendor) = (process.cpu(), self.broker_cpu(), self.vendor.cpu());
        let since = Instant::now();
        // The vendor's log first: asking it costs one request, not one per partition.
        until("every message is taken", || {
            assert!(process.runs(), "it has ended early");
            self.arrived(self.load.jobs - 1)
        });
        until("every outcome is written", || (ended() >= self.load.jobs as i64).then_some(()));
        let took = since.elapsed();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / (self.load.jobs - warm) as f64;
        let spent = |now: Duration, before: Duration| each(now.saturating_sub(before));
        let cost = Cost { cpu_us: spent(process.cpu(), own), rss_mib: process.peak_mib() };
        Figures {
            rate: (self.load.jobs - warm) as f64 / took.as_secs_f64(),
            first,
            cost,
            broker_us: self.broker_cpu().zip(broker).map(|(now, before)| spent(now, before)),
            vendor_us: spent(self.vendor.cpu(), vendor),
        }
    }

    /// `None`: the broker is a real one, and nobody has said which process it is.
    fn broker_cpu(&self) -> Option<Duration> {
        let said = || Some(std::env::var("PEAKPOST_TEST_BROKER_PID").ok()?.parse().expect("a process id"));
        self.broker.as_ref().map(Process::pid).or_else(said).map(cpu)
    }

    /// Whether the vendor has taken the n-th message.
    fn arrived(&self, n: usize) -> Option<()> {
        let (runtime, http) = &self.asks;
        let url = format!("{}/arrivals?from={n}&max=1", self.vendor.said);
        let body = runtime.block_on(async { http.get(url).send().await.ok()?.bytes().await.ok() })?;
        let arrival: serde_json::Value = serde_json::from_slice(&body).ok()?;
        arrival["at"].as_u64().map(|_| ())
    }
}

impl Drop for World {
    /// Has a real broker forget it: one that outlives many worlds would carry the partitions of all of them.
    fn drop(&mut self) {
        if self.broker.is_some() {
            return;
        }
        let mut client = ClientConfig::new();
        let Ok(admin) = client.set("bootstrap.servers", &self.brokers).create::<AdminClient<_>>() else { return };
        let Ok(known) = admin.inner().fetch_metadata(None, Duration::from_secs(30)) else { return };
        let names = known.topics().iter().map(MetadataTopic::name);
        let own: Vec<&str> = names.filter(|name| name.starts_with(&self.prefix)).collect();
        // What the broker does not answer changes no figure.
        drop(self.asks.0.block_on(admin.delete_topics(&own, &AdminOptions::new())));
    }
}

/// Reads a topic from its beginning, with the client's own settings.
pub fn reader(brokers: &str, topic: &str) -> BaseConsumer {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("group.id", "reader").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..i32::from(PARTITIONS) {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    consumer
}
