//! A message to someone who did not agree is against the law: where consent is required, absent means no.

use crate::job::{Channel, Lane, Spec};
use crate::outcome::{Kind, Reason};

pub(super) fn check(spec: &Spec<'_>, lane: Lane, required: &[(Channel, Lane)]) -> Option<(Kind, Reason)> {
    let must = required.contains(&(spec.channel, lane));
    (must && spec.consent.is_none()).then_some((Kind::Refused, Reason::NoConsent))
}
