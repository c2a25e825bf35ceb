//! The checker: what a run left behind, held against what was promised.
//!
//! Why: every suite ends with the same questions, so they are asked in one place, each as a function of its own over
//! plain values ([`history::History`]): a table of wrong histories (`tests/checker.rs`) shows that each question
//! finds what it is for. A run is read by foreign clients ([`watch`]) and judged afterwards.
//! Must not know: how a run was made, daemons, brokers (but for `watch`, which reads them).
//!
//! | promise | check |
//! |---|---|
//! | no commit passes a record without a durable outcome (I1, I4) | [`commits::never_past`] |
//! | a job ends exactly once (I2) | [`outcomes::ended_once`], [`outcomes::as_foretold`] |
//! | commits only go forward (I3) | [`commits::monotone`] |
//! | every record that was read is settled, and what is deferred is somewhere | [`sources::settled`], [`sources::kept`] |
//! | a dead job's bytes are kept | [`outcomes::lettered`] |
//! | accepted means sent, and nothing else is sent | [`arrivals::sent`] |
//! | nothing twice but by a kill, and then no more than was in flight | [`arrivals::bounded`] |
//! | no window over the provider's limit (I10) | [`arrivals::within_rate`] |
//! | no window of permits over it either, without any allowance | [`permits::within_rate`] |
//! | no request without a permit | [`permits::permitted`] |

pub mod arrivals;
pub mod commits;
pub mod history;
pub mod outcomes;
pub mod permits;
pub mod sources;
pub mod watch;

use history::History;

/// How many a check has looked at, or what it found.
pub type Verdict = Result<u64, Fault>;

/// What a check found.
#[derive(Debug)]
pub struct Fault {
    /// Which promise is broken, in a sentence.
    pub what: &'static str,
    /// How often.
    pub count: usize,
    /// The first few.
    pub examples: Vec<String>,
    /// Where to look.
    pub hint: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, count, examples, hint } = self;
        write!(f, "{what}: {count}; hint: {hint}; the first of them:\n  {}", examples.join("\n  "))
    }
}

/// `Ok` with how many were looked at when nothing was found.
pub fn verdict(what: &'static str, looked_at: usize, found: Vec<String>, hint: &'static str) -> Verdict {
    match found.len() {
        0 => Ok(looked_at as u64),
        count => Err(Fault { what, count, examples: found.into_iter().take(5).collect(), hint }),
    }
}

/// A kill or a freeze, on the arrivals' clock.
#[derive(Clone, Copy, Debug)]
pub struct Blow {
    /// Nobody sends anything again because of it before this.
    pub from: u64,
    /// Nothing that arrived after this is sent again because of it.
    pub until: u64,
}

/// What a run may have gone through.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// What could make a job be sent twice, by its beginning.
    pub blows: Vec<Blow>,
    /// Jobs in flight at most.
    pub in_flight: usize,
    /// Second outcomes that frozen processes may have written after they woke.
    pub zombies: usize,
}

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub jobs: u64,
    pub commits: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub worst: u64,
}

/// Asks everything that can be asked of any run; fails with every answer that is wrong.
pub fn judge(history: &History, weather: &Weather) -> Figures {
    let lost = arrivals::lost(history);
    let twice = arrivals::bounded(history, weather);
    let commits = commits::never_past(history);
    let figures = Figures {
        jobs: history.expected.0.len() as u64,
        commits: commits.as_ref().copied().unwrap_or_default(),
        lost: lost.len() as u64,
        duplicates: arrivals::twice(&history.seen).len() as u64,
        worst: twice.as_ref().copied().unwrap_or_default(),
    };
    let none_lost = verdict("jobs are lost", history.expected.0.len(), lost, "whose receipt was settled or skipped?");
    let verdicts = [
        none_lost,
        twice,
        commits,
        commits::monotone(history),
        outcomes::ended_once(history, weather.zombies),
        outcomes::as_foretold(history),
        outcomes::lettered(history),
        sources::settled(history, weather.zombies),
        sources::kept(history),
        arrivals::sent(history),
    ];
    let faults: Vec<String> = verdicts.into_iter().filter_map(Result::err).map(|fault| format!("- {fault}")).collect();
    assert!(faults.is_empty(), "{} promises are broken ({figures:?}):\n{}", faults.len(), faults.join("\n"));
    figures
}
