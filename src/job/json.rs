//! Writes JSON straight into a buffer: frames, texts and numbers.
//!
//! Why: the same frame stands around every message's own words, and a serializer looks at each byte of it each time.
//! Here a frame is copied, and so is the text between escapes, of which nearly no text has one.
//! Must not know: what is written.

/// JSON on its way into a buffer. What is written is well-formed if the frames are.
#[derive(Debug)]
pub struct Json<'o>(pub &'o mut Vec<u8>);

impl Json<'_> {
    /// What is JSON already: a frame, or a value as somebody else wrote it.
    #[inline]
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A text, in quotes.
    #[inline]
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.raw("\"").within(text).raw("\"")
    }

    /// A text without its quotes: a part of a longer one.
    pub fn within(&mut self, text: &str) -> &mut Self {
        let mut rest = text.as_bytes();
        loop {
            let (plain, odd) = rest.split_at(plain(rest));
            self.0.extend_from_slice(plain);
            let Some((byte, after)) = odd.split_first() else { return self };
            self.escape(*byte);
            rest = after;
        }
    }

    /// A whole number.
    pub fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// RFC 8259 §7, in the shortest form.
    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            _ => {
                let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
                return self.0.extend([b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            }
        };
        self.0.extend([b'\\', short]);
    }
}

/// How many bytes at the beginning of a text need no escape: all but quotes, backslashes and what is below the space.
#[inline]
pub(super) fn plain(text: &[u8]) -> usize {
    let mut rest = text;
    // Eight at a time.
    while let Some((eight, after)) = rest.split_first_chunk() {
        let odd = odd(u64::from_le_bytes(*eight));
        if odd != 0 {
            return text.len() - rest.len() + odd.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let odd = rest.iter().position(|&b| b < b' ' || b == b'"' || b == b'\\');
    text.len() - rest.len() + odd.unwrap_or(rest.len())
}

/// Eight bytes of a text: the lowest bit that is set is the top one of the first byte that needs an escape. The bits
/// above it mean nothing, because a subtraction borrows from the bytes above.
fn odd(eight: u64) -> u64 {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // What a byte falls below takes its top bit along; bytes above ASCII had it before.
    let below = |bytes: u64, bound: u8| bytes.wrapping_sub(each(bound));
    let found = below(eight, b' ') | below(eight ^ each(b'"'), 1) | below(eight ^ each(b'\\'), 1);
    found & !eight & each(0x80)
}
