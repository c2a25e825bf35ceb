//! What each vendor receives, held against files: URL, headers and body.
//!
//! Why: a request is a contract with somebody else. Bodies are compared as parsed JSON or as decoded form
//! pairs; webhook bodies byte by byte, because they are signed.

use std::collections::BTreeMap;

use peakpost::job::Lane;
use serde_json::Value;
use serde_json::value::RawValue;

use super::support::{self, NOW, RENDERED, SMS, account, encode, mail, sendgrid, with_jobs};

/// One golden request.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    why: String,
    account: String,
    /// The records, taken as they stand in the file.
    jobs: Vec<Box<RawValue>>,
    url: String,
    headers: BTreeMap<String, String>,
    /// For JSON bodies.
    body: Option<Value>,
    /// For form bodies.
    form: Option<Vec<(String, String)>>,
    /// For signed bodies.
    body_text: Option<String>,
}

fn check(folder: &str, at_least: usize) {
    let mut seen = 0;
    for file in std::fs::read_dir(support::data(folder)).expect("the golden folder") {
        let path = file.expect("a readable folder").path();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let golden: Golden = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let place =
            format!("{}: {}\nmend encode, or the file if the vendor wants it otherwise", path.display(), golden.why);
        // A record is one line: what a golden file spreads over lines is written compactly, keys in order.
        let records: Vec<String> = golden.jobs.iter().map(|raw| compact(raw.get())).collect();
        let request =
            encode(&account(&golden.account), &records).unwrap_or_else(|e| panic!("{place}\nnot encoded: {e}"));
        assert_eq!(request.url.as_str(), golden.url, "{place}");
        let headers: BTreeMap<String, String> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
            .collect();
        assert_eq!(headers, golden.headers, "{place}");
        if let Some(expected) = golden.body {
            let got: Value = serde_json::from_slice(&request.body).expect("the body is JSON");
            assert_eq!(got, expected, "{place}");
        }
        if let Some(expected) = golden.form {
            let got: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
            assert_eq!(got, expected, "{place}");
        }
        if let Some(expected) = golden.body_text {
            assert_eq!(String::from_utf8_lossy(&request.body), expected, "{place}");
        }
        seen += 1;
    }
    assert!(seen >= at_least, "{folder} has lost files: {seen} of {at_least}");
}

