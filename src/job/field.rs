//! What each field must be, because of what it will become: a header line, a mailbox, a phone number, a URL.
//!
//! Why: one CR in a subject is a second header at the vendor. Values are checked once, here, and nowhere later.
//! Must not know: which field it is checking, or JSON.

use super::invalid::Reason;

/// Why a value was turned away. The words are part of the contract: they appear in dead letters.
pub type Fault = (Reason, String);

fn fault<T>(reason: Reason, detail: impl Into<String>) -> Result<T, Fault> {
    Err((reason, detail.into()))
}

/// Control and direction-changing characters have no place in a header, a name or a log line.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Text that may stand in a header line: not empty, at most `max` bytes, no control or bidi characters.
///
/// # Errors
/// The first fault of the value.
pub fn header_safe(s: &str, max: usize) -> Result<(), Fault> {
    if s.trim_start().is_empty() {
        return fault(Reason::Empty, "must not be empty");
    }
    if s.len() > max {
        return fault(Reason::TooLong, format!("{} bytes; at most {max}", s.len()));
    }
    if is_plain(s) {
        return Ok(());
    }
    match s.chars().find(|&c| is_unsafe(c)) {
        Some(c) => fault(Reason::UnsafeText, format!("holds U+{:04X}", c as u32)),
        None => Ok(()),
    }
}

/// Whether a text is printable ASCII, which nearly all are. Looks at every byte, so that it can look at many at once.
fn is_plain(s: &str) -> bool {
    s.bytes().fold(true, |plain, b| plain & (b' '..=b'~').contains(&b))
}

/// Text of a message body: not empty, at most `max` characters, no control characters but tab and line breaks.
///
/// # Errors
/// The first fault of the value.
pub fn body(s: &str, max: usize) -> Result<(), Fault> {
    if s.is_empty() {
        return fault(Reason::Empty, "must not be empty");
    }
    // Bytes bound characters from above, so the count is needed for long texts only.
    if s.len() > max && s.chars().count() > max {
        return fault(Reason::TooLong, format!("more than {max} characters"));
    }
    // UTF-8: a control byte below 0x20 is never part of a longer character. Without any there is nothing to search for.
    if s.bytes().fold(u8::MAX, u8::min) >= b' ' {
        return Ok(());
    }
    match s.bytes().find(|&b| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) {
        Some(b) => fault(Reason::UnsafeText, format!("holds U+{b:04X}")),
        None => Ok(()),
    }
}

/// A name used as a label: ASCII letters, digits, `.`, `_`, `-`, at most `max` bytes.
///
/// # Errors
/// The first fault of the value.
pub fn label(s: &str, max: usize) -> Result<(), Fault> {
    header_safe(s, max)?;
    match s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        true => Ok(()),
        false => fault(Reason::BadToken, "only letters, digits, `.`, `_` and `-`"),
    }
}

/// An opaque token (device token, template id): printable ASCII without spaces, at most `max` bytes.
///
/// # Errors
/// The first fault of the value.
pub fn token(s: &str, max: usize) -> Result<(), Fault> {
    header_safe(s, max)?;
    match s.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => fault(Reason::BadToken, "only printable ASCII without spaces"),
    }
}

/// The bare address of a mailbox: what stands between `<` and `>`, or the whole.
#[must_use]
pub fn address(mailbox: &str) -> &str {
    split(mailbox).map_or(mailbox, |(_, address)| address)
}

/// The display name of a mailbox, if it has one, without its quotes.
#[must_use]
pub fn display_name(mailbox: &str) -> Option<&str> {
    let name = split(mailbox)?.0.trim().trim_matches('"');
    (!name.is_empty()).then_some(name)
}

/// Name and address of a mailbox that ends in `>`.
fn split(mailbox: &str) -> Option<(&str, &str)> {
    let named = mailbox.strip_suffix('>')?;
    let open = named.bytes().rposition(|b| b == b'<')?;
    Some((&named[..open], &named[open + 1..]))
}

