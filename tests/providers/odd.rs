//! Texts in a vendor's JSON that cannot be read to the end: half a character, an escape that is none, a control character.
//!
//! Why: vendors quote what strange mail servers said. One such text must not lose its event; and a vendor that is answered
//! 404 for it tells the whole list again, in vain.

use std::time::Duration;

use peakpost::event::Heard;
use peakpost::provider::Ear;
use peakpost::provider::secret::Secret;

use super::signers::{SendGridKey, signed};
use super::support::{NOW, VECTOR_SECRET};

const DAY: Duration = Duration::from_secs(86_400);

/// Why it is odd, what stands between the quotes, and what is read of it; `?` stands for what was replaced.
const TEXTS: [(&str, &[u8], &str); 14] = [
    ("nothing odd", b"550 no", "550 no"),
    ("a whole pair", br"\ud83d\ude00 no", "\u{1f600} no"),
    ("the first half of a pair", br"half \ud83d no", "half ? no"),
    ("the second half", br"half \ude00 no", "half ? no"),
    ("two first halves", br"\ud83d\ud83d no", "? no"),
    ("a half before another escape", br"\ud83d\/ no", "?/ no"),
    ("no escape", br"bad \x41 no", "bad ?x41 no"),
    ("an escape cut short", br"bad \u12 no", "bad ?u12 no"),
    ("a line end as itself", b"one\ntwo", "one?two"),
    ("a control character as itself", b"one\x01two", "one?two"),
    ("bytes that are no UTF-8", b"one \xff\xfe two", "one ? two"),
    ("good escapes beside it", b"\\\"a\\\\ \x01 \\u0041", "\"a\\ ? A"),
    ("a backslash before the end", b"a \x01 \\\\", "a ? \\"),
    ("nothing else", br"x \ud83d", "x ?"),
];

/// How many characters stand for what cannot be read is nobody's promise.
fn read(text: &str) -> String {
    let mut out = text.replace('\u{fffd}', "?");
    while out.contains("??") {
        out = out.replace("??", "?");
    }
    out
}

#[test]
fn an_odd_text_is_read_as_far_as_it_goes() {
    let ear = Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret");
    let key = SendGridKey::new();
    let sendgrid = Ear::sendgrid(&key.public(), DAY).expect("a key");
    for (why, text, expected) in TEXTS {
        let first =
            br#"[{"id":"1","event":"bounced_soft","channel":"email","at":1800000000,"to":"a@b.example","detail":""#;
        let last = br#""},{"id":"2","event":"opened","channel":"email","at":1800000000}]"#;
        let told = signed(VECTOR_SECRET, "m1", "1800000000", &[&first[..], text, last].concat());
        let heard = ear.hear(&told.call(), NOW).unwrap_or_else(|turned| panic!("{why}: {turned:?}; mend json.rs"));
        let details: Vec<String> = heard.iter().map(|event| read(&event.detail)).collect();
        assert_eq!(details, [expected, ""], "{why}: both events, and what can be read; mend json.rs");

        let first = br#"[{"event":"bounce","sg_event_id":"1","email":"a@b.example","timestamp":1800000000,"reason":""#;
        let last = br#""},{"event":"open","sg_event_id":"2","timestamp":1800000000}]"#;
        let told = key.sign("1800000000", &[&first[..], text, last].concat());
        let heard = sendgrid.hear(&told.call(), NOW).unwrap_or_else(|turned| panic!("{why}: {turned:?}; mend json.rs"));
        let details: Vec<String> = heard.iter().map(|event| read(&event.detail)).collect();
        assert_eq!(details, [expected, ""], "{why}, from SendGrid; mend json.rs");
    }
}

/// What is odd in a member that nobody reads, or in a name, changes nothing.
#[test]
fn what_is_not_read_may_be_as_odd_as_it_likes() {
    let ear = Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret");
    for odd in [
        r#""x":"\ud800""#,
        r#""\ud800":1"#,
        r#""x":["\ud800",{"\udc00":"\ud800"}]"#,
        r#""x":"\x""#,
        "\"x\":\"\t\"",
        r#""to":"\ud800""#,
        r#""x":1e999"#,
    ] {
        let event = r#""id":"1","event":"complained","channel":"push","at":1800000000,"peakpost_tenant":"acme""#;
        for told in [format!("{{{odd},{event}}}"), format!("[{{{event},{odd}}}]")] {
            let posted = signed(VECTOR_SECRET, "m1", "1800000000", told.as_bytes());
            let heard: Vec<Heard> = ear.hear(&posted.call(), NOW).unwrap_or_default();
            let tenants: Vec<&str> = heard.iter().map(|event| &*event.echo.tenant).collect();
            assert_eq!(tenants, ["acme"], "`{odd}` has lost its event; mend json.rs: {told}");
        }
    }
}
