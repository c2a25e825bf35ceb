//! For whatever a vendor answers, decode stays within its words; for whatever a job holds, encode keeps it.
//!
//! Why: replies are written by strangers, and jobs by people with every script and every quote.

use bytes::Bytes;
use peakpost::job::{Lane, field};
use peakpost::outcome::{Scope, Verdict};
use peakpost::provider::webhook::message_id;
use peakpost::provider::{Decoded, MAX_VENDOR_WAIT, Reply};
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::support::{self, NOW, account, encode, with_jobs};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

/// Bodies: any bytes, and error lists and answers that are nearly right, cut anywhere.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        "personalizations\\.[0-9]{1,4}(\\.to\\.0\\.email)?".prop_map(Value::from),
        "personalizations\\.?\\PC{0,5}".prop_map(Value::from),
        "(from|subject|content|asm)(\\.[a-z]{0,5})?".prop_map(Value::from),
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
    ];
    let message =
        prop_oneof!["\\PC{0,300}", "(more than once|sender identity|credits exceeded)".prop_map(String::from)];
    let fault = (message, field).prop_map(|(message, field)| json!({ "message": message, "field": field }));
    let errors = prop::collection::vec(fault, 0..6).prop_map(|errors| json!({ "errors": errors }).to_string());
    let code =
        prop_oneof![prop::sample::select(vec![20429u64, 21610, 21611, 30001, 30002, 20003, 21211]), any::<u64>(),];
    let answer = (code, "\\PC{0,40}", "(failed|queued|undelivered|[a-z]{0,9})").prop_map(|(code, words, status)| {
        json!({ "code": code, "message": words, "status": status, "sid": words }).to_string()
    });
    let near = (prop_oneof![errors, answer, throttle_words()], any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(text, at, cut)| {
            let mut bytes = text.into_bytes();
            if cut {
                bytes.truncate(at.index(bytes.len()));
            }
            bytes
        },
    );
    prop_oneof![prop::collection::vec(any::<u8>(), 0..300), near]
}

/// Dates of RFC 9110's three forms and what is nearly one.
fn date() -> impl Strategy<Value = String> {
    let (day, time) = (-1i32..34, (0u8..26, 0u8..62, 0u8..62).prop_map(|(h, m, s)| format!("{h:02}:{m:02}:{s:02}")));
    let month = prop::sample::select(vec!["Jan", "Feb", "Dec", "jan", "Jän", "", "13"]);
    let year = prop_oneof![Just(2027i64), -1i64..120, 1960i64..2100, any::<i64>()];
    let zone = prop::sample::select(vec![" GMT", " UTC", " +0000", " -9999", " +2559", "Z", " é", ""]);
    (day, month, year, time, zone, 0u8..3).prop_map(|(day, month, year, time, zone, form)| match form {
        0 => format!("Fri, {day:02} {month} {year} {time}{zone}"),
        1 => format!("Friday, {day:02}-{month}-{year:02} {time}{zone}"),
        _ => format!("Fri {month} {day:2} {time} {year}{zone}"),
    })
}

/// Bodies in which the vendors say "too fast", and what is nearly one.
fn throttle_words() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "ThrottlingException",
        "a#Throttling:b",
        "TooManyRequests",
        "QUOTA_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "Daily message quota exceeded.",
        "21611",
        "#:#",
    ]);
    let key = prop::sample::select(vec!["__type", "code", "reason", "status", "errorCode", "message"]);
    let member = (key, prop_oneof![name.prop_map(Value::from), any::<f64>().prop_map(Value::from)]);
    let object = prop::collection::vec(member, 0..4)
        .prop_map(|list| Value::Object(list.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()));
    let shape = |(inner, outer): (Value, u8)| match outer {
        0 => inner.to_string(),
        1 => json!({ "error": inner }).to_string(),
        _ => json!({ "error": { "details": [inner] } }).to_string(),
    };
    let words = ("\\PC{0,5}", date(), "\\PC{0,5}").prop_map(|(a, date, b)| format!("{a}Try again after {date}{b}"));
    prop_oneof![(object, 0u8..3).prop_map(shape), words]
}

