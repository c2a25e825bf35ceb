//! A line of a CSV file into a wish, and fields into a line (RFC 4180; a field may not hold a line break).

use std::borrow::Cow;

use super::{channel, tenant_of};
use crate::app::suppress::{Scope, Wish};
use crate::job::Channel;
use crate::outcome::Cause;

/// The columns of an import.
pub(super) const COLUMNS: &str = "address,channel,tenant,scope,reason";

/// Reads a line. `None`: there is nothing on it.
pub(super) fn wish(line: &str) -> Result<Option<Wish>, String> {
    let fields = fields(line)?;
    if fields.len() > COLUMNS.split(',').count() {
        return Err(format!("more than {COLUMNS}; hint: a field that holds a comma stands in quotes"));
    }
    let field = |n: usize| fields.get(n).map_or("", |field| field.trim());
    if fields.iter().all(|field| field.trim().is_empty()) {
        return Ok(None);
    }
    let wish = Wish {
        to: field(0).to_owned(),
        channel: given(field(1)).map_or(Ok(Channel::Email), channel)?,
        tenant: tenant_of(field(2))?.map(str::to_owned),
        scope: given(field(3)).map_or(Ok(Scope::All), str::parse)?,
        reason: given(field(4)).map_or(Ok(Cause::Manual), str::parse)?,
    };
    wish.check().map(|()| Some(wish))
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Whether a line names the columns.
pub(super) fn is_header(line: &str) -> bool {
    line.trim_start_matches('\u{feff}').trim().eq_ignore_ascii_case(COLUMNS)
}

fn fields(line: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => field.extend(chars.next()),
            ('"', true) => quoted = false,
            ('"', false) if field.trim().is_empty() => {
                field.clear();
                quoted = true;
            }
            (',', false) => fields.push(std::mem::take(&mut field)),
            (c, _) => field.push(c),
        }
    }
    fields.push(field);
    if quoted { Err("a quote that does not end".to_owned()) } else { Ok(fields) }
}

/// A field as it stands in a line.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => Cow::Borrowed(text),
    }
}
