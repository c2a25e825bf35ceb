//! `send_at`: wait in memory when it is near; what is further off needs a durable place, and there is none yet.

use std::time::Duration;

use super::Decision;
use crate::job::{Spec, Wall};
use crate::outcome::{Kind, Reason};

pub(super) fn check(spec: &Spec<'_>, now: Wall, horizon: Duration) -> Decision {
    match spec.send_at {
        Some(at) if at > now => {
            let near = u128::from(at.0.abs_diff(now.0)) <= horizon.as_millis();
            if near { Decision::Wait(at) } else { Decision::Drop(Kind::Dead, Reason::SendAtTooFar) }
        }
        _ => Decision::Send,
    }
}
