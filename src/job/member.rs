//! The members of an object whose names are all known: found once, and then each read as what it must be.
//!
//! Why: one place words what is missing, unknown, given twice or of the wrong type, whichever member it is.
//! Must not know: which members the contract has.

use std::borrow::Cow;

use super::Wall;
use super::field::{self, Fault};
use super::invalid::{Invalid, Reason};
use super::scan::{Broken, Kind, Value, members};
use super::spec::Text;

/// All that can be wrong with the escapes of a text that is JSON.
pub(super) const HALF: &str = "half of a surrogate pair";

/// The names of one object's members, in the order in which [`read`] gives their values.
pub type Names<const N: usize> = [&'static str; N];

/// One member of an object: its name, and its value if it has one. `null` counts as none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    parent: &'static str,
    name: &'static str,
    value: Option<Value<'a>>,
}

/// Reads an object that has no other members than these. `parent` is its own name, empty for the record as a whole.
///
/// # Errors
/// The first fault found.
pub(super) fn read<'a, const N: usize>(
    text: &'a str,
    parent: &'static str,
    names: &'static Names<N>,
) -> Result<[Member<'a>; N], Invalid> {
    let mut values = [None; N];
    let mut next = 0;
    members(text, |name, value| {
        let half = |Broken| Invalid::new(Reason::NotJson, parent, HALF);
        let name = text_of(name).unwrap_or(Err(Broken)).map_err(half)?;
        // Most are written in the order of the contract: the one after the last is looked at first.
        let Some(slot) = (next..N).chain(0..next).find(|slot| names[*slot] == &*name) else {
            return Err(unknown(parent, &name, names));
        };
        next = slot + 1;
        match values[slot].replace(value) {
            None => Ok(()),
            Some(_) => Err(Invalid::new(Reason::DuplicateField, dotted(parent, names[slot]), "given twice")),
        }
    })?;
    let given = |value: Option<Value<'a>>| value.filter(|value| value.json != "null");
    Ok(std::array::from_fn(|slot| Member { parent, name: names[slot], value: given(values[slot]) }))
}

#[cold]
fn unknown(parent: &str, name: &str, names: &[&str]) -> Invalid {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Invalid::new(Reason::UnknownField, dotted(parent, &shown), format!("known: {}", names.join(", ")))
}

/// A member's name with its object's.
pub(super) fn dotted(parent: &str, name: &str) -> String {
    match parent {
        "" => name.to_owned(),
        parent => format!("{parent}.{name}"),
    }
}

/// What a text says; `None` if the value is none. Fails on wrong escapes.
#[inline]
pub(super) fn text_of(value: Value<'_>) -> Option<Result<Text<'_>, Broken>> {
    let json = value.json;
    match value.kind {
        Kind::Plain => Some(Ok(Text(Cow::Borrowed(&json[1..json.len() - 1])))),
        Kind::Escaped => Some(serde_json::from_str(json).map(|text| Text(Cow::Owned(text))).or(Err(Broken))),
        Kind::Other => None,
    }
}

impl From<Broken> for Invalid {
    fn from(_: Broken) -> Self {
        Self::new(Reason::NotJson, "", "not JSON")
    }
}

impl<'a> Member<'a> {
    /// A fault of this member.
    pub(super) fn wrong(&self, reason: Reason, detail: impl Into<String>) -> Invalid {
        Invalid::new(reason, dotted(self.parent, self.name), detail)
    }

    /// That it is missing.
    pub(super) fn missing(&self) -> Invalid {
        self.wrong(Reason::MissingField, "must be given")
    }

    /// Whether it has a value.
    pub(super) fn is_given(&self) -> bool {
        self.value.is_some()
    }

    /// A text that passes `check`.
    pub(super) fn text(&self, check: impl FnOnce(&str) -> Result<(), Fault>) -> Result<Text<'a>, Invalid> {
        self.opt_text(check)?.ok_or_else(|| self.missing())
    }

    /// A text that passes `check`, or nothing.
    pub(super) fn opt_text(&self, check: impl FnOnce(&str) -> Result<(), Fault>) -> Result<Option<Text<'a>>, Invalid> {
        let Some(value) = self.value else { return Ok(None) };
        let text = text_of(value)
            .ok_or_else(|| self.wrong(Reason::WrongType, "must be a string"))?
            .map_err(|Broken| self.wrong(Reason::NotJson, HALF))?;
        check(&text).map_err(|(reason, detail)| self.wrong(reason, detail))?;
        Ok(Some(text))
    }

    /// A point in time, or nothing.
    pub(super) fn time(&self) -> Result<Option<Wall>, Invalid> {
        let Some(text) = self.opt_text(|s| field::header_safe(s, 64))? else { return Ok(None) };
        // jiff reads more forms than RFC 3339 has, so the form is judged first.
        match text.parse::<jiff::Timestamp>().ok().filter(|_| field::is_rfc3339(&text)) {
            Some(t) => Ok(Some(Wall(t.as_millisecond()))),
            None => Err(self.wrong(Reason::BadTime, "not an RFC 3339 time; hint: `2026-11-27T09:00:00Z`")),
        }
    }

    /// A positive whole number, or nothing.
    pub(super) fn number(&self) -> Result<Option<u32>, Invalid> {
        let Some(value) = self.value else { return Ok(None) };
        let number = serde_json::from_str(value.json).ok().filter(|n| *n > 0);
        number.map(Some).ok_or_else(|| self.wrong(Reason::WrongType, "must be a positive whole number"))
    }

    /// An object, or nothing. What it holds has not been read.
    pub(super) fn object(&self) -> Result<Option<&'a str>, Invalid> {
        match self.value {
            Some(value) if !value.json.starts_with('{') => Err(self.wrong(Reason::WrongType, "must be an object")),
            value => Ok(value.map(|value| value.json)),
        }
    }

    /// The value as it stands. What it holds has not been read.
    pub(super) fn written(&self) -> Result<&'a str, Invalid> {
        self.value.map(|value| value.json).ok_or_else(|| self.missing())
    }
}

/// Of what passes through as it is, nobody else would see that it is no JSON.
pub(super) fn well_formed(json: &str) -> Result<&str, Invalid> {
    serde_json::from_str::<serde::de::IgnoredAny>(json).map(|_| json).or(Err(Broken.into()))
}
