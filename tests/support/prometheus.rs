//! A real Prometheus beside the daemons: the shipped rules loaded, every daemon scraped, and asked over HTTP.
//!
//! Why: what a rule says of counters is for Prometheus to say, not for us.
//! Must not know: what is asked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::daemon::Daemon;
use super::{PATIENCE, World, until};

/// Where the binary is, if not where `.ci/run` unpacks it or in the path.
const BINARY: &str = "PEAKPOST_PROMETHEUS";
/// The rules as they are shipped.
const RULES: [&str; 2] = ["recording", "unreported"];
/// How often targets are scraped and rules evaluated; the shipped rules' own interval is 30 s.
const INTERVAL: Duration = Duration::from_secs(1);

/// A running server. It is killed when this is dropped.
pub struct Prometheus {
    process: std::process::Child,
    log: PathBuf,
    url: String,
    client: reqwest::Client,
}

/// Series by the values of some of their labels, in the order in which they were asked for.
pub type Series = BTreeMap<Vec<String>, f64>;

/// The binary. `None`: there is none on this machine.
fn binary() -> Option<PathBuf> {
    if let Ok(named) = std::env::var(BINARY) {
        assert!(Path::new(&named).exists(), "{BINARY} names `{named}`, which is not there");
        return Some(named.into());
    }
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/prometheus");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("prometheus"));
    [unpacked].into_iter().chain(in_path).find(|file| file.is_file())
}

impl Prometheus {
    /// Starts one that scrapes these daemons, and waits until it answers. `None`: there is no binary, and that is said.
    pub fn start(world: &World, daemons: &[&Daemon]) -> Option<Self> {
        let Some(binary) = binary() else {
            println!("   LEFT OUT: there is no prometheus here; hint: Debian's package `prometheus`, or {BINARY}=PATH");
            return None;
        };
        let dir = world.dir().join("prometheus");
        std::fs::create_dir(&dir).unwrap();
        let mut config = format!(
            "global: {{scrape_interval: {0}s, scrape_timeout: {0}s, evaluation_interval: {0}s}}\nrule_files: [\"*.rules\"]\n\
             scrape_configs:\n  - job_name: peakpost\n    static_configs:\n      - targets:\n",
            INTERVAL.as_secs()
        );
        for daemon in daemons {
            writeln!(config, "          - \"{}\"", daemon.ops).unwrap();
        }
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        for name in RULES {
            let shipped = format!("{}/deploy/prometheus/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
            let rules = std::fs::read_to_string(shipped).unwrap();
            let often = rules.replace("interval: 30s", &format!("interval: {}s", INTERVAL.as_secs()));
            assert_ne!(rules, often, "{name}.yaml: the interval is found no more; mend this test");
            std::fs::write(dir.join(format!("{name}.rules")), often).unwrap();
        }
        // Free now; whoever takes it meanwhile makes the start fail, and says so.
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = dir.join("prometheus.log");
        let out = File::create(&log).unwrap();
        let process = Command::new(&binary)
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={addr}"))
            .arg("--log.level=warn")
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let server = Self { process, log, url: format!("http://{addr}"), client };
        let all = || (server.ask(world, "up == 1", &["instance"]).len() == daemons.len()).then_some(());
        until(PATIENCE, "Prometheus has scraped every daemon", all, || server.last_words());
        Some(server)
    }

    /// An instant query. A server that does not answer yet knows of no series.
    pub fn ask(&self, world: &World, query: &str, labels: &[&str]) -> Series {
        let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let url = format!("{}/api/v1/query?query={encoded}", self.url);
        let answer = world.block_on(async { self.client.get(url).send().await.ok()?.text().await.ok() });
        let Some(answer) = answer else { return Series::new() };
        let Ok(answer) = serde_json::from_str::<serde_json::Value>(&answer) else { return Series::new() };
        assert_ne!(answer["status"], "error", "`{query}`: {answer}");
        let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let read = |row: &serde_json::Value| {
            let named = |label: &&str| row["metric"][*label].as_str().unwrap_or_default().to_owned();
            let value = row["value"][1].as_str().unwrap().parse::<f64>().unwrap();
            (labels.iter().map(named).collect(), value)
        };
        rows.iter().map(read).collect()
    }

    /// What it has complained of, for messages.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("prometheus wrote last:\n{}", lines[lines.len().saturating_sub(10)..].join("\n"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen by then.
        drop(self.process.kill());
        self.process.wait().unwrap();
    }
}
