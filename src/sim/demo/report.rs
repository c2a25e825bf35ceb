//! The reckoning: every job once, held against the arrivals; limits, held against permits and arrivals.
//!
//! Why: a run is good only if everything that must hold does, and each figure can be read and repeated.
//! Must not know: how the run was made.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::audit::Account;
use super::source::Sent;
use super::{LIMITS, Setup};
use crate::dispatch::Granted;
use crate::gate::limit::{Limit, Unit};
use crate::intake::Drained;
use crate::job::Lane;
use crate::sim::arrivals::{self, Seen};
use crate::sim::load::Expect;

/// Everything a run left behind.
pub(super) struct Evidence {
    pub(super) sent: Sent,
    pub(super) account: Account,
    pub(super) arrivals: Seen,
    pub(super) permits: Vec<Granted>,
    pub(super) stall: Duration,
    pub(super) trims_past_commits: u64,
    pub(super) drained: Drained,
}

/// Latency of one lane, broker timestamp to acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LaneReport {
    /// Median, in milliseconds.
    pub p50_ms: u32,
    /// 99th percentile, in milliseconds.
    pub p99_ms: u32,
}

/// Both lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lanes {
    /// What a person waits for.
    pub transactional: LaneReport,
    /// What a campaign sends.
    pub marketing: LaneReport,
}

/// The figures of a run. Latencies and throughput are this machine's, with everything in one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Records enqueued.
    pub enqueued: u64,
    /// Outcomes by kind.
    pub accepted: u64,
    /// Turned down by our rules or the vendor.
    pub refused: u64,
    /// Must not be written to.
    pub suppressed: u64,
    /// Worthless before they could be sent.
    pub expired: u64,
    /// Could not be sent; records that are no jobs among them.
    pub dead: u64,
    /// Jobs without a terminal outcome.
    pub unsettled: u64,
    /// Jobs with an outcome other than the one they must have.
    pub wrong: u64,
    /// Accepted jobs that never arrived at a vendor.
    pub lost: u64,
    /// Arrivals beyond the first of a job, and outcomes beyond the first.
    pub duplicates: u64,
    /// Arrivals of jobs that must not be sent.
    pub forbidden: u64,
    /// Requests at the vendors.
    pub requests: u64,
    /// From start to the last outcome.
    pub wall_s: f64,
    /// Jobs per second of it.
    pub jobs_per_s: f64,
    /// CPU time of the whole process (broker, vendors and load included) per job.
    pub cpu_us_per_job: f64,
    /// Windows over a limit, on the permit log and at the vendors' door.
    pub rate_windows_over_limit: u64,
    /// Worst stall of the run: what J has to cover.
    pub worst_stall_ms: f64,
    /// Partitions whose commits do not end at their end, or were passed by a trim.
    pub commits_off: u64,
    /// By lane.
    pub lanes: Lanes,
}

impl Report {
    /// What does not hold; empty when all is well.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        let must_be_zero = [
            ("unsettled", self.unsettled),
            ("wrong", self.wrong),
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("forbidden", self.forbidden),
            ("rate_windows_over_limit", self.rate_windows_over_limit),
            ("commits_off", self.commits_off),
        ];
        must_be_zero.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} is {n}, must be 0")).collect()
    }
}

/// User and system time of this process so far, in seconds (proc(5): fields 14 and 15 of `stat`, in ticks of
/// 1/100 s on Linux). 0 where there is no `/proc`.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

pub(super) fn reckon(setup: &Setup, evidence: &Evidence, wall: Duration, cpu: f64) -> Report {
    let mut report = Report {
        enqueued: setup.jobs,
        requests: evidence.arrivals.requests.len() as u64,
        wall_s: wall.as_secs_f64(),
        jobs_per_s: setup.jobs as f64 / wall.as_secs_f64(),
        cpu_us_per_job: cpu * 1e6 / setup.jobs.max(1) as f64,
        worst_stall_ms: evidence.stall.as_secs_f64() * 1000.0,
        commits_off: evidence.trims_past_commits + u64::from(!evidence.drained.committed) + evidence.account.gaps,
        ..Report::default()
    };
    outcomes(&mut report, evidence);
    sends(&mut report, evidence);
    for (vendor, provider, limit) in LIMITS {
        let Ok(limit) = limit.parse::<Limit>() else { continue };
        report.rate_windows_over_limit += over_limit(evidence, vendor, provider, limit);
    }
    let lane = |lane: Lane| latency(evidence.account.latency_ms.get(lane.as_str()).cloned().unwrap_or_default());
    report.lanes = Lanes { transactional: lane(Lane::Transactional), marketing: lane(Lane::Marketing) };
    report
}

