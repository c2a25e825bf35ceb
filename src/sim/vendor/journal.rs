//! Appends arrivals to a file as JSON lines, from a thread of its own.
//!
//! Why: the log must survive the process that wrote it, and a slow disk must not slow the vendor down.
//! Must not know: what an arrival is.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::server::Shared;

/// Half of what is promised, to leave the disk some time.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// The writing thread.
pub(super) struct Journal {
    stop: mpsc::SyncSender<()>,
    thread: JoinHandle<Result<(), String>>,
}

impl Journal {
    /// Opens the file and starts writing what `shared` collects.
    pub(super) fn start(path: &Path, shared: &Arc<Shared>) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("cannot append arrivals to `{}`: {e}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        shared.lock().pending = Some(Vec::new());
        let (stop, stopped) = mpsc::sync_channel(1);
        let shared = Arc::clone(shared);
        let run = move || run(file, &shared, &stopped);
        let thread = std::thread::Builder::new().name("sim-journal".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { stop, thread })
    }

    /// Writes the rest and ends. Blocks for as long as the disk takes.
    pub(super) fn finish(self) -> Result<(), String> {
        drop(self.stop);
        self.thread.join().map_err(|_| "the journal's thread panicked".to_owned())?
    }
}

fn run(mut file: File, shared: &Shared, stopped: &mpsc::Receiver<()>) -> Result<(), String> {
    loop {
        let last = stopped.recv_timeout(FLUSH_EVERY) != Err(mpsc::RecvTimeoutError::Timeout);
        let lines = shared.lock().pending.as_mut().map(std::mem::take).unwrap_or_default();
        if let Err(e) = file.write_all(&lines) {
            // Stop collecting: what cannot be written must not pile up. The fault shows at shutdown.
            shared.lock().pending = None;
            return Err(format!("cannot write the journal of arrivals: {e}"));
        }
        if last {
            return Ok(());
        }
    }
}
