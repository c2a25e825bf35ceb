//! The metric catalogue, as people on call and their dashboards see it.
//!
//! Why: a renamed metric breaks an alert in silence. Names, types, help texts and labels change on purpose:
//! read the difference, then accept it with `INSTA_UPDATE=always cargo test --test metrics`.
//! Must not know: who counts.

use std::collections::{BTreeMap, BTreeSet};

use peakpost::observe::Metrics;

/// The catalogue with every metric touched once, so that each shows its labels.
fn touched() -> Metrics {
    let m = Metrics::new().unwrap();
    m.jobs.with_label_values(&["marketing"]).inc();
    m.restored.with_label_values(&["marketing"]).inc();
    m.attempts.with_label_values(&["mail", "marketing", "accepted"]).inc();
    m.attempted_jobs.with_label_values(&["mail", "marketing", "accepted"]).inc();
    m.outcomes.with_label_values(&["marketing", "accepted", "accepted"]).inc();
    m.in_flight_requests.with_label_values(&["mail"]).set(1);
    m.in_flight_jobs.with_label_values(&["marketing"]).set(1);
    m.lane_depth.with_label_values(&["mail", "marketing", "0"]).set(1);
    m.lane_head_age.with_label_values(&["mail", "marketing", "0"]).set(1.0);
    m.gate_granted.with_label_values(&["mail", "requests"]).inc();
    m.gate_rate.with_label_values(&["mail", "requests", "600 requests/s"]).set(1.0);
    m.gate_share.with_label_values(&["mail"]).set(1.0);
    m.gate_changes.with_label_values(&["mail", "share"]).inc();
    m.gate_bound.with_label_values(&["mail", "limit"]).inc_by(1.0);
    m.rerouted.with_label_values(&["mail", "spare", "breaker"]).inc();
    m.gate_factor.with_label_values(&["mail"]).set(1.0);
    m.breaker_state.with_label_values(&["mail", "allow"]).set(1);
    m.gate_wait.with_label_values(&["mail", "marketing"]).observe(1.0);
    m.gate_stopped.with_label_values(&["mail"]).set(1.0);
    m.control_orders.with_label_values(&["told"]).inc();
    m.delivery.with_label_values(&["mail", "marketing", "gmail", "delivered"]).inc();
    m.delivery_time.with_label_values(&["mail", "marketing", "gmail"]).observe(1.0);
    m.quarantined_open.set(1);
    m.quarantined_resolved.inc();
    m.quarantined_unresolved.inc();
    m.reputation_state.with_label_values(&["acme", "email", "marketing", "mail", "gmail", "block"]).set(1);
    m.feedback_uncounted.set(1.0);
    m.reputation_stale.set(1.0);
    m.reputation_dropped.with_label_values(&["cohort"]).inc();
    m.feedback_requests.with_label_values(&["mail", "taken"]).inc();
    m.feedback_events.with_label_values(&["mail", "delivered"]).inc();
    m.feedback_repeats.with_label_values(&["mail"]).inc();
    m.feedback_latency.with_label_values(&["mail"]).observe(1.0);
    m.vendor_latency.with_label_values(&["mail"]).observe(1.0);
    m.accept_latency.with_label_values(&["marketing"]).observe(1.0);
    m.lag.with_label_values(&["marketing"]).set(1);
    m.uncommitted.with_label_values(&["marketing"]).set(1);
    m.settle_latency.with_label_values::<&str>(&[]).observe(1.0);
    m.settle_retries.inc();
    m.homes_owned.set(1);
    m.homes_stopped.set(1);
    m.hops.with_label_values(&["marketing"]).observe(1.0);
    m.deferred.with_label_values(&["delay.marketing.10s"]).set(1);
    m.tier_late.with_label_values(&["delay.marketing.10s"]).set(1.0);
    m.lane_max_age.with_label_values(&["marketing"]).set(1.0);
    m.retry_budget.with_label_values(&["mail", "0"]).set(1.0);
    m.commits.with_label_values(&["ok"]).inc();
    m.lease_remaining.set(1.0);
    m.suppressions_entries.set(1);
    m.suppressions_stale.set(1.0);
    m
}

/// One metric as it is shown to the world.
#[derive(Debug, Default)]
struct Shown {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    samples: usize,
}

