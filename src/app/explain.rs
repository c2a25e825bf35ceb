//! Asks a running daemon what binds a provider, and words the answer for a person.
//!
//! Why: at 3 a.m. somebody wants a sentence, not a page of numbers; so what binds stands first.
//! Must not know: how limits are kept, command lines.

use std::time::Duration;

use super::Failure;
use super::limits::number;
pub use crate::console::Explained;
use crate::gate::report::{Binding, By, Change, Report, Standing};
use crate::job::Wall;

/// A daemon that has not answered by then does not work.
const PATIENCE: Duration = Duration::from_secs(10);
/// Changes that are shown.
const CHANGES: usize = 10;
/// What bound for a smaller part of the time is not worth a line.
const PART_MIN: f64 = 0.005;

/// What the daemon whose ops listener is at `ops` (`host:port`) says of a provider, as JSON.
///
/// # Errors
/// When nobody answers there, or the daemon has no such provider.
pub async fn ask(ops: &str, provider: &str) -> Result<String, Failure> {
    let hint = "is the daemon running, and is this its `ops.listen`? hint: `--ops HOST:PORT`";
    let mut url = url::Url::parse(&format!("http://{ops}/explain"))
        .map_err(|e| Failure::Misconfigured(format!("`{ops}` is no address: {e}; hint: `--ops 127.0.0.1:9464`")))?;
    url.query_pairs_mut().append_pair("provider", provider);
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let client = client.map_err(|e| Failure::Broken(format!("cannot build the HTTP client: {e}")))?;
    let gone = |e: reqwest::Error| Failure::Unavailable(format!("no answer from {ops}: {e}; {hint}"));
    let answer = client.get(url).send().await.map_err(gone)?;
    let status = answer.status();
    let text = answer.text().await.map_err(gone)?;
    match status.as_u16() {
        200 => Ok(text),
        503 => Err(Failure::Unavailable(format!("{ops} says: {}", text.trim_end()))),
        404 if text.is_empty() => Err(Failure::Broken(format!("{ops} has no /explain; {hint}"))),
        404 => Err(Failure::Broken(text.trim_end().to_owned())),
        _ => Err(Failure::Broken(format!("{ops} answers {status}: {}", text.trim_end()))),
    }
}

/// Reads what a daemon said.
///
/// # Errors
/// When it is no answer of a daemon of this version.
pub fn read(json: &str) -> Result<Explained, Failure> {
    let hint = "hint: the daemon is of another version, or it is none";
    serde_json::from_str(json).map_err(|e| Failure::Broken(format!("the answer cannot be read: {e}; {hint}")))
}

/// The answer for a person.
#[must_use]
pub fn text(explained: &Explained) -> String {
    let report = &explained.report;
    let pace = format!("{} messages/s let through in the last {:.0} s", number(report.granted_per_s), report.lately_s);
    let mut lines = vec![format!("{} at {}: {pace}", report.provider, Wall(report.at_ms))];
    lines.extend(binding(report));
    lines.push(String::new());
    lines.push(share(report));
    lines.extend(weather(report));
    lines.push(match report.limits.is_empty() {
        true => "limits: none".to_owned(),
        false => "limits:".to_owned(),
    });
    lines.extend(report.limits.iter().flat_map(|limit| standing(limit, report.share)));
    let Report { in_use, slots, slots_of_all, .. } = report;
    lines.push(format!("slots: {in_use} of {slots} in use here; {slots_of_all} over all instances"));
    lines.push(backlog(explained));
    let latest = &report.history[report.history.len().saturating_sub(CHANGES)..];
    lines.push(if latest.is_empty() { "changes: none".to_owned() } else { "changes, the latest last:".to_owned() });
    lines.extend(latest.iter().map(change));
    lines.join("\n") + "\n"
}

fn binding(report: &Report) -> Vec<String> {
    let lately = format!("of the last {:.0} s", report.lately_s);
    let long = report.binding.iter().filter(|binding| binding.part >= PART_MIN);
    let mut lines: Vec<String> =
        long.map(|bound| format!("bound by {} for {:.0} % {lately}", name(bound), bound.part * 100.0)).collect();
    if lines.is_empty() {
        lines.push(match report.waiting {
            0 => "bound by nothing: what there was to send was sent".to_owned(),
            n => format!("not bound as a whole: {n} asks wait for the limits of their own senders or tenants"),
        });
    }
    lines
}

