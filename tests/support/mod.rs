//! A small world around the real binary: a Kafka (a real one, or the embedded broker in its own process), simulated
//! vendors in the test's process, and as many daemons as a test asks for.
//!
//! Why: only this folder knows how things are started, watched and ended, so that a scenario reads as what it
//! shows. The simulator's log of arrivals is the only truth about what was sent.
//! Must not know: any scenario.

pub mod canary;
pub mod checker;
pub mod child;
pub mod config;
pub mod daemon;
pub mod kafka;
pub mod later;
pub mod prometheus;
pub mod reckoning;
pub mod stalls;
pub mod timed;

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use peakpost::job::source::SHIPPED_TIERS;
use peakpost::job::topic::Topics;
use peakpost::sim::load::{Generated, Generator, Mix, Targets};
use peakpost::sim::vendor::{SimConfig, Simulator};

use checker::watch::Watch;
use child::Child;
use config::Settings;

/// Partitions of every topic, as in the shipped defaults.
pub const PARTITIONS: u16 = 12;

/// A broker is named here to run on a real Kafka.
const BROKERS: &str = "PEAKPOST_TEST_BROKERS";

/// Worlds in which milliseconds count have the machine to themselves.
static TURN: RwLock<()> = RwLock::new(());

/// Held for as long as a world lasts.
enum Turn {
    Beside { _others: RwLockReadGuard<'static, ()> },
    Alone { _held: RwLockWriteGuard<'static, ()> },
}

impl Turn {
    fn beside() -> Self {
        Self::Beside { _others: TURN.read().unwrap_or_else(PoisonError::into_inner) }
    }

    fn alone() -> Self {
        Self::Alone { _held: TURN.write().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// A condition that does not come within this has got stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes with its world, but stays when the test fails.
struct Scratch(Option<tempfile::TempDir>);

impl Scratch {
    fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.0.take().map(tempfile::TempDir::keep);
            eprintln!("logs and metrics are kept in {kept:?}");
        }
    }
}

/// Everything one scenario needs.
pub struct World {
    /// What clients connect to.
    pub brokers: String,
    /// Whether that is a real Kafka.
    pub real: bool,
    /// Every topic, the group and every job id begin with it.
    pub prefix: String,
    /// Its delay tiers, shortest first.
    pub tiers: Vec<String>,
    pub topics: Topics,
    /// When the vendors' clock began, in milliseconds since 1970: not before the first, not after the second.
    pub vendors_since: (i64, i64),
    pub vendors: Simulator,
    pub vendor_config: SimConfig,
    dir: Scratch,
    runtime: tokio::runtime::Runtime,
    broker: Option<Child>,
    began: Instant,
    vendors_began: Instant,
    _turn: Turn,
}

impl World {
    /// A world on the Kafka that the environment names, else on the embedded broker; its topics are made.
    pub fn new(name: &str) -> Self {
        let world = Self::bare(name);
        world.make_topics();
        world
    }

    /// The same with no other world of this process beside it.
    pub fn alone(name: &str) -> Self {
        Self::alone_with(name, &SHIPPED_TIERS)
    }

    /// The same with other delay tiers.
    pub fn alone_with(name: &str, tiers: &[&str]) -> Self {
        let world = Self::build(name, std::env::var(BROKERS).ok(), Turn::alone(), 1, tiers);
        world.make_topics();
        world
    }

    /// A world on the embedded broker, whatever the environment says.
    pub fn embedded(name: &str) -> Self {
        Self::build(name, None, Turn::beside(), 1, &SHIPPED_TIERS)
    }

    /// A world on an embedded cluster of three brokers, whatever the environment says.
    pub fn cluster(name: &str) -> Self {
        Self::build(name, None, Turn::beside(), 3, &SHIPPED_TIERS)
    }

    /// A world without topics where topics can be made; the embedded broker has them from the start.
    pub fn bare(name: &str) -> Self {
        Self::build(name, std::env::var(BROKERS).ok(), Turn::beside(), 1, &SHIPPED_TIERS)
    }

    /// A world on a Kafka of the test's own, whatever the environment says.
    pub fn on(name: &str, brokers: String) -> Self {
        let world = Self::build(name, Some(brokers), Turn::beside(), 1, &SHIPPED_TIERS);
        world.make_topics();
        world
    }

    fn build(name: &str, brokers: Option<String>, turn: Turn, nodes: u8, tiers: &[&str]) -> Self {
        // Another test of this process may have been first, which is as good.
        let _made = rustls::crypto::ring::default_provider().install_default();
        let began = Instant::now();
        let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let prefix = format!("{name}-{stamp}");
        let dir = Scratch(Some(tempfile::tempdir().unwrap()));
        let real = brokers.is_some();
        let mut broker = None;
        let brokers = brokers.unwrap_or_else(|| {
            let (partitions, nodes) = (PARTITIONS.to_string(), nodes.to_string());
            let mut arguments =
                vec!["sim", "broker", "--prefix", &prefix, "--partitions", &partitions, "--nodes", &nodes, "--orders"];
            arguments.extend(config::PROVIDERS.iter().flat_map(|name| ["--provider", name]));
            arguments.extend(tiers.iter().flat_map(|tier| ["--tier", tier]));
            let child = Child::start_to_order(dir.path(), "broker", &arguments);
            let address = child.first_line();
            broker = Some(child);
            address
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let vendor_config = canary::secrets();
        let (vendors_began, before) = (Instant::now(), later::wall_ms());
        let vendors = runtime.block_on(Simulator::start(vendor_config.clone())).unwrap();
        println!("-- {name}: on {}", if real { "a real Kafka" } else { "the embedded broker" });
        let tiers: Vec<String> = tiers.iter().map(|tier| (*tier).to_owned()).collect();
        Self {
            topics: config::topics(&prefix, &tiers),
            tiers,
            vendors_since: (before, later::wall_ms()),
            brokers,
            real,
            prefix,
            vendors,
            vendor_config,
            dir,
            runtime,
            broker,
            began,
            vendors_began,
            _turn: turn,
        }
    }

    fn make_topics(&self) {
        if self.real {
            // A broker under load may not show at once what it has made: what is there is left alone the next time.
            let said = std::cell::RefCell::default();
            let create = || {
                let (code, output) = self.run("topics", &["topics", "create"]);
                said.replace(output);
                (code == 0).then_some(())
            };
            until(PATIENCE, "`peakpost topics create` ends well", create, || said.borrow().clone());
        }
    }

    /// Goes on under another prefix, in which nothing has been made.
    pub fn rename(&mut self, suffix: &str) {
        self.prefix.push_str(suffix);
        self.topics = config::topics(&self.prefix, &self.tiers);
    }

    /// Tells the embedded broker to err, see `peakpost::sim::broker::Broker::obey`.
    pub fn order(&mut self, line: &str) {
        self.broker.as_mut().expect("a real Kafka takes no orders").order(line);
    }

    /// Sends the embedded broker a signal by name.
    pub fn signal_broker(&self, name: &str) {
        self.broker.as_ref().expect("a real Kafka is no child of this world").signal(name);
    }

    /// Whether the environment names a real Kafka.
    pub fn real_is_wanted() -> bool {
        std::env::var(BROKERS).is_ok()
    }

    /// Ends the embedded broker for good, as a power cut would.
    pub fn end_broker(&mut self) {
        drop(self.broker.take());
    }

    /// Where configurations, logs and metrics of this world lie.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Vendors' address, as a base URL.
    pub fn vendor_url(&self) -> String {
        format!("http://{}", self.vendors.addr())
    }

    /// As much as a real Kafka is asked to show, or what the embedded broker can hold.
    pub fn scale<T>(&self, real: T, embedded: T) -> T {
        if self.real { real } else { embedded }
    }

    /// The same, and what a long run (`PEAKPOST_CRASH=full`) on a real Kafka is asked for.
    pub fn size<T>(&self, full: T, real: T, embedded: T) -> T {
        if self.real && later::full() { full } else { self.scale(real, embedded) }
    }

    /// Says by name what this run leaves out.
    pub fn left_out(what: &str) {
        println!("   left out on the embedded broker: {what}");
    }

    /// Writes a configuration and returns its path.
    pub fn configure(&self, name: &str, settings: &Settings) -> PathBuf {
        let path = self.dir().join(format!("{name}.toml"));
        std::fs::write(&path, settings.text(self)).unwrap();
        path
    }

    /// Runs a command of the binary with the default settings to its end: exit code and what it wrote.
    pub fn run(&self, name: &str, arguments: &[&str]) -> (i32, String) {
        let config = self.configure(name, &Settings::default());
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        let mut child = Child::start(self.dir(), name, &all);
        let code = child.wait(PATIENCE);
        (code, child.output())
    }

    /// Jobs of a mix, with ids of this world.
    pub fn jobs(&self, seed: u64, mix: Mix) -> impl Iterator<Item = Generated> {
        let targets = Targets { webhook_base_url: self.vendor_url(), prefix: self.prefix.clone() };
        Generator::new(seed, mix, targets).unwrap()
    }

    /// Looks at every topic and every commit from the beginning.
    pub fn audit(&self) -> Watch {
        Watch::start(&self.brokers, &self.prefix)
    }

    /// The present on the clock of the vendors' arrivals, in nanoseconds; at most a few milliseconds late.
    pub fn vendor_now(&self) -> u64 {
        u64::try_from(self.vendors_began.elapsed().as_nanos()).unwrap()
    }

    /// Runs something of the simulator's.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Ends the world: nothing that must not be seen was written by anything in it, and nothing panicked.
    pub fn finish(self) {
        if self.real {
            kafka::remove_topics(&self);
        }
        let Self { dir, vendor_config, vendors, runtime, .. } = self;
        runtime.block_on(vendors.shutdown()).unwrap();
        let read = canary::search(dir.path(), &vendor_config);
        println!("   {:.1} s; no canary in {read} KiB of logs and metrics", self.began.elapsed().as_secs_f64());
    }
}

/// Waits for an answer, asking again and again; after `limit` it fails with what `state` tells.
pub fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>, state: impl FnOnce() -> String) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}; hint: {}", state());
        std::thread::sleep(Duration::from_millis(10));
    }
}
