//! The metric catalogue: every name, type, help text and label.
//!
//! Why: one list to read, one snapshot test to hold it. Durations are seconds, sizes bytes, counters end in
//! `_total` (Prometheus naming conventions).
//! Must not know: who counts.

mod kinds;
mod read;

use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry, TextEncoder,
};

use kinds::{DELIVERY, counter, fcounter, fgauge, gauge, histogram, number, opts, register, seconds, total};

/// Every metric of the daemon.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Records read.
    pub jobs: IntCounterVec,
    /// Records skipped because an earlier owner had settled them.
    pub restored: IntCounterVec,
    /// Requests by verdict.
    pub attempts: IntCounterVec,
    /// Jobs in those requests.
    pub attempted_jobs: IntCounterVec,
    /// Outcomes made durable.
    pub outcomes: IntCounterVec,
    /// How often jobs had been deferred when they came to their end.
    pub hops: HistogramVec,
    /// Records of tiers and holds that are not read yet.
    pub deferred: IntGaugeVec,
    /// How far behind its time the head of a tier is.
    pub tier_late: GaugeVec,
    /// Requests at the provider.
    pub in_flight_requests: IntGaugeVec,
    /// Jobs whose receipts are out.
    pub in_flight_jobs: IntGaugeVec,
    /// Jobs queued for a provider.
    pub lane_depth: IntGaugeVec,
    /// Age of the oldest of them.
    pub lane_head_age: GaugeVec,
    /// Retries that may go now.
    pub retry_budget: GaugeVec,
    /// The longest age of a lane's jobs.
    pub lane_max_age: GaugeVec,
    /// Units granted.
    pub gate_granted: IntCounterVec,
    /// The part of each limit that is kept here.
    pub gate_share: GaugeVec,
    /// Changes of a rate or a share.
    pub gate_changes: IntCounterVec,
    /// Time in which somebody was kept waiting.
    pub gate_bound: CounterVec,
    /// Jobs that another provider carries than the one that should.
    pub rerouted: IntCounterVec,
    /// What throttled replies and ramps leave of the limits.
    pub gate_factor: GaugeVec,
    /// Which state a failure breaker is in.
    pub breaker_state: IntGaugeVec,
    /// What a limit lets through in the long run.
    pub gate_rate: GaugeVec,
    /// Time from ask to grant.
    pub gate_wait: HistogramVec,
    /// Time until a stop ends.
    pub gate_stopped: GaugeVec,
    /// Orders between instances.
    pub control_orders: IntCounterVec,
    /// What vendors said of messages.
    pub delivery: IntCounterVec,
    /// Sent to delivered.
    pub delivery_time: HistogramVec,
    /// For how long an event may not have been counted.
    pub feedback_uncounted: Gauge,
    /// For how long a count may have been missed.
    pub reputation_stale: Gauge,
    /// Counts for which there was no room.
    pub reputation_dropped: IntCounterVec,
    /// Quarantined jobs of which nothing was told yet.
    pub quarantined_open: IntGauge,
    /// Of which something was told.
    pub quarantined_resolved: IntCounter,
    /// Of which nothing was told in time.
    pub quarantined_unresolved: IntCounter,
    /// Streams that are not simply well.
    pub reputation_state: IntGaugeVec,
    /// Requests to the feedback listener.
    pub feedback_requests: IntCounterVec,
    /// Events made durable.
    pub feedback_events: IntCounterVec,
    /// Events that had been.
    pub feedback_repeats: IntCounterVec,
    /// Request to 2xx.
    pub feedback_latency: HistogramVec,
    /// Request written to reply read.
    pub vendor_latency: HistogramVec,
    /// Broker timestamp to accepted.
    pub accept_latency: HistogramVec,
    /// Records not read yet.
    pub lag: IntGaugeVec,
    /// Records read and not committable yet.
    pub uncommitted: IntGaugeVec,
    /// Outcome handed over to outcome durable.
    pub settle_latency: HistogramVec,
    /// Outcomes that had to be produced again.
    pub settle_retries: IntCounter,
    /// Homes owned.
    pub homes_owned: IntGauge,
    /// Homes stopped because of an error that does not heal.
    pub homes_stopped: IntGauge,
    /// Offset commits by result.
    pub commits: IntCounterVec,
    /// Time left on the lease.
    pub lease_remaining: Gauge,
    /// Receipts dropped unsettled.
    pub receipts_dropped: IntGauge,
    /// Suppressed recipients known here.
    pub suppressions_entries: IntGauge,
    /// For how long a suppression may have been missed.
    pub suppressions_stale: Gauge,
}

