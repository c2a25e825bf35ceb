//! Deletes what was dealt with from tiers and holds.
//!
//! Why: their retention is unlimited, because a job may wait there for any time; so somebody has to take away what
//! lies below the committed offset, or the topics grow for ever. On a thread of its own: the broker may take its
//! time, and nothing depends on it.
//! Must not know: what was committed, or why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::Offset;

use super::Config;
use crate::job::Home;
use crate::observe::kafka;

/// Longest wait for the broker's answer.
const WAIT: Duration = Duration::from_secs(30);

/// The end of the thread: ends with it.
pub(super) struct Trim {
    to: Sender<Vec<(String, Home, i64)>>,
    /// Something was not deleted: everything is to be said again.
    failed: Arc<AtomicBool>,
}

impl Trim {
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let client = kafka::client(&config.client);
        let admin = client.create().map_err(|e| format!("cannot make the client that trims: {e}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|e| format!("cannot start the trimming runtime: {e}"))?;
        let (to, queue) = bounded(1);
        let failed = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&failed);
        std::thread::Builder::new()
            .name("trim".to_owned())
            .spawn(move || run(&admin, &runtime, &queue, &of_thread))
            .map_err(|e| format!("cannot start the trimming thread: {e}"))?;
        Ok(Self { to, failed })
    }

    /// Deletes records below these offsets, some time. While an earlier list is being worked on, does nothing:
    /// there will be another.
    pub(super) fn below(&self, offsets: Vec<(String, Home, i64)>) -> bool {
        offsets.is_empty() || self.to.try_send(offsets).is_ok()
    }

    /// Whether something was not deleted since this was asked last.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.swap(false, Ordering::AcqRel)
    }
}

fn run(
    admin: &AdminClient<DefaultClientContext>,
    runtime: &tokio::runtime::Runtime,
    queue: &Receiver<Vec<(String, Home, i64)>>,
    failed: &AtomicBool,
) {
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    for offsets in queue {
        let mut list = TopicPartitionList::new();
        for (topic, home, below) in &offsets {
            if let Err(error) = list.add_partition_offset(topic, i32::from(*home), Offset::Offset(*below)) {
                tracing::warn!(target: "peakpost::intake", topic, home, %error, "trim");
            }
        }
        // What fails is tried again with the next list; until then it only takes room.
        let answer = runtime.block_on(admin.delete_records(&list, &options));
        let error = answer
            .and_then(|list| {
                list.elements().iter().try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
            })
            .err();
        match error {
            None => tracing::debug!(target: "peakpost::intake", partitions = offsets.len(), "tiers and holds trimmed"),
            Some(error) => {
                failed.store(true, Ordering::Release);
                tracing::warn!(
                    target: "peakpost::intake", %error,
                    "what was dealt with cannot be deleted from tiers and holds, so they grow; hint: does the account \
                     have the DELETE right on them?"
                );
            }
        }
    }
}
