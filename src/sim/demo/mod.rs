//! The demo: broker, vendors, load and daemon in one process, then the reckoning.
//!
//! Why: one command shows the whole line and proves it: what was enqueued is held against the vendors' own
//! log of arrivals, never against the daemon's counters.
//! Must not know: the daemon's insides.

pub mod audit;
pub mod report;
mod source;
mod stall;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::arrivals::Vendor;
use super::broker::Broker;
use super::load::{Generator, Mix, Targets};
use super::vendor::{SimConfig, Simulator};
use crate::app::{Daemon, Extras};
use crate::config::Config;
use crate::gate::limit::Limit;
use crate::job::source::SHIPPED_TIERS;
use crate::job::topic::Topics;
use crate::job::{Home, Lane};
use audit::Audit;
use report::{Evidence, Report};
use source::Source;

/// Partitions of the demo's topics.
const PARTITIONS: Home = 12;
/// Everything in the demo is under this prefix.
const PREFIX: &str = "demo";
/// The run fails when no outcome comes for this long.
const STUCK: Duration = Duration::from_secs(60);

/// The demo's limits, by simulated vendor: what the daemon is told, and what the arrivals are held against.
pub const LIMITS: [(Vendor, &str, &str); 3] = [
    (Vendor::SendGrid, "sendgrid-demo", "60_000 messages/s"),
    (Vendor::Twilio, "twilio-demo", "8_000 messages/s"),
    (Vendor::Webhook, "webhook-demo", "8_000 requests/s"),
];

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Jobs to enqueue.
    pub jobs: u64,
    /// Seed of the load, the vendors and the jitter.
    pub seed: u64,
}

/// How a run stands, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Jobs enqueued.
    pub enqueued: u64,
    /// Outcomes seen.
    pub settled: u64,
    /// Jobs read and not settled, by lane.
    pub in_line: [u64; 2],
    /// Requests at the vendors.
    pub in_flight: u64,
    /// By vendor, in the order of [`LIMITS`]: the share of its bucket used since the last time, 0 to 1.
    pub buckets: [f64; 3],
    /// Outcomes other than accepted.
    pub not_accepted: u64,
}

/// A directory for the demo's secrets that goes when the run is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(seed: u64) -> Result<Self, String> {
        let dir = std::env::temp_dir().join(format!("peakpost-demo-{}-{seed}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make `{}`: {e}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(target: "peakpost::sim", %error, "the demo's directory stays");
        }
    }
}

