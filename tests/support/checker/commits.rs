//! Commits held against durable outcomes.
//!
//! Why: a commit that passes a job without an outcome is the one way in which a job is lost for good, and only
//! somebody who looked while the run went on can tell.
//! Must not know: who committed.

use std::collections::HashMap;
use std::sync::Arc;

use super::history::{Ending, History};
use super::{Verdict, verdict};

/// How far a record's timestamp and the looker's clock may be apart.
pub const TOLERANCE_MS: i64 = 250;

/// A source partition.
type Partition = (Arc<str>, u16);

/// Fails when a commit was seen while a record below it had no durable outcome: none by then by its timestamp, or none
/// below the end of the outcomes as it was asked for after the commit had been seen. A late outcome counts where it is the only one.
pub fn never_past(history: &History) -> Verdict {
    let mut first: HashMap<Partition, HashMap<i64, &Ending>> = HashMap::new();
    for ending in history.dump.counting() {
        let of = first.entry((Arc::clone(&ending.source.topic), ending.source.home)).or_default();
        let kept = of.entry(ending.source.offset).or_insert(ending);
        if ending.offset < kept.offset {
            *kept = ending;
        }
    }
    let mut checked: HashMap<Partition, i64> = HashMap::new();
    let mut found = Vec::new();
    for commit in &history.dump.commits {
        let partition = (Arc::clone(&commit.topic), commit.home);
        // What was durable at an earlier commit still is.
        let from = checked.insert(partition.clone(), commit.next).unwrap_or(0);
        for offset in from..commit.next {
            let at =
                format!("{}/{}/{offset}, committed {} at {}", commit.topic, commit.home, commit.next, commit.at_ms);
            match first.get(&partition).and_then(|of| of.get(&offset)) {
                None => found.push(format!("{at}: it has no outcome at all")),
                Some(e) if commit.outcomes_end.is_some_and(|end| e.offset >= end) => {
                    let end = commit.outcomes_end.unwrap_or_default();
                    found.push(format!("{at}: its outcome came later (offset {}, the end was {end})", e.offset));
                }
                Some(e) if e.stamped_ms > commit.at_ms + TOLERANCE_MS => {
                    found.push(format!("{at}: its outcome is of {}", e.stamped_ms));
                }
                Some(_) => {}
            }
        }
    }
    let what = "records were committed past before their outcome was durable";
    verdict(what, history.dump.commits.len(), found, "what fed the commit besides settled receipts?")
}

/// Fails when a partition's commit went backward.
pub fn monotone(history: &History) -> Verdict {
    let mut last: HashMap<Partition, i64> = HashMap::new();
    let mut found = Vec::new();
    for commit in &history.dump.commits {
        let before = last.insert((Arc::clone(&commit.topic), commit.home), commit.next);
        if let Some(before) = before.filter(|before| *before > commit.next) {
            let (topic, home, next, at) = (&commit.topic, commit.home, commit.next, commit.at_ms);
            found.push(format!("{topic}/{home}: from {before} to {next} at {at}"));
        }
    }
    let hint = "a former owner committed, or a home was opened below its commit";
    verdict("commits went backward", history.dump.commits.len(), found, hint)
}
