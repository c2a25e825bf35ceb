//! A provider's limits: of the account, its senders and tenants; concurrency, weights, warm-up.
//!
//! Why: what a reload may change stands together, and is read by one reader.
//! Must not know: how a limit is kept.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::civil::Date;

use super::build::Collected;
use super::raw::{Provider, Raw, WarmUp};
use crate::dispatch::CONCURRENCY_MAX;
use crate::gate;
use crate::gate::limit::Limit;
use crate::gate::warmup::Schedule;
use crate::job::field;

pub(super) fn gate(c: &mut Collected, p: &Provider, raw: &Raw, jitter: Duration) -> gate::Config {
    let at = |key: &str| format!("providers \"{}\": {key}", p.name);
    c.must((2..=CONCURRENCY_MAX).contains(&p.concurrency), || {
        at(&format!("concurrency must be 2 to {CONCURRENCY_MAX} (one slot is always kept for transactional)"))
    });
    let limits = limits(c, &p.limits, at);
    // Senders are compared as addresses, whose letters may be large or small.
    let sender = |name: &str| field::address(name).to_ascii_lowercase();
    let senders = scoped(c, &p.senders, sender, |text| at(&format!("senders: {text}")));
    let tenants = scoped(c, &p.tenants, str::to_owned, |text| at(&format!("tenants: {text}")));
    let warm_up = p.warm_up.as_ref().and_then(|warm_up| match schedule(warm_up) {
        Ok(schedule) => Some(schedule),
        Err(fault) => {
            c.0.push(at(&format!("warm_up: {fault}")));
            None
        }
    });
    let priority = &raw.lanes.transactional;
    gate::Config {
        limits,
        senders,
        tenants,
        concurrency: p.concurrency.max(2),
        reserve: priority.reserve.clamp(0.0, 0.9),
        jitter,
        weight: priority.weight,
        tenant_weights: weights(raw),
        warm_up,
        // Whoever knows the routes sets it.
        elsewhere: false,
    }
}

/// What the turns of tenants weigh, of those that say so.
pub(super) fn weights(raw: &Raw) -> HashMap<Box<str>, u32> {
    raw.tenants.iter().filter_map(|(name, tenant)| Some((name.as_str().into(), tenant.weight?))).collect()
}

/// Holds the weights to their range.
pub(super) fn check_weights(c: &mut Collected, raw: &Raw) {
    for (name, tenant) in &raw.tenants {
        let Some(weight) = tenant.weight else { continue };
        c.must((1..=1000).contains(&weight), || format!("tenants.\"{name}\".weight must be 1 to 1000"));
        c.must(name != "*", || {
            "tenants.\"*\".weight: tenants without a name here weigh 1; hint: give those that are to have more a section"
                .to_owned()
        });
    }
}

fn limits(c: &mut Collected, texts: &[String], at: impl Fn(&str) -> String) -> Vec<Limit> {
    let mut limits = Vec::new();
    for text in texts {
        match text.parse::<Limit>() {
            Ok(limit) => limits.push(limit),
            Err(fault) => c.0.push(at(&fault)),
        }
    }
    limits
}

/// Limits by name. `"*"`: of each other one, for itself.
fn scoped(
    c: &mut Collected,
    table: &BTreeMap<String, Vec<String>>,
    known_by: impl Fn(&str) -> String,
    at: impl Fn(&str) -> String,
) -> gate::Scoped {
    let mut scoped = gate::Scoped::default();
    for (name, texts) in table {
        let limits = limits(c, texts, |fault| at(&format!("\"{name}\": {fault}")));
        if name != "*" {
            let known_by = known_by(name);
            let twice = scoped.named.insert(known_by.into(), limits).is_some();
            c.must(!twice, || at(&format!("\"{name}\" is there twice")));
            continue;
        }
        if let Some(long) = limits.iter().find(|limit| limit.is_budget()) {
            c.0.push(at(&format!(
                "\"*\": `{long}`: what is spent of a window over 60 s is written down for names that are known; hint: give \
                 those that have such a limit a line each"
            )));
        }
        scoped.each = limits;
    }
    scoped
}

fn schedule(warm_up: &WarmUp) -> Result<Schedule, String> {
    let start = &warm_up.start;
    let start: Date = start
        .parse()
        .map_err(|_| format!("start = \"{start}\" is not a day; hint: `start = \"2026-11-01\"`, in UTC"))?;
    match warm_up {
        WarmUp { days: Some(days), first: None, factor: None, until: None, .. } => Schedule::new(start, days.clone()),
        WarmUp { days: None, first: Some(first), factor: Some(factor), until: Some(until), .. } => {
            Schedule::growth(start, *first, *factor, *until)
        }
        _ => Err("say either `days`, or `first`, `factor` and `until`; hint: `days = [50, 100, 500]`".to_owned()),
    }
}