/// JSON without blanks between its tokens; nothing else changes.
fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for c in json.chars() {
        if quoted || !c.is_ascii_whitespace() {
            out.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    out
}

#[test]
fn sendgrid_receives_what_the_files_say() {
    check("sendgrid/requests", 8);
}

#[test]
fn twilio_receives_what_the_files_say() {
    check("twilio/requests", 5);
}

#[test]
fn webhooks_receive_what_the_files_say() {
    check("webhook/requests", 5);
}

#[test]
fn what_a_vendor_has_no_words_for_is_told_by_position() {
    let mail = &mail("a@example.com", RENDERED);
    let no_from = &mail.replace(r#""from":"f@example.com","#, "");
    let legacy = &support::mail("a@example.com", r#"{"template_id":"abc","data":{}}"#);
    let legacy_bare = &support::mail("b@example.com", r#"{"template_id":"abc"}"#);
    let no_sender = &SMS.replace(r#""from":"Acme","#, "");
    let cases: [(&str, &str, &[&str], &str); 7] = [
        ("sendgrid needs a sender", "sendgrid", &[no_from], "0 bad_sender"),
        ("legacy templates take no data", "sendgrid", &[legacy], "0 vendor_invalid"),
        ("sendgrid carries email only", "sendgrid", &[SMS], "0 vendor_invalid"),
        ("the position is the job's, not always the first", "sendgrid", &[legacy_bare, legacy], "1 vendor_invalid"),
        ("a request needs a job", "sendgrid", &[], "0 vendor_invalid"),
        ("twilio needs a sender", "twilio", &[no_sender], "0 bad_sender"),
        ("twilio carries text messages only", "twilio", &[mail], "0 vendor_invalid"),
    ];
    for (why, name, records, expected) in cases {
        let records: Vec<String> = records.iter().map(|record| (*record).to_owned()).collect();
        let said = encode(&account(name), &records).expect_err(why);
        assert!(said.starts_with(expected), "{why}: expected `{expected}`, got `{said}`; mend encode");
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_batch_that_must_not_share_a_request_stops_a_debug_build() {
    let (first, again) = (mail("a@example.com", RENDERED), mail("A@Example.com", RENDERED));
    let other = mail("b@example.com", r#"{"subject":"s","text":"u"}"#);
    let cases = [
        ("another text is another request", [first.clone(), other]),
        ("an address twice, whatever its letter case", [first, again]),
    ];
    for (why, records) in cases {
        with_jobs(Lane::Marketing, &records, |jobs| {
            let stopped =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sendgrid().encode(jobs, NOW).is_ok()));
            assert!(stopped.is_err(), "{why}: a debug build must stop here; mend encode's checks");
        });
    }
}

/// A mail in which one thing can be replaced.
const BASE: &str = concat!(
    r#"{"id":"i","tenant":"t","campaign":"c","channel":"email","to":"a@example.com","from":"f@example.com","#,
    r#""reply_to":"r@example.com","content":{"subject":"s","text":"t","html":"h"},"#,
    r#""unsubscribe":{"url":"https://u.example/1","group":1},"headers":{"X-A":"1"}}"#
);

#[test]
fn jobs_share_a_batch_key_exactly_when_they_can_share_a_request() {
    let key = |lane, record: &str| with_jobs(lane, &[record.to_owned()], |jobs| sendgrid().batch_key(jobs[0]));
    let cases = [
        ("the id is the recipient's own", r#""id":"i""#, r#""id":"j""#, true),
        ("so is the address", "a@example.com", "b@example.com", true),
        ("so are the headers", r#""X-A":"1""#, r#""X-B":"2""#, true),
        ("so is the way to leave", "https://u.example/1", "https://u.example/2", true),
        ("a send time is the line's business", r#""campaign""#, r#""send_at":"2027-01-01T00:00:00Z","campaign""#, true),
        ("escapes are spelling", r#""subject":"s""#, r#""subject":"\u0073""#, true),
        ("tenants never mix", r#""tenant":"t""#, r#""tenant":"u""#, false),
        ("campaigns never mix", r#""campaign":"c""#, r#""campaign":"d""#, false),
        ("no campaign is another", r#""campaign":"c","#, "", false),
        ("the sender stands at the top", "f@example.com", "g@example.com", false),
        ("the sender's name too", r#""f@example.com""#, r#""F <f@example.com>""#, false),
        ("the answer address stands at the top", "r@example.com", "q@example.com", false),
        ("the group stands at the top", r#""group":1"#, r#""group":2"#, false),
        ("no group is another", r#","group":1"#, "", false),
        ("the subject stands at the top", r#""subject":"s""#, r#""subject":"S""#, false),
        ("the text stands at the top", r#""text":"t""#, r#""text":"u""#, false),
        ("the HTML stands at the top", r#""html":"h""#, r#""html":"g""#, false),
        ("text is not HTML", r#""text":"t","html":"h""#, r#""text":"th""#, false),
        ("parts do not run into one another", r#""s","text":"t","html":"h""#, r#""st","text":"h""#, false),
    ];
    for (why, old, new, same) in cases {
        let changed = BASE.replace(old, new);
        assert_ne!(changed, BASE, "{why}: the case replaces nothing; mend the case");
        let equal = key(Lane::Marketing, BASE) == key(Lane::Marketing, &changed);
        assert_eq!(equal, same, "{why}; mend `Shared` in sendgrid/encode.rs");
    }
    let lanes = key(Lane::Marketing, BASE) == key(Lane::Transactional, BASE);
    assert!(!lanes, "lanes never mix; mend `Shared` in sendgrid/encode.rs");
}

#[test]
fn template_jobs_share_a_key_whatever_their_data() {
    let record = |id: &str, data: &str| mail("a@example.com", &format!(r#"{{"template_id":"{id}","data":{data}}}"#));
    let key = |record: String| with_jobs(Lane::Marketing, &[record], |jobs| sendgrid().batch_key(jobs[0]));
    let one = key(record("d-1", "{}"));
    assert_eq!(one, key(record("d-1", r#"{"a":1}"#)), "data stands in the personalization; mend `Shared`");
    assert_ne!(one, key(record("d-2", "{}")), "the template stands at the top; mend `Shared`");
}

#[test]
fn a_full_batch_of_the_largest_records_stays_below_the_vendors_limit() {
    // 1,000 jobs whose records sum up to MAX_BATCH_BYTES; the vendor's limit is 30 MB a request.
    let per_job = peakpost::provider::MAX_BATCH_BYTES / 1000;
    let records: Vec<String> = (0..1000)
        .map(|i| {
            let empty = mail(&format!("a{i}@example.com"), r#"{"template_id":"d-1","data":{"x":""}}"#);
            empty.replace(r#""x":"""#, &format!(r#""x":"{}""#, "\\\\".repeat((per_job - empty.len()) / 2)))
        })
        .collect();
    let sum: usize = records.iter().map(String::len).sum();
    let length = encode(&account("sendgrid"), &records).expect("encodable").body.len();
    assert!(length <= sum + 1000 * 400, "{length} bytes for {sum}: the frame grew; lower MAX_BATCH_BYTES");
    assert!(length < 30_000_000, "{length} bytes are over SendGrid's 30 MB; lower MAX_BATCH_BYTES");
}

#[test]
fn a_webhook_job_keeps_its_id_over_attempts_and_signs_each_anew() {
    let record = r#"{"id":"1","tenant":"t","channel":"webhook","to":"https://p.example/","content":{}}"#.to_owned();
    with_jobs(Lane::Marketing, &[record], |jobs| {
        let webhook = support::webhook(None);
        let first = webhook.encode(jobs[0], NOW).expect("encodable").headers;
        let later = webhook.encode(jobs[0], peakpost::job::Wall(NOW.0 + 5_000)).expect("encodable").headers;
        assert_eq!(first["webhook-id"], later["webhook-id"], "receivers know repeats by the id; keep it");
        assert_ne!(first["webhook-timestamp"], later["webhook-timestamp"], "the time is the attempt's");
        assert_ne!(first["webhook-signature"], later["webhook-signature"], "the signature covers the time");
    });
}

#[test]
fn the_public_signature_vector_holds() {
    // Test vector of the Standard Webhooks project.
    let signature =
        support::webhook(None).signature("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "mend Webhook::signature");
}
