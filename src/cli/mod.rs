//! The command line: arguments, progress, exit codes.
//!
//! Why: the first thing a person sees; `--help` teaches, errors say what to do.
//! Must not know: how anything is done; it calls `app`, `config` and `sim`.

mod dead;
mod demo;
mod enqueue;
mod explain;
mod note;
mod release;
mod run;
mod sim;
mod suppress;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::job::Lane;
use crate::job::source::SHIPPED_TIERS;

/// Exit codes, as `--help` says them.
const EXIT_CODES: &str = "\
Exit codes:
  0   done; for `run`: drained and committed
  1   failed or was stopped on the way; a restart goes on where it stopped
  2   the command line was not understood
  65  the input holds no jobs or no suppressions, or the progress file is about something else
  69  the brokers do not answer; for `explain`: the daemon does not
  75  `run`: the drain's time was over with jobs still at a provider; they will be sent again
  78  the configuration or the topics are wrong";

/// Takes send jobs from Kafka and hands each to an email, SMS, push or webhook provider: as fast as the provider
/// allows, never faster.
#[derive(Debug, Parser)]
#[command(name = "peakpost", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT, then drain
    Run {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Broker, vendors, load and daemon in one process; ends with a reckoning
    Demo {
        /// Jobs to send
        #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
        jobs: u64,
        /// Seed of the load, the vendors' latencies and the jitter
        #[arg(long, default_value_t = 1, value_name = "SEED")]
        seed: u64,
        /// Write the report as JSON to this file
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Log directives for stderr; nothing but errors by default
        #[arg(long, default_value = "error", value_name = "FILTER")]
        log: String,
    },
    /// Check a configuration and say what it comes to
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Ask the brokers as well: verify the topics
        #[arg(long)]
        topics: bool,
    },
    /// Print a JSON Schema
    Schema {
        /// Of which record
        what: Schema,
    },
    /// Make the line's topics
    Topics {
        #[command(subcommand)]
        action: TopicsAction,
    },
    /// Enqueue send jobs from a file with one JSON job per line
    ///
    /// Every line is checked before the first is sent. Progress is kept beside the file (FILE.progress): run the
    /// same command again to go on where it stopped.
    Enqueue {
        /// The file
        file: PathBuf,
        /// The lane whose topic the jobs go to
        #[arg(long)]
        lane: Lane,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say which limit binds a provider now, and when its backlog will be done
    ///
    /// Asks a running daemon: one instance, of its own share.
    Explain {
        #[command(flatten)]
        question: explain::Question,
    },
    /// Let a stream go again that was blocked because of complaints, bounces or unsubscribes
    ///
    /// It comes back by the ramp. What is sent from then on is judged anew.
    Release {
        #[command(flatten)]
        what: release::What,
    },
    /// Look at what could not be sent, and send it again
    Dead {
        #[command(subcommand)]
        action: dead::DeadAction,
    },
    /// Say who must not be written to, take it back, look it up
    Suppress {
        #[command(subcommand)]
        action: suppress::SuppressAction,
    },
    /// Parts of the simulated world, for tests and rehearsals
    Sim {
        #[command(subcommand)]
        part: SimPart,
    },
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Configuration file, laid over the defaults; `PEAKPOST_SECTION__KEY` variables are laid over both
    #[arg(long, value_name = "FILE", env = "PEAKPOST_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Schema {
    /// What upstream writes
    Job,
    /// What upstream reads
    Outcome,
    /// What vendors said of messages later
    Event,
}

#[derive(Debug, Subcommand)]
enum TopicsAction {
    /// Make every topic that is not there; never changes one that is
    Create {
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Debug, Subcommand)]
enum SimPart {
    /// Vendors on one loopback port: SendGrid, Twilio and webhooks, with their rules and a log of arrivals
    Provider {
        /// Where to listen; loopback only
        #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
        listen: std::net::SocketAddr,
        /// Append every arrival to this file as a JSON line
        #[arg(long, value_name = "FILE")]
        arrivals: Option<PathBuf>,
        /// Seed of faults and latencies
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// The embedded broker, in memory: trims a partition at 5 MiB, forgets everything when it ends
    Broker {
        /// Prefixes whose topics are made
        #[arg(long = "prefix", default_value = "peakpost", value_name = "PREFIX")]
        prefixes: Vec<String>,
        /// Partitions of each topic
        #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        partitions: u16,
        /// Brokers in the cluster
        #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
        nodes: u8,
        /// Take orders on stdin, a line each, to err in one way or another; a line that is none is answered with a list
        #[arg(long)]
        orders: bool,
        /// Providers, each of which has a hold topic
        #[arg(long = "provider", value_name = "NAME")]
        providers: Vec<String>,
        /// Delay tiers, shortest first
        #[arg(long = "tier", value_name = "DURATION", default_values_t = SHIPPED_TIERS.map(str::to_owned))]
        tiers: Vec<String>,
    },
}

/// Why a command failed, and with which exit code.
#[derive(Debug)]
struct Stop {
    code: u8,
    text: String,
}

impl Stop {
    fn new(code: u8, text: impl std::fmt::Display) -> Self {
        Self { code, text: format!("{text}") }
    }
}

impl From<crate::app::Failure> for Stop {
    fn from(failure: crate::app::Failure) -> Self {
        let code = match failure {
            crate::app::Failure::Unavailable(_) => 69,
            crate::app::Failure::Misconfigured(_) => 78,
            crate::app::Failure::Broken(_) => 1,
        };
        Self::new(code, failure)
    }
}

/// Reads the command line and does what it says.
#[must_use]
#[expect(clippy::print_stderr, reason = "the one place where a command's failure is told")]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run { config } => run::run(config.config.as_deref()),
        Command::Demo { jobs, seed, report, log } => demo::demo(jobs, seed, report.as_deref(), &log),
        Command::Check { config, topics } => tools::check(config.config.as_deref(), topics),
        Command::Schema { what } => {
            tools::schema(what);
            Ok(ExitCode::SUCCESS)
        }
        Command::Topics { action: TopicsAction::Create { config } } => tools::topics_create(config.config.as_deref()),
        Command::Enqueue { file, lane, config } => enqueue::enqueue(&file, lane, config.config.as_deref()),
        Command::Explain { question } => explain::explain(&question),
        Command::Release { what } => release::release(&what),
        Command::Dead { action } => dead::dead(action),
        Command::Suppress { action } => suppress::suppress(action),
        Command::Sim { part } => sim::sim(part),
    };
    match done {
        Ok(code) => code,
        Err(stop) => {
            eprintln!("error: {}", stop.text);
            ExitCode::from(stop.code)
        }
    }
}

/// A runtime for a command.
fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    // Vendors' TLS: one process-wide choice; a second call finds it made.
    let _made = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Stop::new(1, format!("cannot start the runtime: {e}")))
}

fn load(file: Option<&std::path::Path>) -> Result<crate::config::Config, Stop> {
    crate::config::Config::load(file).map_err(|faults| Stop::new(78, faults))
}
