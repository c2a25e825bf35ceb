//! The table of the job contract: one row per thing that must pass or must be turned away.

use peakpost::job::invalid::Reason;
use serde_json::{Value, json};

/// A mail with every member a mail can have.
pub const EMAIL: &str = r#"{
  "id": "order-1842", "tenant": "shop-eu", "campaign": "cyber-week", "channel": "email",
  "to": "Ana Ruiz <ana@example.com>", "from": "Shop <news@shop.example>", "reply_to": "help@shop.example",
  "content": {"subject": "It is \u00fcber here", "text": "Hello\r\n\tAna", "html": "<p>Hello</p>"},
  "unsubscribe": {"url": "https://shop.example/u/7?a=b", "group": 1042}, "ordering_key": "customer-77",
  "send_at": "2026-11-27T09:00:00Z", "expires_at": "2026-11-27T21:00:00.250+01:00",
  "consent": {"at": "2025-03-02T18:21:07-05:00", "source": "checkout"}, "headers": {"X-Order": "1842"}}"#;
pub const TEMPLATE: &str = r#"{"id": "w-1", "tenant": "shop", "channel": "email", "to": "ana@example.com",
  "content": {"template_id": "d-f43d", "data": {"name": "Ana"}}}"#;
pub const SMS: &str = r#"{"id": "c-1", "tenant": "shop", "channel": "sms", "to": "+14155550123", "from": "PEAKSHOP",
  "content": {"body": "Your code is 481516"}}"#;
pub const PUSH: &str = r#"{"id": "p-1", "tenant": "shop", "channel": "push", "to": "fcm:APA91bHun4",
  "content": {"title": "Sale", "body": "Doors open", "data": {"screen": "sale"}}}"#;
pub const HOOK: &str = r#"{"id": "h-1", "tenant": "shop", "channel": "webhook", "to": "https://partner.example/hook",
  "content": {"order": 1842}, "headers": {"X-Partner": "acme"}}"#;

