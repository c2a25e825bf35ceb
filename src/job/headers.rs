//! The further headers of a mail or a webhook.
//!
//! Why: a header is the one place where a job could reframe the request or speak in the line's name.
//! Must not know: the other fields.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::field;
use super::invalid::{Invalid, Reason};
use super::parse::{Names, dotted};
use super::spec::Text;

/// At most this many extra headers.
pub const MAX_HEADERS: usize = 20;

/// Headers that the line or the vendor writes itself, or that would reframe the message or the request,
/// in any case.
pub const RESERVED_HEADERS: Names = &[
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
pub(super) fn headers(raw: &RawValue) -> Result<Vec<(Text<'_>, Text<'_>)>, Invalid> {
    let wrong = |detail: &str| Invalid::new(Reason::WrongType, "headers", detail);
    let list: HeaderList<'_> = serde_json::from_str(raw.get()).map_err(|_| wrong("must be an object of strings"))?;
    if list.0.len() > MAX_HEADERS {
        return Err(Invalid::new(Reason::TooMany, "headers", format!("at most {MAX_HEADERS}")));
    }
    for (i, (name, value)) in list.0.iter().enumerate() {
        let at = |(reason, detail): field::Fault| Invalid::new(reason, dotted("headers", shown(name)), detail);
        field::header_name(name).map_err(|(reason, detail)| Invalid::new(reason, "headers", detail))?;
        field::header_safe(value, 2048).map_err(at)?;
        if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(at((Reason::BadHeader, "is reserved".to_owned())));
        }
        if list.0[..i].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return Err(at((Reason::DuplicateField, "given twice".to_owned())));
        }
    }
    Ok(list.0)
}

/// A header name that passed its check is short ASCII; before that it is not shown.
fn shown<'t>(name: &'t Text<'_>) -> &'t str {
    if field::header_name(name).is_ok() { name } else { "?" }
}

struct HeaderList<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de> serde::Deserialize<'de> for HeaderList<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ListVisitor;

        impl<'de> Visitor<'de> for ListVisitor {
            type Value = HeaderList<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    // One over the limit is enough to refuse the list.
                    if list.len() <= MAX_HEADERS {
                        list.push(entry);
                    }
                }
                Ok(HeaderList(list))
            }
        }

        d.deserialize_map(ListVisitor)
    }
}
