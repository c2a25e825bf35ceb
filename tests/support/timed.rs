//! Promises in time, judged on a machine that is not ours alone.
//!
//! Why: a neighbour of a virtual machine takes a core away for seconds, and what then comes late says nothing about the
//! daemon. A daemon that is too slow is too slow three times in a row. Only a promise in time is tried again, and each
//! miss is printed; whatever else fails, fails at once.
//! Must not know: what is measured.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How often a promise in time may be tried.
pub const ATTEMPTS: usize = 3;

/// What a scenario raises that missed a promise in time.
struct Missed(String);

/// Demands a promise in time of the scenario that [`judged`] runs.
pub fn in_time(kept: bool, missed: impl FnOnce() -> String) {
    if !kept {
        resume_unwind(Box::new(Missed(missed())));
    }
}

/// Runs a scenario; again when it missed a promise in time.
pub fn judged(scenario: impl Fn()) {
    for attempt in 1..=ATTEMPTS {
        let before = cpu();
        let Err(cause) = catch_unwind(AssertUnwindSafe(&scenario)) else { return };
        match cause.downcast::<Missed>() {
            Ok(missed) => println!("   missed ({attempt} of {ATTEMPTS}): {}; {}", missed.0, weather(before, cpu())),
            Err(other) => resume_unwind(other),
        }
    }
    panic!("a promise in time was missed {ATTEMPTS} times in a row, see above");
}

/// What the kernel counts of all cores: stolen by the hypervisor, idle, and everything.
fn cpu() -> [u64; 3] {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let at = |n: usize| fields.get(n).copied().unwrap_or(0);
    [at(7), at(3) + at(4), fields.iter().sum()]
}

fn weather(before: [u64; 3], after: [u64; 3]) -> String {
    let [stolen, idle, all] = [0, 1, 2].map(|n| after[n].saturating_sub(before[n]) as f64);
    let percent = |part: f64| part / all.max(1.0) * 100.0;
    format!("of the machine's time {:.0} % were taken away and {:.0} % idle", percent(stolen), percent(idle))
}
