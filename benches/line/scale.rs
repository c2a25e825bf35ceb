//! What a message costs when there is more of everything around it, and how much memory that takes.
//!
//! Why: a cost that grows with tenants, accounts, suppressions or the backlog is a machine that walks what it should look up.
//! Must not know: the daemon's insides.

use std::path::Path;
use std::time::Duration;

use super::Shape;
use super::process::Cost;
use super::world::{Figures, Load, World};

/// Long enough for the read-ahead to fill.
const STALLED: Duration = Duration::from_secs(60);

/// Prints a line for each load whose name holds `only`; `jobs` of a run unless the backlog is what varies.
pub fn run(jobs: usize, only: &str, daemon: &Path) {
    let plain = Load::of(Shape::Batch, jobs);
    let accounts = |n| Load { providers: n, tenants: n, ..plain };
    // A request carries one tenant's messages only: with more tenants the batches are smaller.
    let tenants = |n| Load { tenants: n, ..plain };
    let suppressions = |n| Load { suppressions: n, ..plain };
    let backlog = |n| Load::of(Shape::Batch, n);
    let rows = [
        ("1 provider", plain),
        ("10 providers", accounts(10)),
        ("100 providers", accounts(100)),
        ("10 tenants", tenants(10)),
        ("100,000 tenants", tenants(100_000)),
        ("1,000 suppressions", suppressions(1_000)),
        ("1,000,000 suppressions", suppressions(1_000_000)),
        ("10,000,000 suppressions", suppressions(10_000_000)),
        ("a backlog of 10,000", backlog(10_000)),
        ("a backlog of 10,000,000", backlog(10_000_000)),
    ];
    println!("{:24} {:>8} {:>11} {:>11} {:>8}", "batch", "CPU-us", "messages/s", "first after", "peak");
    for (what, load) in rows.into_iter().filter(|(what, _)| what.contains(only)) {
        let Figures { rate, first, cost: Cost { cpu_us, rss_mib }, .. } = World::new(load, daemon).daemon();
        println!("{what:24} {cpu_us:8.2} {rate:11.0} {:9.1} s {rss_mib:4.0} MiB", first.as_secs_f64());
    }
    if !"stalled".contains(only) {
        return;
    }
    let rss_mib = World::new(backlog(10_000_000), daemon).stalled(STALLED);
    println!("10,000,000 wait, and the vendor answers nobody for {STALLED:?}: peak {rss_mib:.0} MiB");
}
