//! Instructions and allocations per message, counted by valgrind's callgrind, against the figures in
//! `instructions.tsv`.
//!
//! Why: a time says nothing on a busy computer; a count is the same on every run, so a change of ten in a hundred is
//! seen. Each machine runs for [`FEW`] and for [`MANY`] rounds: the difference, by message, is free of what making the
//! inputs costs.
//!
//! What moves a figure beside our own code, and is no fault: another compiler (the table says which one counted), other
//! versions of dependencies and of libc. The processor hardly: valgrind shows programs one of its own making, with AVX2
//! where there is one and nothing newer, so a hash by SHA instructions costs less than it counts here. `HashMap`'s
//! random keys move a count by less than one in a hundred.
//! Must not know: the machines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use crate::{Machine, N};

const FEW: usize = 1;
const MANY: usize = 2;
/// How far a figure may be from the stored one, as a part of it; or, of what is nearly nothing, so many of each.
const TOLERANCE: f64 = 0.1;
const INSTRUCTIONS: f64 = 1.0;
const ALLOCATIONS: f64 = 0.05;

const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/machines/instructions.tsv");
const STORE: &str = "cargo bench --bench machines -- instructions store";
/// Whatever allocator is behind them.
const ALLOCATORS: [&str; 3] = ["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc"];

/// Per message.
#[derive(Clone, Copy)]
struct Figures {
    instructions: f64,
    allocations: f64,
}

/// Counts, and fails when a machine costs more than is stored; says so when it costs less.
pub fn compare(machines: &[&Machine]) -> ExitCode {
    let text = std::fs::read_to_string(STORED).unwrap_or_default();
    let mut stored = read(&text);
    let mut faults = Vec::new();
    println!("{:44} {:>12} {:>12} {:>12}", "per message", "instructions", "stored", "allocations");
    for (name, now) in counted(machines) {
        let Some(before) = stored.remove(name) else {
            faults.push(format!("{name}: has no stored figure; hint: {STORE}"));
            continue;
        };
        println!("{name:44} {:12.1} {:12.1} {:12.2}", now.instructions, before.instructions, now.allocations);
        faults.extend(judge(name, "instructions", INSTRUCTIONS, now.instructions, before.instructions));
        faults.extend(judge(name, "allocations", ALLOCATIONS, now.allocations, before.allocations));
    }
    faults.extend(stored.keys().map(|name| format!("{name}: there is no such machine any more; hint: {STORE}")));
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    let by = text.lines().find_map(|line| line.strip_prefix("# by ")).unwrap_or("nobody");
    println!("\nstored by {by}, now {}\n{}", compiler(), faults.join("\n"));
    ExitCode::FAILURE
}

/// Counts and writes the table anew.
pub fn store(machines: &[&Machine]) -> ExitCode {
    let mut out = format!("# Instructions and allocations per message; written by `{STORE}`.\n# by {}\n", compiler());
    for (name, now) in counted(machines) {
        let line = writeln!(out, "{name}\t{:.1}\t{:.2}", now.instructions, now.allocations);
        line.expect("a text takes everything");
    }
    std::fs::write(STORED, &out).expect("the table can be written");
    print!("{out}");
    ExitCode::SUCCESS
}

fn read(text: &str) -> BTreeMap<&str, Figures> {
    let line = |line| -> Option<(&str, Figures)> {
        let mut cells = str::split(line, '\t');
        let name = cells.next()?;
        let mut figure = || cells.next()?.parse().ok();
        Some((name, Figures { instructions: figure()?, allocations: figure()? }))
    };
    text.lines().filter_map(line).collect()
}

fn judge(name: &str, what: &str, slack: f64, now: f64, before: f64) -> Option<String> {
    let slack = (before * TOLERANCE).max(slack);
    if now < before - slack {
        println!("{name}: {now:.2} {what}, {before:.2} stored: less, well done; hint: {STORE}");
    }
    let more = || format!("{name}: {now:.2} {what}, {before:.2} stored: more; hint: mend it, or say why and {STORE}");
    (now > before + slack).then(more)
}

fn counted<'m>(machines: &[&'m Machine]) -> Vec<(&'m str, Figures)> {
    let counted = machines.iter().filter(|machine| machine.counted);
    counted.map(|machine| (machine.name, count(machine.name))).collect()
}

/// Both runs at the same time: they are as long as each other, nearly.
fn count(name: &str) -> Figures {
    let (few, many) = (Run::start(name, FEW), Run::start(name, MANY));
    let ((a, b), (c, d)) = (few.end(), many.end());
    assert!(a < c, "`{name}` runs longer and costs no more; hint: does callgrind see its rounds?");
    let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / ((MANY - FEW) * N) as f64;
    Figures { instructions: each(a, c), allocations: each(b, d) }
}

/// One machine under valgrind.
struct Run {
    child: Child,
    out: PathBuf,
}

impl Run {
    fn start(name: &str, rounds: usize) -> Self {
        let file: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{file}.{rounds}.callgrind"));
        let child = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--compress-strings=no"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(std::env::current_exe().expect("this program's path"))
            .args(["count", name, &rounds.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("valgrind runs; hint: the package `valgrind`");
        Self { child, out }
    }

    /// Instructions and allocations of the whole run.
    fn end(mut self) -> (u64, u64) {
        let status = self.child.wait().expect("valgrind ends");
        assert!(status.success(), "{} failed under valgrind: {status}", self.out.display());
        let profile = std::fs::read_to_string(&self.out).expect("valgrind writes its profile");
        let (mut instructions, mut allocations, mut allocates) = (0, 0, false);
        for line in profile.lines() {
            if let Some(called) = line.strip_prefix("cfn=") {
                allocates = ALLOCATORS.iter().any(|allocator| called.ends_with(allocator));
            } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| allocates) {
                allocations += number(calls);
            } else if let Some(sum) = line.strip_prefix("summary: ") {
                instructions = number(sum);
            }
        }
        (instructions, allocations)
    }
}

fn number(text: &str) -> u64 {
    text.split(' ').next().and_then(|text| text.parse().ok()).expect("a number in valgrind's profile")
}

/// Which compiler, for which processor.
fn compiler() -> String {
    let version = Command::new("rustc").arg("-V").output().map(|output| output.stdout).unwrap_or_default();
    format!("{}, {}", String::from_utf8_lossy(&version).trim(), std::env::consts::ARCH)
}
