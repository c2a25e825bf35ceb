//! `peakpost sim …`: parts of the simulated world as processes of their own.

use std::io::Write as _;
use std::process::ExitCode;

use super::{SimPart, Stop, runtime};
use crate::sim::broker::Broker;
use crate::sim::vendor::{SimConfig, Simulator};

pub(super) fn sim(part: SimPart) -> Result<ExitCode, Stop> {
    runtime()?.block_on(async {
        match part {
            SimPart::Provider { listen, arrivals, seed } => {
                let config = SimConfig { addr: listen, journal: arrivals, seed, ..SimConfig::default() };
                let simulator = Simulator::start(config).await.map_err(|e| Stop::new(1, e))?;
                say(&format!("http://{}", simulator.addr()))?;
                until_stopped().await?;
                simulator.shutdown().await.map_err(|e| Stop::new(1, e))?;
            }
            SimPart::Broker { prefixes, partitions } => {
                let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
                let broker = Broker::start(&prefixes, partitions).map_err(|e| Stop::new(1, e))?;
                say(&broker.brokers)?;
                until_stopped().await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the address alone on the first line, for whoever started this.
fn say(address: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout();
    writeln!(out, "{address}").and_then(|()| out.flush()).map_err(|e| Stop::new(1, e))
}

async fn until_stopped() -> Result<(), Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).map_err(|e| Stop::new(1, e))?;
    tokio::select! {
        _ = term.recv() => {}
        ended = tokio::signal::ctrl_c() => ended.map_err(|e| Stop::new(1, e))?,
    }
    Ok(())
}
