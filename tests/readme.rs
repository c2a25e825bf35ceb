//! README.md and `deploy/` against the code: examples, commands, tables, metric names, links.
//!
//! Why: whoever reads them is woken at night or writes the first job; a wrong line there costs more than one here.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use peakpost::config::Config;
use peakpost::event::echo;
use peakpost::job::topic::Topics;
use peakpost::job::{Channel, Content, parse};
use peakpost::outcome::{Kind, Verdict, schema};

const README: &str = include_str!("../README.md");
const RECORDING: &str =
    concat!(include_str!("../deploy/prometheus/recording.yaml"), include_str!("../deploy/prometheus/unreported.yaml"));
const ALERTS: &str =
    concat!(include_str!("../deploy/prometheus/alerts.yaml"), include_str!("../deploy/prometheus/unreported.yaml"));
const METRICS_SOURCE: &str = include_str!("../src/observe/metrics.rs");

/// The fenced blocks of one language, without their common indentation.
fn blocks(language: &str) -> Vec<String> {
    let (mut out, mut open): (Vec<String>, Option<usize>) = (Vec::new(), None);
    for line in README.lines() {
        let text = line.trim_start();
        match open {
            None if text == format!("```{language}") => {
                open = Some(line.len() - text.len());
                out.push(String::new());
            }
            Some(_) if text == "```" => open = None,
            Some(indent) => {
                let block = out.last_mut().expect("an open block");
                block.push_str(line.get(indent..).unwrap_or(""));
                block.push('\n');
            }
            None => {}
        }
    }
    out
}

/// A section's text, from its heading to the next of the same rank or above.
fn section(heading: &str) -> &'static str {
    let rank = heading.split(' ').next().expect("a rank");
    let start = README.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("README.md has no `{heading}`"));
    let rest = &README[start + 1..];
    let ends = |at: usize| {
        let marks = rest[at + 1..].split(' ').next().unwrap_or("");
        !marks.is_empty() && marks.bytes().all(|b| b == b'#') && marks.len() <= rank.len()
    };
    let end = rest.match_indices('\n').map(|(at, _)| at).find(|at| ends(*at));
    &rest[..end.unwrap_or(rest.len())]
}

/// The cells of a section's tables whose first cell is one code word, by that word.
fn rows(heading: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let row = |line: &'static str| {
        let cells = cells(line);
        let word = cells[0].strip_prefix('`')?.strip_suffix('`')?;
        Some((word, cells[1..].to_vec()))
    };
    section(heading).lines().filter(|line| line.starts_with('|')).filter_map(row).collect()
}

fn words(heading: &str) -> BTreeSet<&'static str> {
    rows(heading).into_iter().map(|(word, _)| word).collect()
}

/// Fails on what is missing from README.md and on what it has too much.
fn same<'a>(what: &str, written: impl IntoIterator<Item = &'a str>, real: impl IntoIterator<Item = &'a str>) {
    let (written, real): (BTreeSet<&str>, BTreeSet<&str>) = (written.into_iter().collect(), real.into_iter().collect());
    let missing: Vec<_> = real.difference(&written).collect();
    let extra: Vec<_> = written.difference(&real).collect();
    assert!(missing.is_empty() && extra.is_empty(), "README.md, {what}: add {missing:?}, take out {extra:?}");
}

#[test]
fn every_example_is_a_job() {
    let mut seen = BTreeSet::new();
    for block in blocks("json") {
        let spec = parse::parse(block.as_bytes()).unwrap_or_else(|e| panic!("mend the example: {e}\n{block}"));
        seen.insert((spec.channel, matches!(spec.content, Content::Template { .. })));
    }
    let expected = Channel::ALL.map(|channel| (channel, false)).into_iter().chain([(Channel::Email, true)]);
    assert_eq!(seen, expected.collect(), "an example for each channel, and one of a template");
}

