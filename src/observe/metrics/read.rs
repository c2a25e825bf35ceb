//! What is read from metrics again, for people.
//!
//! Why: the ops listener tells it in words, from what is shown anyway.
//! Must not know: who counts.

use std::collections::BTreeMap;

use super::Metrics;

impl Metrics {
    /// One line for each provider that stands still, for people: `sendgrid-main stands still for 8 s`.
    #[must_use]
    pub fn stopped_providers(&self) -> String {
        use prometheus::core::Collector as _;
        let families = self.gate_stopped.collect();
        let metrics = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        let stopped = metrics.filter(|m| m.get_gauge().get_value() > 0.0).map(|m| {
            let name = m.get_label().first().map_or("", |label| label.value());
            let left = m.get_gauge().get_value().ceil();
            format!("provider {name} stands still for {left} s: see peakpost_attempts_total and the log\n")
        });
        stopped.collect::<Vec<_>>().concat()
    }

    /// Jobs queued for a provider in memory, by lane.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of jobs in memory")]
    pub fn backlog(&self, provider: &str) -> BTreeMap<String, u64> {
        use prometheus::core::Collector as _;
        let mut lanes = BTreeMap::new();
        let families = self.lane_depth.collect();
        for metric in families.iter().flat_map(prometheus::proto::MetricFamily::get_metric) {
            let label = |name: &str| {
                metric.get_label().iter().find(|label| label.name() == name).map(prometheus::proto::LabelPair::value)
            };
            if let (true, Some(lane)) = (label("provider") == Some(provider), label("lane")) {
                *lanes.entry(lane.to_owned()).or_default() += metric.get_gauge().get_value().max(0.0) as u64;
            }
        }
        lanes
    }
}
