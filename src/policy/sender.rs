//! One tenant must not write in another's name: a job's `from` must be on its tenant's list.

use super::Tenant;
use crate::job::{Spec, field};
use crate::outcome::{Kind, Reason};

pub(super) fn check(spec: &Spec<'_>, tenant: &Tenant) -> Option<(Kind, Reason)> {
    let from = field::address(spec.from.as_deref()?);
    let domain = from.rsplit_once('@').map(|(_, domain)| domain);
    let allowed = tenant.from.iter().any(|pattern| matches(pattern, from, domain));
    (!allowed).then_some((Kind::Refused, Reason::SenderNotAllowed))
}

/// `domain`: of `from`, if it has one.
fn matches(pattern: &str, from: &str, domain: Option<&str>) -> bool {
    match pattern.strip_prefix("*@") {
        Some(allowed) => domain.is_some_and(|domain| domain.eq_ignore_ascii_case(allowed)),
        None => pattern == "*" || pattern.eq_ignore_ascii_case(from),
    }
}
