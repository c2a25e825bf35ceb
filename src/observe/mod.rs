//! What can be seen from outside: the metric catalogue, the wide line per attempt, and how logs are set up.
//!
//! Why: names, units and labels are a contract with the people on call; they stand in one place and change on
//! purpose. Labels come from closed sets and the configuration only: never a recipient, a job id or a vendor's
//! words.
//! Must not know: the rooms it watches; they bring their numbers here.

pub mod attempt;
pub mod clock;
pub(crate) mod failpoint;
pub mod kafka;
pub mod logs;
pub mod metrics;
pub mod thread;

pub use clock::Clock;
pub use metrics::Metrics;
