//! One tenant must not write in another's name: a job's `from` must be on its tenant's list.

use super::Tenant;
use crate::job::{Spec, field};
use crate::outcome::{Kind, Reason};

pub(super) fn check(spec: &Spec<'_>, tenant: &Tenant) -> Option<(Kind, Reason)> {
    let from = field::address(spec.from.as_deref()?);
    let allowed = tenant.from.iter().any(|pattern| matches(pattern, from));
    (!allowed).then_some((Kind::Refused, Reason::SenderNotAllowed))
}

fn matches(pattern: &str, from: &str) -> bool {
    match pattern.strip_prefix("*@") {
        Some(domain) => from.rsplit_once('@').is_some_and(|(_, d)| d.eq_ignore_ascii_case(domain)),
        None => pattern == "*" || pattern.eq_ignore_ascii_case(from),
    }
}