/// Runs the demo; `show` is called a few times a second.
///
/// # Errors
/// When something could not be started or got stuck. A run that ends with a bad result is no error: see
/// [`Report::verdict`].
pub async fn run(setup: &Setup, mut show: impl FnMut(&Progress)) -> Result<Report, String> {
    let started = Instant::from(tokio::time::Instant::now());
    let cpu = report::cpu_seconds();
    let providers = LIMITS.map(|(_, name, _)| name.to_owned());
    let topics = Topics::with(PREFIX, &SHIPPED_TIERS.map(str::to_owned), &providers);
    let broker = Broker::start(vec![topics.clone()], PARTITIONS, 1)?;
    let scratch = Scratch::new(setup.seed)?;
    let vendor = Simulator::start(SimConfig { seed: setup.seed, ..SimConfig::default() }).await?;
    let config = config(&broker, &vendor, &scratch)?;
    let permits = Arc::new(Mutex::new(Vec::new()));
    let extras = Extras { permit_log: Some(Arc::clone(&permits)), seed: setup.seed };
    let stall = stall::Probe::start()?;
    let audit = Audit::start(&broker.brokers, &topics, PARTITIONS)?;
    let mut daemon = Daemon::start(config, extras).await.map_err(|e| e.to_string())?;
    let mut status = daemon.status();
    let joined = async { status.wait_for(|s| s.leased).await.map(drop).map_err(|e| e.to_string()) };
    tokio::time::timeout(STUCK, joined).await.map_err(|_| "the daemon did not get its homes".to_owned())??;
    let targets = Targets { webhook_base_url: format!("http://{}", vendor.addr()), prefix: "demo".to_owned() };
    let generator = Generator::new(setup.seed, Mix::peak(), targets)?;
    let source = Source::start(&broker.brokers, topics.clone(), generator, setup.jobs, Arc::clone(&audit.ended))?;
    let mut meter = Meter { metrics: daemon.metrics.clone(), granted: [0; 3], read: started };
    let mut moved = (0, Instant::from(tokio::time::Instant::now()));
    loop {
        tokio::select! {
            failure = daemon.failed() => return Err(failure.to_string()),
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
        let settled = audit.ended.load(Ordering::Relaxed);
        let now = Instant::from(tokio::time::Instant::now());
        show(&meter.read(source.enqueued(), settled, now));
        if settled >= setup.jobs {
            break;
        }
        if settled != moved.0 {
            moved = (settled, now);
        } else if now.duration_since(moved.1) > STUCK {
            return Err(format!(
                "no outcome for {STUCK:?} at {settled} of {} jobs; hint: RUST_BACKTRACE=1 and --log info",
                setup.jobs
            ));
        }
    }
    let wall = started.elapsed();
    let drained = daemon.stop().await.map_err(|e| e.to_string())?;
    let cpu = report::cpu_seconds() - cpu;
    let sent = source.finish()?;
    let trimmed = source::trims_past_commits(&broker.brokers, &topics, PREFIX, PARTITIONS)?;
    let evidence = Evidence {
        sent,
        account: audit.finish(),
        arrivals: vendor.take_arrivals(),
        permits: permits.lock().map(|mut log| std::mem::take(&mut *log)).unwrap_or_default(),
        stall: stall.finish(),
        trims_past_commits: trimmed,
        drained,
    };
    vendor.shutdown().await?;
    Ok(report::reckon(setup, &evidence, wall, cpu))
}

/// Reads the daemon's metrics for whoever watches. The reckoning does not use them.
struct Meter {
    metrics: crate::observe::Metrics,
    granted: [u64; 3],
    read: Instant,
}

impl Meter {
    fn read(&mut self, enqueued: u64, settled: u64, now: Instant) -> Progress {
        let metrics = &self.metrics;
        let count = |gauge: prometheus::IntGauge| u64::try_from(gauge.get()).unwrap_or(0);
        let in_flight =
            LIMITS.iter().map(|(_, name, _)| count(metrics.in_flight_requests.with_label_values(&[name]))).sum();
        let in_line = Lane::ALL.map(|lane| count(metrics.in_flight_jobs.with_label_values(&[lane.as_str()])));
        let limits = LIMITS.map(|(_, name, limit)| (name, limit.parse::<Limit>()));
        let seconds = now.saturating_duration_since(self.read).as_secs_f64().max(0.001);
        let mut buckets = [0.0; 3];
        for (i, (name, limit)) in limits.into_iter().enumerate() {
            let Ok(limit) = limit else { continue };
            let granted = metrics.gate_granted.with_label_values(&[name, limit.unit.as_str()]).get();
            let rate = metrics.gate_rate.with_label_values(&[name, limit.unit.as_str(), &limit.to_string()]).get();
            buckets[i] = (granted - self.granted[i]) as f64 / seconds / rate.max(1.0);
            self.granted[i] = granted;
        }
        self.read = now;
        let accepted: u64 = Lane::ALL
            .map(|lane| metrics.outcomes.with_label_values(&[lane.as_str(), "accepted", "accepted"]).get())
            .iter()
            .sum();
        Progress { enqueued, settled, in_line, in_flight, buckets, not_accepted: settled.saturating_sub(accepted) }
    }
}

/// The daemon's configuration: what an operator would write, with the simulated vendors' addresses.
fn config(broker: &Broker, vendor: &Simulator, scratch: &Scratch) -> Result<Config, String> {
    let file =
        config_text(&broker.brokers, PREFIX, &format!("http://{}", vendor.addr()), &SimConfig::default(), &scratch.0)?;
    Config::from_parts(&file, std::iter::empty()).map_err(|e| e.to_string())
}

/// A configuration for simulated vendors at `base`; their secrets are written into `dir`.
fn config_text(brokers: &str, prefix: &str, base: &str, sim: &SimConfig, dir: &Path) -> Result<String, String> {
    let secret = |name: &str, value: &str| {
        let path = dir.join(name);
        std::fs::write(&path, value).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
        Ok::<_, String>(format!("file:{}", path.display()))
    };
    let key = secret("sendgrid", &sim.sendgrid_key)?;
    let password = secret("twilio", &sim.twilio_password)?;
    let recipients = secret("recipients", "the demo's recipients are nobody's")?;
    let secret = secret("webhook", &sim.webhook_secret)?;
    let sid = &sim.twilio_sid;
    let [(_, mail, mail_limit), (_, sms, sms_limit), (_, hook, hook_limit)] = LIMITS;
    Ok(format!(
        r#"
[kafka]
brokers = "{brokers}"
prefix = "{prefix}"
group = "{prefix}"
embedded = true
[suppressions]
key = "{recipients}"
[ops]
listen = "127.0.0.1:0"
[log]
format = "pretty"
[tenants."*"]
from = ["*"]
[[providers]]
name = "{mail}"
kind = "sendgrid"
base_url = "{base}"
key = "{key}"
limits = ["{mail_limit}"]
concurrency = 32
allow_hosts = ["127.0.0.1"]
[[providers]]
name = "{sms}"
kind = "twilio"
base_url = "{base}"
account_sid = "{sid}"
password = "{password}"
limits = ["{sms_limit}"]
concurrency = 64
allow_hosts = ["127.0.0.1"]
[[providers]]
name = "{hook}"
kind = "webhook"
secret = "{secret}"
limits = ["{hook_limit}"]
concurrency = 64
allow_hosts = ["127.0.0.1"]
[[routes]]
channel = "email"
provider = "{mail}"
[[routes]]
channel = "sms"
provider = "{sms}"
[[routes]]
channel = "webhook"
provider = "{hook}"
"#
    ))
}
