//! The contract with upstream: what is read as a job, what is turned away and why, and what becomes of it.
//! Code and JSON Schemas are held to one table (`contract/rows.rs`), so neither can drift alone.

#[path = "contract/json.rs"]
mod json;
#[path = "contract/reading.rs"]
mod reading;
#[path = "contract/rows.rs"]
mod rows;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use peakpost::job::invalid::{Invalid, Reason as Fault};
use peakpost::job::receipt::{Receipt, Why};
use peakpost::job::{
    Channel, Content, Coordinates, Headers, Incoming, Job, Lane, Malformed, Source, Wall, Way, headers, parse, schema,
};
use peakpost::outcome::record::{Place, Record, VERSION};
use peakpost::outcome::{self, Cause, Code, Kind, Reason};
use proptest::prelude::*;
use serde_json::{Value, json};

use rows::{EMAIL, HOOK, PUSH, Row, SMS, TEMPLATE, rows};

/// Every variant of an enum, once; a variant that is not named here does not compile.
macro_rules! every {
    ($kind:ident: $($variant:ident),* $(,)?) => {{
        const _: fn($kind) = |v| match v { $($kind::$variant => ()),* };
        [$($kind::$variant),*]
    }};
}

fn faults() -> [Fault; 21] {
    every!(Fault: TooLarge, NoValue, NotJson, NotAnObject, UnknownField, DuplicateField, MissingField, WrongType,
        Empty, TooLong, TooMany, UnsafeText, BadToken, BadMailbox, BadPhone, BadUrl, BadTime, BadChannel, BadHeader,
        NotForChannel, BadTrip)
}

fn codes() -> [Code; 18] {
    every!(Code: Invalid, BadRecipient, RecipientGone, OptedOut, BadSender, TooLarge, RateLimit, QueueFull, Credentials, Account,
        NotEnabled, Endpoint, ServerError, Timeout, Connection, ForbiddenAddress, Nonsense, Panicked)
}

/// Every word that can stand in an outcome's `reason`.
fn reasons() -> BTreeSet<&'static str> {
    // A new reason does not compile until it is named here and listed below.
    const _: fn(Reason) = |r| match r {
        Reason::Accepted
        | Reason::Contract(_)
        | Reason::Expired
        | Reason::TooOld
        | Reason::NoConsent
        | Reason::NoUnsubscribe
        | Reason::SenderNotAllowed
        | Reason::Suppressed(_)
        | Reason::NoRoute
        | Reason::SendAtTooFar
        | Reason::AttemptsExhausted(_)
        | Reason::Vendor(_)
        | Reason::SendAt
        | Reason::ProviderBusy
        | Reason::Carried
        | Reason::Reputation
        | Reason::KeyBusy
        | Reason::InFlight
        | Reason::Duplicate
        | Reason::Told
        | Reason::Again(_)
        | Reason::MaybeSent(_) => (),
    };
    let plain = [Reason::Accepted, Reason::Expired, Reason::NoConsent, Reason::NoUnsubscribe].into_iter();
    let plain = plain.chain([Reason::SenderNotAllowed, Reason::NoRoute, Reason::SendAtTooFar, Reason::TooOld]);
    let plain = plain.chain([
        Reason::SendAt,
        Reason::ProviderBusy,
        Reason::Carried,
        Reason::Reputation,
        Reason::KeyBusy,
        Reason::InFlight,
        Reason::Duplicate,
        Reason::Told,
    ]);
    let vendor =
        codes().into_iter().flat_map(|c| [Reason::AttemptsExhausted(c), Reason::Vendor(c), Reason::MaybeSent(c)]);
    let suppressed = Cause::ALL.map(Reason::Suppressed);
    let vendor = vendor.chain(suppressed);
    plain.chain(faults().map(Reason::Contract)).chain(vendor).map(Reason::as_str).collect()
}

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|e| panic!("not a JSON Schema: {e}"));
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

fn receipt() -> Receipt {
    Receipt::new(Coordinates { from: Source::Jobs(Lane::Marketing), home: 0, offset: 0 }, 0, 0, 0)
}

