//! How logs are written: JSON for machines or pretty for people, to stderr, without ever blocking a send.
//!
//! Why: a full pipe must not stop the line; lines that cannot be written are dropped and counted by the
//! writer. Control characters in values are escaped by the formatter.
//! Must not know: what is logged.

use std::fmt;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// The look of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// For a terminal.
    Pretty,
}

/// What is written, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The look.
    pub format: Format,
    /// `tracing` filter directives, such as `info,peakpost::attempt=warn`.
    pub filter: String,
}

/// Logs could not be set up.
#[derive(Debug)]
pub struct LogError(String);

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}

/// Sets up the process's logs. Hold the guard until the end: dropping it writes what is buffered.
///
/// # Errors
/// When the filter cannot be read, or logs are set up already.
pub fn start(config: &Config) -> Result<WorkerGuard, LogError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|e| LogError(format!("log filter `{}`: {e}; hint: `info,peakpost::attempt=warn`", config.filter)))?;
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let done = match config.format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Pretty => builder.compact().with_ansi(false).try_init(),
    };
    done.map_err(|e| LogError(e.to_string()))?;
    Ok(guard)
}