/// Label names of one sample line, and the metric it belongs to.
fn sample(line: &str) -> (&str, Vec<&str>) {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let inside = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inside, _)| inside);
    (name, inside.split("\",").filter_map(|pair| pair.split_once('=')).map(|(label, _)| label).collect())
}

/// Reads the exposition text. `process_*` is the client library's and differs by platform.
fn shown(text: &str) -> BTreeMap<String, Shown> {
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            all.entry(name.to_owned()).or_default().help = help.into();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            all.entry(name.to_owned()).or_default().kind = kind.into();
        } else {
            let (name, labels) = sample(line);
            let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
            let family = parts.chain([name]).find(|family| all.contains_key(*family));
            let family = family.unwrap_or_else(|| panic!("a sample without HELP and TYPE: `{line}`"));
            let metric = all.get_mut(family).unwrap();
            metric.labels.extend(labels.into_iter().filter(|label| *label != "le").map(str::to_owned));
            metric.samples += 1;
        }
    }
    all.retain(|name, _| !name.starts_with("process_"));
    all
}

#[test]
fn the_catalogue_changes_only_on_purpose() {
    let lines: Vec<String> = shown(&touched().render())
        .iter()
        .map(|(name, m)| {
            let labels: Vec<&str> = m.labels.iter().map(String::as_str).collect();
            format!("{name}{{{}}} {}\n    {}\n", labels.join(", "), m.kind, m.help)
        })
        .collect();
    insta::assert_snapshot!(lines.concat());
}

#[test]
fn names_follow_the_conventions() {
    let all = shown(&touched().render());
    // A metric with labels shows nothing until it is touched, so a new one could slip by unseen.
    let source = include_str!("../src/observe/metrics.rs");
    let fields = source.lines().filter(|line| line.starts_with("    pub ") && line.ends_with(',')).count();
    assert_eq!(all.len(), fields + 1, "one per field of `Metrics`, and build_info; hint: add the new one to `touched`");
    for (name, m) in &all {
        let faults = [
            (!name.starts_with("peakpost_"), "the name must begin with peakpost_"),
            (m.kind == "counter" && !name.ends_with("_total"), "a counter's name must end in _total"),
            (m.kind != "counter" && name.ends_with("_total"), "only a counter's name may end in _total"),
            (
                m.kind == "histogram" && !name.ends_with("_seconds") && name != "peakpost_job_hops",
                "histograms are durations (_seconds), but for counts of hops",
            ),
            (!["counter", "gauge", "histogram"].contains(&&*m.kind), "the type must be one of three"),
            (!m.help.ends_with('.') || m.help.len() < 10, "the help must be a sentence"),
            (name.contains("_ms") || name.contains("millis"), "durations are seconds"),
            (m.samples == 0, "nothing touches it: add it to `touched`"),
        ];
        for (is, fault) in faults {
            assert!(!is, "`{name}` ({}): {fault}; see src/observe/metrics.rs", m.kind);
        }
    }
}

/// Labels come from closed sets and the configuration only; a new one is a question to ask.
#[test]
fn labels_are_of_a_closed_set() {
    const KNOWN: &[&str] = &[
        "by", "channel", "dir", "factor", "happened", "lane", "limit", "mailbox", "outcome", "provider", "reason",
        "result", "shard", "source", "state", "tenant", "to", "unit", "verdict", "version", "what",
    ];
    for (name, m) in shown(&touched().render()) {
        let unknown: Vec<_> = m.labels.iter().filter(|label| !KNOWN.contains(&label.as_str())).collect();
        assert!(unknown.is_empty(), "`{name}` has {unknown:?}; hint: never a recipient, a job id or a vendor's words");
    }
}

#[test]
fn the_process_and_the_build_are_shown() {
    let text = Metrics::new().unwrap().render();
    let build = format!("peakpost_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    for line in ["process_cpu_seconds_total", "process_resident_memory_bytes", &build, "peakpost_receipts_dropped 0"] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
}

#[test]
fn two_catalogues_do_not_clash() {
    let (one, other) = (touched(), Metrics::new().unwrap());
    other.homes_owned.set(7);
    assert!(one.render().contains("peakpost_homes_owned 1"), "the registry must not be a global");
    assert!(other.render().contains("peakpost_homes_owned 7"));
}
