//! `peakpost sim …`: parts of the simulated world as processes of their own.

use std::io::Write as _;
use std::process::ExitCode;

use super::{SimPart, Stop, runtime};
use crate::job::topic::Topics;
use crate::sim::broker::Broker;
use crate::sim::vendor::{SimConfig, Simulator};

pub(super) fn sim(part: SimPart) -> Result<ExitCode, Stop> {
    runtime()?.block_on(async {
        match part {
            SimPart::Provider { listen, arrivals, seed } => {
                let config = SimConfig { addr: listen, journal: arrivals, seed, ..SimConfig::default() };
                let simulator = Simulator::start(config).await.map_err(|e| Stop::new(1, e))?;
                say(&format!("http://{}\n{}", simulator.addr(), usage(simulator.addr())))?;
                until_stopped().await?;
                simulator.shutdown().await.map_err(|e| Stop::new(1, e))?;
            }
            SimPart::Broker { prefixes, partitions, providers, tiers, nodes, orders } => {
                let lines = prefixes.iter().map(|prefix| Topics::with(prefix, &tiers, &providers)).collect();
                let broker = Broker::start(lines, partitions, nodes).map_err(|e| Stop::new(1, e))?;
                say(&broker.brokers)?;
                if orders {
                    // Nobody waits for it: it may be reading when the process ends.
                    let _reads = std::thread::spawn(move || take_orders(&broker));
                    until_stopped().await?;
                } else {
                    until_stopped().await?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Obeys lines of stdin to its end, and then keeps the broker. Each is answered with `ok` or what is wrong with it.
fn take_orders(broker: &Broker) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let answer = broker.obey(&line).map_or_else(|e| format!("error: {e}"), |()| "ok".to_owned());
        if say(&answer).is_err() {
            break;
        }
    }
    loop {
        std::thread::park();
    }
}

/// What an operator needs to point a daemon at the simulated vendors.
fn usage(addr: std::net::SocketAddr) -> String {
    let SimConfig { sendgrid_key, twilio_sid, twilio_password, webhook_secret, .. } = SimConfig::default();
    format!(
        "# simulated accounts: put the secrets into the environment or files, and use as providers:
#   kind = \"sendgrid\", base_url = \"http://{addr}\", key: {sendgrid_key}
#   kind = \"twilio\", base_url = \"http://{addr}\", account_sid = \"{twilio_sid}\", password: {twilio_password}
#   kind = \"webhook\", secret: {webhook_secret}, allow_hosts = [\"127.0.0.1\"], and jobs to http://{addr}/hook/anything
# what arrived: curl http://{addr}/arrivals"
    )
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