impl Metrics {
    /// Registers the catalogue.
    ///
    /// # Errors
    /// When two entries clash: a defect of this file.
    #[expect(clippy::too_many_lines, reason = "a catalogue: one entry after the other")]
    pub fn new() -> prometheus::Result<Self> {
        let r = Registry::new();
        let build = gauge(&r, "build_info", "Constant 1; the version is the label.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            jobs: counter(&r, "jobs_total", "Records read from a lane's jobs topic.", &["lane"])?,
            restored: counter(
                &r,
                "restored_total",
                "Records read again after a change of owner and skipped: their outcome was durable.",
                &["source"],
            )?,
            attempts: counter(
                &r,
                "attempts_total",
                "Requests to a provider, by what it said.",
                &["provider", "lane", "verdict"],
            )?,
            attempted_jobs: counter(
                &r,
                "attempted_jobs_total",
                "Jobs carried by those requests, by what the provider said.",
                &["provider", "lane", "verdict"],
            )?,
            outcomes: counter(&r, "outcomes_total", "Outcomes made durable.", &["lane", "outcome", "reason"])?,
            hops: register(
                &r,
                HistogramVec::new(
                    HistogramOpts::from(opts("job_hops", "How often a job had been deferred when it came to its end."))
                        .buckets(vec![0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 100.0]),
                    &["lane"],
                )?,
            )?,
            deferred: gauge(
                &r,
                "deferred_records",
                "Records of owned homes in a delay tier or hold that are not read yet.",
                &["source"],
            )?,
            tier_late: fgauge(
                &r,
                "tier_late_seconds",
                "How long the most overdue head of a delay tier has been due.",
                &["source"],
            )?,
            in_flight_requests: gauge(&r, "in_flight_requests", "Requests at the provider now.", &["provider"])?,
            in_flight_jobs: gauge(&r, "in_flight_jobs", "Jobs read and not settled yet.", &["lane"])?,
            lane_depth: gauge(&r, "lane_depth_jobs", "Jobs queued for a provider.", &["provider", "lane", "shard"])?,
            lane_head_age: fgauge(
                &r,
                "lane_head_age_seconds",
                "How old the oldest queued job is, by its Kafka timestamp.",
                &["provider", "lane", "shard"],
            )?,
            retry_budget: fgauge(
                &r,
                "retry_budget",
                "Jobs that may have been sent and may go again now, by shard.",
                &["provider", "shard"],
            )?,
            lane_max_age: fgauge(
                &r,
                "lane_max_age_seconds",
                "Age at which a job without expires_at expires, as configured.",
                &["lane"],
            )?,
            gate_granted: counter(
                &r,
                "gate_granted_total",
                "Units granted by a provider's gate; its rate over peakpost_gate_rate is the bucket's utilisation.",
                &["provider", "unit"],
            )?,
            gate_share: fgauge(
                &r,
                "gate_share",
                "Part of a provider's limits that this instance keeps: homes owned over homes.",
                &["provider"],
            )?,
            gate_changes: counter(
                &r,
                "gate_changes_total",
                "Changes of a provider's rates or of the share of them kept here, by what changed.",
                &["provider", "factor"],
            )?,
            gate_bound: fcounter(
                &r,
                "gate_bound_seconds_total",
                "Time in which a provider's gate kept somebody waiting whose turn it was, by what kept them.",
                &["provider", "by"],
            )?,
            rerouted: counter(
                &r,
                "rerouted_jobs_total",
                "Jobs that went from a provider to another of their route, by why: warm_up (its cap), breaker (it fails), \
                 stop (it asked to wait).",
                &["provider", "to", "by"],
            )?,
            gate_factor: fgauge(
                &r,
                "gate_factor",
                "Part of a provider's limits that is used here: under 1 after throttled replies and on a ramp.",
                &["provider"],
            )?,
            breaker_state: gauge(
                &r,
                "breaker_state",
                "1 for the state a provider's failure breaker is in here: allow, block or probe.",
                &["provider", "state"],
            )?,
            gate_rate: fgauge(
                &r,
                "gate_rate",
                "Units per second that this instance's share of a limit lets through in the long run.",
                &["provider", "unit", "limit"],
            )?,
            gate_wait: histogram(
                &r,
                "gate_wait_seconds",
                "Time from asking a gate to its permit.",
                &["provider", "lane"],
            )?,
            gate_stopped: fgauge(
                &r,
                "gate_stopped_seconds",
                "Time until a provider's stop ends; 0 when it runs.",
                &["provider"],
            )?,
            control_orders: counter(
                &r,
                "control_orders_total",
                "Orders between instances: a vendor's long stops that this one told, or heard of from another.",
                &["dir"],
            )?,
            feedback_requests: counter(
                &r,
                "feedback_requests_total",
                "Requests to the feedback listener, by what became of them.",
                &["provider", "result"],
            )?,
            feedback_events: counter(
                &r,
                "feedback_events_total",
                "Events of vendors that this instance made durable.",
                &["provider", "happened"],
            )?,
            feedback_repeats: counter(
                &r,
                "feedback_repeats_total",
                "Events that vendors told again and that were not written again.",
                &["provider"],
            )?,
            feedback_latency: histogram(
                &r,
                "feedback_latency_seconds",
                "Time from a feedback request's head to its 2xx: its events are durable.",
                &["provider"],
            )?,
            delivery: counter(
                &r,
                "delivery_total",
                "What vendors said of messages, each event once in the whole fleet.",
                &["provider", "lane", "mailbox", "happened"],
            )?,
            delivery_time: register(
                &r,
                HistogramVec::new(
                    HistogramOpts::from(opts("delivery_seconds", "Time from sending a message to its delivery."))
                        .buckets(DELIVERY.to_vec()),
                    &["provider", "lane", "mailbox"],
                )?,
            )?,
            quarantined_open: number(
                &r,
                "quarantined_open",
                "Quarantined jobs that wait here for their vendor's word; add up all instances.",
            )?,
            quarantined_resolved: total(
                &r,
                "quarantined_resolved_total",
                "Quarantined jobs of which their vendor has told.",
            )?,
            quarantined_unresolved: total(
                &r,
                "quarantined_unresolved_total",
                "Quarantined jobs of which nothing was told in time.",
            )?,
            reputation_state: gauge(
                &r,
                "reputation_state",
                "1 for the state of a stream that is not simply well: warn, block or ramp; at most 200, the worst first.",
                &["tenant", "channel", "lane", "provider", "mailbox", "state"],
            )?,
            feedback_uncounted: seconds(
                &r,
                "feedback_uncounted_seconds",
                "Age of the oldest event that may not be counted yet by any worker of the fleet.",
            )?,
            reputation_stale: seconds(
                &r,
                "reputation_stale_seconds",
                "Time within which a new count or release may not be known here.",
            )?,
            reputation_dropped: counter(
                &r,
                "reputation_dropped_total",
                "Counts for which there was no room: a worker's cohorts, events not counted, cohorts in this instance's sums.",
                &["what"],
            )?,
            vendor_latency: histogram(
                &r,
                "vendor_latency_seconds",
                "Time from sending a request to its whole reply.",
                &["provider"],
            )?,
            accept_latency: histogram(
                &r,
                "accept_latency_seconds",
                "Time from a job's Kafka timestamp to its acceptance by the provider.",
                &["lane"],
            )?,
            lag: gauge(&r, "lag_records", "Records in owned partitions not read yet.", &["lane"])?,
            uncommitted: gauge(&r, "uncommitted_records", "Records read and not committable yet.", &["lane"])?,
            settle_latency: histogram(&r, "settle_latency_seconds", "Time from an outcome to its durability.", &[])?,
            settle_retries: total(&r, "settle_retries_total", "Outcome records produced again after an error.")?,
            homes_owned: number(&r, "homes_owned", "Partitions this instance owns.")?,
            homes_stopped: number(
                &r,
                "homes_stopped",
                "Owned partitions stopped by an error that does not heal; see the log.",
            )?,
            commits: counter(&r, "commits_total", "Offset commits by result.", &["result"])?,
            lease_remaining: seconds(
                &r,
                "lease_remaining_seconds",
                "Time for which this instance may still send without another commit.",
            )?,
            receipts_dropped: number(
                &r,
                "receipts_dropped",
                "Jobs forgotten by a defect since start. Alert on anything but 0.",
            )?,
            suppressions_entries: number(
                &r,
                "suppressions_entries",
                "Suppressed recipients that this instance knows of.",
            )?,
            suppressions_stale: seconds(
                &r,
                "suppressions_stale_seconds",
                "Time within which a new suppression may not be known here; above suppressions.max_stale nothing is sent.",
            )?,
            registry: r,
        })
    }

    /// The exposition text (version 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        self.receipts_dropped.set(i64::try_from(crate::job::receipt::dropped_unsettled()).unwrap_or(i64::MAX));
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(e) => format!("# metrics cannot be rendered: {e}\n"),
        }
    }
}
