//! Requests are byte for byte what `serde_json` and `form_urlencoded` would write.
//!
//! Why: they are written by hand, and a quote or an ampersand that is not escaped lets a job speak in our name. Each
//! mirror below reads a request strictly and writes it again, with its members in this order: nothing may change.

use peakpost::job::field;
use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::support::{account, encode};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MailSend {
    personalizations: Vec<Personalization>,
    from: Mailbox,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Mailbox>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Vec<Part>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asm: Option<Asm>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Personalization {
    to: [Mailbox; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamic_template_data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Headers>,
    custom_args: Echo,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Mailbox {
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Part {
    r#type: String,
    value: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Asm {
    group_id: u32,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Headers {
    #[serde(rename = "X-Other", skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    #[serde(rename = "X-Own", skip_serializing_if = "Option::is_none")]
    own: Option<String>,
    #[serde(rename = "List-Unsubscribe", skip_serializing_if = "Option::is_none")]
    leave: Option<String>,
    #[serde(rename = "List-Unsubscribe-Post", skip_serializing_if = "Option::is_none")]
    how: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    #[serde(rename = "peakpost_id")]
    id: String,
    #[serde(rename = "peakpost_tenant")]
    tenant: String,
    #[serde(rename = "peakpost_campaign", skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(rename = "peakpost_lane")]
    lane: String,
    #[serde(rename = "peakpost_sent")]
    sent: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    id: String,
    tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    channel: String,
    lane: String,
    sent: i64,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    content: Box<RawValue>,
}

/// The body of the request with these jobs, and what its mirror makes of it.
fn twice<T: DeserializeOwned + Serialize>(name: &str, jobs: &[Value]) -> (String, String) {
    let records: Vec<String> = jobs.iter().map(Value::to_string).collect();
    let body = encode(&account(name), &records).expect("encodable").body;
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    let read: T = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e} in {body}; mend {name}'s encode"));
    (body, serde_json::to_string(&read).expect("JSON"))
}

/// Text of a header, with quotes and backslashes more often than by chance.
fn safe() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{1,40}", "[\"\\\\ -~é]{1,40}"].prop_filter("header-safe", |s| field::header_safe(s, 128).is_ok())
}

/// Text of a body: line breaks and tabs, too.
fn words() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{1,80}", "[\"\\\\\t\r\n\u{7f}-\u{ff}<a]{1,80}"]
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof![
        (safe(), words()).prop_map(|(subject, text)| json!({ "subject": subject, "text": text })),
        (safe(), words()).prop_map(|(subject, html)| json!({ "subject": subject, "html": html })),
        (safe(), words(), words())
            .prop_map(|(subject, text, html)| json!({ "subject": subject, "text": text, "html": html })),
        words().prop_map(|value| json!({ "template_id": "d-1", "data": { "any": value } })),
        Just(json!({ "template_id": "legacy" })),
    ]
}

/// Mails that may share a request.
fn mails() -> impl Strategy<Value = Vec<Value>> {
    let name = "\\PC{0,20}".prop_filter("a name", |name| field::mailbox(&format!("{name} <a@example.com>")).is_ok());
    let own = (safe(), name, prop::option::of(safe()), any::<[bool; 2]>());
    let shared = (content(), prop::option::of(safe()), any::<[bool; 2]>());
    (prop::collection::vec(own, 1..4), shared).prop_map(|(own, (content, campaign, [reply_to, group]))| {
        let job = |(n, (id, name, header, [other, leave])): (usize, (String, String, Option<String>, [bool; 2]))| {
            let mut headers = json!({});
            if other {
                headers["X-Other"] = json!("1");
            }
            if let Some(value) = header {
                headers["X-Own"] = json!(value);
            }
            let url = format!("https://u.example/{n}?a=%20&b");
            json!({
                "id": id, "tenant": "acme", "campaign": campaign, "channel": "email",
                "to": format!("{name} <a{n}@example.com>"), "from": "Acme Ünd Co <f@example.com>",
                "reply_to": reply_to.then_some("r@example.com"), "content": content, "headers": headers,
                "unsubscribe": (leave || group).then(|| json!({ "url": url, "group": group.then_some(7) })),
            })
        };
        own.into_iter().enumerate().map(job).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mail_send_is_written_as_serde_json_writes_it(jobs in mails()) {
        let (body, again) = twice::<MailSend>("sendgrid", &jobs);
        prop_assert_eq!(body, again, "mend sendgrid/encode.rs");
    }

    #[test]
    fn an_envelope_is_written_as_serde_json_writes_it(
        id in safe(),
        campaign in prop::option::of(safe()),
        words in words(),
    ) {
        let record = json!({
            "id": id, "tenant": "acme", "campaign": campaign, "channel": "sms", "to": "+14155550123", "from": "Acme",
            "content": { "body": words },
        });
        let (body, again) = twice::<Envelope>("gateway", std::slice::from_ref(&record));
        let envelope: Value = serde_json::from_str(&body).expect("JSON");
        prop_assert_eq!(&envelope["content"], &record["content"], "the content is the job's");
        prop_assert_eq!(body, again, "mend webhook/mod.rs");
    }

    #[test]
    fn a_form_is_written_as_form_urlencoded_writes_it(
        id in safe(),
        campaign in prop::option::of(safe()),
        words in words(),
    ) {
        let record = json!({
            "id": id, "tenant": "acme", "campaign": campaign, "channel": "sms", "to": "+14155550123", "from": "Acme",
            "content": { "body": words },
        });
        let body = encode(&account("callback"), &[record.to_string()]).expect("encodable").body;
        let pairs: Vec<_> = url::form_urlencoded::parse(&body).collect();
        let again = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        prop_assert_eq!(String::from_utf8_lossy(&body), again, "mend twilio/form.rs");
        let tags: Echo = serde_json::from_str(&pairs[3].1).expect("Tags is JSON");
        prop_assert_eq!(serde_json::to_string(&tags).expect("JSON"), &*pairs[3].1, "mend echo.rs");
        let query = pairs[4].1.split_once('?').map(|(_, query)| query.to_owned()).expect("a callback with a query");
        let echoed: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let again = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&echoed).finish();
        prop_assert_eq!(&query, &again, "the query is a form within a form; mend twilio/mod.rs");
        let values = [&*tags.id, &*tags.tenant].into_iter().chain(tags.campaign.as_deref());
        let told: Vec<&str> = echoed.iter().map(|(_, value)| &**value).collect();
        let tagged: Vec<&str> = values.chain([&*tags.lane, &*tags.sent]).collect();
        prop_assert_eq!(told, tagged, "both name the same send");
    }
}
