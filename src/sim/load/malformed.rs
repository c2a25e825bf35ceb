//! Records that are no jobs, one of each kind, with the reason and field they must be turned away for.
//!
//! Why: what upstream gets wrong, on purpose or not, must end as a dead letter that names the fault, and take
//! nothing else with it.
//! Must not know: how records are read.

/// How one kind is made.
enum Make {
    /// This text, with the number for each `#`.
    Text(&'static str),
    /// These bytes.
    Bytes(fn() -> Vec<u8>),
}

use Make::{Bytes, Text};

/// A good mail but for the members that follow.
macro_rules! mail {
    ($members:literal) => {
        Text(concat!(r##"{"id":"bad-#","tenant":"shop","channel":"email","to":"user-#@example.com""##, $members, "}"))
    };
}

/// A good mail but for its recipient.
macro_rules! mail_to {
    ($to:literal) => {
        Text(concat!(
            r##"{"id":"bad-#","tenant":"shop","channel":"email","content":{"subject":"s","text":"t"},"to":""##,
            $to,
            "\"}"
        ))
    };
}

/// A good text message but for the members that follow.
macro_rules! sms {
    ($members:literal) => {
        Text(concat!(r##"{"id":"bad-#","tenant":"shop","channel":"sms""##, $members, "}"))
    };
}

/// A good webhook but for the members that follow.
macro_rules! hook {
    ($members:literal) => {
        Text(concat!(r##"{"id":"bad-#","tenant":"shop","channel":"webhook","content":{"n":#}"##, $members, "}"))
    };
}

type Row = (Make, &'static str, &'static str);

const ROWS: &[Row] = &[
    // Not JSON, or not one object.
    (Text(""), "no_value", ""),
    (Text("order # was paid"), "not_json", ""),
    (Text(r#"{"id":"bad-#","tenant":"shop","channel":"em"#), "not_json", ""),
    (Text(r#"{"id":"bad-#","tenant":"shop"} {"id":"bad-#"}"#), "not_json", ""),
    (Text("\u{FEFF}{\"id\":\"bad-#\"}"), "not_json", ""),
    (Bytes(not_utf8), "not_json", ""),
    (Bytes(|| nested(b"{\"a\":", 5_000, b"")), "not_json", ""),
    (Bytes(|| nested(b"{\"a\":", 5_000, b"}")), "unknown_field", "a"),
    (Bytes(|| nested(b"[", 100_000, b"")), "not_an_object", ""),
    (Bytes(|| mail_with(&nested(b"[", 20_000, b"]"))), "wrong_type", "content"),
    (Bytes(|| mail_with(&nested(b"{\"subject\":\"s\",\"text\":", 5_000, b"}"))), "wrong_type", "content.text"),
    (Bytes(|| mail_with(&nested(b"[", 20_000, b""))), "not_json", ""),
    (Bytes(oversize), "too_large", ""),
    (Text(r#"[{"id":"bad-#"}]"#), "not_an_object", ""),
    (Text("#"), "not_an_object", ""),
    // Members that are not the contract's, or missing.
    (mail!(r#","content":{"subject":"s","text":"t"},"priority":9"#), "unknown_field", "priority"),
    (mail!(r#","content":{"subject":"s","text":"t","colour":"red"}"#), "unknown_field", "content.colour"),
    (mail!(r#","content":{"subject":"s","text":"t"},"tenant":"bank""#), "duplicate_field", "tenant"),
    (mail!(r#","content":{"subject":"s","text":"t"},"\u0069d":"other""#), "duplicate_field", "id"),
    (Text(r##"{"tenant":"shop","channel":"sms","to":"+15550000005","content":{"body":"#"}}"##), "missing_field", "id"),
    (
        Text(r##"{"id":null,"tenant":"shop","channel":"sms","to":"+15550000005","content":{"body":"#"}}"##),
        "missing_field",
        "id",
    ),
    (Text(r#"{"id":"bad-#","channel":"sms","to":"+15550000005","content":{"body":"t"}}"#), "missing_field", "tenant"),
    (Text(r#"{"id":"bad-#","tenant":"shop","to":"+15550000005","content":{"body":"t"}}"#), "missing_field", "channel"),
    (sms!(r#","content":{"body":"t"}"#), "missing_field", "to"),
    (sms!(r#","to":"+15550000005""#), "missing_field", "content"),
    (sms!(r#","to":"+15550000005","content":{}"#), "missing_field", "content.body"),
    (mail!(r#","content":{"subject":"s"}"#), "missing_field", "content.text"),
    (sms!(r#","to":"+15550000005","content":{"body":"t"},"consent":{"source":"form"}"#), "missing_field", "consent.at"),
    (mail!(r#","content":{"template_id":"d-1","subject":"s"}"#), "not_for_channel", "content.subject"),
    (mail!(r#","content":{"subject":"s","text":"t","data":{}}"#), "not_for_channel", "content.data"),
    (sms!(r#","to":"+15550000005","content":{"body":"t"},"reply_to":"a@example.com""#), "not_for_channel", "reply_to"),
    (sms!(r#","to":"+15550000005","content":{"body":"t"},"headers":{"X-A":"1"}"#), "not_for_channel", "headers"),
    (hook!(r#","to":"https://example.com/h","from":"a@example.com""#), "not_for_channel", "from"),
    // The wrong type.
    (
        Text(r#"{"id":#,"tenant":"shop","channel":"sms","to":"+15550000005","content":{"body":"t"}}"#),
        "wrong_type",
        "id",
    ),
    (mail!(r#","content":"hello""#), "wrong_type", "content"),
    (mail!(r#","content":{"template_id":"d-1","data":[1]}"#), "wrong_type", "content.data"),
    (mail!(r#","content":{"subject":"s","text":"t"},"headers":["X-A"]"#), "wrong_type", "headers"),
    (
        mail!(r#","content":{"subject":"s","text":"t"},"unsubscribe":"https://example.com/u""#),
        "wrong_type",
        "unsubscribe",
    ),
    (mail!(r#","content":{"subject":"s","text":"t"},"send_at":1795770000"#), "wrong_type", "send_at"),
    (
        mail!(r#","content":{"subject":"s","text":"t"},"unsubscribe":{"url":"https://example.com/u","group":0}"#),
        "wrong_type",
        "unsubscribe.group",
    ),
    // Values that cannot be what they should be.
    (
        Text(r#"{"id":"bad-#","tenant":"shop","channel":"fax","to":"+15550000005","content":{"body":"t"}}"#),
        "bad_channel",
        "channel",
    ),
    (
        Text(r#"{"id":"bad-#","tenant":"the shop","channel":"sms","to":"+15550000005","content":{"body":"t"}}"#),
        "bad_token",
        "tenant",
    ),
    (
        Text(r#"{"id":"bad-#","tenant":"shop","channel":"push","to":"to ken","content":{"title":"t","body":"b"}}"#),
        "bad_token",
        "to",
    ),
    (mail_to!("user-#"), "bad_mailbox", "to"),
    (mail_to!("a@example.com, b@example.com"), "bad_mailbox", "to"),
    (mail!(r#","content":{"subject":"s","text":"t"},"reply_to":"<a@b@example.com>""#), "bad_mailbox", "reply_to"),
    (sms!(r#","to":"15550000005","content":{"body":"t"}"#), "bad_phone", "to"),
    (sms!(r#","to":"+15550000005","from":"Very Long Sender","content":{"body":"t"}"#), "bad_phone", "from"),
    (hook!(r#","to":"ftp://example.com/h""#), "bad_url", "to"),
    (hook!(r#","to":"https://user:secret@example.com/h""#), "bad_url", "to"),
    (
        mail!(r#","content":{"subject":"s","text":"t"},"unsubscribe":{"url":"http://example.com/u"}"#),
        "bad_url",
        "unsubscribe.url",
    ),
    (mail!(r#","content":{"subject":"s","text":"t"},"send_at":"tomorrow""#), "bad_time", "send_at"),
    (mail!(r#","content":{"subject":"s","text":"t"},"expires_at":"2030-01-01T00:00:00""#), "bad_time", "expires_at"),
    (mail!(r#","content":{"subject":" ","text":"t"}"#), "empty", "content.subject"),
    (mail!(r#","content":{"subject":"s","text":""}"#), "empty", "content.text"),
    (Bytes(long_id), "too_long", "id"),
    (Bytes(long_body), "too_long", "content.body"),
    // What would forge a header or deceive a reader.
    (mail!(r#","content":{"subject":"Hi\r\nBcc: all@example.com","text":"t"}"#), "unsafe_text", "content.subject"),
    (mail!(r#","content":{"subject":"s","text":"t"},"from":"Bank \u202egro <a@example.com>""#), "unsafe_text", "from"),
    (
        mail!(r#","content":{"subject":"s","text":"t"},"headers":{"X-Note":"a\r\nBcc: b@example.com"}"#),
        "unsafe_text",
        "headers.X-Note",
    ),
    (mail!(r#","content":{"subject":"s","text":"a\u0000b"}"#), "unsafe_text", "content.text"),
    (
        mail!(r#","content":{"subject":"s","text":"t"},"headers":{"List-Unsubscribe":"<https://example.com>"}"#),
        "bad_header",
        "headers.List-Unsubscribe",
    ),
    (mail!(r#","content":{"subject":"s","text":"t"},"headers":{"X Note":"a"}"#), "bad_header", "headers"),
    (
        mail!(r#","content":{"subject":"s","text":"t"},"headers":{"X-A":"1","x-a":"2"}"#),
        "duplicate_field",
        "headers.x-a",
    ),
    (Bytes(many_headers), "too_many", "headers"),
];

/// How many kinds [`malformed`] goes through.
pub const KINDS: u64 = ROWS.len() as u64;

/// The `n`th record that is no job, with the reason code and the field it must be turned away for. Goes through
/// all [`KINDS`] and begins again; one of them is over 256 KiB, one is 100 KB of brackets.
#[must_use]
pub fn malformed(n: u64) -> (Vec<u8>, &'static str, &'static str) {
    // Below the number of rows, so it fits.
    let row = usize::try_from(n % KINDS).unwrap_or(0);
    let (make, reason, field) = &ROWS[row];
    let bytes = match make {
        Text(text) => text.replace('#', &n.to_string()).into_bytes(),
        Bytes(make) => make(),
    };
    (bytes, reason, field)
}

fn not_utf8() -> Vec<u8> {
    mail_with(b"{\"subject\":\"s\",\"text\":\"caf\xe9\"}")
}

fn mail_with(content: &[u8]) -> Vec<u8> {
    let head = b"{\"id\":\"bad\",\"tenant\":\"shop\",\"channel\":\"email\",\"to\":\"user@example.com\",\"content\":";
    [head.as_slice(), content, b"}"].concat()
}

fn nested(open: &[u8], levels: usize, close: &[u8]) -> Vec<u8> {
    [open.repeat(levels).as_slice(), b"1", &close.repeat(levels)].concat()
}

fn oversize() -> Vec<u8> {
    let text = [b"{\"subject\":\"s\",\"text\":\"".as_slice(), &b"x".repeat(256 * 1024), b"\"}"].concat();
    mail_with(&text)
}

fn long_id() -> Vec<u8> {
    let (id, rest) = ("x".repeat(129), r#""tenant":"shop","channel":"sms","to":"+15550000005","content":{"body":"t"}"#);
    format!(r#"{{"id":"{id}",{rest}}}"#).into_bytes()
}

fn long_body() -> Vec<u8> {
    let (body, head) = ("ü".repeat(1601), r#""id":"bad","tenant":"shop","channel":"sms","to":"+15550000005""#);
    format!(r#"{{{head},"content":{{"body":"{body}"}}}}"#).into_bytes()
}

fn many_headers() -> Vec<u8> {
    let headers: Vec<String> = (0..21).map(|i| format!(r#""X-{i}":"v""#)).collect();
    let content = format!(r#"{{"subject":"s","text":"t"}},"headers":{{{}}}"#, headers.join(","));
    mail_with(content.as_bytes())
}
