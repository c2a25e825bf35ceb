//! `send_at`: not before its time; a time further off than anything is planned is a mistake.

use std::time::Duration;

use super::Decision;
use crate::job::{Spec, Wall};
use crate::outcome::{Kind, Reason};

pub(super) fn check(spec: &Spec<'_>, now: Wall, most: Duration) -> Decision {
    match spec.send_at {
        Some(at) if at > now => {
            let planned = u128::from(at.0.abs_diff(now.0)) <= most.as_millis();
            if planned { Decision::Wait(at) } else { Decision::Drop(Kind::Dead, Reason::SendAtTooFar) }
        }
        _ => Decision::Send,
    }
}
