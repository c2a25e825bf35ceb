//! What is shown of deliveries: counted with the commit, so that the fleet together shows each event once.

use std::collections::HashMap;

use crate::event::{Happened, Record};
use crate::job::Lane;
use crate::observe::Metrics;

/// Who carried it, in which lane, to which mailbox provider.
type Labels = (Box<str>, Option<Lane>, Box<str>);

/// Shows what can happen as not having happened yet: a series that begins with its first event hides that one from whoever looks
/// for an increase.
pub(super) fn begin(metrics: &Metrics, shown: &[(Box<str>, Box<str>)]) {
    for (provider, mailbox) in shown {
        for lane in Lane::ALL {
            for happened in Happened::ALL {
                let labels = [&**provider, lane.as_str(), none(mailbox), happened.as_str()];
                metrics.delivery.with_label_values(&labels).inc_by(0);
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Tally {
    events: HashMap<(Labels, Happened), u64>,
    /// From sent to delivered, in seconds.
    took: HashMap<Labels, Vec<f64>>,
}

impl Tally {
    pub(super) fn add(&mut self, event: &Record<'_>) {
        let labels: Labels = ((&*event.provider).into(), event.lane, (&*event.mailbox).into());
        if let (Happened::Delivered, Some(sent)) = (event.happened, event.sent_ms) {
            let seconds = event.at_ms.saturating_sub(sent).max(0) as f64 / 1000.0;
            self.took.entry(labels.clone()).or_default().push(seconds);
        }
        *self.events.entry((labels, event.happened)).or_default() += 1;
    }

    pub(super) fn show(&mut self, metrics: &Metrics) {
        for (((provider, lane, mailbox), happened), count) in self.events.drain() {
            let labels = [&*provider, word(lane), none(&mailbox), happened.as_str()];
            metrics.delivery.with_label_values(&labels).inc_by(count);
        }
        for ((provider, lane, mailbox), took) in self.took.drain() {
            let histogram = metrics.delivery_time.with_label_values(&[&*provider, word(lane), none(&mailbox)]);
            for seconds in took {
                histogram.observe(seconds);
            }
        }
    }
}

/// No lane was echoed.
fn word(lane: Option<Lane>) -> &'static str {
    lane.map_or("-", Lane::as_str)
}

fn none(mailbox: &str) -> &str {
    if mailbox.is_empty() { "-" } else { mailbox }
}
