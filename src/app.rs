//! Builds the rooms back to front, owns every thread, task and listener, and drains in flow order.
//!
//! Why: the one place that knows all rooms, so that none of them has to.
//! Must not know: simulators, command lines.

pub mod dead;
pub mod explain;
mod followers;
pub mod limits;
pub mod release;
pub mod suppress;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Fixed};
use crate::console::{Console, View};
use crate::dispatch::{self, GateHandle, PermitLog};
use crate::feedback::{self, Door, Listening};
use crate::intake::{self, Drained, Intake, Links, Status};
use crate::job::Home;
use crate::ledger::ownership::Ownership;
use crate::observe::{Clock, Metrics};
use crate::provider::wire::Wire;
use crate::recipient::address::Keyer;
use crate::settle::{self, Settling};
use followers::Followers;

/// How often a drain says what it still waits for.
const STILL_WAITING: Duration = Duration::from_secs(2);
/// Added to the drain for the last commit and for leaving the group.
const LEAVE: Duration = Duration::from_secs(5);

/// Why the daemon did not start or went on no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The brokers do not answer.
    Unavailable(String),
    /// Topics or settings are wrong.
    Misconfigured(String),
    /// Something inside has failed; a restart goes on where it stopped.
    Broken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable(text) | Self::Misconfigured(text) | Self::Broken(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

/// What the frame around the daemon may want to add.
#[derive(Debug, Default)]
pub struct Extras {
    /// Takes a note of every permit.
    pub permit_log: Option<PermitLog>,
    /// Seed of all jitter.
    pub seed: u64,
}

/// A running daemon.
pub struct Daemon {
    /// Where the ops listener listens.
    pub ops: SocketAddr,
    /// Every metric.
    pub metrics: Metrics,
    intake: Intake,
    listening: Option<Listening>,
    followers: Followers,
    dispatch: tokio::task::JoinSet<()>,
    settling: std::thread::JoinHandle<Result<(), String>>,
    console: tokio::task::JoinHandle<()>,
    drain: Duration,
    gates: Vec<GateHandle>,
    fixed: Fixed,
}

impl Daemon {
    /// Verifies the topics, builds every room and starts reading.
    ///
    /// # Errors
    /// What is wrong, with a hint.
    pub async fn start(mut config: Config, extras: Extras) -> Result<Self, Failure> {
        if config.providers.is_empty() {
            let hint =
                "no providers are configured: nothing could be sent; hint: add a [[providers]] and a [[routes]] block";
            return Err(Failure::Misconfigured(hint.to_owned()));
        }
        let keyer = config.suppressions.keyer.clone().map_err(Failure::Misconfigured)?;
        let homes = verified(&config).await?;
        let clock = Clock::default();
        let metrics = Metrics::new().map_err(|e| Failure::Broken(format!("metrics: {e}")))?;
        let ownership = Arc::new(Ownership::new(homes, clock.mono()));
        let console = Console::bind(config.ops).await.map_err(Failure::Misconfigured)?;
        let ops = console.addr().map_err(Failure::Broken)?;
        let listening = listen(&mut config, &keyer, &metrics, &clock).await?;
        let (drain, fixed, memory) = (config.intake.drain, config.fixed.clone(), config.memory());
        let instance = format!("{:016x}", extras.seed);
        let (followers, known) = Followers::start(&config, keyer, homes, &metrics, &clock).await?;
        let recipients = Arc::clone(&known.recipients);
        let (mut settle_thread, mut line) = (None, None);
        let intake = intake::start(config.intake.clone(), |intake_thread| {
            let (back_tx, back) = settle::back_channel();
            let Settling { settler, thread } = settle::start(
                &config.settle,
                settle::Links { metrics: metrics.clone(), clock: clock.clone(), back: back_tx, wake: intake_thread },
            )?;
            settle_thread = Some(thread);
            let providers = config.providers.into_iter().map(provider).collect::<Result<Vec<_>, String>>()?;
            // Room for a few homes' worth; intake waits with the next.
            let (usage, opened) = tokio::sync::mpsc::channel(4);
            let keeps_budgets = providers.iter().any(dispatch::Provider::keeps_budgets);
            let dispatch = dispatch::start(dispatch::Parts {
                providers,
                homes,
                opened: keeps_budgets.then_some(opened),
                control: known.orders,
                instance: instance.clone(),
                rules: config.rules,
                shards: config.shards,
                seed: extras.seed,
                ownership: Arc::clone(&ownership),
                reputation: known.reputation,
                recipients: known.recipients,
                settler,
                metrics: metrics.clone(),
                clock: clock.clone(),
                permit_log: extras.permit_log,
            });
            line = Some((dispatch.tasks, dispatch.gates));
            Ok(Links {
                ownership: Arc::clone(&ownership),
                shards: dispatch.shards,
                back,
                usage: keeps_budgets.then_some(usage),
                metrics: metrics.clone(),
                clock: clock.clone(),
            })
        })
        .map_err(Failure::Broken)?;
        let (Some(settling), Some((dispatch, gates))) = (settle_thread, line) else {
            return Err(Failure::Broken("the daemon was not built to the end".to_owned()));
        };
        let view =
            View { status: intake.status.clone(), recipients, clock, metrics: metrics.clone(), gates: gates.clone() };
        let console = tokio::spawn(console.serve(view));
        tracing::info!(target: "peakpost::app", %memory, "memory at most");
        tracing::info!(target: "peakpost::app", %ops, homes, shards = config.shards, instance, "running");
        Ok(Self { ops, metrics, intake, listening, followers, dispatch, settling, console, drain, gates, fixed })
    }

    /// Takes over what of another configuration can be changed while it runs: limits, concurrency, weights, warm-up.
    /// Says in the log what was taken over and what was not.
    pub async fn reload(&self, config: Config) {
        let waits = config.fixed.differs_in(&self.fixed);
        if !waits.is_empty() {
            let sections = waits.join(", ");
            tracing::warn!(target: "peakpost::reload", sections, "changes beyond limits and weights wait for a restart");
        }
        for gate in &self.gates {
            let name = gate.provider();
            // One that is gone is told of above, and keeps its limits until the restart.
            let Some(new) = config.providers.iter().find(|provider| provider.name == name) else { continue };
            match gate.reload(new.gate.clone()).await {
                Ok(()) => tracing::info!(target: "peakpost::reload", provider = name, "limits read again"),
                Err(why) => {
                    tracing::error!(target: "peakpost::reload", provider = name, why, "its limits stay as they were");
                }
            }
        }
    }

    /// How intake is doing.
    #[must_use]
    pub fn status(&self) -> tokio::sync::watch::Receiver<Status> {
        self.intake.status.clone()
    }

    /// Waits for a failure inside. Pends for ever while all is well.
    pub async fn failed(&mut self) -> Failure {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                ended = self.dispatch.join_next() => {
                    let why = match ended {
                        Some(Err(e)) => format!("a dispatch task failed: {e}"),
                        _ => "a dispatch task ended early".to_owned(),
                    };
                    return Failure::Broken(why);
                }
                _ = look.tick() => {
                    let ended = [
                        self.intake.thread.is_finished(),
                        self.followers.any_finished(),
                        self.settling.is_finished(),
                    ];
                    if self.listening.as_ref().is_some_and(Listening::is_finished) {
                        return Failure::Broken("the feedback listener has ended; see the log".to_owned());
                    }
                    if ended.contains(&true) {
                        return Failure::Broken("a thread of the line has ended; see the log".to_owned());
                    }
                }
            }
        }
    }

    /// Drains in flow order: stop reading and give back what waits, let attempts finish, make their outcomes
    /// durable, commit, leave the group.
    ///
    /// # Errors
    /// When a room has failed on the way.
    pub async fn stop(mut self) -> Result<Drained, Failure> {
        tracing::info!(target: "peakpost::app", "stopping: reading has ended, waiting for jobs at providers");
        // Vendors tell the others, or tell again; it has time while the line drains.
        let listening = self.listening.take().map(|listening| tokio::spawn(listening.stop()));
        // The intake thread takes exactly one stop; a full channel means that it has one.
        let _asked = self.intake.stop.try_send(self.drain);
        let status = self.intake.status.clone();
        let intake = tokio::task::spawn_blocking(move || self.intake.thread.join());
        tokio::pin!(intake);
        let limit = tokio::time::sleep(self.drain * 2 + LEAVE);
        tokio::pin!(limit);
        let drained = loop {
            tokio::select! {
                ended = &mut intake => break ended,
                () = &mut limit => {
                    return Err(Failure::Broken(format!("the drain did not end; it waited for: {}", waits_for(&status.borrow().draining))));
                }
                () = tokio::time::sleep(STILL_WAITING) => {
                    tracing::info!(target: "peakpost::app", for_what = waits_for(&status.borrow().draining), "still waiting; please be patient");
                }
            }
        };
        let drained = match drained {
            Ok(Ok(Ok(drained))) => drained,
            Ok(Ok(Err(e))) => return Err(Failure::Broken(e)),
            Ok(Err(_)) | Err(_) => return Err(Failure::Broken("the intake thread panicked; see the log".to_owned())),
        };
        tracing::info!(target: "peakpost::app", left = drained.left, committed = drained.committed, "intake has left the group");
        let rest = async {
            // The tasks of the line end after the last of those who give them work.
            let followers = tokio::task::spawn_blocking(move || self.followers.stop());
            while let Some(ended) = self.dispatch.join_next().await {
                if let Err(e) = ended {
                    tracing::error!(target: "peakpost::app", error = %e, "a dispatch task failed");
                }
            }
            // What is on its way to Kafka goes before those who only read or count, and before slow vendors.
            let settled = tokio::task::spawn_blocking(move || self.settling.join()).await;
            if let Err(e) = followers.await {
                tracing::error!(target: "peakpost::app", error = %e, "who follows orders, counts and suppressions was not ended");
            }
            if let Some(listening) = listening
                && !listening.await.unwrap_or(false)
            {
                tracing::warn!(target: "peakpost::app", "the feedback listener did not end in time: its last requests are cut off");
            }
            settled
        };
        let settled = tokio::time::timeout(LEAVE, rest).await;
        self.console.abort();
        match settled {
            Ok(Ok(Ok(Ok(())))) => {}
            Ok(Ok(Ok(Err(e)))) => return Err(Failure::Broken(e)),
            _ => tracing::warn!(target: "peakpost::app", "not everything ended in time"),
        }
        Ok(drained)
    }
}

