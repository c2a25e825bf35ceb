//! What one message costs in each machine.
//!
//! ```text
//! cargo bench --bench machines                          nanoseconds per message, of all machines
//! cargo bench --bench machines -- sendgrid              of those whose name holds `sendgrid`
//! cargo bench --bench machines -- instructions          instructions and allocations, against the stored figures
//! cargo bench --bench machines -- instructions store    stores what was counted
//! ```
//!
//! Why: a machine that becomes slower is seen here alone, without broker, network and threads. Nanoseconds are the
//! median of several rounds: compare within one run, on one computer. Instructions are the same on every run, so they
//! are what CI compares (`machines/instructions.rs`).
//! Must not know: doors. Inputs are made before the first round, from fixed seeds.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::print_stdout, reason = "a bench prints")]

#[path = "machines/gate.rs"]
mod gate;
#[path = "machines/inputs.rs"]
mod inputs;
#[path = "machines/instructions.rs"]
mod instructions;
#[path = "machines/job.rs"]
mod job;
#[path = "machines/lane.rs"]
mod lane;
#[path = "machines/ledger.rs"]
mod ledger;
#[path = "machines/outcome.rs"]
mod outcome;
#[path = "machines/policy.rs"]
mod policy;
#[path = "machines/provider.rs"]
mod provider;
#[path = "machines/recipient.rs"]
mod recipient;
#[path = "machines/redeem.rs"]
mod redeem;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Messages per round, of every machine.
const N: usize = 4000;
/// Rounds that are timed, after one that is not.
const ROUNDS: usize = 31;

/// A machine with its inputs. Each call is a round of [`N`] messages, and leaves it ready for the next.
type Round = Box<dyn FnMut()>;

/// One line of the tables.
struct Machine {
    name: &'static str,
    /// Whether its instructions are stored; not where making the inputs takes long.
    counted: bool,
    make: fn() -> Round,
}

impl Machine {
    const fn new(name: &'static str, make: fn() -> Round) -> Self {
        Self { name, counted: true, make }
    }

    /// The same machine with much to remember: to be timed beside the small one, for caches are what differs.
    const fn large(name: &'static str, make: fn() -> Round) -> Self {
        Self { name, counted: false, make }
    }
}

/// In the order in which a message comes by.
const ROOMS: [&[Machine]; 9] = [
    job::MACHINES,
    ledger::MACHINES,
    policy::MACHINES,
    lane::MACHINES,
    gate::MACHINES,
    recipient::MACHINES,
    redeem::MACHINES,
    provider::MACHINES,
    outcome::MACHINES,
];

fn main() -> ExitCode {
    // The last one is cargo's.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let machines: Vec<&Machine> = ROOMS.into_iter().flatten().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => time(&machines, ""),
        ["instructions"] => return instructions::compare(&machines),
        ["instructions", "store"] => return instructions::store(&machines),
        ["count", name, rounds] => count(&machines, name, rounds),
        [part] => time(&machines, part),
        _ => {
            println!("hint: a part of a name, `instructions` or `instructions store`");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn time(machines: &[&Machine], part: &str) {
    for machine in machines.iter().filter(|machine| machine.name.contains(part)) {
        let mut round = (machine.make)();
        round();
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                round();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{:44} {:8.1} ns", machine.name, times[ROUNDS / 2].as_nanos() as f64 / N as f64);
    }
}

/// So many rounds of one machine, for `instructions`, which runs this under valgrind.
fn count(machines: &[&Machine], name: &str, rounds: &str) {
    let machine = machines.iter().find(|machine| machine.name == name).expect("a machine's whole name");
    let mut round = (machine.make)();
    for _ in 0..rounds.parse().expect("a number of rounds") {
        round();
    }
}
