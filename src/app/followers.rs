//! The threads that follow what all instances are told, and the workers that count what vendors say.
//!
//! Why: nothing may be sent before a standing stop, a block and every suppression are known; all of it comes from topics
//! that every instance reads whole, and ends with the line.
//! Must not know: what is done with any of it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Failure;
use crate::config::Config;
use crate::control::Order;
use crate::dispatch::Reputation;
use crate::feedback::{sums, workers};
use crate::intake::control;
use crate::job::Home;
use crate::observe::thread::Running;
use crate::observe::{Clock, Metrics};
use crate::recipient::address::Keyer;
use crate::recipient::{Recipients, follow};

/// Orders of other instances on their way to the gates.
const ORDERS: usize = 1024;
/// What who follows the counts has to say to the worker.
const WORDS: usize = 10_000;

/// The threads.
pub(super) struct Followers([Running; 4]);

/// What they bring.
pub(super) struct Known {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) reputation: Reputation,
    pub(super) recipients: Arc<Recipients>,
}

impl Followers {
    /// Starts them. Orders and blocks in force are known when this returns; who is suppressed is read on.
    pub(super) async fn start(
        config: &Config,
        keyer: Keyer,
        homes: Home,
        metrics: &Metrics,
        clock: &Clock,
    ) -> Result<(Self, Known), Failure> {
        let (orders_tx, orders) = mpsc::channel(ORDERS);
        let control = control::follow(&config.intake, homes, orders_tx, clock.clone()).await;
        let control = control.map_err(Failure::Unavailable)?;
        let (words, told) = crossbeam::channel::bounded(WORDS);
        let sums = sums::follow(&config.counts, homes, words, metrics.clone(), clock.clone()).await;
        let (sums, verdicts) = sums.map_err(Failure::Unavailable)?;
        let workers = workers::start(config.counts.clone(), told, metrics.clone(), clock.clone());
        let workers = workers.map_err(Failure::Broken)?;
        let recipients = Arc::new(Recipients::new(keyer, config.suppressions.max_stale, clock.mono()));
        let (known, told, time) = (Arc::clone(&recipients), metrics.clone(), clock.clone());
        let suppressions = follow::follow(&config.suppressions, homes, known, told, time).await;
        let suppressions = suppressions.map_err(Failure::Broken)?;
        let reputation = Reputation { verdicts, mailboxes: config.mailboxes.clone() };
        Ok((Self([control, sums, workers, suppressions]), Known { orders, reputation, recipients }))
    }

    /// Whether one of them has ended by itself, which none should.
    pub(super) fn any_finished(&self) -> bool {
        self.0.iter().any(Running::is_finished)
    }

    /// Ends them. Blocks for a moment.
    pub(super) fn stop(self) {
        self.0.into_iter().for_each(Running::stop);
    }
}
