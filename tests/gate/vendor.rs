//! A vendor as it is: a limit of its own, exact in any second; its own way to say no; bad days.

use std::collections::VecDeque;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use serde::Deserialize;

/// What a throttled reply says of the time to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// Nothing.
    Nothing,
    /// The next whole second of the vendor's clock.
    NextSecond,
}

/// How it is from a time on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Seconds since the begin.
    pub from: f64,
    /// Requests that it takes in any second.
    pub limit: usize,
    /// The share of requests that end in a server error …
    #[serde(default)]
    pub errors: f64,
    /// … all the time, or on and off for so many seconds each, on first.
    pub flap_s: Option<f64>,
    /// One request of this phase is told to wait this many seconds.
    pub reset_s: Option<f64>,
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Well,
    Failed,
    /// Until then, if it says.
    Throttled(Option<Duration>),
}

pub struct Vendor {
    phases: Vec<Phase>,
    says: Says,
    taken: VecDeque<Duration>,
    /// Every request: when it came, and what it was answered.
    pub log: Vec<(Duration, Reply)>,
}

impl Vendor {
    pub fn new(phases: &[Phase], says: Says) -> Self {
        Self { phases: phases.to_vec(), says, taken: VecDeque::new(), log: Vec::new() }
    }

    pub fn answer(&mut self, at: Duration, rng: &mut SmallRng) -> Reply {
        let reply = self.reply(at, rng);
        self.log.push((at, reply));
        reply
    }

    fn reply(&mut self, at: Duration, rng: &mut SmallRng) -> Reply {
        let began = |phase: &&mut Phase| phase.from <= at.as_secs_f64();
        let phase = self.phases.iter_mut().rfind(began).expect("the first phase begins at 0");
        if let Some(wait) = phase.reset_s.take() {
            return Reply::Throttled(Some(at + Duration::from_secs_f64(wait)));
        }
        let sick = phase.flap_s.is_none_or(|long| ((at.as_secs_f64() - phase.from) / long) % 2.0 >= 1.0);
        if sick && rng.random_bool(phase.errors) {
            return Reply::Failed;
        }
        while self.taken.front().is_some_and(|then| *then + Duration::from_secs(1) <= at) {
            self.taken.pop_front();
        }
        if self.taken.len() < phase.limit {
            self.taken.push_back(at);
            return Reply::Well;
        }
        Reply::Throttled((self.says == Says::NextSecond).then(|| Duration::from_secs(at.as_secs() + 1)))
    }
}