fn reply() -> impl Strategy<Value = Reply> {
    let name = prop::sample::select(vec![
        "retry-after",
        "x-ratelimit-reset",
        "ratelimit-reset",
        "x-amzn-errortype",
        "x-message-id",
        "content-type",
    ]);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        "[0-9]{0,40}(\\.[0-9]{0,4})?".prop_map(String::into_bytes),
        (1_799_999_990i64..1_800_010_000).prop_map(|n| n.to_string().into_bytes()),
        date().prop_map(String::into_bytes),
        Just(b"ThrottlingException".to_vec()),
    ];
    let status = prop_oneof![
        100u16..600,
        prop::sample::select(vec![200, 201, 202, 400, 401, 403, 408, 413, 420, 429, 503]),
        Just(429u16),
        any::<u16>()
    ];
    (status, prop::collection::vec((name, value), 0..6), body()).prop_map(|(status, list, body)| {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        Reply { status, headers, body: Bytes::from(body) }
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decode_stays_within_its_words(reply in reply(), count in 1usize..1200) {
        for name in ["sendgrid", "twilio", "webhook", "gateway"] {
            let account = account(name);
            let count = count.min(account.batch_max());
            match account.decode(count, &reply, NOW) {
                Decoded::Blame(list) => {
                    prop_assert!(reply.status == 400 && !list.is_empty(), "{name}: blame needs somebody");
                    prop_assert!(list.windows(2).all(|pair| pair[0].0 < pair[1].0), "{name}: each once, ascending");
                    prop_assert!(list.iter().all(|(index, _)| *index < count), "{name}: nobody outside the request");
                }
                Decoded::Unblamed(_) => prop_assert!(count > 1, "{name}: one job alone is always to blame"),
                Decoded::All(verdict) => {
                    if let Verdict::Throttled { wait, scope, .. } = &verdict {
                        prop_assert!(wait.is_none_or(|w| w <= MAX_VENDOR_WAIT), "{name}: an absurd wait of {wait:?}");
                        let told = account.throttles_senders() || *scope != Scope::Sender;
                        prop_assert!(told, "{name}: say in throttles_senders that a reply may bind a sender");
                    }
                    let said = verdict.said().map_or("", |said| &*said.text);
                    prop_assert!(said.chars().count() <= 200, "{name}: the vendor's words are bounded");
                    let maybe_sent = reply.status >= 500 && reply.status != 503;
                    prop_assert!(!maybe_sent || matches!(verdict, Verdict::Ambiguous(_)), "{name}: {verdict:?}");
                    let yes = matches!(verdict, Verdict::Accepted { .. });
                    prop_assert!(!yes || (200..300).contains(&reply.status), "{name}: {} is no yes", reply.status);
                }
            }
        }
    }
}

/// Text that the job contract takes where a header could be forged.
fn safe(max: usize) -> impl Strategy<Value = String> {
    "\\PC{1,40}".prop_filter("header-safe", move |s| field::header_safe(s, max).is_ok())
}

/// A mailbox, made unique by `n`.
fn mailbox(n: usize) -> impl Strategy<Value = String> {
    ("[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", "[a-z0-9]{1,10}\\.[a-z]{2,5}", prop::option::of("\\PC{1,30}"))
        .prop_map(move |(local, domain, name)| match name {
            Some(name) => format!("{name} <{local}.{n}@{domain}>"),
            None => format!("{local}.{n}@{domain}"),
        })
        .prop_filter("a mailbox of the contract", |s| field::mailbox(s).is_ok())
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from)
    ];
    let any = leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object(inner)]
    });
    object(any)
}

