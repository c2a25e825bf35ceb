//! What a provider's limits come to: what can be used of each, which one home has whole, and why.
//!
//! Why: an operator must see before the start what a limit is worth, and that one too small to be split is not split.
//! Must not know: jobs, Kafka, who prints it.

use std::time::Instant;

use crate::gate::carrier::is_small;
use crate::gate::limit::Limit;
use crate::gate::report::Standing;
use crate::gate::{Config, Gate};
use crate::job::{Home, Wall};

/// One line for each limit, as it is when one instance owns all homes.
#[must_use]
pub fn describe(provider: &str, config: &Config, homes: Home, now: Instant, wall: Wall) -> Vec<String> {
    let mut config = config.clone();
    // What holds for each other one is shown as the limits of one more.
    for scoped in [&mut config.senders, &mut config.tenants] {
        if !scoped.each.is_empty() {
            scoped.named.insert("*".into(), scoped.each.clone());
        }
    }
    let mut gate = Gate::new(&config, provider, homes, 0, now);
    let owned: Vec<(Home, u32)> = (0..homes).map(|home| (home, 1)).collect();
    gate.homes(&owned, now, wall);
    // The warm-up follows the day with the turns.
    gate.turn(now, wall, &mut Vec::new(), &mut Vec::new());
    let report = gate.report(now, wall);
    let account = config.account_carrier(provider, homes);
    let mut lines: Vec<String> = report.limits.iter().map(|limit| line(limit, account)).collect();
    if let Some(home) = account {
        lines.push(whole(&config, home, homes));
    }
    if config.warm_up.is_some() && report.limits.iter().all(|limit| limit.of != WARM_UP) {
        lines.push("warm-up: over".to_owned());
    }
    lines
}

/// What a report calls the warm-up's cap.
const WARM_UP: &str = "warm-up";

fn line(limit: &Standing, account: Option<Home>) -> String {
    let of = match limit.of.as_str() {
        "account" => String::new(),
        "sender *" => "each other sender: ".to_owned(),
        "tenant *" => "each other tenant: ".to_owned(),
        of => format!("{of}: "),
    };
    let (text, rate) = (&limit.limit, number(limit.of_all_per_s));
    let whole = match limit.carried_by {
        Some(_) if account.is_some() => String::new(),
        Some(_) if limit.of.ends_with(" *") => "; too small to be split: one home sends for all of it".to_owned(),
        Some(home) => format!("; too small to be split: home {home} sends for all of it"),
        None => String::new(),
    };
    match limit.cap {
        Some(_) if limit.of == WARM_UP => format!("warm-up: {text} today"),
        Some(_) => format!("{of}{text}: a budget, written down in the usage topic{whole}"),
        None => format!("{of}{text}: {rate} {} a second can be used{whole}", limit.unit),
    }
}

/// Why one home sends all of a provider.
fn whole(config: &Config, home: Home, homes: Home) -> String {
    let small = config.limits.iter().find(|limit| is_small(limit, homes)).map(Limit::to_string);
    let small = small.unwrap_or_else(|| format!("concurrency = {}", config.concurrency));
    format!(
        "`{small}` is too small to be split over {homes} homes: home {home} sends for all, the others hand their jobs over; \
         hint: right for a small account, a detour for a busy one; a larger limit is split"
    )
}

/// Three digits that count.
pub(super) fn number(x: f64) -> String {
    if x >= 100.0 {
        format!("{x:.0}")
    } else if x >= 1.0 {
        format!("{x:.1}")
    } else {
        format!("{x:.3}")
    }
}