/// Every job has the outcome it must have.
fn outcomes(report: &mut Report, evidence: &Evidence) {
    let account = &evidence.account;
    for (outcome, _) in account.jobs.values() {
        match &**outcome {
            "accepted" => report.accepted += 1,
            "refused" => report.refused += 1,
            "suppressed" => report.suppressed += 1,
            "expired" => report.expired += 1,
            _ => report.dead += 1,
        }
    }
    report.dead += account.invalid.values().sum::<u64>();
    report.duplicates += account.repeated;
    for (key, expect) in &evidence.sent.expected {
        let Some((outcome, reason)) = account.jobs.get(key) else {
            report.unsettled += 1;
            continue;
        };
        let right = match expect {
            Expect::Accepted => &**outcome == "accepted",
            Expect::Suppressed(must) => &**outcome == "suppressed" && **reason == **must,
            Expect::Refused(must) => &**outcome == "refused" && **reason == **must,
            Expect::Expired => &**outcome == "expired",
            Expect::Dead { reason: must, .. } => &**outcome == "dead" && **reason == **must,
        };
        report.wrong += u64::from(!right);
    }
    for (reason, count) in &evidence.sent.malformed {
        let settled = account.invalid.get(*reason).copied().unwrap_or(0);
        let letters = account.letters.get(*reason).copied().unwrap_or(0);
        report.unsettled += count.saturating_sub(settled);
        report.wrong += settled.saturating_sub(*count) + count.abs_diff(letters);
    }
}

/// What arrived is what was accepted, each once.
fn sends(report: &mut Report, evidence: &Evidence) {
    let sent: std::collections::HashSet<&str> =
        evidence.arrivals.messages.iter().filter(|a| a.sent).map(|a| &*a.key).collect();
    for (key, (outcome, _)) in &evidence.account.jobs {
        report.lost += u64::from(&**outcome == "accepted" && !sent.contains(&**key));
    }
    report.duplicates +=
        arrivals::duplicates(&evidence.arrivals.messages).iter().map(|(_, n)| *n as u64 - 1).sum::<u64>();
    let may_arrive = |key: &str| matches!(evidence.sent.expected.get(key), Some(Expect::Accepted));
    report.forbidden = sent.iter().filter(|key| !may_arrive(key)).count() as u64;
}

/// Windows over the limit: of permits exactly; of arrivals with the window shortened by what the run's worst
/// stall exceeds the configured jitter, because that much later than its permit a message can arrive.
fn over_limit(evidence: &Evidence, vendor: arrivals::Vendor, provider: &str, limit: Limit) -> u64 {
    const JITTER: Duration = Duration::from_millis(50);
    let origin: Option<Instant> = evidence.permits.iter().map(|p| p.at).min();
    let mut permits = Vec::new();
    for permit in evidence.permits.iter().filter(|p| &*p.provider == provider) {
        let units = if limit.unit == Unit::Requests { permit.requests } else { permit.messages };
        let at = origin.map_or(0, |origin| nanos(permit.at.duration_since(origin)));
        permits.extend(std::iter::repeat_n(at, units as usize));
    }
    let door: Vec<u64> = match limit.unit {
        Unit::Requests => evidence.arrivals.requests.iter().filter(|r| r.vendor == vendor).map(|r| r.at).collect(),
        Unit::Messages => evidence.arrivals.messages.iter().filter(|m| m.vendor == vendor).map(|m| m.at).collect(),
    };
    let window = limit.window.saturating_sub(evidence.stall.saturating_sub(JITTER));
    let most = limit.count as usize;
    (arrivals::windows_over(&permits, most, limit.window) + arrivals::windows_over(&door, most, window)) as u64
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

fn latency(mut ms: Vec<u32>) -> LaneReport {
    ms.sort_unstable();
    let at = |percent: usize| ms.get((ms.len() * percent / 100).min(ms.len().saturating_sub(1))).copied();
    LaneReport { p50_ms: at(50).unwrap_or(0), p99_ms: at(99).unwrap_or(0) }
}
