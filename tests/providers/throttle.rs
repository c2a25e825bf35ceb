//! "Too fast" in every dialect: each form of a time with each odd value, and each vendor's name for it.
//!
//! Why: a time read too short is a vendor asked too early, one read too long an idle account, and a name that is not
//! known a message refused that should have waited.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use peakpost::provider::Reply;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::replies::say;
use super::support::{self, NOW};

/// What every form is tried with.
const ODDS: [&str; 9] = ["good", "missing", "negative", "past", "absurd", "overflow", "non_ascii", "broken", "twice"];

/// One form of a time in `times.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    accounts: Vec<String>,
    #[serde(default = "too_many")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// The verdict where no time is read; a throttled one without a wait if it is not given.
    otherwise: Option<String>,
    rows: Vec<Row>,
}

/// One value of it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    odd: String,
    is: Vec<String>,
    expect: String,
    why: String,
}

/// One reply in `names.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    why: String,
    account: String,
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    expect: String,
}

fn too_many() -> u16 {
    429
}

fn table<T: serde::de::DeserializeOwned>(file: &str, list: &str) -> Vec<T> {
    let path = support::data(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let mut table: BTreeMap<String, Vec<T>> =
        toml::from_str(&text).unwrap_or_else(|e| panic!("{file} is not a table of `{list}`: {e}"));
    table.remove(list).unwrap_or_else(|| panic!("{file} has no `[[{list}]]`"))
}

fn reply<'h>(status: u16, headers: impl IntoIterator<Item = (&'h str, String)>, body: String) -> Reply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
    }
    Reply { status, headers: map, body: Bytes::from(body) }
}

impl Form {
    fn reply(&self, row: &Row) -> Reply {
        let mut headers = Vec::new();
        for (name, template) in &self.headers {
            match template.contains("{}") {
                true => headers.extend(row.is.iter().map(|value| (name.as_str(), template.replace("{}", value)))),
                false => headers.push((name.as_str(), template.clone())),
            }
        }
        reply(self.status, headers, self.body.replace("{}", row.is.first().map_or("", String::as_str)))
    }

    fn expect(&self, row: &Row, account: &str) -> String {
        let scope = if account == "webhook" { "recipient" } else { "provider" };
        match (row.expect.as_str(), &self.otherwise) {
            ("-", Some(otherwise)) => otherwise.clone(),
            (wait, _) => format!("throttled rate_limit {scope} {wait}"),
        }
    }
}

fn decoded(account: &str, reply: &Reply) -> String {
    say(&support::account(account).decode(1, reply, NOW))
}

#[test]
fn every_form_of_a_time_is_read_with_every_odd_value() {
    let forms: Vec<Form> = table("times.toml", "form");
    assert!(forms.len() >= 13, "times.toml has lost forms: {}", forms.len());
    let mut wrong = Vec::new();
    for form in &forms {
        let tried: BTreeSet<&str> = form.rows.iter().map(|row| row.odd.as_str()).collect();
        assert_eq!(tried, BTreeSet::from(ODDS), "{}: give it a row for each odd value, and no other", form.name);
        for (row, account) in form.rows.iter().flat_map(|row| form.accounts.iter().map(move |a| (row, a))) {
            let (expected, got) = (form.expect(row, account), decoded(account, &form.reply(row)));
            if got != expected {
                wrong.push(format!(
                    "{account}, {}: {:?}: {}\n  expected: {expected}\n  got:      {got}",
                    form.name, row.is, row.why
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "mend provider/throttle.rs, or the row:\n{}", wrong.join("\n"));
}

#[test]
fn every_name_for_too_fast_is_known_and_nothing_else_is_taken_for_one() {
    let rows: Vec<Named> = table("names.toml", "reply");
    assert!(rows.len() >= 40, "names.toml has lost rows: {}", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let headers = row.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let got = decoded(&row.account, &reply(row.status, headers, row.body.clone()));
        if got != row.expect {
            wrong
                .push(format!("{} {}: {}\n  expected: {}\n  got: {got}", row.account, row.status, row.why, row.expect));
        }
    }
    assert!(wrong.is_empty(), "mend provider/throttle.rs, or the row:\n{}", wrong.join("\n"));
}

#[test]
fn a_word_is_read_wherever_it_stands_in_the_first_kilobytes_and_no_further() {
    // What is kept of a body is 64 KiB; the words for a person are looked for in its beginning only.
    let words = |pad: usize| format!("{}try again after Fri, 15 Jan 2027 08:01:00 UTC", "é".repeat(pad));
    let read = |pad| decoded("gateway", &reply(429, [], words(pad)));
    assert_eq!(read(900), "throttled rate_limit provider 60000ms");
    assert_eq!(read(1010), "throttled rate_limit provider -", "cut within the date");
    assert_eq!(read(30_000), "throttled rate_limit provider -", "far behind");
}

#[test]
fn who_can_bind_one_sender_says_so() {
    // Flows are told apart by sender only where this is true: too often it costs queues, too seldom it stops everybody.
    let accounts = [("sendgrid", false), ("webhook", false), ("twilio", true), ("gateway", true)];
    for (name, expected) in accounts {
        assert_eq!(support::account(name).throttles_senders(), expected, "{name}: mend Kind::throttles_senders");
    }
}