/// `local@domain` or `Name <local@domain>`. The local part is an RFC 5322 dot-atom of at most 64 bytes; quoted
/// local parts are refused (no mailbox provider of weight issues them, and each is an injection waiting); the
/// domain has at least two labels, each of letters, digits and hyphens (IDNs in their `xn--` form).
///
/// # Errors
/// The first fault of the value.
pub fn mailbox(s: &str) -> Result<(), Fault> {
    header_safe(s, 320)?;
    if display_name(s).is_some_and(|name| name.contains(['<', '>', '"', '\\'])) {
        return fault(Reason::BadMailbox, "the display name holds `<`, `>`, `\"` or `\\`");
    }
    let addr = address(s);
    let Some(at) = addr.bytes().rposition(|b| b == b'@') else {
        return fault(Reason::BadMailbox, "no `@`");
    };
    let (local, domain) = (&addr[..at], &addr[at + 1..]);
    if local.len() > 64 || !is_dot_atom(local) {
        return fault(Reason::BadMailbox, "the part before `@` is not a dot-atom of at most 64 bytes");
    }
    match is_host_name(domain) {
        true => Ok(()),
        false => fault(Reason::BadMailbox, "the domain is not a full host name; hint: write an IDN in its `xn--` form"),
    }
}

/// Atoms with single dots between them (RFC 5322 section 3.2.3).
fn is_dot_atom(s: &str) -> bool {
    let mut last = b'.';
    for b in s.bytes() {
        if !ATEXT[usize::from(b)] && (b != b'.' || last == b'.') {
            return false;
        }
        last = b;
    }
    last != b'.'
}

