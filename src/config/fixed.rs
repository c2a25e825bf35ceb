//! What of a configuration holds until a restart.
//!
//! Why: a reload must say when it leaves something out, or somebody will wait for it.
//! Must not know: what any key means beyond whether a reload takes it over.

use toml::{Table, Value};

/// Keys of a provider that a reload takes over.
const OF_PROVIDER: &[&str] = &["limits", "senders", "tenants", "concurrency", "jitter", "warm_up"];
/// The same of the transactional lane.
const OF_LANE: &[&str] = &["reserve", "weight"];
/// The same of a tenant.
const OF_TENANT: &[&str] = &["weight"];

/// Everything that was configured but for what a reload takes over. Secrets are references here, as they were typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fixed(Table);

impl Fixed {
    pub(super) fn of(table: &Table) -> Self {
        let mut table = table.clone();
        for provider in table.get_mut("providers").and_then(Value::as_array_mut).into_iter().flatten() {
            strip(Some(provider), OF_PROVIDER);
        }
        strip(table.get_mut("lanes").and_then(|lanes| lanes.get_mut("transactional")), OF_LANE);
        for (_, tenant) in table.get_mut("tenants").and_then(Value::as_table_mut).into_iter().flatten() {
            strip(Some(tenant), OF_TENANT);
        }
        Self(table)
    }

    /// The sections in which two configurations differ.
    #[must_use]
    pub fn differs_in(&self, other: &Self) -> Vec<String> {
        let sections = self.0.keys().chain(other.0.keys().filter(|key| !self.0.contains_key(*key)));
        sections.filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect()
    }
}

fn strip(value: Option<&mut Value>, keys: &[&str]) {
    if let Some(table) = value.and_then(Value::as_table_mut) {
        table.retain(|key, _| !keys.contains(&key));
    }
}