fn object(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(".{0,8}", of, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// One to four template mails that may share a request.
fn mails() -> impl Strategy<Value = Vec<Value>> {
    let own = |n| (safe(128), mailbox(n), prop::option::of(data()), prop::option::of(safe(2048)));
    let shared = (mailbox(9), prop::option::of(safe(128)), prop::option::of(mailbox(8)));
    ((own(0), own(1), own(2), own(3)), 1usize..=4, shared).prop_map(
        |((a, b, c, d), count, (from, campaign, reply_to))| {
            let job = |(id, to, data, header): (String, String, Option<Value>, Option<String>)| {
                json!({
                    "id": id, "tenant": "acme", "campaign": campaign, "channel": "email", "to": to, "from": from,
                    "reply_to": reply_to, "content": { "template_id": "d-1", "data": data },
                    "headers": header.map(|value| json!({ "X-Own": value })),
                })
            };
            [a, b, c, d].into_iter().take(count).map(job).collect()
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sendgrid_keeps_what_every_job_says(jobs in mails()) {
        let records: Vec<String> = jobs.iter().map(Value::to_string).collect();
        let body = encode(&account("sendgrid"), &records).expect("every mail of the contract can be said").body;
        let body: Value = serde_json::from_slice(&body).expect("the request is JSON");
        let list = body["personalizations"].as_array().expect("a list");
        prop_assert_eq!(list.len(), jobs.len());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let from = text(&jobs[0]["from"]);
        prop_assert_eq!(text(&body["from"]["email"]), field::address(&from));
        for (told, job) in list.iter().zip(&jobs) {
            let to = text(&job["to"]);
            prop_assert_eq!(text(&told["to"][0]["email"]), field::address(&to));
            prop_assert_eq!(told["to"][0]["name"].as_str(), field::display_name(&to));
            prop_assert_eq!(&told["custom_args"]["peakpost_id"], &job["id"]);
            prop_assert_eq!(&told["custom_args"]["peakpost_campaign"], &job["campaign"]);
            prop_assert_eq!(&told["dynamic_template_data"], &job["content"]["data"]);
            prop_assert_eq!(&told["headers"]["X-Own"], &job["headers"]["X-Own"]);
        }
    }

    #[test]
    fn twilio_keeps_what_every_job_says(
        id in safe(128),
        words in "\\PC{1,200}",
        from in "[A-Z][A-Za-z0-9 ]{0,9}[a-z]",
    ) {
        let record = json!({
            "id": id, "tenant": "acme", "channel": "sms", "to": "+14155550123", "from": from,
            "content": { "body": words },
        });
        let body = encode(&account("twilio"), &[record.to_string()]).expect("encodable").body;
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(names, ["To", "From", "Body", "Tags"]);
        prop_assert_eq!(&pairs[0].1, "+14155550123");
        prop_assert_eq!(&pairs[1].1, &from);
        prop_assert_eq!(&pairs[2].1, &words);
        let tags: Value = serde_json::from_str(&pairs[3].1).expect("Tags is JSON");
        let sent = json!({
            "peakpost_id": id, "peakpost_tenant": "acme", "peakpost_lane": "marketing", "peakpost_sent": "1800000000",
        });
        prop_assert_eq!(tags, sent);
    }

    #[test]
    fn a_webhook_carries_content_untouched_and_an_id_that_reads_back(id in safe(128), content in data()) {
        let record = json!({
            "id": id, "tenant": "a.b", "channel": "webhook", "to": "https://p.example/", "content": content,
        });
        with_jobs(Lane::Transactional, &[record.to_string()], |jobs| {
            let webhook = support::webhook(None);
            let request = webhook.encode(jobs[0], NOW).expect("encodable");
            prop_assert_eq!(String::from_utf8_lossy(&request.body), content.to_string());
            let told = message_id(jobs[0]);
            let plain = told.bytes().all(|b| b.is_ascii_graphic() && b != b'.');
            prop_assert!(plain, "dots divide what is signed: {}", told);
            // A form's decoder undoes the percent-encoding, once `+` and `&` are kept from meaning more in a form.
            let form = format!("id={}", told.replace('+', "%2B").replace('&', "%26"));
            let back = url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned());
            prop_assert_eq!(back, Some(format!("a.b/{id}")));
            let expected = webhook.signature(&told, "1800000000", &request.body);
            prop_assert_eq!(request.headers["webhook-signature"].to_str().expect("text"), expected);
            Ok(())
        })?;
    }
}
