//! How long this machine stood still while a test ran.
//!
//! Why: a limit in milliseconds cannot be judged more sharply than the machine keeps time.
//! Must not know: what is judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How much later than asked a thread of this machine woke up, at worst.
pub struct Stalls {
    worst: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Stalls {
    /// Watches until it is asked.
    pub fn watch() -> Self {
        let (worst, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (to, ended) = (Arc::clone(&worst), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let step = Duration::from_millis(1);
                let before = Instant::now();
                std::thread::sleep(step);
                let late = u64::try_from(before.elapsed().saturating_sub(step).as_nanos()).unwrap();
                to.fetch_max(late, Ordering::Relaxed);
            }
        });
        Self { worst, stop, thread }
    }

    /// The worst so far. Ends the watch.
    pub fn worst(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Duration::from_nanos(self.worst.load(Ordering::Relaxed))
    }
}