/// Which bytes an atom is made of (RFC 5322 section 3.2.3).
const ATEXT: [bool; 256] = {
    let (mut table, mut b, others) = ([false; 256], 0_u8, b"!#$%&'*+-/=?^_`{|}~");
    while b.is_ascii() {
        table[b as usize] = b.is_ascii_alphanumeric();
        b += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

/// Two labels or more, each of 1 to 63 letters, digits and hyphens, without a hyphen at its edges; at most 253 bytes.
fn is_host_name(domain: &str) -> bool {
    let (mut last, mut label, mut dots) = (b'.', 0, 0);
    for b in domain.bytes() {
        match b {
            b'.' if last == b'.' || last == b'-' => return false,
            b'.' => (label, dots) = (0, dots + 1),
            b'-' if last == b'.' => return false,
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' if label < 63 => label += 1,
            _ => return false,
        }
        last = b;
    }
    dots > 0 && last != b'.' && last != b'-' && domain.len() <= 253
}

/// E.164: `+`, a first digit 1–9, 7 to 15 digits in all (ITU-T E.164 caps at 15).
///
/// # Errors
/// The first fault of the value.
pub fn phone(s: &str) -> Result<(), Fault> {
    header_safe(s, 32)?;
    let digits = s.strip_prefix('+').unwrap_or("");
    let ok = (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    match ok {
        true => Ok(()),
        false => fault(Reason::BadPhone, "not E.164; hint: `+` and 7 to 15 digits, as in `+14155550123`"),
    }
}

/// An SMS sender: E.164 number, short code (3–8 digits), alphanumeric id (≤ 11, a
/// letter among them), or Twilio service id (`MG…`).
///
/// # Errors
/// The first fault of the value.
pub fn sms_sender(s: &str) -> Result<(), Fault> {
    header_safe(s, 34)?;
    let digits = s.bytes().all(|b| b.is_ascii_digit());
    let short_code = digits && (3..=8).contains(&s.len());
    let service =
        s.len() == 34 && s.starts_with("MG") && s[2..].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let letter = s.bytes().any(|b| b.is_ascii_alphabetic());
    let sender_id = letter && s.len() <= 11 && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ');
    match phone(s).is_ok() || short_code || service || sender_id {
        true => Ok(()),
        false => fault(Reason::BadPhone, "neither number, short code, sender id (at most 11) nor `MG…` service"),
    }
}

/// An absolute http or https URL with a host, without credentials, spaces or backslashes, at most 2,048 bytes.
///
/// # Errors
/// The first fault of the value.
pub fn http_url(s: &str) -> Result<(), Fault> {
    header_safe(s, 2048)?;
    // The parser repairs what browsers repair (`http:host`, `https:\\host`, `https:///host`); a contract does not.
    let scheme = ["http://", "https://"].into_iter().find(|scheme| starts_with_ignoring_case(s, scheme));
    let Some(scheme) = scheme else {
        return fault(Reason::BadUrl, "does not start with `http://` or `https://`");
    };
    if is_plain_rest(&s[scheme.len()..]) {
        return Ok(());
    }
    if s.contains(|c: char| c.is_whitespace() || c == '\\') {
        return fault(Reason::BadUrl, "holds a space or a backslash");
    }
    match s[scheme.len()..].split(['/', '?', '#']).next() {
        None | Some("") => fault(Reason::BadUrl, "no host"),
        Some(authority) if authority.contains('@') => fault(Reason::BadUrl, "holds credentials"),
        Some(_) => url::Url::parse(s).map(|_| ()).or_else(|e| fault(Reason::BadUrl, e.to_string())),
    }
}

/// What stands behind a scheme and needs no parser to be seen to be good: a host name in small letters whose last label
/// is no number, then nothing or a path of printable ASCII. The parser says yes to all of these.
fn is_plain_rest(rest: &str) -> bool {
    let (host, path) = rest.split_at(rest.bytes().position(|b| b == b'/').unwrap_or(rest.len()));
    // Where the last label begins.
    let (mut label, mut all_named) = (0, host.len() <= 253 && !host.starts_with("xn--"));
    for (at, b) in host.bytes().enumerate() {
        match b {
            b'.' => {
                all_named &= at > label && !host[at + 1..].starts_with("xn--");
                label = at + 1;
            }
            _ => all_named &= b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-',
        }
    }
    all_named
        && host.as_bytes().get(label).is_some_and(u8::is_ascii_lowercase)
        && path.bytes().fold(true, |plain, b| plain & matches!(b, b'!'..=b'[' | b']'..=b'~'))
}

fn starts_with_ignoring_case(s: &str, prefix: &str) -> bool {
    s.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Like [`http_url`], https only (RFC 8058 asks it of the one-click address).
///
/// # Errors
/// The first fault of the value.
pub fn https_url(s: &str) -> Result<(), Fault> {
    http_url(s)?;
    match s.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
        && s.bytes().fold(true, |free, b| free & !matches!(b, b'<' | b'>' | b' ' | b','))
    {
        true => Ok(()),
        false => fault(Reason::BadUrl, "must be https, without commas or angle brackets"),
    }
}

/// An HTTP or mail header name: letters, digits and hyphens, at most 64 bytes (narrower than RFC 9110 tokens
/// and RFC 5322 field names, so that it is valid as either).
///
/// # Errors
/// The first fault of the value.
pub fn header_name(s: &str) -> Result<(), Fault> {
    match (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        true => Ok(()),
        false => fault(Reason::BadHeader, "a header name has letters, digits and `-`, at most 64"),
    }
}

/// Whether a text has the form of an RFC 3339 time with at most nine digits of a second's fraction and no leap
/// second; whether that day and hour exist is not asked.
#[must_use]
pub fn is_rfc3339(s: &str) -> bool {
    // In a form, `9` stands for any digit, `5` for 0 to 5; anything else for itself, in any case.
    let matches = |text: &[u8], form: &[u8]| {
        let fits = |(byte, form): (&u8, &u8)| match form {
            b'9' => byte.is_ascii_digit(),
            b'5' => (b'0'..=b'5').contains(byte),
            _ => byte.eq_ignore_ascii_case(form),
        };
        text.len() == form.len() && text.iter().zip(form).all(fits)
    };
    let Some((time, rest)) = s.as_bytes().split_at_checked(19) else { return false };
    let fraction = rest.strip_prefix(b".").map_or(0, |f| 1 + f.iter().take_while(|b| b.is_ascii_digit()).count());
    let zone = &rest[fraction..];
    let offset = matches(zone, b"+99:59") || matches(zone, b"-99:59");
    matches(time, b"9999-99-99T99:59:59")
        && (fraction == 0 || (2..=10).contains(&fraction))
        && (matches(zone, b"Z") || (offset && zone[1..3] <= b"23"[..]))
}