/// Reads a record the way the line does, and meets its obligation.
fn read(record: &[u8]) -> Result<(), Invalid> {
    match Job::parse(Incoming {
        bytes: record.into(),
        headers: Headers::new(),
        enqueued: Wall(0),
        lane: Lane::Marketing,
        way: Way::default(),
        receipt: receipt(),
    }) {
        Ok(job) => {
            assert_eq!(job.into_receipt().abandon(Why::Shutdown).why, Why::Shutdown);
            Ok(())
        }
        Err(malformed) => {
            let Malformed { incoming: Incoming { bytes, receipt, .. }, invalid } = *malformed;
            assert_eq!(receipt.abandon(Why::Shutdown).why, Why::Shutdown);
            assert_eq!(&*bytes, record, "a refused record comes back whole");
            Err(invalid)
        }
    }
}

/// What must be true of one row; says what to look at when it is not.
fn check(schema: &Validator, row: &Row) -> Result<(), String> {
    let shown = String::from_utf8_lossy(&row.record[..row.record.len().min(600)]).into_owned();
    let found = read(&row.record).err().map(|invalid| (invalid.reason.as_str(), invalid.field));
    let expected = row.fault.map(|(reason, field)| (reason.as_str(), field.to_owned()));
    if found != expected {
        return Err(format!("{}: expected {expected:?}, the code says {found:?}: {shown}", row.why));
    }
    let passes = serde_json::from_slice(&row.record)
        .ok()
        .map(|record: Value| schema.iter_errors(&record).map(|e| e.to_string()).collect::<Vec<_>>());
    match (&row.fault, row.code_only, passes) {
        (None, _, Some(errors)) if errors.is_empty() => Ok(()),
        (None, _, errors) => Err(format!("{}: valid, but the schema says {errors:?}: {shown}", row.why)),
        (Some(_), None, Some(errors)) if !errors.is_empty() => Ok(()),
        (Some(_), None, _) => Err(format!("{}: invalid, but the schema lets it pass: {shown}", row.why)),
        (Some(_), Some(_), Some(errors)) if !errors.is_empty() => {
            Err(format!("{}: the schema does see it; take `code_only` off the row: {errors:?}", row.why))
        }
        (Some(_), Some(_), _) => Ok(()),
    }
}

#[test]
fn code_and_schema_agree_on_every_row() {
    let (schema, rows) = (validator(schema::JOB), rows());
    let wrong: Vec<String> = rows.iter().filter_map(|row| check(&schema, row).err()).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(rows.len() >= 60, "rows were lost: {}", rows.len());
    let seen: BTreeSet<&str> = rows.iter().filter_map(|row| Some(row.fault?.0.as_str())).collect();
    let mut all: BTreeSet<&str> = faults().map(Fault::as_str).into();
    // It is not the record that is at fault, but the header beside it.
    all.remove(Fault::BadTrip.as_str());
    assert_eq!(seen, all, "every fault needs a row");
}

#[test]
fn the_words_of_a_fault_say_field_and_never_the_address() {
    let record = EMAIL.replace("ana@example.com", "ana@@secret.example");
    let invalid = read(record.as_bytes()).unwrap_err();
    assert!(invalid.to_string().starts_with("bad_mailbox in `to`: "), "{invalid}");
    assert!(!invalid.to_string().contains("secret"), "the recipient's address is in `{invalid}`");
    assert!(read(b"").unwrap_err().to_string().starts_with("no_value: "), "a whole record has no field");
}