/// One record, and what must become of it.
pub struct Row {
    pub why: &'static str,
    pub record: Vec<u8>,
    /// The fault and its field; `None` for a valid job.
    pub fault: Option<(Reason, &'static str)>,
    /// Why a JSON Schema cannot see the fault; `None` when it must.
    pub code_only: Option<&'static str>,
}

impl Row {
    /// Marks a fault that a schema cannot express.
    fn code_only(mut self, because: &'static str) -> Self {
        self.code_only = Some(because);
        self
    }
}

fn good(why: &'static str, record: impl Into<Vec<u8>>) -> Row {
    Row { why, record: record.into(), fault: None, code_only: None }
}

fn bad(why: &'static str, record: impl Into<Vec<u8>>, reason: Reason, field: &'static str) -> Row {
    Row { why, record: record.into(), fault: Some((reason, field)), code_only: None }
}

/// `base` with the member at a dotted path set to `value`.
fn set(base: &str, path: &str, value: Value) -> Vec<u8> {
    let mut job: Value = serde_json::from_str(base).unwrap();
    let mut at = &mut job;
    for name in path.split('.') {
        at = &mut at[name];
    }
    *at = value;
    serde_json::to_vec(&job).unwrap()
}

fn without(base: &str, name: &str) -> Vec<u8> {
    let mut job: Value = serde_json::from_str(base).unwrap();
    job.as_object_mut().unwrap().remove(name).unwrap();
    serde_json::to_vec(&job).unwrap()
}

const BYTES: &str = "the limit is in bytes";
const TWICE: &str = "readers keep the last of two members";
const BEFORE: &str = "it is no JSON document, so no schema sees it";

pub fn rows() -> Vec<Row> {
    [record_rows(), text_rows(), address_rows(), time_and_object_rows(), content_rows(), header_rows()]
        .into_iter()
        .flatten()
        .collect()
}

fn record_rows() -> Vec<Row> {
    let too_large = set(EMAIL, "content.text", json!("x".repeat(256 * 1024)));
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(SMS.as_bytes());
    vec![
        good("a mail with everything", EMAIL),
        good("a template", TEMPLATE),
        good("a text message", SMS),
        good("a push notification", PUSH),
        good("a webhook", HOOK),
        good("null is the same as absent", set(SMS, "campaign", Value::Null)),
        good("null where the member means nothing", set(PUSH, "headers", Value::Null)),
        good("white space around the record", format!(" \n{SMS}\t ")),
        bad("over 256 KiB", too_large, Reason::TooLarge, "").code_only("a schema does not see the record's size"),
        bad("a tombstone", "", Reason::NoValue, "").code_only(BEFORE),
        bad("plain text", "hello", Reason::NotJson, "").code_only(BEFORE),
        bad("cut short", &EMAIL.as_bytes()[..100], Reason::NotJson, "").code_only(BEFORE),
        bad("something after the object", format!("{SMS}{SMS}"), Reason::NotJson, "").code_only(BEFORE),
        bad("a byte order mark (RFC 8259 §8.1)", bom, Reason::NotJson, "").code_only(BEFORE),
        bad("not UTF-8", &b"{\"id\": \"\xff\"}"[..], Reason::NotJson, "").code_only(BEFORE),
        bad("a comma too many", SMS.replace("}}", "},}"), Reason::NotJson, "").code_only(BEFORE),
        bad("half a surrogate pair", SMS.replace("c-1", "\\ud800"), Reason::NotJson, "id").code_only(BEFORE),
        bad("an array of jobs", format!("[{SMS}]"), Reason::NotAnObject, ""),
        bad("null", "null", Reason::NotAnObject, ""),
        bad("a misspelled field", set(SMS, "tennant", json!("x")), Reason::UnknownField, "tennant"),
        bad("a field in another case", set(SMS, "Id", json!("x")), Reason::UnknownField, "Id"),
        bad("a lane of its own choice", set(SMS, "lane", json!("transactional")), Reason::UnknownField, "lane"),
        bad("a field twice", SMS.replacen('{', "{\"id\": \"a\",", 1), Reason::DuplicateField, "id").code_only(TWICE),
        bad("twice, once as null", SMS.replacen('{', "{\"to\": null,", 1), Reason::DuplicateField, "to")
            .code_only(TWICE),
        bad("no id", without(SMS, "id"), Reason::MissingField, "id"),
        bad("no tenant", without(SMS, "tenant"), Reason::MissingField, "tenant"),
        bad("no channel", without(SMS, "channel"), Reason::MissingField, "channel"),
        bad("no recipient", without(SMS, "to"), Reason::MissingField, "to"),
        bad("no content", without(SMS, "content"), Reason::MissingField, "content"),
        bad("a required field as null", set(SMS, "id", Value::Null), Reason::MissingField, "id"),
        bad("a number for an id", set(SMS, "id", json!(17)), Reason::WrongType, "id"),
        bad("a number for a channel", set(SMS, "channel", json!(1)), Reason::WrongType, "channel"),
        bad("a channel we do not have", set(SMS, "channel", json!("fax")), Reason::BadChannel, "channel"),
        bad("a channel in another case", set(SMS, "channel", json!("SMS")), Reason::BadChannel, "channel"),
    ]
}

fn text_rows() -> Vec<Row> {
    vec![
        good("the longest id", set(SMS, "id", json!("x".repeat(128)))),
        bad("an id too long", set(SMS, "id", json!("x".repeat(129))), Reason::TooLong, "id"),
        bad("65 characters of two bytes", set(SMS, "id", json!("é".repeat(65))), Reason::TooLong, "id")
            .code_only(BYTES),
        bad("an empty id", set(SMS, "id", json!("")), Reason::Empty, "id"),
        bad("a blank id", set(SMS, "id", json!(" \u{3000}")), Reason::Empty, "id"),
        bad("a NUL", set(SMS, "id", json!("a\0b")), Reason::UnsafeText, "id"),
        bad("a C1 control", set(SMS, "campaign", json!("a\u{85}b")), Reason::UnsafeText, "campaign"),
        bad("text that runs the other way", set(SMS, "campaign", json!("a\u{202e}b")), Reason::UnsafeText, "campaign"),
        bad("an invisible mark", set(SMS, "ordering_key", json!("a\u{feff}")), Reason::UnsafeText, "ordering_key"),
        good("a tenant of label characters", set(SMS, "tenant", json!("Shop_eu.2-x"))),
        bad("a tenant with a slash", set(SMS, "tenant", json!("shop/eu")), Reason::BadToken, "tenant"),
        bad("a tenant outside ASCII", set(SMS, "tenant", json!("größe")), Reason::BadToken, "tenant"),
        bad("a tenant too long", set(SMS, "tenant", json!("x".repeat(65))), Reason::TooLong, "tenant"),
        bad("an empty optional text", set(SMS, "campaign", json!("")), Reason::Empty, "campaign"),
        bad(
            "an ordering key too long",
            set(SMS, "ordering_key", json!("x".repeat(257))),
            Reason::TooLong,
            "ordering_key",
        ),
    ]
}

fn address_rows() -> Vec<Row> {
    let to = |mailbox: &str| set(EMAIL, "to", json!(mailbox));
    let hook = |url: &str| set(HOOK, "to", json!(url));
    let long_local = format!("{}@example.com", "x".repeat(65));
    let long_domain = format!("a@{}.example", vec!["x".repeat(61); 4].join("."));
    vec![
        good("a bare address", to("a.b+c@mail.example.com")),
        good("a quoted name", to("\"Ruiz, Ana\" <ana@example.com>")),
        good("an IDN in its ASCII form", to("ana@xn--bcher-kva.example")),
        bad("no @", to("ana"), Reason::BadMailbox, "to"),
        bad("no dot in the domain", to("ana@localhost"), Reason::BadMailbox, "to"),
        bad("a quoted local part", to("\"a b\"@example.com"), Reason::BadMailbox, "to"),
        bad("two addresses", to("a@example.com, b@example.com"), Reason::BadMailbox, "to"),
        bad("an address in the name", to("<x@y.example> <ana@example.com>"), Reason::BadMailbox, "to"),
        bad("two dots in a row", to("a..b@example.com"), Reason::BadMailbox, "to"),
        bad("a hyphen at a label's edge", to("a@-x.example"), Reason::BadMailbox, "to"),
        bad("an IDN as it is", to("ana@bücher.example"), Reason::BadMailbox, "to"),
        bad("65 bytes before the @", to(&long_local), Reason::BadMailbox, "to").code_only("needs look-ahead"),
        bad("a host name of 255 bytes", to(&long_domain), Reason::BadMailbox, "to").code_only("needs look-ahead"),
        bad("a header in the mailbox", to("a@example.com\r\nBcc: b@example.com"), Reason::UnsafeText, "to"),
        bad("a line break before the name", to("\nAna <ana@example.com>"), Reason::UnsafeText, "to"),
        bad("a sender without a domain", set(EMAIL, "from", json!("news")), Reason::BadMailbox, "from"),
        bad(
            "a reply address without a name",
            set(EMAIL, "reply_to", json!("@x.example")),
            Reason::BadMailbox,
            "reply_to",
        ),
        good("the longest number", set(SMS, "to", json!("+123456789012345"))),
        bad("16 digits", set(SMS, "to", json!("+1234567890123456")), Reason::BadPhone, "to"),
        bad("a national number", set(SMS, "to", json!("04155550123")), Reason::BadPhone, "to"),
        bad("a number with spaces", set(SMS, "to", json!("+1 415 555 0123")), Reason::BadPhone, "to"),
        bad("a mailbox for an SMS", set(SMS, "to", json!("ana@example.com")), Reason::BadPhone, "to"),
        good("a short code", set(SMS, "from", json!("72345"))),
        good("a service id", set(SMS, "from", json!("MG0123456789abcdef0123456789abcdef"))),
        bad("a sender id of 12", set(SMS, "from", json!("ABCDEFGHIJKL")), Reason::BadPhone, "from"),
        bad("a sender id without a letter", set(SMS, "from", json!("12 34")), Reason::BadPhone, "from"),
        bad("a device token with a space", set(PUSH, "to", json!("a b")), Reason::BadToken, "to"),
        bad("a device token too long", set(PUSH, "to", json!("x".repeat(4097))), Reason::TooLong, "to"),
        good("an upper-case scheme and a port", hook("HTTP://partner.example:8080?x=1#y")),
        bad("another scheme", hook("ftp://partner.example/"), Reason::BadUrl, "to"),
        bad("no scheme", hook("partner.example/hook"), Reason::BadUrl, "to"),
        bad("no host", hook("https://?x"), Reason::BadUrl, "to"),
        bad("slashes that a browser would mend", hook("https:partner.example"), Reason::BadUrl, "to"),
        bad("a backslash", hook("https://partner.example\\@evil.example/"), Reason::BadUrl, "to"),
        bad("a slash too many", hook("https:///partner.example/"), Reason::BadUrl, "to"),
        bad("an empty user", hook("https://@partner.example/"), Reason::BadUrl, "to"),
        bad("credentials", hook("https://user:secret@partner.example/"), Reason::BadUrl, "to"),
        bad("a space", hook("https://partner.example/a b"), Reason::BadUrl, "to"),
        bad("a port that is none", hook("https://partner.example:99999/"), Reason::BadUrl, "to")
            .code_only("a number's range"),
        bad("a URL too long", hook(&format!("https://x.example/{}", "x".repeat(2048))), Reason::TooLong, "to"),
    ]
}

fn time_and_object_rows() -> Vec<Row> {
    let at = |time: &str| set(SMS, "send_at", json!(time));
    let group = |raw: &str| EMAIL.replace("1042}", &format!("{raw}}}"));
    vec![
        good("nine digits of a second", at("2026-11-27T09:00:00.123456789Z")),
        good("lower case (RFC 3339 §5.6)", at("2026-11-27t09:00:00z")),
        bad("a date", at("2026-11-27"), Reason::BadTime, "send_at"),
        bad("no offset", at("2026-11-27T09:00:00"), Reason::BadTime, "send_at"),
        bad("a space for the T", at("2026-11-27 09:00:00Z"), Reason::BadTime, "send_at"),
        bad("a leap second", at("2016-12-31T23:59:60Z"), Reason::BadTime, "send_at"),
        bad("an offset of a day", at("2026-11-27T09:00:00+24:00"), Reason::BadTime, "send_at"),
        bad("ten digits of a second", at("2026-11-27T09:00:00.0123456789Z"), Reason::BadTime, "send_at"),
        bad("no seconds", at("2026-11-27T09:00Z"), Reason::BadTime, "send_at"),
        bad("a zone's name (RFC 9557)", at("2026-11-27T09:00:00+01:00[Europe/Madrid]"), Reason::BadTime, "send_at"),
        bad("a day that does not exist", at("2026-02-30T09:00:00Z"), Reason::BadTime, "send_at"),
        bad(
            "milliseconds since 1970",
            set(SMS, "expires_at", json!(1_795_770_000_000_u64)),
            Reason::WrongType,
            "expires_at",
        ),
        bad(
            "consent without a time",
            set(EMAIL, "consent", json!({"source": "x"})),
            Reason::MissingField,
            "consent.at",
        ),
        bad(
            "consent without a source",
            set(EMAIL, "consent.source", Value::Null),
            Reason::MissingField,
            "consent.source",
        ),
        bad("consent as a flag", set(EMAIL, "consent", json!(true)), Reason::WrongType, "consent"),
        bad("consent at no time", set(EMAIL, "consent.at", json!("yes")), Reason::BadTime, "consent.at"),
        bad("a stranger in consent", set(EMAIL, "consent.ip", json!("::1")), Reason::UnknownField, "consent.ip"),
        good("no unsubscribe group", set(EMAIL, "unsubscribe.group", Value::Null)),
        bad("no address", set(EMAIL, "unsubscribe", json!({"group": 1})), Reason::MissingField, "unsubscribe.url"),
        bad("http", set(EMAIL, "unsubscribe.url", json!("http://x.example/")), Reason::BadUrl, "unsubscribe.url"),
        bad("a comma", set(EMAIL, "unsubscribe.url", json!("https://x.example/,")), Reason::BadUrl, "unsubscribe.url"),
        bad("group 0", group("0"), Reason::WrongType, "unsubscribe.group"),
        bad("group −1", group("-1"), Reason::WrongType, "unsubscribe.group"),
        bad("group as text", group("\"7\""), Reason::WrongType, "unsubscribe.group"),
        bad("group over 32 bits", group("4294967296"), Reason::WrongType, "unsubscribe.group"),
        bad("group 7.0 (some validators take it for 7)", group("7.0"), Reason::WrongType, "unsubscribe.group"),
        bad(
            "on an SMS",
            set(SMS, "unsubscribe", json!({"url": "https://x.example"})),
            Reason::NotForChannel,
            "unsubscribe",
        ),
        bad(
            "a reply address on a push",
            set(PUSH, "reply_to", json!("a@x.example")),
            Reason::NotForChannel,
            "reply_to",
        ),
        bad("a sender on a push", set(PUSH, "from", json!("a@x.example")), Reason::NotForChannel, "from"),
        bad("a sender on a webhook", set(HOOK, "from", json!("a@x.example")), Reason::NotForChannel, "from"),
    ]
}

fn content_rows() -> Vec<Row> {
    let subject = |text: &str| set(EMAIL, "content.subject", json!(text));
    let body = |text: &str| set(SMS, "content.body", json!(text));
    vec![
        good("HTML alone", set(EMAIL, "content", json!({"subject": "x", "html": "<p>"}))),
        bad(
            "neither text nor HTML",
            set(EMAIL, "content", json!({"subject": "x"})),
            Reason::MissingField,
            "content.text",
        ),
        bad("no subject", set(EMAIL, "content", json!({"text": "x"})), Reason::MissingField, "content.subject"),
        bad(
            "a second header in the subject",
            subject("Sale\r\nBcc: x@y.example"),
            Reason::UnsafeText,
            "content.subject",
        ),
        bad("a subject too long", subject(&"x".repeat(999)), Reason::TooLong, "content.subject"),
        bad("an empty text", set(EMAIL, "content.text", json!("")), Reason::Empty, "content.text"),
        bad(
            "an escape in the text",
            set(EMAIL, "content.text", json!("\u{1b}[2J")),
            Reason::UnsafeText,
            "content.text",
        ),
        bad("text in the place of an object", set(EMAIL, "content", json!("Hello")), Reason::WrongType, "content"),
        bad("a stranger in the content", set(EMAIL, "content.body", json!("x")), Reason::UnknownField, "content.body"),
        good("a template without data", set(TEMPLATE, "content", json!({"template_id": "d-1"}))),
        bad(
            "a template with a subject",
            set(TEMPLATE, "content.subject", json!("x")),
            Reason::NotForChannel,
            "content.subject",
        ),
        bad("data without a template", set(EMAIL, "content.data", json!({})), Reason::NotForChannel, "content.data"),
        bad("data that is a list", set(TEMPLATE, "content.data", json!([1])), Reason::WrongType, "content.data"),
        bad(
            "a template id with a space",
            set(TEMPLATE, "content.template_id", json!("d 1")),
            Reason::BadToken,
            "content.template_id",
        ),
        good("1,600 characters of four bytes", body(&"😀".repeat(1600))),
        bad("1,601 characters", body(&"x".repeat(1601)), Reason::TooLong, "content.body"),
        bad("an empty message", body(""), Reason::Empty, "content.body"),
        bad("a bell", body("\u{7}"), Reason::UnsafeText, "content.body"),
        bad(
            "a push without a title",
            set(PUSH, "content", json!({"body": "x"})),
            Reason::MissingField,
            "content.title",
        ),
        bad(
            "a title over 256 bytes",
            set(PUSH, "content.title", json!("x".repeat(257))),
            Reason::TooLong,
            "content.title",
        ),
        bad("push data as text", set(PUSH, "content.data", json!("{}")), Reason::WrongType, "content.data"),
        good("a webhook's content is any JSON", set(HOOK, "content", json!([1, "two", {"three": [null, false]}]))),
        bad("but not null", set(HOOK, "content", Value::Null), Reason::MissingField, "content"),
    ]
}

fn header_rows() -> Vec<Row> {
    let headers = |value: Value| set(EMAIL, "headers", value);
    let many = |n: usize| (0..n).map(|i| (format!("X-{i}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let twice = |a: &str, b: &str| HOOK.replace("\"X-Partner\": \"acme\"", &format!("\"{a}\": \"1\", \"{b}\": \"2\""));
    vec![
        good("20 headers", headers(Value::Object(many(20)))),
        bad("21 headers", headers(Value::Object(many(21))), Reason::TooMany, "headers"),
        bad("a list", headers(json!(["X-A: 1"])), Reason::WrongType, "headers"),
        bad("a number as value", headers(json!({"X-A": 1})), Reason::WrongType, "headers"),
        bad("a space in the name", headers(json!({"X A": "1"})), Reason::BadHeader, "headers"),
        bad("an empty name", headers(json!({"": "1"})), Reason::BadHeader, "headers"),
        bad("an empty value", headers(json!({"X-A": ""})), Reason::Empty, "headers.X-A"),
        bad("a line break in the value", headers(json!({"X-A": "1\nBcc: x"})), Reason::UnsafeText, "headers.X-A"),
        bad("a value too long", headers(json!({"X-A": "x".repeat(2049)})), Reason::TooLong, "headers.X-A"),
        bad("a reserved name", headers(json!({"bcc": "x@y.example"})), Reason::BadHeader, "headers.bcc"),
        bad("in another case", headers(json!({"BCC": "x"})), Reason::BadHeader, "headers.BCC").code_only("letter case"),
        bad("a name twice", twice("X-A", "X-A"), Reason::DuplicateField, "headers.X-A").code_only(TWICE),
        bad("twice but for case", twice("X-A", "x-a"), Reason::DuplicateField, "headers.x-a").code_only("letter case"),
        bad("headers on an SMS", set(SMS, "headers", json!({"X-A": "1"})), Reason::NotForChannel, "headers"),
    ]
}
