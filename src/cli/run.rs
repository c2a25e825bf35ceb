//! `peakpost run`: the daemon, its signals, its end.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{Stop, load, runtime};
use crate::app::{Daemon, Extras};
use crate::observe::{failpoint, logs};

pub(super) fn run(file: Option<&Path>) -> Result<ExitCode, Stop> {
    failpoint::start();
    let config = load(file)?;
    let _logs = logs::start(&config.log).map_err(|e| Stop::new(78, e))?;
    let runtime = runtime()?;
    let ended = runtime.block_on(live(config, file));
    // Nothing is waited for any more: after a second signal a thread may still be at its drain. Nothing is torn
    // down either: what is still out ends with the process, and its jobs will be read again.
    std::mem::forget(runtime);
    ended
}

/// The daemon's life: until a signal, then the drain. SIGHUP reads the configuration again.
async fn live(config: crate::config::Config, file: Option<&Path>) -> Result<ExitCode, Stop> {
    let seed = rand::random();
    let mut daemon = Daemon::start(config, Extras { permit_log: None, seed }).await?;
    let fail = |e: std::io::Error| Stop::new(1, format!("cannot listen for signals: {e}"));
    let mut term = signal(SignalKind::terminate()).map_err(fail)?;
    let mut int = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut hup = signal(SignalKind::hangup()).map_err(fail)?;
    loop {
        tokio::select! {
            failure = daemon.failed() => {
                // Dropping it would drop receipts unsettled; they end with the process.
                std::mem::forget(daemon);
                return Err(failure.into());
            }
            _ = hup.recv() => {}
            _ = term.recv() => break,
            _ = int.recv() => break,
        }
        match load(file) {
            Ok(config) => daemon.reload(config).await,
            Err(faults) => {
                let faults = faults.text;
                tracing::error!(target: "peakpost::reload", faults, "the configuration is wrong: nothing has changed");
            }
        }
    }
    let mut stop = Box::pin(daemon.stop());
    let again = async {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    tokio::select! {
        drained = &mut stop => {
            let drained = drained?;
            if drained.left > 0 || !drained.committed {
                let text = format!("{} jobs were still at a provider; they will be sent again", drained.left);
                return Err(Stop::new(75, text));
            }
            Ok(ExitCode::SUCCESS)
        }
        () = again => {
            std::mem::forget(stop);
            Err(Stop::new(75, "stopped by a second signal before the drain was over: jobs at a provider will be sent again"))
        }
    }
}
