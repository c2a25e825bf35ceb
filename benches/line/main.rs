//! What the whole daemon costs beside the floor: `cargo bench --bench line`.
//!
//! Why: absolute figures say more of a machine than of a program. In each round the same preloaded jobs go through the daemon
//! and through a bare loop without any logic (`floor`), against the same kind of broker and the same validating
//! simulator, each a process of its own; the claim is the ratio.
//! Must not know: the daemon's insides.
//!
//! Without `PEAKPOST_TEST_BROKERS=host:port` the embedded broker is used. What a real one takes is shown if
//! `PEAKPOST_TEST_BROKER_PID` says which process it is. See `--help` after `--`.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and waits")]
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends")]

mod floor;
mod idle;
mod paced;
mod preload;
mod process;
mod scale;
mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use process::Cost;
use world::{Figures, Load, World};

/// The part of what was carried at which messages come evenly: who makes them needs the same cores.
const PACED: f64 = 30.0;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// `SendGrid`: mail by template, up to 1,000 to a request.
    Batch,
    /// Signed webhooks, one to a request.
    Single,
}

impl Shape {
    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Single => "single",
        }
    }
}

/// Measures the daemon beside the floor.
#[derive(Parser)]
struct Arguments {
    /// Jobs of a run; by default 1,000,000 in batches and 200,000 singly.
    #[arg(long)]
    jobs: Option<usize>,
    /// Runs of each kind; their medians are printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this shape.
    #[arg(long)]
    shape: Option<Shape>,
    /// Instead: what a message costs with more providers, tenants, suppressions and jobs, and the memory that takes.
    /// Needs a real Kafka with some 6 GB of room.
    #[arg(long)]
    scale: bool,
    /// Of these only the rows whose name holds this, or `stalled`.
    #[arg(long, requires = "scale", default_value = "")]
    only: String,
    /// Instead: how long a transactional message is underway when there is nothing else to do. Means something on a real
    /// Kafka only: on the embedded broker a bare reader waits for half a second.
    #[arg(long)]
    idle: bool,
    /// The daemon's binary; by default it is built as it is released, into `target/line`.
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Be the floor: for this program itself.
    #[arg(long, hide = true, num_args = 4)]
    floor: Option<Vec<String>>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let _made = rustls::crypto::ring::default_provider().install_default();
    if let Some(floor) = arguments.floor {
        return floor::run(&floor);
    }
    let daemon = arguments.daemon.unwrap_or_else(process::build);
    if arguments.scale {
        return scale::run(arguments.jobs.unwrap_or(1_000_000), &arguments.only, &daemon);
    }
    if arguments.idle {
        return idle::run(&daemon);
    }
    for shape in [Shape::Batch, Shape::Single] {
        if arguments.shape.is_none_or(|only| only == shape) {
            let jobs = arguments.jobs.unwrap_or(if shape == Shape::Batch { 1_000_000 } else { 200_000 });
            measure(shape, jobs, arguments.rounds, &daemon);
        }
    }
}

fn measure(shape: Shape, jobs: usize, rounds: usize, binary: &Path) {
    let broker = std::env::var("PEAKPOST_TEST_BROKERS").map_or("the embedded broker", |_| "a real Kafka");
    println!("{}: {jobs} jobs a run on {broker}", shape.as_str());
    let (mut floors, mut daemons) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first changes from round to round.
        for turn in [round % 2, (round + 1) % 2] {
            let world = World::new(Load::of(shape, jobs), binary);
            let (name, runs) = if turn == 0 { ("floor", &mut floors) } else { ("daemon", &mut daemons) };
            let figures = if turn == 0 { world.floor() } else { world.daemon() };
            print(&format!("  {name:6}"), &figures);
            runs.push(figures);
        }
    }
    let (floor, daemon) = (median(&floors), median(&daemons));
    print("median floor ", &floor);
    print("median daemon", &daemon);
    println!(
        "{}: the daemon costs {:.2} times its floor, and carries {:.2} times the floor's messages a second",
        shape.as_str(),
        daemon.cost.cpu_us / floor.cost.cpu_us,
        daemon.rate / floor.rate
    );
    paced::run(shape, daemon.rate / PACED, binary);
    println!();
}

fn print(name: &str, figures: &Figures) {
    let Figures { rate, first, cost: Cost { cpu_us, rss_mib }, broker_us, vendor_us } = figures;
    let broker = broker_us.map_or("unknown".to_owned(), |us| format!("{us:.2}"));
    println!(
        "{name} {rate:9.0} messages/s  {cpu_us:6.2} CPU-us a message (broker {broker}, vendor {vendor_us:.2})  {rss_mib:4.0} MiB  \
         first after {:.1} s",
        first.as_secs_f64()
    );
}

/// The median of each figure.
fn median(runs: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(figure).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Figures {
        rate: of(|f| f.rate),
        first: Duration::from_secs_f64(of(|f| f.first.as_secs_f64())),
        cost: Cost { cpu_us: of(|f| f.cost.cpu_us), rss_mib: of(|f| f.cost.rss_mib) },
        broker_us: runs[0].broker_us.map(|_| of(|f| f.broker_us.unwrap_or_default())),
        vendor_us: of(|f| f.vendor_us),
    }
}
