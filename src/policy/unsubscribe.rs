//! Marketing mail must offer a way to leave. Gmail and Yahoo ask bulk senders for RFC 8058 one-click headers,
//! which are rendered from `unsubscribe`; without it the mail costs the inbox.

use super::Tenant;
use crate::job::{Channel, Lane, Spec};
use crate::outcome::{Kind, Reason};

pub(super) fn check(spec: &Spec<'_>, lane: Lane, tenant: &Tenant) -> Option<(Kind, Reason)> {
    let must = spec.channel == Channel::Email && lane == Lane::Marketing && !tenant.marketing_without_unsubscribe;
    (must && spec.unsubscribe.is_none()).then_some((Kind::Refused, Reason::NoUnsubscribe))
}
