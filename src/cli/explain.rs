//! `peakpost explain`: which limit binds a provider now, and when its backlog will be done.
//!
//! Why: the daemon knows; nobody should have to read that out of metrics.
//! Must not know: how the answer comes about, how it is worded.

use std::process::ExitCode;

use super::{ConfigFile, Stop, load, runtime};
use crate::app::explain;

/// Whom to ask, and of what.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// The provider, as it is called in the configuration
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// The ops listener of the daemon; `ops.listen` of the configuration by default
    #[arg(long, value_name = "HOST:PORT")]
    ops: Option<String>,
    /// Print the daemon's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn explain(question: &Question) -> Result<ExitCode, Stop> {
    let ops = match &question.ops {
        Some(ops) => ops.clone(),
        None => {
            let config = load(question.config.config.as_deref());
            let config = config.map_err(|Stop { code, text }| {
                Stop::new(code, format!("{text}\nhint: with `--ops HOST:PORT` no configuration is read"))
            });
            config?.ops.to_string()
        }
    };
    let json = runtime()?.block_on(explain::ask(&ops, &question.provider))?;
    if question.json {
        println!("{json}");
    } else {
        print!("{}", explain::text(&explain::read(&json)?));
    }
    Ok(ExitCode::SUCCESS)
}
