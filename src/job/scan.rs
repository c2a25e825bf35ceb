//! Finds the members of a JSON object, and where each value ends.
//!
//! Why: a job is an object of short texts that is read for every message, and a general reader looks at each of its
//! bytes several times. Here a text is looked at once and stays where it is. What is more than a plain text is only
//! measured; whoever uses it has `serde_json` read it.
//! Must not know: the contract, how a fault is worded.

use super::json::plain;

/// A value as it stands in its object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    /// The whole of it; of a text its quotes, too.
    pub(super) json: &'a str,
    /// What is known of it.
    pub(super) kind: Kind,
}

/// What a look at a value's bytes tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text without escapes: it says what stands between its quotes.
    Plain,
    /// A text with escapes. Whether they are right was not looked at.
    Escaped,
    /// Anything else. Of an object or a list only brackets and texts were looked at, of a word or number only its end.
    Other,
}

/// It is no JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

/// Shows each member of an object, its name and its value, in the order in which they stand. The name is a text.
///
/// # Errors
/// The first that `each` returns; [`Broken`] when the text is not an object and nothing else.
#[inline]
pub(super) fn members<'a, E: From<Broken>>(
    text: &'a str,
    mut each: impl FnMut(Value<'a>, Value<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut scan = Scan { text, at: 0 };
    scan.eat(b'{')?;
    if scan.peek() != Some(b'}') {
        loop {
            let name = if scan.peek() == Some(b'"') { scan.value()? } else { return Err(Broken.into()) };
            scan.eat(b':')?;
            each(name, scan.value()?)?;
            if scan.peek() != Some(b',') {
                break;
            }
            scan.at += 1;
        }
    }
    scan.eat(b'}')?;
    if scan.peek().is_none() { Ok(()) } else { Err(Broken.into()) }
}

/// A place in a text, always between two characters.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The byte after white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                byte => return byte,
            }
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> Result<(), Broken> {
        let found = self.peek();
        self.at += 1;
        if found == Some(byte) { Ok(()) } else { Err(Broken) }
    }

    #[inline]
    fn value(&mut self) -> Result<Value<'a>, Broken> {
        let first = self.peek();
        let start = self.at;
        let kind = match first {
            Some(b'"') => self.text(),
            Some(b'{' | b'[') => self.nested(),
            _ => self.word(),
        };
        Ok(Value { kind: kind.ok_or(Broken)?, json: &self.text[start..self.at] })
    }

    /// Goes on to the end of a text.
    #[inline]
    fn text(&mut self) -> Option<Kind> {
        let mut kind = Kind::Plain;
        self.at += 1;
        loop {
            self.at += plain(self.text.as_bytes().get(self.at..)?);
            match self.byte()? {
                b'"' => break,
                b'\\' => {
                    kind = Kind::Escaped;
                    self.at += 2;
                }
                _ => return None,
            }
        }
        self.at += 1;
        Some(kind)
    }

    /// Goes on to the end of an object or a list. Counts brackets and does not call itself: a record can hold as many as
    /// it is long.
    fn nested(&mut self) -> Option<Kind> {
        let mut depth = 0_usize;
        loop {
            match self.byte()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(Kind::Other);
            }
        }
    }

    /// Goes on to the end of a word or a number.
    fn word(&mut self) -> Option<Kind> {
        let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r');
        let length = self.text.as_bytes()[self.at..].iter().position(ends)?;
        self.at += length;
        (length > 0).then_some(Kind::Other)
    }
}