#[test]
fn a_job_keeps_what_upstream_wrote() {
    let spec = parse::parse(EMAIL.as_bytes()).unwrap();
    let texts = [&spec.id, &spec.tenant, &spec.to].map(|t| &**t);
    assert_eq!(texts, ["order-1842", "shop-eu", "Ana Ruiz <ana@example.com>"]);
    assert!(matches!(spec.id.0, Cow::Borrowed(_)), "a text without escapes is not copied");
    assert_eq!(spec.channel, Channel::Email);
    assert_eq!(spec.send_at, Some(Wall(1_795_770_000_000)));
    assert_eq!(spec.expires_at, Some(Wall(1_795_809_600_250)), "the offset counts, and so do milliseconds");
    assert_eq!(spec.unsubscribe.as_ref().and_then(|u| u.group), Some(1042));
    assert_eq!(spec.headers.iter().map(|(n, v)| (&**n, &**v)).collect::<Vec<_>>(), [("X-Order", "1842")]);
    let Content::Mail { subject, text, html } = spec.content else { panic!("not a mail") };
    assert_eq!(
        (&*subject, text.as_deref(), html.as_deref()),
        ("It is über here", Some("Hello\r\n\tAna"), Some("<p>Hello</p>"))
    );
    let hook = parse::parse(HOOK.as_bytes()).unwrap();
    assert!(matches!(hook.content, Content::Webhook(raw) if raw == r#"{"order": 1842}"#), "byte for byte");
}

/// The strings of a JSON array, or the names of a JSON object.
fn words(schema: &Value, pointer: &str) -> BTreeSet<String> {
    match schema.pointer(pointer) {
        Some(Value::Array(list)) => list.iter().map(|v| v.as_str().unwrap().to_owned()).collect(),
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        other => panic!("nothing to list at {pointer}: {other:?}"),
    }
}

#[test]
fn names_in_schema_and_code_are_the_same() {
    let job: Value = serde_json::from_str(schema::JOB).unwrap();
    let channels = Channel::ALL.map(Channel::as_str);
    let lists: [(&str, &[&str]); 9] = [
        ("/properties", &parse::TOP),
        ("/properties/unsubscribe/properties", &parse::UNSUBSCRIBE),
        ("/properties/consent/properties", &parse::CONSENT),
        ("/$defs/mail/properties", &parse::MAIL),
        ("/$defs/template/properties", &parse::MAIL),
        ("/$defs/sms/properties", &parse::SMS),
        ("/$defs/push/properties", &parse::PUSH),
        ("/properties/headers/propertyNames/not/enum", headers::RESERVED_HEADERS),
        ("/properties/channel/enum", &channels),
    ];
    for (pointer, names) in lists {
        let names = names.iter().map(|&n| n.to_owned()).collect();
        assert_eq!(words(&job, pointer), names, "job.schema.json{pointer} (left) and the code (right)");
    }
    assert_eq!(job["properties"]["headers"]["maxProperties"], headers::MAX_HEADERS);
    for (name, field) in job["properties"].as_object().unwrap() {
        assert!(field["description"].is_string(), "job.schema.json: `{name}` has no description");
    }
}

#[test]
fn the_examples_of_the_schemas_are_true() {
    for (text, is_job) in [(schema::JOB, true), (outcome::schema::OUTCOME, false)] {
        let (schema, validator) = (serde_json::from_str::<Value>(text).unwrap(), validator(text));
        for example in schema["examples"].as_array().unwrap() {
            validator.validate(example).unwrap_or_else(|e| panic!("{e} in {example}"));
            let bytes = serde_json::to_vec(example).unwrap();
            if is_job {
                read(&bytes).unwrap_or_else(|e| panic!("{e} in {example}"));
            } else {
                serde_json::from_slice::<Record<'_>>(&bytes).unwrap_or_else(|e| panic!("{e} in {example}"));
            }
        }
    }
}

#[test]
fn outcome_schema_lists_every_word() {
    let schema: Value = serde_json::from_str(outcome::schema::OUTCOME).unwrap();
    let lists: [(&str, BTreeSet<&str>); 4] = [
        ("/properties/reason/enum", reasons()),
        ("/properties/outcome/enum", Kind::ALL.map(Kind::as_str).into()),
        ("/properties/channel/enum", Channel::ALL.map(Channel::as_str).into()),
        ("/properties/lane/enum", Lane::ALL.map(Lane::as_str).into()),
    ];
    for (pointer, expected) in lists {
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(words(&schema, pointer), expected, "outcome.schema.json{pointer} (left) and the code (right)");
    }
    assert_eq!(schema["properties"]["v"]["const"], VERSION);
}

fn record(full: bool) -> Record<'static> {
    let text = |word: &'static str| Cow::Borrowed(if full { word } else { "" });
    let place = Place { topic: "p.jobs.marketing".into(), partition: 11, offset: i64::MAX };
    Record {
        v: VERSION,
        outcome: "dead".into(),
        reason: "unsafe_text".into(),
        field: text("content.subject"),
        detail: text("holds \"U+000D\""),
        id: text("order-1842"),
        tenant: text("shop-eu"),
        campaign: text("cyber-week"),
        channel: text("email"),
        lane: "marketing".into(),
        provider: text("sendgrid-main"),
        vendor_id: text("14c5d75ce93"),
        happened: text("delivered"),
        event: text("sendgrid-main/14c5"),
        attempts: u16::MAX,
        at_ms: 1_795_770_000_250,
        enqueued_ms: 1_795_770_000_000,
        origin: place.clone(),
        source: place,
        hop: 0,
        generation: 0,
        late: full,
    }
}

fn written(full: bool) -> String {
    let mut out = Vec::new();
    record(full).write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_outcome_record_validates_and_comes_back_the_same() {
    let schema = validator(outcome::schema::OUTCOME);
    for full in [true, false] {
        let written = written(full);
        let value: Value = serde_json::from_str(&written).unwrap();
        schema.validate(&value).unwrap_or_else(|e| panic!("{e} in {written}"));
        assert_eq!(serde_json::from_str::<Record<'_>>(&written).unwrap(), record(full));
    }
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let json: Value = serde_json::from_str(outcome::schema::OUTCOME).unwrap();
    let full: Value = serde_json::from_str(&written(true)).unwrap();
    assert_eq!(names(&json["properties"]), names(&full), "outcome.schema.json (left) and the record (right)");
    let least: Value = serde_json::from_str(&written(false)).unwrap();
    assert_eq!(words(&json, "/required"), names(&least), "what is always there is required");
    for (name, value, why) in [
        ("reason", json!("because"), "reasons are closed"),
        ("outcome", json!("delivered"), "accepted is not delivered"),
        ("campaign", Value::Null, "absent members are left out"),
        ("more", json!(1), "no member we do not write"),
    ] {
        let mut wrong = full.clone();
        wrong[name] = value;
        assert!(!schema.is_valid(&wrong), "{why}: the schema lets {wrong} pass");
    }
}

#[test]
fn deep_nesting_does_not_end_the_stack() {
    let deep = "[".repeat(100_000);
    assert_eq!(read(deep.as_bytes()).unwrap_err().reason, Fault::NotAnObject);
    assert_eq!(read("{\"content\":".repeat(20_000).as_bytes()).unwrap_err().reason, Fault::NotJson);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let hook = HOOK.replace(r#"{"order": 1842}"#, &closed);
    assert_eq!(read(hook.as_bytes()), Ok(()), "any JSON is delivered as it is");
    assert_eq!(read(SMS.replace("\"c-1\"", &closed).as_bytes()).unwrap_err().reason, Fault::WrongType);
}

/// A valid job with some bytes changed, cut out, repeated or put in from another job.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let job = prop::sample::select(vec![EMAIL, TEMPLATE, SMS, PUSH, HOOK]);
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..5_u8);
    (job, prop::collection::vec(edit, 1..4)).prop_map(|(job, edits)| {
        let mut bytes = job.as_bytes().to_vec();
        for (from, to, byte, kind) in edits {
            let (a, b) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let span = a.min(b)..a.max(b).min(a.min(b) + 24);
            match kind {
                0 => bytes.insert(a, byte),
                1 => drop(bytes.splice(span.clone(), bytes[span].to_vec().repeat(2))),
                2 => drop(bytes.drain(span)),
                3 => drop(bytes.splice(a..a, EMAIL.bytes().skip(b).take(24))),
                _ => bytes.extend_from_within(span),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err(), "noise is no job");
    }

    #[test]
    fn no_mutated_job_makes_the_parser_panic_and_what_passes_fits_the_schema(bytes in mutated()) {
        static SCHEMA: LazyLock<Validator> = LazyLock::new(|| validator(schema::JOB));
        if let (Ok(()), Ok(job)) = (read(&bytes), serde_json::from_slice::<Value>(&bytes)) {
            prop_assert!(SCHEMA.is_valid(&job), "the code takes it, the schema does not: {job}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    /// What is taken for a good URL without asking the parser is one to the parser as well.
    #[test]
    fn no_url_passes_that_the_parser_refuses(host in "[a-z0-9.x-]{1,12}|xn--[a-z0-9]{1,6}(\\.[a-z0-9]{1,4})?", rest in "(/[ -~]{0,12})?") {
        let url = format!("https://{host}{rest}");
        let passes = peakpost::job::field::http_url(&url).is_ok();
        prop_assert!(!passes || url::Url::parse(&url).is_ok(), "{url} passes");
    }
}
