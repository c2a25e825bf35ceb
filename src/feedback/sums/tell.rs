//! Tells people what is blocked, and when it is no longer.

use std::collections::HashMap;

use crate::job::Wall;
use crate::observe::Metrics;
use crate::reputation::{State, Stream, Verdicts};

/// Most streams that are shown in metrics, the worst first.
const SHOWN: usize = 200;

/// Remembers what was told last.
#[derive(Default)]
pub(super) struct Teller {
    told: HashMap<Stream, &'static str>,
}

impl Teller {
    pub(super) fn tell(&mut self, verdicts: &Verdicts, now: Wall, metrics: &Metrics) {
        let mut all: Vec<(&Stream, State)> = verdicts.all(now).collect();
        all.sort_by(|(a, in_a), (b, in_b)| rank(in_b).cmp(&rank(in_a)).then_with(|| a.cmp(b)));
        let mut told = HashMap::with_capacity(all.len());
        for (stream, state) in &all {
            if self.told.get(*stream) != Some(&state.as_str()) {
                log(stream, state);
            }
            told.insert((*stream).clone(), state.as_str());
        }
        for stream in self.told.keys().filter(|stream| !told.contains_key(*stream)) {
            tracing::info!(target: "peakpost::reputation", %stream, "the stream is well: all of it goes");
        }
        self.told = told;
        metrics.reputation_state.reset();
        for (stream, state) in all.iter().take(SHOWN) {
            let (lane, channel) = (stream.lane.as_str(), stream.channel.as_str());
            let labels = [&*stream.tenant, channel, lane, &*stream.provider, stream.mailbox_word(), state.as_str()];
            metrics.reputation_state.with_label_values(&labels).set(1);
        }
    }
}

fn rank(state: &State) -> u8 {
    match state {
        State::Allow => 0,
        State::Warn(_) => 1,
        State::Ramp { .. } => 2,
        State::Block { .. } => 3,
    }
}

fn log(stream: &Stream, state: &State) {
    match state {
        State::Allow => {}
        State::Warn(why) => {
            tracing::warn!(target: "peakpost::reputation", %stream, %why, "the stream is near its limit: look at the list and the content now");
        }
        State::Block { until, why, .. } => tracing::error!(
            target: "peakpost::reputation", %stream, %until, %why,
            "the stream is blocked: its jobs wait, no other provider carries them; hint: find out why, then wait, or \
             `peakpost release` it"
        ),
        State::Ramp { share, until, .. } => {
            tracing::info!(target: "peakpost::reputation", %stream, share, %until, "the stream comes back by a ramp");
        }
    }
}
