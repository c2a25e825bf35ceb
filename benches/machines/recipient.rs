//! `recipient`: who must not be written to.

use std::hint::black_box;
use std::time::{Duration, Instant};

use peakpost::job::{Channel, Lane};
use peakpost::outcome::Cause;
use peakpost::recipient::Recipients;
use peakpost::recipient::address::{Hashed, Keyer};
use peakpost::recipient::suppression::{Key, Scope, reason};

use crate::inputs::start;
use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[
    Machine::new("recipient: hash an address", hash),
    Machine::new("recipient: find in 1,000", || find(known(1000), 1000)),
    Machine::large("recipient: find in 10,000,000", || find(told(10_000_000), 10_000_000)),
    Machine::new("recipient: read and set", set),
];

/// The top of a hash is what is looked at: a multiplication spreads it.
fn hashed(n: u64) -> Hashed {
    Hashed(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(64).to_be_bytes())
}

fn key(n: u64) -> Key<'static> {
    Key { channel: Channel::Email, tenant: None, scope: Scope::All, recipient: hashed(n) }
}

/// So many are suppressed.
pub fn known(count: u64) -> Recipients {
    let keyer = Keyer::new(b"a key of at least sixteen bytes").expect("a key of 16 bytes");
    let recipients = Recipients::new(keyer, Duration::from_secs(5), start());
    for n in 0..count {
        recipients.table().set(&key(n), Some(Cause::HardBounce));
    }
    recipients
}

/// The same, and says what it takes.
fn told(count: u64) -> Recipients {
    let (before, began) = (resident(), Instant::now());
    let recipients = known(count);
    let (took, grown) = (began.elapsed(), resident().saturating_sub(before));
    println!("{count} suppressions: {grown} MiB, filled in {took:.1?}");
    recipients
}

fn hash() -> Round {
    let recipients = known(0);
    let to: Vec<String> = (0..N).map(|n| format!("customer-{n}@example.com")).collect();
    Box::new(move || {
        for to in &to {
            black_box(recipients.hash(Channel::Email, to));
        }
    })
}

/// Half of them are there. Far apart, so that each is a walk to memory.
fn find(recipients: Recipients, count: u64) -> Round {
    let mut n = 0_u64;
    Box::new(move || {
        for _ in 0..N {
            n = n.wrapping_add(7_919);
            let who = if n.is_multiple_of(2) { n % count } else { n | 1 << 40 };
            black_box(recipients.table().find(hashed(who), "shop-eu", Lane::Marketing));
        }
    })
}

/// As its topic is read at the start of the daemon.
fn set() -> Round {
    let recipients = known(0);
    let value = br#"{"reason":"hard_bounce","by":"sendgrid-main","at_ms":1795770000000}"#;
    let records: Vec<Vec<u8>> = (0..N as u64).map(|n| key(n).to_bytes()).collect();
    Box::new(move || {
        for record in &records {
            let key = Key::parse(record).expect("a key that was written here");
            recipients.table().set(&key, Some(reason(value)));
        }
    })
}

/// Memory in use, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}
