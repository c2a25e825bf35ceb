//! Records that jobs are read from, held against the outcomes that settle them.
//!
//! Why: a receipt stands for a record, not for a job; a record without an outcome is an obligation that nobody has.
//! Must not know: what a job's end must be.

use std::collections::{HashMap, HashSet};

use super::history::{Ending, History, Place};
use super::{Verdict, verdict};

/// Fails unless each record of a source topic is the source of one outcome (of another only where a frozen process may
/// have written it), which names the same job.
pub fn settled(history: &History, zombies: usize) -> Verdict {
    let mut by_source: HashMap<&Place, Vec<&Ending>> = HashMap::new();
    for ending in history.dump.counting() {
        by_source.entry(&ending.source).or_default().push(ending);
    }
    let mut found = Vec::new();
    let mut again = Vec::new();
    for asked in &history.dump.asked {
        let (at, key) = (&asked.place, &asked.key);
        match by_source.get(at).map_or(&[][..], Vec::as_slice) {
            [] => found.push(format!("{at:?} ({key}): no outcome")),
            [one] if !one.key.is_empty() && one.key != *key => {
                found.push(format!("{at:?} ({key}): its outcome speaks of {}", one.key));
            }
            [_] => {}
            more => {
                let said: Vec<String> = more.iter().map(|e| format!("{} at {}/{}", e.kind, e.home, e.offset)).collect();
                again.push(format!("{at:?} ({key}): {}", said.join(", ")));
            }
        }
    }
    if again.len() > zombies {
        found.extend(again);
    }
    let what = "records are not settled by exactly one outcome";
    verdict(what, history.dump.asked.len(), found, "no outcome: its receipt went astray; two: it was read again")
}

/// Fails when a job was deferred and no delay or hold topic has a record of it.
pub fn kept(history: &History) -> Verdict {
    let parked = |place: &Place| place.topic.contains(".delay.") || place.topic.contains(".hold.");
    let there: HashSet<&str> =
        history.dump.asked.iter().filter(|asked| parked(&asked.place)).map(|asked| &*asked.key).collect();
    let deferred = history.dump.counting().filter(|e| &*e.kind == "deferred");
    let deferred: Vec<&Ending> = deferred.collect();
    let gone = deferred.iter().filter(|e| !there.contains(&*e.key));
    let found = gone.map(|e| format!("{} of {:?}", e.key, e.source)).collect();
    verdict("deferred jobs are nowhere", deferred.len(), found, "its copy is durable before its outcome")
}
