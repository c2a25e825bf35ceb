//! Named points at which the process can be told to die.
//!
//! Why: what a power cut leaves behind must be tried at every step of a job's way, at the step and not near it. With
//! the feature `failpoints` a point that `FAILPOINTS` names (`after_permit=37*off->return`: at the 38th pass) ends
//! the process by SIGKILL. Without it a point is nothing, and its name is not in the binary.
//! Must not know: what a point stands in the middle of.
//!
//! | point | where |
//! |---|---|
//! | `after_permit` | a permit is redeemed, its batch is formed and admitted, nothing is encoded |
//! | `after_first_byte` | the request is on its way, the vendor has not answered |
//! | `after_reply` | the reply has been read, nothing is done with it |
//! | `before_outcome` | an outcome is decided, nothing of it is produced |
//! | `after_outcome` | it is durable, its receipt has not gone back |
//! | `between_deferral` | a deferral has one of its two records |
//! | `before_commit` | a commit is made up, nothing of it is sent |
//! | `after_commit` | it was answered, nobody knows yet |
//! | `before_counts` | some events are counted, nothing of it is published |
//! | `between_counts` | counts are published, the events' offsets are not committed |
//! | `between_resolved` | what vendors told of quarantined jobs is an outcome, and not known to be one |
//! | `inside_revoke` | a home is on its way out |
//! | `inside_restore` | some of a home's outcomes are read back |

/// Dies here when this point is active; with `soon`, a few milliseconds later, while the caller goes on.
#[cfg(feature = "failpoints")]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::observe::failpoint::pass($name)
    };
    ($name:literal, soon) => {
        $crate::observe::failpoint::pass_soon($name)
    };
}

/// Nothing, without the feature.
#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint {
    ($($name:tt)*) => {};
}

pub(crate) use failpoint;

/// Who is to kill this process: a shell that waits for a line. Starting one only then would take so long that other
/// threads get far beyond the point.
#[cfg(feature = "failpoints")]
static KILLER: std::sync::OnceLock<std::sync::Mutex<std::process::ChildStdin>> = std::sync::OnceLock::new();

/// Reads `FAILPOINTS`. To be called once, at the start of the process.
#[cfg(feature = "failpoints")]
pub(crate) fn start() {
    use std::process::{Command, Stdio};
    if std::env::var_os("FAILPOINTS").is_none() {
        return;
    }
    let shell = Command::new("sh").args(["-c", "read _ && kill -9 $PPID"]).stdin(Stdio::piped()).spawn();
    match shell.map(|mut shell| shell.stdin.take()) {
        Ok(Some(line)) => drop(KILLER.set(std::sync::Mutex::new(line))),
        other => tracing::error!(target: "peakpost::observe", ?other, "cannot die at a failpoint: there is no shell"),
    }
    // The end of the scenario would forget what was read.
    std::mem::forget(fail::FailScenario::setup());
}

/// Nothing is read without the feature.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn start() {}

#[cfg(feature = "failpoints")]
pub(crate) fn pass(name: &str) {
    fail::fail_point!(name, |_| die());
}

/// How long after a point that dies `soon`: enough for a request on loopback to have been written.
#[cfg(feature = "failpoints")]
const SOON: std::time::Duration = std::time::Duration::from_millis(3);

#[cfg(feature = "failpoints")]
pub(crate) fn pass_soon(name: &str) {
    fail::fail_point!(name, |_| {
        let _not_waited_for = std::thread::spawn(|| {
            std::thread::park_timeout(SOON);
            die();
        });
    });
}

/// SIGKILL: nothing is flushed, nothing is dropped. This thread does not go on meanwhile.
#[cfg(feature = "failpoints")]
fn die() {
    use std::io::Write as _;
    if let Some(Ok(mut killer)) = KILLER.get().map(|killer| killer.lock())
        && let Err(error) = killer.write_all(b"\n").and_then(|()| killer.flush())
    {
        tracing::error!(target: "peakpost::observe", %error, "cannot die at a failpoint: the shell has gone");
    }
    loop {
        std::thread::park();
    }
}
