//! Which homes are ours, and until when we may send: the table that intake writes and shards read.
//!
//! Why: a job read under an earlier ownership, or by an instance that has lost touch with the group, must not
//! be sent: another instance may be sending it. Asked for every job, so it is two atomic loads.
//! Must not know: Kafka, who asks.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::job::{Home, Receipt};

/// Whether a job may be sent, as far as ownership goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its home is ours, and the lease runs.
    Ours,
    /// Its home is ours, but the lease has run out: not now.
    LeaseOut,
    /// Its home is no longer ours, or was lost and won again since.
    Gone,
}

/// Epochs by home, and the lease.
#[derive(Debug)]
pub struct Ownership {
    origin: Instant,
    /// Under which homes are sent for; 0: not at all.
    epochs: Vec<AtomicU32>,
    /// Under which they are ours, be it only to be drained; 0: not ours.
    held: Vec<AtomicU32>,
    lease_until: AtomicU64,
    /// How often it has changed which homes are sent for.
    version: AtomicU64,
}

impl Ownership {
    /// Nothing is ours yet.
    #[must_use]
    pub fn new(homes: Home, origin: Instant) -> Self {
        let none = || (0..homes).map(|_| AtomicU32::new(0)).collect();
        Self { origin, epochs: none(), held: none(), lease_until: AtomicU64::new(0), version: AtomicU64::new(0) }
    }

    /// How many homes there are in all: the partitions of the homes topic.
    #[must_use]
    pub fn homes(&self) -> Home {
        Home::try_from(self.epochs.len()).unwrap_or(Home::MAX)
    }

    /// A home is ours from now on, as `epoch` (not 0).
    pub fn open(&self, home: Home, epoch: u32) {
        self.held[usize::from(home)].store(epoch, Ordering::Release);
        self.sends_for(home, epoch);
    }

    /// Nothing of this home may be sent any more. What is out may still come back and be settled.
    pub fn close(&self, home: Home) {
        self.sends_for(home, 0);
    }

    /// The version counts after the change: whoever has read it sees at least what it stands for.
    fn sends_for(&self, home: Home, epoch: u32) {
        self.epochs[usize::from(home)].store(epoch, Ordering::Release);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Another one whenever a home was opened, closed or let go. To be read before [`Self::owned`]: what changes
    /// after that shows as yet another version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The homes that are open now, with their epochs.
    #[must_use]
    pub fn owned(&self) -> Vec<(Home, u32)> {
        let epochs = (0..).zip(self.epochs.iter().map(|epoch| epoch.load(Ordering::Acquire)));
        epochs.filter(|(_, epoch)| *epoch != 0).collect()
    }

    /// This home belongs to somebody else, or to nobody.
    pub fn let_go(&self, home: Home) {
        self.close(home);
        self.held[usize::from(home)].store(0, Ordering::Release);
    }

    /// Whether an outcome for this receipt still counts: its home is ours, as it was when the record was read.
    #[must_use]
    pub fn is_held(&self, receipt: &Receipt) -> bool {
        self.held.get(usize::from(receipt.source().home)).map_or(0, |e| e.load(Ordering::Acquire)) == receipt.epoch()
    }

    /// Sending is allowed until `until`.
    pub fn renew(&self, until: Instant) {
        self.lease_until.fetch_max(self.nanos(until), Ordering::AcqRel);
    }

    /// What is left of the lease.
    #[must_use]
    pub fn lease_left(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.lease_until.load(Ordering::Acquire).saturating_sub(self.nanos(now)))
    }

    /// Whether the job of this receipt may be sent.
    #[must_use]
    pub fn standing(&self, receipt: &Receipt, now: Instant) -> Standing {
        let epoch = self.epochs.get(usize::from(receipt.source().home)).map_or(0, |e| e.load(Ordering::Acquire));
        if epoch != receipt.epoch() {
            Standing::Gone
        } else if self.lease_left(now).is_zero() {
            Standing::LeaseOut
        } else {
            Standing::Ours
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}
