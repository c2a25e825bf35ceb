//! A running `peakpost run`: ready, asked, stopped.
//!
//! Why: scenarios speak of daemons, not of processes and ports.
//! Must not know: which scenario it is for.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::child::Child;
use super::config::Settings;
use super::{PATIENCE, World, until};

/// A daemon asked to stop must have ended within this.
pub const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How often what is shown is kept, to be searched for what must not be.
const KEEP_EVERY: Duration = Duration::from_millis(250);

/// A daemon that has told where it listens.
pub struct Daemon {
    pub child: Child,
    pub ops: SocketAddr,
    shown: PathBuf,
    kept: Cell<Option<Instant>>,
}

impl Daemon {
    /// Starts one and waits until it is ready: it has its homes and may send for them.
    pub fn ready(world: &World, name: &str, settings: &Settings) -> Self {
        let mut daemon = Self::start(world, name, settings);
        let log = daemon.child.log();
        let ready = || daemon.running().get("/readyz").ok();
        until(PATIENCE, "/readyz says 200", ready, || format!("see {}", log.display()));
        daemon
    }

    /// Starts one and waits until it listens.
    pub fn start(world: &World, name: &str, settings: &Settings) -> Self {
        Self::start_in(world, name, settings, &[])
    }

    /// The same with environment variables.
    pub fn start_in(world: &World, name: &str, settings: &Settings, environment: &[(&str, &str)]) -> Self {
        let config = world.configure(name, settings);
        let arguments = ["run", "--config", config.to_str().unwrap()];
        let child = Child::start_in(world.dir(), name, &arguments, environment);
        let ops = || {
            let output = child.output();
            let (_, rest) = output.rsplit_once("running ops=")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let ops = until(PATIENCE, "the line `running ops=…`", ops, || child.last_words());
        let shown = world.dir().join(format!("{name}.metrics"));
        Self { child, ops, shown, kept: Cell::new(None) }
    }

    /// Where it listens for feedback.
    pub fn feedback(&self) -> SocketAddr {
        let output = self.child.output();
        let said =
            output.rsplit_once("listening for feedback on=").and_then(|(_, rest)| rest.split_whitespace().next());
        said.and_then(|addr| addr.parse().ok()).expect("it listens for feedback; hint: `[feedback] listen`")
    }

    /// Fails when it has ended by itself.
    fn running(&mut self) -> &Self {
        if let Some(code) = self.child.ended() {
            panic!("`{}` has ended with {code}; {}", self.child.name, self.child.last_words());
        }
        self
    }

    /// Asks the ops listener. `Err` for any answer but 200.
    pub fn get(&self, path: &str) -> Result<String, String> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.ops, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().map_err(|e| e.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.starts_with("HTTP/1.1 200") {
            true => Ok(body.to_owned()),
            false => Err(answer),
        }
    }

    /// The sum of a metric over all its series that have each of `labels` (`name="value"`). What was shown is kept
    /// beside the log, a few times a second.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.get("/metrics").unwrap_or_else(|e| panic!("/metrics: {e}; {}", self.child.last_words()));
        if self.kept.get().is_none_or(|at| at.elapsed() > KEEP_EVERY) {
            File::options().create(true).append(true).open(&self.shown).unwrap().write_all(text.as_bytes()).unwrap();
            self.kept.set(Some(Instant::now()));
        }
        let series = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
        };
        let values = text.lines().filter(series).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    }

    /// Homes it owns.
    pub fn homes(&self) -> u16 {
        format!("{:.0}", self.metric("peakpost_homes_owned", &[])).parse().unwrap()
    }

    /// What it is at, for a failure's message: readiness, and what waits where.
    pub fn state(&self) -> String {
        let ready = self.get("/readyz").unwrap_or_else(|not| not);
        let metrics = self.get("/metrics").unwrap_or_else(|not| not);
        let telling = ["in_flight", "uncommitted", "deferred", "depth", "lag", "retry_budget", "homes"];
        let told = metrics.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
        let told: Vec<&str> = told.filter(|line| telling.iter().any(|word| line.contains(word))).collect();
        format!("{ready}\n{}\n{}", told.join("\n"), self.child.last_words())
    }

    /// Its resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time it has used.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.pid())).unwrap();
        // After the name, which is in brackets: the 12th and 13th fields, in hundredths of a second.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
        Duration::from_millis(10 * fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
    }

    /// SIGTERM; it must end with `code` in time. How long it took, and what it wrote.
    pub fn stop_with(mut self, code: i32) -> (Duration, String) {
        self.kept.set(None);
        self.running().metric("peakpost_build_info", &[]);
        let asked = Instant::now();
        self.child.signal("TERM");
        let got = self.child.wait(STOP_LIMIT);
        let took = asked.elapsed();
        assert_eq!(got, code, "exit code; {}", self.child.last_words());
        (took, self.child.output())
    }

    /// SIGTERM; it must end with 0 in time.
    pub fn stop(self) -> (Duration, String) {
        self.stop_with(0)
    }
}
