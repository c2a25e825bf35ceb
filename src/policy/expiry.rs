//! A flash sale is worthless once it is over, a code once it is void.
//!
//! A job expires only when now ≥ `expires_at`; predictions never drop one.

use crate::job::{Spec, Wall};
use crate::outcome::{Kind, Reason};

pub(super) fn check(spec: &Spec<'_>, now: Wall) -> Option<(Kind, Reason)> {
    (spec.expires_at? <= now).then_some((Kind::Expired, Reason::Expired))
}
