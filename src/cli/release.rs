//! `peakpost release`: lets a blocked stream go again.

use std::process::ExitCode;

use super::{ConfigFile, Stop, load};
use crate::app;

/// What is released, and why.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The stream, as logs and metrics name it: TENANT/CHANNEL/LANE/PROVIDER/MAILBOX
    stream: String,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    #[command(flatten)]
    config: ConfigFile,
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn release(what: &What) -> Result<ExitCode, Stop> {
    let config = load(what.config.config.as_deref())?;
    let by = std::env::var("USER").unwrap_or_else(|_| "cli".to_owned());
    let released = app::release::release(&config, &what.stream, &by, &what.why)?;
    println!(
        "released {}: what was sent before {} holds it back no longer. If it was blocked, 1 % goes for {:?}, then 10 % for \
         as long, then all; what waits is looked at within that time. What is sent from the next window on is judged again.",
        released.stream, released.at, config.counts.reputation.ramp_step
    );
    Ok(ExitCode::SUCCESS)
}
