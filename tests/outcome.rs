//! What is kept of a vendor's words: short, on one line, and without whom they name.
//!
//! Why: vendors quote recipients in their errors, and these words go into logs, outcomes and dead letters.

use peakpost::outcome::{Code, Said};
use proptest::prelude::*;

/// A vendor's words, what is kept of them, and why.
type Row = (&'static str, &'static str, &'static str);

const MAILBOXES: &[Row] = &[
    ("jane@example.com", "…", "nothing but an address"),
    (
        "We found the first duplicate instance of [jane.doe@example.com] more than once",
        "We found the first duplicate instance of […] more than once",
        "SendGrid on an address given twice",
    ),
    ("Jane <jane+x@mail.example.co.uk> bounced", "Jane <…> bounced", "in angle brackets"),
    ("email:o'brien@example.com.", "email:…", "an apostrophe, and the full stop that ends the sentence"),
    ("to='jane@example.com'", "…", "what runs into an address goes with it"),
    ("j***@example.com", "…", "masked by the vendor: still whose domain"),
    ("GET /u?to=jane%40example.com&x=1 failed", "GET … failed", "percent-encoded"),
    ("jane＠example.com", "…", "the full-width sign"),
    ("jürgen@bücher.example", "…", "letters outside ASCII"),
    ("{\"to\":\"jane@example.com\"}", "{\"to\":\"…\"}", "JSON keeps its frame"),
    ("{\\\"to\\\":\\\"jane@example.com\\\"}", "{\\\"to\\\":\\\"…\\\"}", "JSON within JSON"),
    ("a@b.example,c@d.example", "…,…", "one after the other"),
    ("no `@` in it, and @ alone, @here, at@", "no `@` in it, and @ alone, @here, at@", "no mailbox"),
    (
        "personalizations.3.to.0.email: Does not contain a valid address.",
        "personalizations.3.to.0.email: Does not contain a valid address.",
        "a field path",
    ),
];

const NUMBERS: &[Row] = &[
    (
        "HTTP 400: 21211 Invalid 'To' Phone Number: +14155550123",
        "HTTP 400: 21211 Invalid 'To' Phone Number: …",
        "Twilio on a number that is none; codes and statuses stay",
    ),
    ("(+1 (415) 555-0123)", "(…)", "in groups"),
    ("+49 30 1234567 is a landline", "… is a landline", "in other groups"),
    ("tel=%2B14155550123;", "tel=…;", "percent-encoded"),
    ("'+14155550123'", "'…'", "in quotes"),
    ("+1415555XXXX", "…XXXX", "masked by the vendor: what is left of it goes"),
    ("14155550123 is not a mobile number", "… is not a mobile number", "without its sign"),
    ("To=0014155550123.", "To=….", "with the prefix in place of the sign"),
    ("whatsapp:+14155550123", "whatsapp:…", "behind a scheme"),
    ("+141 and 1+1=2", "+141 and 1+1=2", "too short to be anybody's"),
    ("error 21211, status 400, 63017", "error 21211, status 400, 63017", "codes"),
    ("SM01234567890123456789abcdef", "SM01234567890123456789abcdef", "a vendor's id"),
    ("9f1c2d3e-0000-4000-8000-446655440000", "9f1c2d3e-0000-4000-8000-446655440000", "a request's id"),
    ("at 2026-11-27T09:00:00Z, retry in 3600", "at 2026-11-27T09:00:00Z, retry in 3600", "times"),
    ("tcp connect error: 127.0.0.1:9092", "tcp connect error: 127.0.0.1:9092", "an address of a machine"),
];

const LINES: &[Row] = &[
    ("", "", "nothing said"),
    ("a\r\nlevel=error b\u{1b}[31m", "alevel=error b[31m", "no line of it may pass for one of ours"),
    ("jane@exam\nple.com", "…", "a control character hides nothing"),
];

fn check(rows: &[Row]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(words, kept, why)| (words, kept, why, Said::new(Code::Invalid, words).text))
        .filter(|(_, kept, _, got)| ***kept != **got)
        .map(|(words, kept, why, got)| format!("{why}: `{words}`\n  expected `{kept}`\n  got      `{got}`"))
        .collect();
    assert!(wrong.is_empty(), "mend src/outcome/scrub.rs:\n{}", wrong.join("\n"));
}

#[test]
fn no_mailbox_is_kept() {
    check(MAILBOXES);
}

#[test]
fn no_phone_number_is_kept() {
    check(NUMBERS);
}

#[test]
fn what_is_kept_is_one_line() {
    check(LINES);
}

#[test]
fn an_address_at_the_cut_is_hidden_whole() {
    // Cut first and hidden second would keep the part before the cut.
    for before in 180..=200 {
        let words = format!("{} jane.doe@example.com +14155550123", "x".repeat(before));
        let text = Said::new(Code::Invalid, &words).text;
        assert!(text.chars().count() <= 200, "at most 200 characters are kept, got {}", text.chars().count());
        assert!(!text.contains("jane") && !text.contains("+1"), "cut after hiding: `{text}`");
    }
}

#[test]
fn answers_that_name_different_people_are_not_the_same() {
    // A turned-down batch is halved; both halves are refused whole only if the vendor says the very same of both.
    let of = |words| Said::new(Code::Invalid, words);
    let (jane, joe) = (of("bad address: jane@example.com"), of("bad address: joe@example.com"));
    assert_eq!(jane.text, joe.text, "nobody is named");
    assert!(!jane.same_words(&joe), "innocent jobs would be refused with the guilty");
    assert!(jane.same_words(&of("bad address: jane@example.com")), "word for word the same");
}

proptest! {
    #[test]
    fn nobody_is_named_whatever_stands_around(before in "[^@]{0,40}", after in "[^@]{0,40}", digits in "[1-9][0-9]{9,14}") {
        let text = Said::new(Code::Invalid, &format!("{before} jane@example.com +{digits} {after}")).text;
        prop_assert!(!text.contains("jane"), "mend src/outcome/scrub.rs: a mailbox is kept in `{text}`");
        prop_assert!(!text.contains(&digits), "mend src/outcome/scrub.rs: a number is kept in `{text}`");
        prop_assert!(text.chars().count() <= 200 && !text.contains(char::is_control));
    }
}
