//! The wide line: one per attempt, with everything that is needed to tell its story.
//!
//! Why: at 3 a.m. one line that says all beats ten that say a little each. Target `peakpost::attempt`.
//! Must not know: how attempts are made. Recipients never appear here; job ids do.

use std::time::Duration;

use crate::job::Lane;
use crate::outcome::Verdict;

/// What one attempt was.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Provider's name.
    pub provider: &'a str,
    /// Lane.
    pub lane: Lane,
    /// Tenant and id of the first job.
    pub first_job: (&'a str, &'a str),
    /// Jobs in the request.
    pub jobs: usize,
    /// Which attempt it was for the first job.
    pub attempt: u16,
    /// Request sent to reply read.
    pub took: Duration,
    /// HTTP status; 0 when there was no reply.
    pub status: u16,
    /// What was made of it.
    pub verdict: &'a Verdict,
    /// What happens next: `settled`, `again in 1.2s`, `split`.
    pub next: &'a str,
}

impl Attempt<'_> {
    /// Writes the line: `info` for accepted, `warn` for everything else.
    pub fn log(&self) {
        let (tenant, id) = self.first_job;
        let (code, said) = self.verdict.said().map_or(("", ""), |said| (said.code.as_str(), &*said.text));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "peakpost::attempt",
                    provider = self.provider,
                    lane = self.lane.as_str(),
                    tenant,
                    job = id,
                    jobs = self.jobs,
                    attempt = self.attempt,
                    took_ms = self.took.as_secs_f64() * 1000.0,
                    status = self.status,
                    verdict = self.verdict.as_str(),
                    code,
                    said,
                    next = self.next,
                    "attempt"
                )
            };
        }
        match self.verdict {
            Verdict::Accepted { .. } => line!(info),
            _ => line!(warn),
        }
    }
}
