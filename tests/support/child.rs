//! A child process of the binary under test: its output in a file, signals, an end within a deadline.
//!
//! Why: a test that dies must not leave a daemon behind, and what a daemon wrote is evidence.
//! Must not know: what the process does.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use super::{PATIENCE, until};

/// A process that is killed when this is dropped.
pub struct Child {
    pub name: String,
    process: std::process::Child,
    log: PathBuf,
    stdin: Option<ChildStdin>,
}

impl Child {
    /// Starts the binary; what it writes goes to `<name>.log` in `dir`. Settings of the surroundings do not reach it.
    pub fn start(dir: &Path, name: &str, arguments: &[&str]) -> Self {
        Self::start_in(dir, name, arguments, &[])
    }

    /// The same with environment variables.
    pub fn start_in(dir: &Path, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(dir, name, arguments, environment, Stdio::null())
    }

    /// Starts one that takes orders, see [`Child::order`].
    pub fn start_to_order(dir: &Path, name: &str, arguments: &[&str]) -> Self {
        Self::spawn(dir, name, arguments, &[], Stdio::piped())
    }

    fn spawn(dir: &Path, name: &str, arguments: &[&str], environment: &[(&str, &str)], stdin: Stdio) -> Self {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_peakpost"));
        for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("PEAKPOST_")) {
            command.env_remove(variable);
        }
        let both = out.try_clone().unwrap();
        command.envs(environment.iter().copied());
        let mut process = command.args(arguments).stdin(stdin).stdout(out).stderr(both).spawn().unwrap();
        let stdin = process.stdin.take();
        Self { name: name.to_owned(), process, log, stdin }
    }

    /// Writes it a line and waits until it answers `ok`.
    pub fn order(&mut self, line: &str) {
        let before = self.output().lines().count();
        writeln!(self.stdin.as_mut().expect("it takes no orders"), "{line}").unwrap();
        let answer = || self.output().lines().nth(before).map(str::to_owned);
        let answer = until(PATIENCE, "an answer to an order", answer, || self.last_words());
        assert_eq!(answer, "ok", "`{line}`");
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it writes.
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Everything it has written.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// The last lines it has written, for messages.
    pub fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().filter(|line| !line.contains("peakpost::attempt")).collect();
        format!("`{}` wrote last:\n{}", self.name, lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    /// The first line it writes.
    pub fn first_line(&self) -> String {
        let line = || self.output().split_once('\n').map(|(line, _)| line.to_owned());
        until(PATIENCE, "its first line", line, || self.last_words())
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "`{}` takes no signal: it has ended; {}", self.name, self.last_words());
    }

    /// Its exit code, if it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.process.try_wait().unwrap()?;
        // A process that a signal ended has no code.
        Some(status.code().unwrap_or(-1))
    }

    /// Waits for its end. Its exit code.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        let (name, log) = (self.name.clone(), self.log.clone());
        let words = move || format!("`{name}` still runs; see {}", log.display());
        until(limit, "its end", || self.ended(), words)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}
