//! Every documented reply of a vendor, and its verdict.
//!
//! Why: retryability is decided where a reply is read; a wrong line here sends twice or loses mail.

use std::collections::BTreeMap;

use bytes::Bytes;
use peakpost::outcome::{Said, Scope, Verdict};
use peakpost::provider::{Decoded, Reply};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::support::{self, NOW};

/// One entry of a `replies.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Why this reply means what it means.
    why: String,
    account: String,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// Jobs in the request.
    #[serde(default = "one")]
    count: usize,
    /// In the words of [`say`].
    expect: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    reply: Vec<Entry>,
}

fn one() -> usize {
    1
}

fn check(file: &str, at_least: usize) {
    let path = support::data(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let table: Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{file} is not a table of replies: {e}"));
    assert!(table.reply.len() >= at_least, "{file} has lost entries: {} of {at_least}", table.reply.len());
    let mut wrong = Vec::new();
    for entry in &table.reply {
        let mut headers = HeaderMap::new();
        for (name, value) in &entry.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        let reply = Reply { status: entry.status, headers, body: Bytes::from(entry.body.clone()) };
        let got = say(&support::account(&entry.account).decode(entry.count, &reply, NOW));
        if got != entry.expect {
            wrong.push(format!(
                "{} {}: {}\n  expected: {}\n  got:      {got}",
                entry.account, entry.status, entry.why, entry.expect
            ));
        }
    }
    let hint = "mend decode, or the entry if the vendor documents it otherwise";
    assert!(wrong.is_empty(), "{file}, {hint}:\n{}", wrong.join("\n"));
}

/// A decoded reply in one line: `accepted ID`, `throttled CODE SCOPE WAIT`, `blame 3:CODE …`, `unblamed CODE`.
pub fn say(decoded: &Decoded) -> String {
    match decoded {
        Decoded::Unblamed(said) => format!("unblamed {}", said.code.as_str()),
        Decoded::Blame(list) => {
            let entry = |(index, said): &(usize, Said)| format!(" {index}:{}", said.code.as_str());
            format!("blame{}", list.iter().map(entry).collect::<String>())
        }
        Decoded::All(Verdict::Accepted { vendor_id }) => format!("accepted {}", vendor_id.as_deref().unwrap_or("-")),
        Decoded::All(Verdict::Throttled { wait, scope, said }) => {
            let scope = match scope {
                Scope::Provider => "provider",
                Scope::Sender => "sender",
                Scope::Recipient => "recipient",
            };
            let wait = wait.map_or("-".to_owned(), |wait| format!("{}ms", wait.as_millis()));
            format!("throttled {} {scope} {wait}", said.code.as_str())
        }
        Decoded::All(other) => {
            format!("{} {}", other.as_str(), other.said().expect("only a yes says nothing").code.as_str())
        }
    }
}

#[test]
fn every_documented_reply_of_sendgrid_has_its_verdict() {
    check("sendgrid/replies.toml", 50);
}

#[test]
fn every_documented_reply_of_twilio_has_its_verdict() {
    check("twilio/replies.toml", 45);
}

#[test]
fn every_reply_of_a_webhook_has_its_verdict() {
    check("webhook/replies.toml", 35);
}

#[test]
fn a_vendors_words_are_kept_short_and_on_one_line() {
    // What a vendor says ends in logs and outcomes: no line of it may pass for one of ours.
    let body = format!("{{\"errors\":[{{\"message\":\"a\\nb\\u001b[31m {}\",\"field\":null}}]}}", "x".repeat(5000));
    let reply = Reply { status: 400, headers: HeaderMap::new(), body: Bytes::from(body) };
    for account in ["sendgrid", "twilio", "webhook", "gateway"] {
        let text = match support::account(account).decode(2, &reply, NOW) {
            Decoded::Unblamed(said) => said.text,
            Decoded::All(verdict) => verdict.said().expect("not a yes").text.clone(),
            Decoded::Blame(_) => panic!("{account}: the reply names no job"),
        };
        assert!(text.chars().count() <= 200, "{account}: cut the vendor's words at 200 characters");
        assert!(!text.contains(char::is_control), "{account}: drop control characters from the vendor's words");
        assert!(text.starts_with("HTTP 400: "), "{account}: begin with the status, got `{text}`");
    }
}
