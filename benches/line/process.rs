//! Processes of the binary, and what the kernel says they cost.
//!
//! Must not know: what is measured.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a process cost: CPU per message in microseconds, and the most memory it held.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system time of all its threads.
    pub cpu_us: f64,
    /// Peak resident set.
    pub rss_mib: f64,
}

/// A process that is killed when this is dropped.
pub struct Process {
    child: Child,
    /// The first line it wrote.
    pub said: String,
}

impl Process {
    /// Starts it and waits for the first line that it writes, if it is to write one.
    pub fn start(binary: &Path, arguments: &[&str], speaks: bool) -> Self {
        let out = if speaks { Stdio::piped() } else { Stdio::null() };
        let mut child = Command::new(binary).args(arguments).stdout(out).spawn().unwrap();
        let mut said = String::new();
        if let Some(out) = child.stdout.take() {
            let mut reader = BufReader::new(out);
            reader.read_line(&mut said).unwrap();
            // What it says later is of no interest, but must have somewhere to go.
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        }
        Self { child, said: said.trim().to_owned() }
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        cpu(self.pid())
    }

    /// By which the system knows it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its peak resident set.
    pub fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        line.trim_end_matches("kB").trim().parse().map_or(0.0, |kib: f64| kib / 1024.0)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _code = self.child.wait();
    }
}

/// User and system time of a process so far, from `/proc/<pid>/stat` in ticks of 10 ms (fields 14 and 15, see proc(5)).
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold spaces; what follows it does not.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Asks again and again, up to five minutes.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within five minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Builds the daemon as it is released: benches are built with the tests' features, which it must not have.
pub fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/line");
    eprintln!("building the daemon as it is released, into {}", target.display());
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["build", "--release", "--target-dir"]).arg(&target);
    assert!(cargo.status().unwrap().success(), "the daemon was not built");
    target.join("release/peakpost")
}
