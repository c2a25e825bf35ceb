//! What blocks a stream, and how it comes back.
//!
//! Why: a threshold that can never be reached, or is reached at once, is said at start and not in the season.
//! Must not know: how a count comes about.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::build::Collected;
use super::feedback;
use super::raw::{Raw, Signal};
use crate::feedback::CountConfig;
use crate::intake;
use crate::reputation::{self, SignalConfig};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn counts(c: &mut Collected, raw: &Raw, intake: &intake::Config) -> CountConfig {
    let of = &raw.reputation;
    let window = span(c, "window", &of.window, SECOND..=DAY);
    let cool_down = span(c, "cool_down", &of.cool_down, window..=7 * DAY);
    let ramp_step = span(c, "ramp_step", &of.ramp_step, SECOND..=DAY);
    c.must(window.subsec_nanos() == 0, || "reputation.window must be whole seconds".to_owned());
    c.must(of.severe >= of.complaints.block && of.severe < 1.0, || {
        "reputation.severe must be at least complaints.block and below 1; hint: 0.003 is three in a thousand".to_owned()
    });
    let reputation = reputation::Config {
        window,
        cool_down,
        ramp_step,
        complaints: signal(c, "complaints", &of.complaints),
        severe: of.severe,
        hard_bounces: signal(c, "hard_bounces", &of.hard_bounces),
        unsubscribes: signal(c, "unsubscribes", &of.unsubscribes),
    };
    CountConfig {
        client: intake.client.clone(),
        topics: intake.topics.clone(),
        group: intake.group.clone(),
        session_timeout: intake.session_timeout,
        heartbeat: intake.heartbeat,
        reputation,
        doubts: feedback::doubts(c, raw),
        shown: feedback::shown(raw),
    }
}

fn span(c: &mut Collected, key: &str, token: &str, within: RangeInclusive<Duration>) -> Duration {
    let span = c.duration(&format!("reputation.{key}"), token);
    c.must(within.contains(&span), || format!("reputation.{key} must be {:?} to {:?}", within.start(), within.end()));
    span
}

fn signal(c: &mut Collected, key: &str, of: &Signal) -> SignalConfig {
    let Signal { warn, block, least } = *of;
    c.must(0.0 < warn && warn <= block && block < 1.0 && least > 0, || {
        format!(
            "reputation.{key}: `warn` and `block` are parts of one, warn at most block, and `least` is at least 1; \
             hint: 0.001 is one in a thousand"
        )
    });
    SignalConfig { warn, block, least }
}
