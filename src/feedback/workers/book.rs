//! What a worker has counted and not published yet.

use std::collections::BTreeMap;

use rdkafka::message::{BorrowedMessage, Message};

use super::doubts::Ended;
use super::suppress;
use super::tally::Tally;
use crate::event;
use crate::feedback::doubts::Doubts;
use crate::job::Home;
use crate::recipient::suppression::Suppression;
use crate::reputation::{Counter, SoftBounces};

/// One partition, being counted.
pub(super) struct Part {
    pub(super) counter: Counter,
    pub(super) soft: SoftBounces,
    pub(super) doubts: Doubts,
    /// What the group had committed when it was taken over: what lies before was dealt with, and is only remembered.
    pub(super) fence: i64,
    /// The next event.
    pub(super) next: i64,
    pub(super) committed: i64,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) parts: BTreeMap<Home, Part>,
    pub(super) suppressions: Vec<Suppression>,
    pub(super) tally: Tally,
    pub(super) ended: Ended,
    unreadable: bool,
}

impl Book {
    /// Counts one event, unless it is a repeat.
    pub(super) fn count(&mut self, message: &BorrowedMessage<'_>) {
        // What was fetched before a partition went is nobody's here.
        let home = Home::try_from(message.partition()).unwrap_or(Home::MAX);
        let Some(part) = self.parts.get_mut(&home) else { return };
        let offset = message.offset();
        part.next = part.next.max(offset + 1);
        let read = serde_json::from_slice::<event::Record<'_>>(message.payload().unwrap_or_default());
        let before = offset < part.fence;
        let event = match read {
            Ok(event) => event,
            Err(_) if part.doubts.quarantined(message.payload().unwrap_or_default(), before) => return,
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    tracing::warn!(target: "peakpost::feedback", partition = home, offset, %error, "a record that is no event is passed over, and so are others");
                }
                return;
            }
        };
        let is_new = if before { part.counter.remember(&event) } else { part.counter.hear(offset, &event) };
        if !is_new {
            return;
        }
        part.doubts.hear(&event, before);
        let suppression = suppress::after(&event, &mut part.soft);
        if !before {
            self.tally.add(&event);
            self.suppressions.extend(suppression);
        }
    }
}
