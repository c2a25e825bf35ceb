//! A job is read as `serde_json` would read it: the same texts, and nothing passes that is no JSON.
//!
//! Why: the reader of jobs measures what it does not read, and looks at each byte once. What it took for the end of a
//! text where `serde_json` sees another would let a job say to us what it does not say to a vendor.

use std::collections::HashMap;

use peakpost::job::Content;
use peakpost::job::invalid::Reason;
use peakpost::job::parse::parse;
use peakpost::job::spec::Text;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::rows::{EMAIL, HOOK, PUSH, SMS, TEMPLATE};

/// What means something to a reader of JSON, or looks as if it did.
const MARKS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\\"",
    "\\\\",
    "\\u0022",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\x",
    "null",
    "true",
    "tru",
    "0",
    "-",
    "01",
    "1e5",
    ".",
    " ",
    "\n",
    "\t",
    "\u{b}",
    "\u{0}",
    "\u{1f}",
    "é",
    "\u{2028}",
    "{}",
    "[]",
    "\"\"",
    "\"a\":",
    "/*",
    "'",
];

/// A valid job with marks put in, or put in the place of what stood there.
fn marked() -> impl Strategy<Value = String> {
    let job = prop::sample::select(vec![EMAIL, TEMPLATE, SMS, PUSH, HOOK]);
    let edit = (any::<prop::sample::Index>(), prop::sample::select(MARKS), 0..4_usize);
    (job, prop::collection::vec(edit, 1..4)).prop_map(|(job, edits)| {
        let mut chars: Vec<char> = job.chars().collect();
        for (at, mark, over) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + over).min(chars.len());
            drop(chars.splice(at..end, mark.chars()));
        }
        chars.into_iter().collect()
    })
}

/// The texts of a job, with the members that they are of.
fn texts<'s>(spec: &'s peakpost::job::Spec<'s>) -> Vec<(&'static str, &'s Text<'s>)> {
    let mut texts = vec![("/id", &spec.id), ("/tenant", &spec.tenant), ("/to", &spec.to)];
    let more = [("/campaign", &spec.campaign), ("/from", &spec.from), ("/reply_to", &spec.reply_to)];
    let more = more.into_iter().chain([("/ordering_key", &spec.ordering_key)]);
    texts.extend(more.filter_map(|(at, text)| Some((at, text.as_ref()?))));
    texts.extend(spec.unsubscribe.as_ref().map(|way| ("/unsubscribe/url", &way.url)));
    texts.extend(spec.consent.as_ref().map(|consent| ("/consent/source", &consent.source)));
    match &spec.content {
        Content::Mail { subject, text, html } => {
            texts.push(("/content/subject", subject));
            texts.extend(text.as_ref().map(|text| ("/content/text", text)));
            texts.extend(html.as_ref().map(|html| ("/content/html", html)));
        }
        Content::Template { id, .. } => texts.push(("/content/template_id", id)),
        Content::Sms { body } => texts.push(("/content/body", body)),
        Content::Push { title, body, .. } => texts.extend([("/content/title", title), ("/content/body", body)]),
        Content::Webhook(_) => {}
    }
    texts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn a_job_says_what_serde_json_says_it_does(job in marked()) {
        let is_json = serde_json::from_str::<HashMap<String, &RawValue>>(&job).is_ok();
        match parse(job.as_bytes()) {
            Err(fault) => {
                let as_a_whole = fault.field.is_empty() && matches!(fault.reason, Reason::NotJson | Reason::NotAnObject);
                prop_assert_eq!(!as_a_whole, is_json, "{} of {}; mend job/scan.rs", fault, job);
            }
            Ok(spec) => {
                prop_assert!(is_json, "passes, and is no JSON; mend job/scan.rs: {job}");
                // Half of a surrogate pair is JSON, but no text: it may stand in what is passed on unread.
                let Ok(value) = serde_json::from_str::<Value>(&job) else { return Ok(()) };
                for (at, text) in texts(&spec) {
                    let expected = value.pointer(at).and_then(Value::as_str);
                    prop_assert_eq!(Some(&**text), expected, "{} of {}; mend job/scan.rs", at, job);
                }
                let headers: Vec<_> = spec.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
                let expected = value["headers"].as_object().into_iter().flatten();
                let expected: Vec<_> = expected.map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect();
                prop_assert_eq!(headers, expected, "headers of {}", job);
                let written: Value = serde_json::from_str(spec.written).expect("a part of JSON");
                prop_assert_eq!(&written, &value["content"], "content of {}", job);
            }
        }
    }
}
