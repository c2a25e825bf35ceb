//! The further headers of a mail or a webhook.
//!
//! Why: a header is the one place where a job could reframe the request or speak in the line's name.
//! Must not know: the other fields.

use super::field;
use super::invalid::{Invalid, Reason};
use super::member::{HALF, Member, dotted, text_of};
use super::scan::{Broken, members};
use super::spec::Text;

/// At most this many extra headers.
pub const MAX_HEADERS: usize = 20;

/// Headers that the line or the vendor writes itself, or that would reframe the message or the request,
/// in any case.
pub const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "bcc",
    "cc",
    "connection",
    "content-encoding",
    "content-length",
    "content-transfer-encoding",
    "content-type",
    "cookie",
    "date",
    "dkim-signature",
    "expect",
    "from",
    "host",
    "keep-alive",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "message-id",
    "mime-version",
    "proxy-authorization",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "te",
    "to",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-sg-eid",
    "x-sg-id",
];

/// Reads the `headers` object, in its order.
///
/// # Errors
/// The first header at fault.
pub(super) fn headers<'a>(member: &Member<'a>) -> Result<Vec<(Text<'a>, Text<'a>)>, Invalid> {
    let wrong = || member.wrong(Reason::WrongType, "must be an object of strings");
    let Some(json) = member.object()? else { return Ok(Vec::new()) };
    let mut list = Vec::new();
    members(json, |name, value| {
        let half = |Broken| member.wrong(Reason::NotJson, HALF);
        let text = |value| text_of(value).ok_or_else(wrong)?.map_err(half);
        let (name, value) = (text(name)?, text(value)?);
        if list.len() == MAX_HEADERS {
            return Err(member.wrong(Reason::TooMany, format!("at most {MAX_HEADERS}")));
        }
        list.push((name, value));
        Ok(())
    })?;
    check(&list)?;
    Ok(list)
}

fn check(list: &[(Text<'_>, Text<'_>)]) -> Result<(), Invalid> {
    for (i, (name, value)) in list.iter().enumerate() {
        let at = |(reason, detail): field::Fault| Invalid::new(reason, dotted("headers", shown(name)), detail);
        field::header_name(name).map_err(|(reason, detail)| Invalid::new(reason, "headers", detail))?;
        field::header_safe(value, 2048).map_err(at)?;
        if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(at((Reason::BadHeader, "is reserved".to_owned())));
        }
        if list[..i].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return Err(at((Reason::DuplicateField, "given twice".to_owned())));
        }
    }
    Ok(())
}

/// A header name that passed its check is short ASCII; before that it is not shown.
fn shown<'t>(name: &'t Text<'_>) -> &'t str {
    if field::header_name(name).is_ok() { name } else { "?" }
}
