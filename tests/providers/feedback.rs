//! What vendors tell of messages later: official vectors, who is turned away, what each event means, and that the echo
//! of a send comes back as it went out.
//!
//! Why: a forged complaint stops a campaign, and one event read wrongly suppresses somebody for good.

use std::time::Duration;

use peakpost::event::{Echo, Happened, Heard};
use peakpost::job::{Lane, Wall};
use peakpost::provider::secret::Secret;
use peakpost::provider::{Ear, MAX_AHEAD, MAX_EVENTS, Turned};
use proptest::prelude::*;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::signers::{PUBLIC_URL, Posted, SendGridKey, signed, twilio};
use super::support::{self, NOW, VECTOR_SECRET, account, with_jobs};

const DAY: Duration = Duration::from_secs(86_400);

/// The key, time, body and signature of sendgrid-go's and sendgrid-python's own test.
const OFFICIAL_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
const OFFICIAL_OTHER_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA==";
const OFFICIAL_TIME: &str = "1600112502";
const OFFICIAL_SIGNATURE: &str =
    "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
const OFFICIAL_BODY: &str = concat!(
    r#"[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","#,
    r#""sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","#,
    r#""sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","#,
    r#""smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]"#,
    "\r\n"
);

fn official() -> Posted {
    let headers = [(SendGridKey::TIME, OFFICIAL_TIME), (SendGridKey::SIGNATURE, OFFICIAL_SIGNATURE)];
    Posted::new(&headers, OFFICIAL_BODY.as_bytes())
}

#[test]
fn sendgrids_own_vector_holds_and_nothing_near_it() {
    let at = Wall(1_600_112_502_000);
    let hear =
        |key: &str, posted: &Posted, now: Wall| Ear::sendgrid(key, DAY).expect("a key").hear(&posted.call(), now);
    let heard = hear(OFFICIAL_KEY, &official(), at).expect("the vector holds");
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].happened, &*heard[0].to), (Happened::VendorSuppressed, "hello@world.com"));
    assert_eq!(&*heard[0].id, "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA");
    assert_eq!((heard[0].at, &*heard[0].detail), (Wall(1_600_112_492_000), "Bounced Address"));

    let changed = |change: fn(&mut Posted)| {
        let mut posted = official();
        change(&mut posted);
        posted
    };
    let cases: [(&str, Posted); 8] = [
        ("without its CRLF", changed(|p| p.body.truncate(p.body.len() - 2))),
        ("another time", changed(|p| _ = p.headers.insert(SendGridKey::TIME, HeaderValue::from_static("1600112503")))),
        ("no time", changed(|p| _ = p.headers.remove(SendGridKey::TIME))),
        ("no signature", changed(|p| _ = p.headers.remove(SendGridKey::SIGNATURE))),
        ("an empty one", changed(|p| _ = p.headers.insert(SendGridKey::SIGNATURE, HeaderValue::from_static("")))),
        (
            "two, both good",
            changed(|p| _ = p.headers.append(SendGridKey::SIGNATURE, HeaderValue::from_static(OFFICIAL_SIGNATURE))),
        ),
        (
            "the body's beginning in the time: the same bytes are signed",
            changed(|p| {
                p.body.remove(0);
                p.headers.insert(SendGridKey::TIME, HeaderValue::from_static("1600112502["));
            }),
        ),
        (
            "the time's end in the body",
            changed(|p| {
                p.body.insert(0, b'2');
                p.headers.insert(SendGridKey::TIME, HeaderValue::from_static("160011250"));
            }),
        ),
    ];
    for (why, posted) in cases {
        assert_eq!(hear(OFFICIAL_KEY, &posted, at), Err(Turned::Forged), "{why}; mend sendgrid/feedback.rs");
    }
    let other = hear(OFFICIAL_OTHER_KEY, &official(), at);
    assert_eq!(other, Err(Turned::Forged), "the vendor's negative vector; mend sendgrid/feedback.rs");
}