/// What binds, in the operator's words.
fn name(Binding { by, limit, .. }: &Binding) -> String {
    let limit = limit.as_deref().map_or("a limit".to_owned(), |limit| format!("`{limit}`"));
    match by {
        By::Limit => format!("{limit} (account)"),
        By::Sender => "the limits of its senders".to_owned(),
        By::Tenant => "the limits of its tenants".to_owned(),
        By::Budget => format!("{limit} (account): the budget is spent"),
        By::Usage => format!("{limit} (account): the next block is not written to the usage topic yet"),
        By::WarmUp => "the warm-up: the next block is not written to the usage topic yet".to_owned(),
        By::Concurrency => "`concurrency`: all slots are in use".to_owned(),
        By::Stop => "a stop of the provider".to_owned(),
        By::Breaker => "the breaker: the provider fails".to_owned(),
        By::Throttle => format!("{limit} (account), of which a part is used: the vendor throttles"),
        By::Ramp => format!("{limit} (account), of which a part is used: the ramp after a silence"),
        By::Outcomes => "Kafka: outcomes of what was accepted are not durable yet".to_owned(),
        By::Share => "the share: other instances own the homes".to_owned(),
    }
}

fn share(report: &Report) -> String {
    let Report { homes_owned, homes, share, .. } = report;
    let without = if *share < 1.0 { "; without it: what each limit is over all instances" } else { "" };
    let part = number(share * 100.0);
    format!("share: {part} % of the account's limits, {homes_owned} of {homes} homes are owned here{without}")
}

/// What the vendor's state takes away, and what there would be without.
fn weather(report: &Report) -> Vec<String> {
    let Report { factor, ramp, breaker, stopped_senders, .. } = report;
    let mut lines = Vec::new();
    let mut line = |text: String, without: &str| lines.extend([text, format!("  without it: {without}")]);
    let why = breaker.why.as_deref().unwrap_or("it failed");
    match (breaker.state.as_str(), breaker.until_s) {
        ("allow", _) => {}
        (_, Some(left)) => line(format!("breaker: blocks for {} more; {why}", span(left)), "the limits below"),
        (state, None) => {
            line(format!("breaker: {state}, single messages try whether it is well; {why}"), "the limits below");
        }
    }
    if let Some(left) = report.stopped_s {
        let millis = i64::try_from(whole(left * 1_000.0)).unwrap_or(i64::MAX);
        let until = Wall(report.at_ms.saturating_add(millis));
        line(format!("stop: the provider asked for it, until {until} ({} more)", span(left)), "the limits below");
    }
    if *factor < 1.0 {
        let (part, times) = (number(factor * 100.0), number(1.0 / factor));
        line(
            format!("throttle: {part} % of the limits is used, learned from throttled replies"),
            &format!("{times} times what they are here"),
        );
    }
    if *ramp < 1.0 {
        let (part, times) = (number(ramp * 100.0), number(1.0 / ramp));
        line(
            format!("ramp: {part} % after a silence, all of it within 5 s"),
            &format!("{times} times what they are here"),
        );
    }
    if !stopped_senders.is_empty() {
        let all: Vec<String> = stopped_senders.iter().map(|(name, left)| format!("{name} ({})", span(*left))).collect();
        line(format!("stops of senders: {}", all.join(", ")), "their own limits below");
    }
    lines
}

/// One limit: what it is worth here, and what it would be without each factor.
fn standing(limit: &Standing, share: f64) -> Vec<String> {
    let Standing { limit: text, of, unit, of_all_per_s, here_per_s, .. } = limit;
    let mut lines = vec![match (limit.spent, limit.cap) {
        (Some(spent), Some(cap)) => format!("  {text} ({of}): {spent} of {cap} {unit} spent here in this window"),
        _ => format!(
            "  {text} ({of}): {} {unit}/s here; over all instances {}",
            number(*here_per_s),
            number(*of_all_per_s)
        ),
    }];
    if of == "warm-up" {
        lines.push("    without it: the other limits; what is more takes the next provider of its route".to_owned());
    }
    if let Some(home) = limit.carried_by {
        let here = if *here_per_s > 0.0 || (of == "account" && share > 0.0) { "is" } else { "is not" };
        lines.push(format!("    too small to be split: home {home} has all of it, which {here} owned here"));
    }
    lines
}

fn backlog(Explained { backlog, done_in_s, .. }: &Explained) -> String {
    let waits = backlog.iter().filter(|(_, jobs)| **jobs > 0);
    let waits: Vec<String> = waits.map(|(lane, jobs)| format!("{jobs} {lane}")).collect();
    match (waits.is_empty(), done_in_s) {
        (true, _) => "backlog: nothing is queued here; what is still in Kafka is not counted".to_owned(),
        (_, Some(secs)) => {
            format!("backlog: {} jobs queued here, done in {} at this pace", waits.join(", "), span(*secs))
        }
        (_, None) => format!("backlog: {} jobs queued here, and nothing goes", waits.join(", ")),
    }
}

fn change(Change { at_ms, by, from, to, why }: &Change) -> String {
    let side = |x: f64| if x.is_finite() { number(x) } else { "no limit".to_owned() };
    format!("  {} {by}: {} -> {}, {why}", Wall(*at_ms), side(*from), side(*to))
}

/// The next whole number.
fn whole(x: f64) -> u64 {
    Duration::try_from_secs_f64(x.ceil()).unwrap_or(Duration::MAX).as_secs()
}

/// A stretch of time in the two units that count.
fn span(secs: f64) -> String {
    let whole = whole(secs);
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}
