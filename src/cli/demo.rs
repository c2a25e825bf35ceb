//! `peakpost demo`: shows a run live and prints its verdict.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{Stop, runtime};
use crate::observe::logs;
use crate::sim::demo::report::Report;
use crate::sim::demo::{self, LIMITS, Setup};

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn demo(jobs: u64, seed: u64, report: Option<&Path>, log: &str) -> Result<ExitCode, Stop> {
    let _logs = logs::start(&logs::Config { format: logs::Format::Pretty, filter: log.to_owned() })
        .map_err(|e| Stop::new(2, e))?;
    println!("peakpost demo: {} jobs, seed {seed}; broker, vendors, load and daemon in this process", HumanCount(jobs));
    for (vendor, name, limit) in LIMITS {
        println!("  {name} ({}) takes at most {limit}", vendor.as_str());
    }
    println!("  joining the group takes about 3 s (the embedded broker's join delay)");
    let bar = ProgressBar::new(jobs);
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:32} {percent:>3}% {human_pos} settled, {msg}");
    bar.set_style(style.map_err(|e| Stop::new(1, e))?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let setup = Setup { jobs, seed };
    let result = runtime()?.block_on(demo::run(&setup, |p| {
        bar.set_position(p.settled.min(jobs));
        let [transactional, marketing] = p.in_line;
        let used: Vec<String> =
            LIMITS.iter().zip(p.buckets).map(|((vendor, ..), used)| format!("{} {:.0}%", vendor.as_str(), used * 100.0)).collect();
        bar.set_message(format!(
            "{:.0}/s; {} not accepted\n  lanes: transactional {transactional}, marketing {marketing} in the line; {} requests out; \
             {} enqueued\n  buckets used: {}",
            bar.per_sec(),
            p.not_accepted,
            p.in_flight,
            HumanCount(p.enqueued),
            used.join(", ")
        ));
    }));
    bar.finish_and_clear();
    let result = result.map_err(|e| Stop::new(1, e))?;
    if let Some(path) = report {
        let text = serde_json::to_string_pretty(&result).map_err(|e| Stop::new(1, e))?;
        std::fs::write(path, text + "\n")
            .map_err(|e| Stop::new(1, format!("cannot write `{}`: {e}", path.display())))?;
    }
    print!("{}", summary(&result));
    let faults = result.verdict();
    if faults.is_empty() {
        println!("verdict: everything holds");
        return Ok(ExitCode::SUCCESS);
    }
    Err(Stop::new(1, format!("verdict: {}", faults.join("; "))))
}

fn summary(r: &Report) -> String {
    let count = HumanCount;
    format!(
        "\
enqueued {} = accepted {} + refused {} + expired {} + dead {} + suppressed {}
lost {}, duplicates {}, unsettled {}, wrong outcome {}, sent but forbidden {}
windows over a limit {} (worst stall {:.1} ms), commits off {}
{} requests in {:.1} s: {:.0} jobs/s, {:.1} CPU-us per job (whole process)
latency, enqueued to accepted: transactional p50 {} ms, p99 {} ms; marketing p50 {} ms, p99 {} ms
",
        count(r.enqueued),
        count(r.accepted),
        count(r.refused),
        count(r.expired),
        count(r.dead),
        count(r.suppressed),
        r.lost,
        r.duplicates,
        r.unsettled,
        r.wrong,
        r.forbidden,
        r.rate_windows_over_limit,
        r.worst_stall_ms,
        r.commits_off,
        count(r.requests),
        r.wall_s,
        r.jobs_per_s,
        r.cpu_us_per_job,
        r.lanes.transactional.p50_ms,
        r.lanes.transactional.p99_ms,
        r.lanes.marketing.p50_ms,
        r.lanes.marketing.p99_ms,
    )
}