#[test]
fn every_field_is_in_the_table() {
    same("fields of a job", words("## The job"), parse::TOP);
    let text = section("## The job");
    for name in [&parse::MAIL[..], &parse::SMS, &parse::PUSH, &parse::UNSUBSCRIBE, &parse::CONSENT].concat() {
        assert!(text.contains(&format!("`{name}`")), "README.md, the job: say what `{name}` must be");
    }
}

#[test]
fn every_outcome_and_reason_is_in_the_tables() {
    let schema: serde_json::Value = serde_json::from_str(schema::OUTCOME).expect("the outcome schema");
    let reasons = schema["properties"]["reason"]["enum"].as_array().expect("a closed list of reasons");
    let reasons: Vec<&str> = reasons.iter().filter_map(serde_json::Value::as_str).collect();
    let kinds = Kind::ALL.map(Kind::as_str);
    same("outcomes and reasons", words("## Outcomes and reasons"), reasons.iter().chain(&kinds).copied());
    for (word, cells) in rows("## Outcomes and reasons").iter().filter(|(_, cells)| cells.len() == 2) {
        for outcome in cells[0].split(", ").filter(|outcome| *outcome != "–") {
            assert!(kinds.contains(&outcome), "README.md, reason `{word}`: `{outcome}` is no outcome");
        }
    }
}

#[test]
fn every_topic_is_in_the_table() {
    let topics = Topics::new("peakpost");
    // Without tiers and providers there are none of their topics.
    let all = topics.all();
    let ours = ["peakpost.delay.<lane>.<tier>", "peakpost.hold.<lane>.<provider>"];
    same("topics", words("## Topics"), all.iter().map(String::as_str).chain(ours));
}

/// Every metric of the catalogue with its labels, from its source: the registry does not show a family without
/// a child.
fn catalogue() -> BTreeMap<String, String> {
    let code: String = METRICS_SOURCE.split_whitespace().collect();
    let mut out = BTreeMap::new();
    for start in ["(&r,\"", "opts(\""] {
        for (at, _) in code.match_indices(start) {
            let entry = &code[at + start.len()..];
            let (name, rest) = entry.split_once('"').expect("the end of a name");
            let labels = rest.split("?,").next().and_then(|entry| entry.split_once("&[")).map_or("", |(_, l)| l);
            let labels = labels.split(']').next().unwrap_or("").replace('"', "");
            out.insert(name.to_owned(), labels.trim_end_matches(',').replace(',', ", "));
        }
    }
    assert!(out.len() >= 20, "the catalogue is read no more; mend this test: {out:?}");
    out
}

#[test]
fn every_metric_is_in_the_table() {
    let catalogue = catalogue();
    same("metrics", words("## Metrics"), catalogue.keys().map(String::as_str));
    for (name, cells) in rows("## Metrics") {
        assert_eq!(cells[0], catalogue[name], "README.md, labels of `{name}`");
    }
    for verdict in Verdict::LABELS {
        assert!(section("## Metrics").contains(&format!("`{verdict}`")), "README.md, metrics: name `{verdict}`");
    }
}