#[test]
fn what_was_signed_too_long_ago_or_too_far_ahead_is_stale() {
    let key = SendGridKey::new();
    let ears = [
        ("sendgrid", Ear::sendgrid(&key.public(), DAY).expect("a key"), key.sign("1800000000", b"[]")),
        (
            "signed",
            Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret"),
            signed(VECTOR_SECRET, "m1", "1800000000", b"[]"),
        ),
    ];
    let (day, ahead) = (86_400_000, i64::try_from(MAX_AHEAD.as_millis()).expect("minutes"));
    let cases = [
        ("just now", 0, true),
        ("a day ago, the most", day, true),
        ("a moment more", day + 1, false),
        ("ahead by the most that a clock may differ", -ahead, true),
        ("further ahead", -ahead - 1, false),
        ("at the end of time", i64::MAX - NOW.0, false),
    ];
    for (name, ear, posted) in ears {
        for (why, later, good) in cases {
            let expected = if good { Ok(Vec::new()) } else { Err(Turned::Stale) };
            let got = ear.hear(&posted.call(), Wall(NOW.0 + later));
            assert_eq!(got, expected, "{name}, {why}; mend `fresh` in feedback.rs");
        }
    }
}

/// Parameters of twilio-python's own tests.
const CALL: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";

#[test]
fn twilios_own_vectors_hold() {
    let twice = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
    let json = "foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    let https = "https://mycompany.com/myapp.php";
    let cases = [
        ("the plain one", https, "foo=1&bar=2", CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("names and values twice", https, "foo=1&bar=2", twice, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        ("signed with the port", https, "foo=1&bar=2", CALL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (
            "configured with the port, signed without",
            "https://mycompany.com:443/myapp.php",
            "foo=1&bar=2",
            CALL,
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        ("http's port", "http://mycompany.com/myapp.php", "foo=1&bar=2", CALL, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        ("another port", "http://mycompany.com:1234/myapp.php", "foo=1&bar=2", CALL, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
        ("a JSON body's hash stands in the URL", https, json, "", "a9nBmqA0ju/hNViExpshrM61xv4="),
    ];
    for (why, url, query, form, signature) in cases {
        let hear = |token: &str, signature: &str, form: &str| {
            let mut posted = Posted::new(&[("x-twilio-signature", signature)], form.as_bytes());
            posted.query = Some(query.to_owned());
            Ear::twilio(&Secret::new(token), url).expect("settings").hear(&posted.call(), NOW)
        };
        // They are calls and not messages, with a query that is none of ours: understood only once the signature holds.
        let holds = Err(Turned::Malformed("a query that is not our echo"));
        assert_eq!(hear("12345", signature, form), holds, "{why}: the vector; mend twilio/feedback.rs");
        assert_eq!(hear("12346", signature, form), Err(Turned::Forged), "{why}: another token");
        assert_eq!(hear("12345", signature, &format!("{form}&A=")), Err(Turned::Forged), "{why}: one parameter more");
        let other = signature.replacen(char::is_lowercase, "A", 1);
        assert_eq!(hear("12345", &other, form), Err(Turned::Forged), "{why}: another signature");
    }
}

#[test]
fn settings_that_cannot_hear_are_refused_with_a_hint() {
    let point = |first: &str| format!("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA{first}{}", "A".repeat(86));
    let keys = [
        ("the vendor's own", OFFICIAL_KEY.to_owned(), true),
        ("a line break behind it", format!("{OFFICIAL_KEY}\n"), true),
        ("nothing", String::new(), false),
        ("PEM armour", format!("-----BEGIN PUBLIC KEY-----\n{OFFICIAL_KEY}"), false),
        ("cut short", OFFICIAL_KEY[..OFFICIAL_KEY.len() - 4].to_owned(), false),
        ("longer", format!("{}AAAA", &OFFICIAL_KEY[..OFFICIAL_KEY.len() - 4]), false),
        ("a compressed point", point("C"), false),
        ("another curve", OFFICIAL_KEY.replacen("KoZIzj0DAQcDQgA", "K4EEAAoDQgAEAAA", 1), false),
    ];
    for (why, key, good) in keys {
        let made = Ear::sendgrid(&key, DAY);
        assert_eq!(made.is_ok(), good, "{why}: {made:?}; mend sendgrid/feedback.rs");
        assert!(made.err().is_none_or(|e| e.contains("hint:")), "{why}: say what to do");
    }
    let urls = [
        ("plain", "https://f.example/feedback/sms", "t", true),
        ("its own port, written out", "https://f.example:443/feedback/sms", "t", true),
        ("another port", "https://f.example:8443/feedback/sms", "t", true),
        ("a query", "https://f.example/feedback/sms?x=1", "t", false),
        ("letters that travel in lower case", "https://F.example/feedback/sms", "t", false),
        ("a host that Twilio does not call", "https://f_1.example/feedback/sms", "t", false),
        ("a password", "https://u:p@f.example/feedback/sms", "t", false),
        ("no scheme", "f.example/feedback/sms", "t", false),
        ("no web address", "ftp://f.example/feedback/sms", "t", false),
        ("no token", "https://f.example/feedback/sms", "", false),
    ];
    for (why, url, token, good) in urls {
        let made = Ear::twilio(&Secret::new(token), url);
        assert_eq!(made.is_ok(), good, "{why}: {made:?}; mend twilio/feedback.rs");
        assert!(made.err().is_none_or(|e| e.contains("hint:")), "{why}: say what to do");
    }
    assert!(Ear::signed(&Secret::new("hunter2"), DAY).is_err_and(|e| e.contains("hint:") && !e.contains("hunter2")));
    let shown = format!("{:?}", Ear::twilio(&Secret::new("hunter2"), PUBLIC_URL));
    assert!(!shown.contains("hunter2"), "a secret in {shown}");
}

/// One entry of an `events.toml`. What is absent is not compared.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    why: String,
    /// JSON, or a form.
    told: String,
    query: Option<String>,
    happened: Option<Happened>,
    #[serde(default)]
    malformed: bool,
    id: Option<String>,
    to: Option<String>,
    vendor_id: Option<String>,
    detail: Option<String>,
    echo: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    event: Vec<Entry>,
}

fn in_words(echo: &Echo) -> String {
    let (lane, sent) = (echo.lane.map_or("", Lane::as_str), echo.sent.map_or(String::new(), |at| at.0.to_string()));
    format!("{} {} {} {lane} {sent}", echo.id, echo.tenant, echo.campaign)
}

fn check(file: &str, at_least: usize, hear: impl Fn(&Entry) -> Result<Vec<Heard>, Turned>) {
    let text = std::fs::read_to_string(support::data(file)).expect("the golden file");
    let table: Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{file} is not a table of events: {e}"));
    assert!(table.event.len() >= at_least, "{file} has lost entries: {} of {at_least}", table.event.len());
    for entry in &table.event {
        let place =
            format!("{file}: {}\nmend that vendor's feedback.rs, or the file if the vendor says otherwise", entry.why);
        let heard = match hear(entry) {
            Ok(heard) => heard,
            Err(turned) => {
                assert_eq!((turned.as_str(), entry.malformed), ("malformed", true), "{place}");
                continue;
            }
        };
        assert!(!entry.malformed, "{place}");
        assert_eq!(heard.first().map(|event| event.happened), entry.happened, "{place}");
        let Some(event) = heard.first() else { continue };
        let parts = [
            (&entry.id, &*event.id),
            (&entry.to, &*event.to),
            (&entry.vendor_id, &*event.vendor_id),
            (&entry.detail, &*event.detail),
            (&entry.echo, &in_words(&event.echo)),
        ];
        for (expected, got) in parts {
            assert!(expected.as_deref().is_none_or(|e| e == got), "{place}\nexpected {expected:?}, got {got:?}");
        }
    }
}

#[test]
fn sendgrids_events_mean_what_the_file_says() {
    let key = SendGridKey::new();
    let ear = Ear::sendgrid(&key.public(), DAY).expect("a key");
    let hear = |told: &str| ear.hear(&key.sign("1800000000", told.as_bytes()).call(), NOW);
    check("sendgrid/events.toml", 27, |entry| hear(&format!("[{}]", entry.told)));
    check("sendgrid/events.toml", 27, |entry| match &*entry.told {
        "17" => Ok(Vec::new()),
        // Among others: what cannot be read loses nobody else.
        told => hear(&format!("[{{\"email\":\"\\ud800\",\"event\":\"delivered\"}},null,{told}]\r\n")),
    });
}

#[test]
fn twilios_callbacks_mean_what_the_file_says() {
    let ear = Ear::twilio(&Secret::new("token"), PUBLIC_URL).expect("settings");
    let echo =
        "peakpost_id=j1&peakpost_tenant=acme&peakpost_campaign=bf&peakpost_lane=marketing&peakpost_sent=1799990000";
    check("twilio/events.toml", 30, |entry| {
        let query = entry.query.as_deref().unwrap_or(echo);
        let query = (!query.is_empty()).then_some(query);
        ear.hear(&twilio("token", PUBLIC_URL, query, &entry.told).call(), NOW)
    });
}

/// Nothing marks where a value ends, and whoever writes to our number chooses its text: cut anew, it must not speak for
/// another number.
#[test]
fn a_text_cannot_be_cut_into_somebody_elses_word() {
    let ear = Ear::twilio(&Secret::new("token"), PUBLIC_URL).expect("settings");
    let sid = "SM00000000000000000000000000000001";
    let free = "SM000000000000000000000000000000ff";
    let cases = [
        (
            "their STOP",
            format!("Body=STOPFrom%2B15551234567FromA&From=%2B15557654321&MessageSid={sid}&To=%2B15017250604"),
            format!("Body=STOP&From=%2B15551234567&FromA=From%2B15557654321&MessageSid={sid}&To=%2B15017250604"),
        ),
        (
            "their bounce",
            format!(
                "Body=xErrorCode30005MessageSid{free}MessageStatusundeliveredTo%2B15551234567Z&From=%2B15557654321&MessageSid={sid}&To=%2B15017250604"
            ),
            format!(
                "Body=x&ErrorCode=30005&MessageSid={free}&MessageStatus=undelivered&To=%2B15551234567&Z=From%2B15557654321MessageSid{sid}To%2B15017250604"
            ),
        ),
    ];
    for (why, told, cut) in cases {
        let (told, cut) = (twilio("token", PUBLIC_URL, None, &told), twilio("token", PUBLIC_URL, None, &cut));
        assert_eq!(told.headers, cut.headers, "{why}: this case shows nothing: the signatures differ");
        assert!(matches!(ear.hear(&cut.call(), NOW), Err(Turned::Malformed(_))), "{why} was believed");
    }
}

#[test]
fn generic_events_mean_what_the_file_says() {
    let ear = Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret");
    let hear = |told: &str| ear.hear(&signed(VECTOR_SECRET, "m1", "1800000000", told.as_bytes()).call(), NOW);
    check("webhook/events.toml", 8, |entry| hear(&entry.told));
    check("webhook/events.toml", 8, |entry| hear(&format!("[{}]", entry.told)));
    let at = "2027-01-15T08:59:59+01:00".parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    let told = r#"{"id":"1","event":"opened","channel":"email","at":"2027-01-15T08:59:59+01:00"}"#;
    assert_eq!(hear(told).expect("signed")[0].at, Wall(at), "RFC 3339 with its zone");
    for word in Happened::ALL.map(Happened::as_str) {
        let told = format!(r#"{{"id":"1","event":"{word}","channel":"sms","at":1800000000}}"#);
        assert_eq!(hear(&told).expect("signed")[0].happened.as_str(), word, "every word of ours is heard");
    }
}

#[test]
fn signatures_of_two_keys_may_stand_side_by_side() {
    let ear = Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret");
    let posted = signed(VECTOR_SECRET, "m1", "1800000000", b"[]");
    let good = posted.headers["webhook-signature"].to_str().expect("text").to_owned();
    let bad = format!("v1,{}=", "A".repeat(43));
    let cases = [
        ("another key's first", format!("{bad} {good}"), true),
        ("another version's first", format!("v1a,x {good}"), true),
        ("none of ours", format!("{bad} {bad}"), false),
        ("more than anybody has", format!("{bad} {bad} {bad} {bad} {good}"), false),
        ("without its version", good.replace("v1,", ""), false),
        ("nothing", String::new(), false),
    ];
    for (why, signature, holds) in cases {
        let mut posted = posted.clone();
        posted.headers.insert("webhook-signature", signature.parse().expect("a value"));
        let expected = if holds { Ok(Vec::new()) } else { Err(Turned::Forged) };
        assert_eq!(ear.hear(&posted.call(), NOW), expected, "{why}; mend webhook/feedback.rs");
    }
    for (why, id) in [("dots divide what is signed", "m.1"), ("no id", "")] {
        let posted = signed(VECTOR_SECRET, id, "1800000000", b"[]");
        assert_eq!(ear.hear(&posted.call(), NOW), Err(Turned::Forged), "{why}; mend webhook/feedback.rs");
    }
}

#[test]
fn everything_has_a_limit() {
    let ear = Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret");
    let hear = |told: String| ear.hear(&signed(VECTOR_SECRET, "m1", "1800000000", told.as_bytes()).call(), NOW);
    let event = |to: &str, detail: &str| {
        json!({ "id": "1", "event": "delivered", "channel": "email", "at": 1, "to": to, "detail": detail })
            .to_string()
            .replace("\"at\":1,", "\"at\":1800000000,")
    };
    let list = |n: usize| format!("[{}]", vec![event("", ""); n].join(","));
    assert_eq!(hear(list(MAX_EVENTS)).expect("the most").len(), MAX_EVENTS);
    assert!(matches!(hear(list(MAX_EVENTS + 1)), Err(Turned::Malformed(_))), "one more; mend json.rs");
    let long = hear(event("", &"ü a@example.com ".repeat(5000))).expect("signed");
    assert_eq!(long[0].detail.chars().count(), 200, "words are cut");
    assert!(!long[0].detail.contains("example"), "and name nobody: {}", long[0].detail);
    assert_eq!(hear(event(&"t".repeat(4096), "")).expect("signed").len(), 1, "the longest recipient of a job");
    assert_eq!(hear(event(&"t".repeat(4097), "")).expect("signed").len(), 0, "no recipient of a job");
    let deep =
        format!(r#"{{"id":"1","event":"opened","channel":"email","at":1800000000,"x":{}}}"#, "[".repeat(100_000));
    assert!(matches!(hear(deep), Err(Turned::Malformed(_))), "no end, and no stack");
    let deep = format!(r#"{{"at":{}{},"id":"1"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(hear(deep), Ok(Vec::new()), "deep, closed, and nothing of ours");
    for (why, body) in [("nothing", ""), ("no JSON", "a=b"), ("two lists", "[][]"), ("a number", "7")] {
        assert!(matches!(hear(body.to_owned()), Err(Turned::Malformed(_))), "{why}; mend json.rs");
    }
    let token = Ear::twilio(&Secret::new("token"), PUBLIC_URL).expect("settings");
    let many = (0..300).map(|i| format!("A{i}=")).collect::<Vec<_>>().join("&");
    let got = token.hear(&twilio("token", PUBLIC_URL, None, &many).call(), NOW);
    assert_eq!(got, Err(Turned::Forged), "more parameters than anybody sends are not sorted for a stranger");
}

/// The echo of what an account makes of `job`, as its vendor tells it back.
fn told_back(vendor: &str, job: &Value) -> Echo {
    let key = SendGridKey::new();
    let (name, ear) = match vendor {
        "sendgrid" => ("sendgrid", Ear::sendgrid(&key.public(), DAY)),
        "twilio" => ("callback", Ear::twilio(&Secret::new("token"), support::CALLBACK)),
        _ => ("gateway", Ear::signed(&Secret::new(VECTOR_SECRET), DAY)),
    };
    let request =
        with_jobs(Lane::Marketing, &[job.to_string()], |jobs| account(name).encode(jobs, NOW)).expect("encodable");
    let posted = match vendor {
        "sendgrid" => {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let mut event =
                json!({ "email": "a@example.com", "timestamp": 1_800_000_001, "event": "open", "sg_event_id": "1" });
            let args = body["personalizations"][0]["custom_args"].as_object().expect("an object").clone();
            event.as_object_mut().expect("an object").extend(args);
            key.sign("1800000001", json!([event]).to_string().as_bytes())
        }
        "twilio" => {
            let mut form = url::form_urlencoded::parse(&request.body);
            let (_, callback) = form.find(|(name, _)| name == "StatusCallback").expect("a callback");
            let (url, query) = callback.split_once('?').expect("a query");
            let told = "MessageSid=SM1342fe1b2c904d1ab04f0fc7a58abca9&MessageStatus=delivered&To=%2B15558675310";
            twilio("token", url, Some(query), told)
        }
        _ => {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let event = json!({
                "id": "1", "event": "delivered", "channel": body["channel"], "at": 1_800_000_001, "to": body["to"],
                "peakpost_id": body["id"], "peakpost_tenant": body["tenant"], "peakpost_campaign": body["campaign"],
                "peakpost_lane": body["lane"], "peakpost_sent": body["sent"],
            });
            signed(VECTOR_SECRET, "m1", "1800000001", event.to_string().as_bytes())
        }
    };
    let heard = ear.expect("settings").hear(&posted.call(), NOW).expect("it is signed");
    assert_eq!(heard.len(), 1, "{vendor}: {posted:?}");
    heard[0].echo.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_echo_comes_back_as_it_went_out(
        id in "\\PC{0,20}[!-~]\\PC{0,20}", tenant in "[A-Za-z0-9._-]{1,64}", campaign in prop::option::of("[!-~ ]{0,60}[!-~]"),
    ) {
        prop_assume!(peakpost::job::field::header_safe(&id, 128).is_ok());
        let expected = Echo {
            id: id.as_str().into(),
            tenant: tenant.as_str().into(),
            campaign: campaign.as_deref().unwrap_or_default().into(),
            lane: Some(Lane::Marketing),
            sent: Some(NOW),
        };
        let job = |channel: &str, to: &str, from: &str, content: Value| json!({
            "id": id, "tenant": tenant, "campaign": campaign, "channel": channel, "to": to, "from": from, "content": content,
        });
        let mail = job("email", "a@example.com", "f@example.com", json!({ "subject": "s", "text": "t" }));
        let sms = job("sms", "+14155550123", "Acme", json!({ "body": "b" }));
        prop_assert_eq!(told_back("sendgrid", &mail), expected.clone());
        prop_assert_eq!(told_back("twilio", &sms), expected.clone());
        prop_assert_eq!(told_back("gateway", &sms), expected);
    }

    #[test]
    fn whatever_is_signed_is_read_within_bounds(body in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}:,\"0-9a-z\\\\]{0,80}") {
        let ear = Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret");
        for body in [body.as_slice(), json.as_bytes(), format!("[{{\"id\":{json}}}]").as_bytes()] {
            let heard = ear.hear(&signed(VECTOR_SECRET, "m1", "1800000000", body).call(), NOW);
            prop_assert!(!matches!(heard, Err(Turned::Forged | Turned::Stale)), "it is signed and fresh");
        }
    }
}