/// Listens to vendors where the configuration says so.
async fn listen(
    config: &mut Config,
    keyer: &Keyer,
    metrics: &Metrics,
    clock: &Clock,
) -> Result<Option<Listening>, Failure> {
    let Some(of) = &config.feedback else { return Ok(None) };
    let listener = feedback::Listener::bind(of.listen).await.map_err(Failure::Misconfigured)?;
    let addr = listener.addr().map_err(Failure::Broken)?;
    let ears = config.providers.iter_mut().filter_map(|p| Some((p.name.clone(), p.ear.take()?)));
    let doors: Vec<Door> = ears.map(|(provider, ear)| Door { provider, ear }).collect();
    let hears = doors.iter().map(|door| door.provider.as_str()).collect::<Vec<_>>().join(", ");
    tracing::info!(target: "peakpost::feedback", on = %addr, hears, "listening for feedback");
    let links = feedback::Links {
        doors,
        keyer: keyer.clone(),
        mailboxes: config.mailboxes.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    };
    listener.serve(of, links).map(Some).map_err(Failure::Broken)
}

/// Verifies the topics. Their number of partitions.
async fn verified(config: &Config) -> Result<Home, Failure> {
    let report = config.topics.verify(config.embedded).await.map_err(Failure::Unavailable)?;
    for left_out in &report.left_out {
        tracing::warn!(target: "peakpost::app", left_out, "not verified");
    }
    for topic in &report.orphans {
        tracing::warn!(target: "peakpost::app", topic, "holds jobs of a provider that is not configured: what waits there goes nowhere until a provider of that name is");
    }
    match report.faults.is_empty() {
        true => Ok(report.partitions),
        false => Err(Failure::Misconfigured(report.faults.join("\n"))),
    }
}

fn waits_for(draining: &str) -> &str {
    if draining.is_empty() { "the group's coordinator to answer; is Kafka reachable?" } else { draining }
}

fn provider(config: crate::config::ProviderConfig) -> Result<dispatch::Provider, String> {
    let wire = Wire::new(&config.wire)?;
    Ok(dispatch::Provider { name: config.name.into(), kind: config.kind, wire, gate: config.gate })
}