#[test]
fn every_metric_that_is_named_exists() {
    let catalogue = catalogue();
    for (file, text) in [("README.md", README), ("recording.yaml", RECORDING), ("alerts.yaml", ALERTS)] {
        for (at, _) in text.match_indices("peakpost_") {
            // The middle of a recorded series' name is not a metric's whole name, but one all the same.
            let name: String = text[at + 9..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let family = name.strip_suffix("_bucket").unwrap_or(&name);
            let derived = ["gate_utilisation", "backlog_records", "backlog_seconds", "unreported"]
                .into_iter()
                .find(|d| family.starts_with(d));
            let echo = [echo::ID, echo::TENANT, echo::CAMPAIGN, echo::LANE, echo::SENT]
                .contains(&&text[at..at + 9 + name.len()]);
            let known = echo || catalogue.contains_key(family) || catalogue.contains_key(&format!("{family}_total"));
            assert!(name.is_empty() || derived.is_some() || known, "{file} names `peakpost_{name}`; no such metric");
        }
    }
}

#[test]
fn every_alert_has_its_runbook_and_every_recorded_series_its_rule() {
    let after = |key: &'static str| {
        move |line: &'static str| line.trim().trim_start_matches("- ").strip_prefix(key).map(str::trim)
    };
    let alerts: Vec<&str> = ALERTS.lines().filter_map(after("alert:")).collect();
    let headings: Vec<&str> = README.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    same("runbook", headings, alerts.iter().copied());
    let urls: Vec<&str> = ALERTS.lines().filter_map(after("runbook_url:")).collect();
    let wanted: Vec<String> = alerts.iter().map(|a| format!("README.md#{}", a.to_ascii_lowercase())).collect();
    assert_eq!(urls, wanted, "alerts.yaml: each alert points at its own section");
    let recorded: BTreeSet<&str> = RECORDING.lines().filter_map(after("record:")).collect();
    for word in ALERTS.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
        if word.contains(":peakpost_") {
            assert!(recorded.contains(word), "alerts.yaml: recording.yaml does not record `{word}`");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let headings: BTreeSet<String> = README.lines().filter_map(|l| Some(anchor(l.split_once("# ")?.1))).collect();
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let there = match link.strip_prefix('#') {
            Some(name) => headings.contains(name),
            None => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(),
        };
        assert!(there, "README.md: the link to `{link}` leads nowhere");
    }
}

fn peakpost(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_peakpost")).args(arguments).output().expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_command_is_understood() {
    let shell = blocks("sh").concat();
    let inline = README.split('`').skip(1).step_by(2).filter(|code| !code.contains('\n'));
    let commands: BTreeSet<&str> =
        shell.lines().map(str::trim).chain(inline).filter_map(|line| line.strip_prefix("peakpost ")).collect();
    assert!(commands.len() >= 6, "the commands are found no more; mend this test: {commands:?}");
    for command in commands {
        // clap reads from left to right: what it does not know it refuses before it comes to `--help`.
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let (understood, said) = peakpost(&arguments);
        assert!(understood, "README.md: `peakpost {command}` is not understood:\n{said}");
    }
}

#[test]
fn every_exit_code_is_in_the_table() {
    let (_, help) = peakpost(&["--help"]);
    let codes = help.split_once("Exit codes:").expect("exit codes in --help").1;
    let codes = codes.lines().filter_map(|line| line.split_whitespace().next());
    let first = |line: &'static str| line.strip_prefix("| ").and_then(|l| l.split(' ').next());
    let written = section("## Exit codes").lines().filter_map(first).filter(|c| c.parse::<u8>().is_ok());
    same("exit codes", written, codes);
}

#[test]
fn every_configuration_is_accepted() {
    // Secrets are replaced by one that every kind takes; the rest is read as it stands.
    let dir = tempfile::tempdir().expect("a directory");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3").expect("the secret is written");
    let kubernetes = include_str!("../deploy/kubernetes.yaml");
    let (_, embedded) = kubernetes.split_once("peakpost.toml: |\n").expect("the ConfigMap's file");
    let embedded = embedded.split("---").next().unwrap_or("").to_owned();
    let configurations = blocks("toml").into_iter().chain([embedded]);
    for text in configurations {
        let mut parts = text.split('"').map(str::to_owned).collect::<Vec<_>>();
        for part in parts.iter_mut().filter(|p| p.starts_with("env:") || p.starts_with("file:")) {
            *part = format!("file:{}", secret.display());
        }
        let config = Config::from_parts(&parts.join("\""), std::iter::empty());
        let config = config.unwrap_or_else(|faults| panic!("mend this configuration: {faults}\n{text}"));
        assert!(!config.providers.is_empty() && !config.rules.routes.0.is_empty(), "it sends something:\n{text}");
    }
}
