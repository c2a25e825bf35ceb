//! A flash sale is worthless once it is over, a code once it is void.
//!
//! Why: who names no end still does not mean a year: a job that waited through a long outage is an embarrassment, so
//! every lane has a longest age.
//! A job expires only when now ≥ that time; predictions never drop one.
//! Must not know: why a job is late.

use std::time::Duration;

use crate::job::{Spec, Wall};
use crate::outcome::{Kind, Reason};

/// When a job without an end of its own is too old. Its age counts from when it could first have been sent.
pub(super) fn of_age(spec: &Spec<'_>, max_age: Duration, enqueued: Wall) -> Option<Wall> {
    // A record without a timestamp is not from 1970; its age is not known.
    let enqueued = (enqueued.0 > 0).then_some(enqueued);
    let max_age = i64::try_from(max_age.as_millis()).ok()?;
    enqueued.max(spec.send_at)?.0.checked_add(max_age).map(Wall)
}

/// `expires`: the job's effective end.
pub(super) fn check(spec: &Spec<'_>, expires: Option<Wall>, now: Wall) -> Option<(Kind, Reason)> {
    let reason = if spec.expires_at.is_some() { Reason::Expired } else { Reason::TooOld };
    (expires? <= now).then_some((Kind::Expired, reason))
}
