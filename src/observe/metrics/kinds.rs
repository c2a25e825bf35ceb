//! How each kind of metric is made and registered.
//!
//! Why: the catalogue is to be read as a list.
//! Must not know: any metric.

use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Bucket bounds for anything from a fast local call to a vendor's time-out, in seconds.
const LATENCY: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Bucket bounds for deliveries: from seconds to three days.
pub(super) const DELIVERY: &[f64] =
    &[1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 86_400.0, 259_200.0];

pub(super) fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("peakpost")
}

pub(super) fn register<M: prometheus::core::Collector + Clone + 'static>(
    r: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

pub(super) fn counter(r: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    register(r, IntCounterVec::new(opts(name, help), labels)?)
}

pub(super) fn fcounter(r: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<CounterVec> {
    register(r, CounterVec::new(opts(name, help), labels)?)
}

pub(super) fn gauge(r: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    register(r, IntGaugeVec::new(opts(name, help), labels)?)
}

pub(super) fn fgauge(r: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    register(r, GaugeVec::new(opts(name, help), labels)?)
}

/// A duration of which there is one.
pub(super) fn seconds(r: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    register(r, Gauge::with_opts(opts(name, help))?)
}

/// A number of which there is one.
pub(super) fn number(r: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(r, IntGauge::with_opts(opts(name, help))?)
}

/// A count of which there is one.
pub(super) fn total(r: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register(r, IntCounter::with_opts(opts(name, help))?)
}

pub(super) fn histogram(r: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::from(opts(name, help)).buckets(LATENCY.to_vec());
    register(r, HistogramVec::new(opts, labels)?)
}
