//! Defaults ◁ file ◁ environment, turned into each room's own `Config`, with the relations between them checked.
//!
//! Why: every limit stands in one file that can be read from top to bottom; what does not fit together is said
//! at start, all of it at once, and not found out in Cyber Week.
//! Must not know: how any room uses its part.

mod build;
mod feedback;
mod fixed;
mod limits;
mod memory;
mod provider;
mod quantity;
mod raw;
mod reputation;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use toml::{Table, Value};

pub use fixed::Fixed;

use crate::intake::topics::Plan;
use crate::observe::logs;
use crate::provider::Ear;
use crate::provider::Kind;
use crate::provider::wire::WireConfig;
use crate::recipient::mailbox::Mailboxes;
use crate::{dispatch, gate, intake, recipient, settle};

/// The commented defaults: the file at the top of the repository, compiled in.
pub const DEFAULTS: &str = include_str!("../../config.toml");

/// Environment variables with this prefix and a section are read: `PEAKPOST_SECTION__KEY`. Others are somebody
/// else's: `PEAKPOST_CONFIG` names the file, and Kubernetes gives every pod `PEAKPOST_PORT` and its like.
const ENV_PREFIX: &str = "PEAKPOST_";

/// Every room's configuration.
#[derive(Debug)]
pub struct Config {
    /// What the topics must be.
    pub topics: Plan,
    /// Owning and reading.
    pub intake: intake::Config,
    /// Writing outcomes.
    pub settle: settle::Config,
    /// Who must not be written to.
    pub suppressions: recipient::Config,
    /// Providers, in the order of their ids.
    pub providers: Vec<ProviderConfig>,
    /// Rules, routes, retries.
    pub rules: dispatch::Rules,
    /// Shard tasks; at least 1.
    pub shards: usize,
    /// The listener for what vendors say later; `None`: nobody listens.
    pub feedback: Option<crate::feedback::Config>,
    /// Counting what vendors say later.
    pub counts: crate::feedback::CountConfig,
    /// Names mailbox providers.
    pub mailboxes: Mailboxes,
    /// The ops listener.
    pub ops: SocketAddr,
    /// Logs.
    pub log: logs::Config,
    /// The broker is the embedded one: checks it cannot answer are left out.
    pub embedded: bool,
    /// What holds until a restart.
    pub fixed: Fixed,
}

/// One provider's configuration.
#[derive(Debug)]
pub struct ProviderConfig {
    /// Its name.
    pub name: String,
    /// Its words.
    pub kind: Kind,
    /// Its connections.
    pub wire: WireConfig,
    /// Its limits.
    pub gate: gate::Config,
    /// Who may speak for it; `None`: nobody.
    pub ear: Option<Ear>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

impl Config {
    /// Reads the defaults, then `file` if given, then the environment.
    ///
    /// # Errors
    /// Every fault found.
    pub fn load(file: Option<&Path>) -> Result<Self, Faults> {
        let one = |fault: String| Faults(vec![fault]);
        let mut text = String::new();
        if let Some(path) = file {
            text = std::fs::read_to_string(path).map_err(|e| one(format!("cannot read `{}`: {e}", path.display())))?;
        }
        let env = std::env::vars().filter(|(name, _)| name.starts_with(ENV_PREFIX));
        Self::from_parts(&text, env)
    }

    /// The same from values in memory.
    ///
    /// # Errors
    /// Every fault found.
    pub fn from_parts(file: &str, env: impl Iterator<Item = (String, String)>) -> Result<Self, Faults> {
        let one = |fault: String| Faults(vec![fault]);
        let mut table: Table = DEFAULTS.parse().map_err(|e| one(format!("the defaults cannot be read: {e}")))?;
        let over: Table = file.parse().map_err(|e| one(format!("the configuration file is not TOML: {e}")))?;
        merge(&mut table, over);
        for (name, value) in env {
            set(&mut table, &name, &value).map_err(one)?;
        }
        // Through text once more, so that errors show the line they mean.
        let merged = toml::to_string(&table).map_err(|e| one(e.to_string()))?;
        let raw: raw::Raw = toml::from_str(&merged).map_err(|e| one(format!("configuration: {e}")))?;
        build::build(raw, Fixed::of(&table))
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `PEAKPOST_KAFKA__BROKERS=…` sets `kafka.brokers`. The value is read as TOML if it is, else as text.
fn set(table: &mut Table, name: &str, value: &str) -> Result<(), String> {
    let path = name.trim_start_matches(ENV_PREFIX).to_ascii_lowercase();
    if !path.contains("__") {
        let near =
            table.keys().find(|section| path.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('_')));
        return near.map_or(Ok(()), |section| {
            let key = &path[section.len() + 1..];
            let hint = format!("{ENV_PREFIX}{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase());
            Err(format!("environment variable `{name}` sets no key `{path}`; hint: `{hint}`, with two underscores"))
        });
    }
    let mut keys: Vec<&str> = path.split("__").collect();
    let Some(last) = keys.pop() else { return Ok(()) };
    let mut at = table;
    for key in keys {
        let next = at.entry(key.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or_else(|| format!("environment variable `{name}`: `{key}` is not a section"))?;
    }
    let parsed = format!("v = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    at.insert(last.to_owned(), parsed.unwrap_or_else(|| Value::String(value.to_owned())));
    Ok(())
}
