//! Outcomes held against what was asked for.
//!
//! Why: upstream believes the outcomes topic, so each job must be in it, once, with the right word.
//! Must not know: what arrived at vendors.

use std::collections::{HashMap, HashSet};

use peakpost::sim::load::Expect;

use super::history::{Ending, History};
use super::{Verdict, verdict};

/// Fails when a job (of a generation) has more than one terminal outcome, beyond so many that frozen processes may have
/// written. A late one counts where it is the only one.
pub fn ended_once(history: &History, zombies: usize) -> Verdict {
    let mut ends: HashMap<(&str, u16), Vec<&Ending>> = HashMap::new();
    let terminal = history.dump.counting().filter(|e| e.is_terminal() && !e.key.is_empty());
    for ending in terminal {
        ends.entry((&ending.key, ending.generation)).or_default().push(ending);
    }
    let said = |e: &&Ending| format!("{} of {:?} at {}/{}", e.kind, e.source, e.home, e.offset);
    let more = ends.iter().filter(|(_, ends)| ends.len() > 1);
    let found: Vec<String> = more
        .map(|((key, generation), ends)| {
            format!("{key} ({generation}): {}", ends.iter().map(said).collect::<Vec<_>>().join(", "))
        })
        .collect();
    let found = if found.len() <= zombies { Vec::new() } else { found };
    verdict("jobs have more than one terminal outcome", ends.len(), found, "who settled it again, and knew what?")
}

/// Fails unless the jobs that have ended are the jobs that were asked for, each with the end that was foretold; of a
/// redriven job the last generation tells.
pub fn as_foretold(history: &History) -> Verdict {
    let mut last: HashMap<&str, &Ending> = HashMap::new();
    for ending in history.dump.counting().filter(|e| e.is_terminal() && !e.key.is_empty()) {
        let kept = last.entry(&ending.key).or_insert(ending);
        if ending.generation > kept.generation {
            *kept = ending;
        }
    }
    let expected = &history.expected.0;
    let mut found: Vec<String> = Vec::new();
    for (key, expect) in expected {
        let said = last.get(key.as_str()).map(|e| (&*e.kind, &*e.reason));
        let right = match (expect, said) {
            (Expect::Accepted, Some((kind, _))) => kind == "accepted",
            (Expect::Expired, Some((kind, _))) => kind == "expired",
            (Expect::Suppressed(why), Some((kind, reason))) => kind == "suppressed" && reason == *why,
            (Expect::Refused(why), Some((kind, reason))) => kind == "refused" && reason == *why,
            (Expect::Dead { reason: why, .. }, Some((kind, reason))) => kind == "dead" && reason == *why,
            (_, None) => false,
        };
        if !right {
            found.push(format!("{key}: {said:?}, must be {expect:?}"));
        }
    }
    let strangers = last.keys().filter(|key| !expected.contains_key(**key));
    found.extend(strangers.map(|key| format!("{key}: has an outcome, and nobody enqueued it")));
    verdict("jobs did not end as foretold", expected.len(), found, "no outcome: lost; another: see its reason")
}

/// Fails when a job that is dead has no letter with its bytes.
pub fn lettered(history: &History) -> Verdict {
    let letters: HashSet<&str> = history.dump.letters.iter().map(|letter| &*letter.origin).collect();
    let dead: Vec<&Ending> = history.dump.counting().filter(|e| e.is_terminal() && &*e.kind == "dead").collect();
    let without = dead.iter().filter(|e| !letters.contains(format!("{:?}", e.origin).as_str()));
    let found = without.map(|e| format!("{:?} ({}): {}", e.origin, e.key, e.reason)).collect();
    verdict("dead jobs have no letter", dead.len(), found, "a letter is durable before its outcome")
}
