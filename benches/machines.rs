//! What one message costs in each machine: `cargo bench --bench machines`.
//!
//! Prints nanoseconds per message, the median of several rounds; compare within one run, on one machine.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::print_stdout, reason = "a bench prints")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peakpost::gate::{Ask, Config, Flow, Gate, Say, Scoped};
use peakpost::job::receipt::{End, Why};
use peakpost::job::source::Layout;
use peakpost::job::{Channel, Lane, Source, Wall, parse};
use peakpost::lane::{Fit, Queue};
use peakpost::ledger::Ledger;
use peakpost::outcome::Cause;
use peakpost::recipient::address::{Hashed, Keyer};
use peakpost::recipient::suppression::{Key, Scope, reason};
use peakpost::recipient::{Recipients, table::Table};
use peakpost::sim::load::{Generator, Mix, Targets};

/// Messages per round.
const N: usize = 100_000;
const ROUNDS: usize = 7;

fn main() {
    let targets = Targets { webhook_base_url: "http://127.0.0.1:1".to_owned(), prefix: "bench".to_owned() };
    let Ok(generator) = Generator::new(1, Mix::peak(), targets) else { return };
    let records: Vec<Vec<u8>> = generator.take(N).map(|job| job.payload).collect();
    show("job parse", || {
        for record in &records {
            let _seen = black_box(parse::parse(record));
        }
    });
    show("ledger deliver, settle", ledger);
    show("lane push, take 1000", lane);
    show("gate ask, grant 1", || gate(1));
    show("gate ask, grant 1000", || gate(1000));
    suppressions();
}

fn show(name: &str, mut round: impl FnMut()) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("{name:24} {:8.1} ns per message", times[ROUNDS / 2].as_nanos() as f64 / N as f64);
}

/// Settled in reverse order within windows of 1,000, so that the prefix moves in jumps.
fn ledger() {
    let mut ledger = Ledger::new(0, 1, Layout::default(), &[0; 2], 0, 10_000);
    let (mut out, mut outcome) = (Vec::with_capacity(1000), 0);
    for offset in 0..i64::try_from(N).unwrap_or(i64::MAX) {
        out.extend(ledger.deliver(Source::Jobs(Lane::Marketing), offset, 500));
        if out.len() == 1000 {
            while let Some(receipt) = out.pop() {
                ledger.settle(&receipt.settle(outcome, End::Terminal));
                outcome += 1;
            }
            black_box(ledger.commits());
        }
    }
    for receipt in out {
        ledger.abandon(&receipt.abandon(Why::Shutdown));
    }
}

fn lane() {
    let mut queue = Queue::default();
    let now = Instant::now();
    for n in 0..N {
        queue.push(n as u64 % 8, now, n);
    }
    let mut taken = Vec::new();
    while !queue.is_empty() {
        taken.clear();
        let mut room = 1000;
        queue.take(&mut taken, |_| {
            room -= 1;
            if room >= 0 { Fit::Take } else { Fit::Full }
        });
        black_box(&taken);
    }
}

fn gate(messages: u32) {
    let start = Instant::now();
    let limits = ["1_000_000 requests/s", "100_000_000 messages/s"].iter().filter_map(|l| l.parse().ok()).collect();
    let config = Config {
        limits,
        senders: Scoped::default(),
        tenants: Scoped::default(),
        concurrency: 64,
        reserve: 0.2,
        jitter: Duration::from_millis(50),
        weight: 9,
        tenant_weights: HashMap::new(),
        warm_up: None,
        elsewhere: false,
    };
    let mut gate = Gate::new(&config, "bench", 1, 0, start);
    gate.homes(&[(0, 1)], start, Wall(0));
    let flow = Arc::new(Flow { tenant: "shop".into(), sender: "".into() });
    let (mut answers, mut writes) = (Vec::new(), Vec::new());
    // Late enough for the buckets to have filled; on from there, a millisecond per thousand messages.
    let mut now = start + Duration::from_secs(1);
    let mut done = 0;
    while done < N {
        let flow = Arc::clone(&flow);
        gate.ask(Ask { shard: 0, lane: Lane::Marketing, flow, requests: 1, messages, per_request: messages }, now);
        now += Duration::from_micros(u64::from(messages));
        gate.turn(now, Wall(0), &mut answers, &mut writes);
        for answer in answers.drain(..) {
            if let Say::Go(permit) = answer.say {
                done += permit.messages() as usize;
                gate.release(Lane::Marketing, permit.requests(), permit.pass());
            }
        }
    }
}

/// As many as a large sender has after years.
const SUPPRESSED: u64 = 10_000_000;

/// Fills a table as the daemon does at its start, from records as they lie in the topic, and asks it.
fn suppressions() {
    let Ok(keyer) = Keyer::new(b"a key of at least sixteen bytes") else { return };
    let recipients = Recipients::new(keyer, Duration::from_secs(5), Instant::now());
    // The top of a hash is what is looked at: a multiplication spreads it.
    let hash = |n: u64| Hashed(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(64).to_be_bytes());
    let value = br#"{"reason":"hard_bounce","by":"sendgrid-main","at_ms":1795770000000}"#;
    let (before, began) = (resident(), Instant::now());
    let key = |n| Key { channel: Channel::Email, tenant: None, scope: Scope::All, recipient: hash(n) };
    for n in 0..SUPPRESSED {
        recipients.table().set(&key(n), Some(Cause::HardBounce));
    }
    let (took, grown) = (began.elapsed(), resident().saturating_sub(before));
    let each = took.as_nanos() as f64 / SUPPRESSED as f64;
    println!("{SUPPRESSED} suppressions: {grown} MiB, filled in {took:.1?} ({each:.0} ns each)");
    let records: Vec<Vec<u8>> = (0..N as u64).map(|n| key(n).to_bytes()).collect();
    show("suppression read, set", || {
        for record in &records {
            if let Ok(key) = Key::parse(record) {
                recipients.table().set(&key, Some(reason(value)));
            }
        }
    });
    let to: Vec<String> = (0..N).map(|n| format!("customer-{n}@example.com")).collect();
    show("suppressed? by address", || {
        for to in &to {
            black_box(recipients.suppressed(recipients.hash(Channel::Email, to), "shop-eu", Lane::Marketing));
        }
    });
    // Far apart, so that each is a walk to memory.
    let apart = |n: u64| hash(n.wrapping_mul(7_919) % SUPPRESSED);
    let find = |table: &Table, n| table.find(apart(n), "shop-eu", Lane::Marketing);
    show("suppressed? by hash, yes", || {
        for n in 0..N as u64 {
            black_box(find(recipients.table(), n));
        }
    });
}

/// Memory in use, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}
