//! `peakpost check`, `schema` and `topics create`.

use std::path::Path;
use std::process::ExitCode;

use super::{Schema, Stop, load, runtime};
use crate::app::limits;
use crate::config::Config;
use crate::job::Lane;
use crate::observe::Clock;

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn schema(what: Schema) {
    println!(
        "{}",
        match what {
            Schema::Job => crate::job::schema::JOB,
            Schema::Outcome => crate::outcome::schema::OUTCOME,
            Schema::Event => crate::event::SCHEMA,
        }
        .trim_end()
    );
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn check(file: Option<&Path>, topics: bool) -> Result<ExitCode, Stop> {
    let config = load(file)?;
    config.suppressions.keyer.as_ref().map_err(|fault| Stop::new(78, fault))?;
    print!("{}", describe(&config));
    if topics {
        let report = runtime()?.block_on(config.topics.verify(config.embedded)).map_err(|e| Stop::new(69, e))?;
        for topic in &report.orphans {
            println!("warning: `{topic}` belongs to no configured provider: what waits there goes nowhere");
        }
        for left_out in &report.left_out {
            println!("not verified: {left_out}");
        }
        if !report.faults.is_empty() {
            return Err(Stop::new(78, report.faults.join("\n")));
        }
        println!("topics: as they must be, {} homes", report.partitions);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a configuration comes to.
fn describe(config: &Config) -> String {
    use std::fmt::Write as _;
    let clock = Clock::default();
    let mut out = String::new();
    let intake = &config.intake;
    let ahead = intake.window_jobs * usize::from(config.topics.partitions) * Lane::ALL.len();
    // Writing into a String cannot fail.
    let mut line = |text: String| {
        let _written = writeln!(out, "{text}");
    };
    line("configuration: ok".to_owned());
    line(format!("group: {} on {}", intake.group, intake.topics.homes()));
    line(format!("memory: {}", config.memory()));
    line(format!("look-ahead: {} jobs per lane and home, at most {ahead}", intake.window_jobs));
    line(format!("shards: {}; ops listener: {}", config.shards, config.ops));
    for provider in &config.providers {
        let limits: Vec<String> = provider.gate.limits.iter().map(ToString::to_string).collect();
        let limits = if limits.is_empty() { "no limit".to_owned() } else { limits.join(", ") };
        line(format!("provider {}: {limits}; {} requests at a time", provider.name, provider.gate.concurrency));
        let (now, wall) = (clock.mono(), clock.wall());
        for limit in limits::describe(&provider.name, &provider.gate, config.topics.partitions, now, wall) {
            line(format!("  {limit}"));
        }
    }
    if let Some(feedback) = &config.feedback {
        let heard: Vec<&str> = config.providers.iter().filter(|p| p.ear.is_some()).map(|p| p.name.as_str()).collect();
        let heard = if heard.is_empty() { "nobody".to_owned() } else { heard.join(", ") };
        let most = (feedback.concurrency * feedback.body_max) >> 20;
        line(format!("feedback listener: {}; hears {heard}; at most {most} MiB of bodies", feedback.listen));
    }
    if config.providers.is_empty() {
        line("provider: none (`run` needs one)".to_owned());
    }
    for route in &config.rules.routes.0 {
        let tenant = route.tenant.as_deref().unwrap_or("any tenant");
        let lane = route.lane.map_or("any lane", Lane::as_str);
        let name = |id: &usize| config.providers[*id].name.as_str();
        let providers = match route.weights.as_slice() {
            [] => route.providers.iter().map(name).collect::<Vec<_>>().join(", then "),
            weights => {
                let all = route.providers.iter().zip(weights);
                all.map(|(id, weight)| format!("{weight} parts {}", name(id))).collect::<Vec<_>>().join(", ")
            }
        };
        line(format!("route: {}, {tenant}, {lane} -> {providers}", route.channel));
    }
    out
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn topics_create(file: Option<&Path>) -> Result<ExitCode, Stop> {
    let config = load(file)?;
    runtime()?.block_on(async {
        let made = config.topics.create().await.map_err(|e| Stop::new(69, e))?;
        for name in &made {
            println!("made {name}");
        }
        let report = config.topics.verify(config.embedded).await.map_err(|e| Stop::new(69, e))?;
        if report.faults.is_empty() {
            println!("all topics are as they must be, {} homes", report.partitions);
            return Ok(ExitCode::SUCCESS);
        }
        Err(Stop::new(78, report.faults.join("\n")))
    })
}
