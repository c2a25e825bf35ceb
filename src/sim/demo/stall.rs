//! The worst stall of this run: how much later than asked a thread and a task of this process woke up.
//!
//! Why: a limit is kept at the vendor's door only as far as the machine lets us: J is a promise about stalls,
//! so a check at the door must know the stalls there were.
//! Must not know: what is being run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(1);

pub(super) struct Probe {
    worst: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Probe {
    /// Starts one probing thread and one probing task.
    pub(super) fn start() -> Result<Self, String> {
        let (worst, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (to, ended) = (Arc::clone(&worst), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("stall".to_owned())
            .spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let before = now();
                    std::thread::park_timeout(STEP);
                    note(&to, before);
                }
            })
            .map_err(|e| format!("cannot start the stall probe: {e}"))?;
        let (to, ended) = (Arc::clone(&worst), Arc::clone(&stop));
        tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let before = now();
                tokio::time::sleep(STEP).await;
                note(&to, before);
            }
        });
        Ok(Self { worst, stop, thread })
    }

    /// The worst stall so far.
    pub(super) fn finish(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!(target: "peakpost::sim", "the stall probe panicked");
        }
        Duration::from_nanos(self.worst.load(Ordering::Relaxed))
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn note(worst: &AtomicU64, before: Instant) {
    let stall = now().saturating_duration_since(before).saturating_sub(STEP);
    worst.fetch_max(u64::try_from(stall.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
