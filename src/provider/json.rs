//! Picks texts out of a stranger's JSON.
//!
//! Why: a feedback body is a list of events of which each may be odd in its own way (a member more, a number for a text, half
//! a character, an escape that is none); one odd text must not lose its event, nor one event the others. What cannot be
//! read of a text is replaced, as it is in bytes that are no UTF-8. Nothing is copied that is not asked for.
//! Must not know: what the members mean.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What `read` makes of the elements of a list, or of the one object that stands for a list of one; what it makes nothing of
/// is passed over. `None`: the body is neither, or there are more than `most` elements.
pub(super) fn each<T>(body: &[u8], most: usize, read: impl FnMut(&RawValue) -> Option<T>) -> Option<Vec<T>> {
    let text = String::from_utf8_lossy(body);
    if let Some(list) = elements(&text, most) {
        return Some(list.into_iter().filter_map(read).collect());
    }
    elements(&mended(&text), most).map(|list| list.into_iter().filter_map(read).collect())
}

fn elements(text: &str, most: usize) -> Option<Vec<&RawValue>> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).ok().map(|one| vec![one]);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let list = json.deserialize_seq(List(most)).ok()?;
    json.end().ok().map(|()| list)
}

/// The text with what may stand in no string replaced by U+FFFD: control characters, and the `\` of an escape that is none.
fn mended(text: &str) -> String {
    let (mut out, mut inside, mut rest) = (String::with_capacity(text.len()), false, text.chars());
    while let Some(c) = rest.next() {
        match c {
            '"' => inside = !inside,
            '\0'..='\x1f' if inside => {
                out.push(char::REPLACEMENT_CHARACTER);
                continue;
            }
            '\\' if inside => {
                let length = escape(rest.as_str());
                out.push(if length == 0 { char::REPLACEMENT_CHARACTER } else { c });
                out.extend(rest.by_ref().take(length));
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// The length of an escape without its `\`; 0: it is none.
fn escape(text: &str) -> usize {
    match text.as_bytes() {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 1,
        [b'u', hex @ ..] if hex.len() >= 4 && hex[..4].iter().all(u8::is_ascii_hexdigit) => 5,
        _ => 0,
    }
}

/// At most so many elements.
struct List(usize);

impl<'de> Visitor<'de> for List {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            if list.len() == self.0 {
                return Err(A::Error::invalid_length(list.len() + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// The members called `names` of an object, in that order. A member that is absent or no text is empty; of one that is
/// there twice the last counts; whole numbers are their digits. `None`: no object that can be read.
pub(super) fn pick<'a, const N: usize>(object: &'a RawValue, names: &[&str; N]) -> Option<[Cow<'a, str>; N]> {
    serde_json::Deserializer::from_str(object.get()).deserialize_map(Pick(names)).ok()
}

struct Pick<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Cow<'de, str>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked = std::array::from_fn(|_| Cow::Borrowed(""));
        while let Some(Text(name)) = map.next_key()? {
            match self.0.iter().position(|known| **known == *name) {
                Some(index) => picked[index] = loose(map.next_value::<&RawValue>()?.get()),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(picked)
    }
}

/// A text or a whole number, as it stands in JSON; anything else is empty.
fn loose(value: &str) -> Cow<'_, str> {
    let number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Cow::Borrowed(text),
        Some(_) => serde_json::from_str(value).map_or(Cow::Borrowed(""), |Text(text)| text),
        None if number(value.strip_prefix('-').unwrap_or(value)) => Cow::Borrowed(value),
        None => Cow::Borrowed(""),
    }
}

/// A text of which half a surrogate pair is replaced. Asked for bytes, the parser does not insist on characters.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_bytes(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(String::from_utf8_lossy(bytes))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
    }
}
