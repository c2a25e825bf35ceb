//! What each simulated vendor takes and refuses, and in which words.
//!
//! Why: the words are the vendors' documented ones; an answer that is only like them teaches a decoder wrongly.
//! Must not know: faults and limits.

use peakpost::sim::arrivals::Vendor;
use peakpost::sim::vendor::SimConfig;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{MAIL, bench, body, header, mail, now_s, send, status};

#[tokio::test]
async fn sendgrid_takes_a_full_batch_and_names_it() {
    let b = bench(SimConfig::default()).await;
    let response = send(b.mail(&mail(1000))).await;
    assert_eq!(response.status(), 202);
    assert_eq!(header(&response, "x-message-id").len(), 22, "X-Message-Id has 22 characters");
    assert_eq!(response.text().await.unwrap(), "", "a 202 has no body");
    let seen = b.sim.take_arrivals();
    assert_eq!((seen.requests.len(), seen.requests[0].messages, seen.messages.len()), (1, 1000, 1000));
    let last = &seen.messages[999];
    assert_eq!((&*last.key, last.answer, last.sent, last.vendor), ("shop/m-999", 202, true, Vendor::SendGrid));
    assert!(b.sim.arrivals().messages.is_empty(), "what was taken is forgotten");
}

#[tokio::test]
async fn sendgrid_refuses_what_the_vendor_refuses() {
    let b = bench(SimConfig::default()).await;
    let check = async |why: &str, change: &dyn Fn(&mut Value), field: Value, message: &str| {
        let mut request = mail(3);
        change(&mut request);
        let response = send(b.mail(&request)).await;
        assert_eq!(response.status(), 400, "{why}");
        let errors = body(response).await["errors"].clone();
        let hit = |e: &Value| e["field"] == field && e["message"].as_str().unwrap().contains(message);
        assert!(errors.as_array().unwrap().iter().any(hit), "{why}: no `{message}` at {field} in {errors}");
    };
    let email =
        |i: usize, to: &'static str| move |m: &mut Value| m["personalizations"][i]["to"][0]["email"] = json!(to);
    let at = |i: usize| json!(format!("personalizations.{i}.to.0.email"));
    let ps = json!("personalizations");
    let remove = |name: &'static str| move |m: &mut Value| drop(m.as_object_mut().unwrap().remove(name));

    check("none", &|m| m["personalizations"] = json!([]), ps.clone(), "You must have at least one personalization.")
        .await;
    check("too many", &|m| *m = mail(1001), ps.clone(), "You have provided [1001] personalizations.").await;
    check("nobody", &|m| m["personalizations"][1]["to"] = json!([]), json!("personalizations.1.to"), "required").await;
    check("no at sign", &email(2, "user.example.com"), at(2), "valid address").await;
    check("two addresses in one", &email(1, "a@example.com,b@example.com"), at(1), "valid address").await;
    check("magic", &email(1, "invalid-7@example.com"), at(1), "valid address").await;
    check("magic, unnamed", &email(1, "poison-7@example.com"), Value::Null, "Bad Request").await;
    let twice = "Each unique email address in the personalizations array should only be included once. You have \
                 included [USER-0@example.com] more than once.";
    check("twice, in other letters", &email(1, "USER-0@example.com"), ps.clone(), twice).await;
    let cc = |m: &mut Value| {
        *m = mail(1000);
        m["personalizations"][0]["cc"] = json!([{"email": "one-more@example.com"}]);
    };
    check("1001 with cc", &cc, ps.clone(), "There is a limit of 1000 total recipients (to + cc + bcc) per request.")
        .await;
    check("no sender", &remove("from"), json!("from.email"), "must be provided").await;
    check("no subject", &remove("subject"), json!("subject"), "required").await;
    check("empty subject", &|m| m["subject"] = json!(""), json!("subject"), "empty").await;
    check("no content", &remove("content"), json!("content"), "required").await;
    check("empty content", &|m| m["content"][1]["value"] = json!(""), json!("content.1.value"), "empty").await;
    check("html first", &|m| m["content"].as_array_mut().unwrap().reverse(), json!("content.1.type"), "first").await;
    let reserved = |m: &mut Value| m["personalizations"][0]["headers"] = json!({"Reply-To": "x@example.com"});
    check("reserved header", &reserved, json!("personalizations.0.headers"), "reserved").await;
    let fat = |m: &mut Value| m["personalizations"][2]["custom_args"]["more"] = json!("x".repeat(10_000));
    check("fat args", &fat, json!("personalizations.2.custom_args"), "10000").await;
    check("unknown field", &|m| m["priority"] = json!(1), Value::Null, "unknown field `priority`").await;
    check("unknown field inside", &|m| m["personalizations"][0]["data"] = json!({}), Value::Null, "unknown field")
        .await;
    check("args that are no text", &|m| m["custom_args"] = json!({"n": 1}), Value::Null, "expected a string").await;

    let seen = b.sim.arrivals();
    assert!(seen.messages.iter().all(|a| !a.sent && a.answer == 400), "a refused batch sends nothing");
}

#[tokio::test]
async fn sendgrid_refuses_by_status_and_takes_variants() {
    let b = bench(SimConfig::default()).await;
    let good = mail(1);
    let stranger = b.client.post(b.url(MAIL)).bearer_auth("SG.other").body(good.to_string());
    let response = send(stranger).await;
    assert_eq!(response.status(), 401);
    assert_eq!(
        body(response).await,
        json!({"errors": [{"message": "authorization required", "field": null, "help": null}]})
    );
    let as_text = b.client.post(b.url(MAIL)).bearer_auth(&b.config.sendgrid_key).body(good.to_string());
    assert_eq!(status(as_text).await, 415, "the content type must be JSON");
    let mut large = mail(1);
    large["content"][0]["value"] = json!("x".repeat(30 * 1024 * 1024));
    assert_eq!(status(b.mail(&large)).await, 413, "more than 30 MB");
    assert_eq!(status(b.client.get(b.url(MAIL))).await, 405, "mail is posted");

    let mut template = mail(2);
    template["template_id"] = json!("d-1");
    template["personalizations"][0]["dynamic_template_data"] = json!({"name": "\u{fc}", "list": [1, {"a": null}]});
    template["asm"] = json!({"group_id": 7});
    template["headers"] = json!({"List-Unsubscribe": "<https://shop.example/u>"});
    for name in ["subject", "content"] {
        template.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(status(b.mail(&template)).await, 202, "a template needs neither subject nor content");
    let mut sandbox = mail(1);
    sandbox["mail_settings"] = json!({"sandbox_mode": {"enable": true}});
    assert_eq!(status(b.mail(&sandbox)).await, 200, "the sandbox answers 200");
    let last = b.sim.arrivals().messages.pop().unwrap();
    assert!(!last.sent && last.answer == 200, "the sandbox sends nothing: {last:?}");
}

#[tokio::test]
async fn twilio_takes_and_refuses_in_its_own_codes() {
    let b = bench(SimConfig::default()).await;
    let tags = r#"{"peakpost_id":"s-1","peakpost_tenant":"shop"}"#;
    let callback = ("StatusCallback", "https://shop.example/feedback/sms?peakpost_id=s-1");
    let fields = [("To", "+15550000015"), ("From", "+15557770005"), ("Body", "50 % & more"), ("Tags", tags), callback];
    let response = send(b.sms(&fields)).await;
    assert_eq!(response.status(), 201);
    let made = body(response).await;
    let keys: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "account_sid",
        "api_version",
        "body",
        "date_created",
        "date_sent",
        "date_updated",
        "direction",
        "error_code",
        "error_message",
        "from",
        "messaging_service_sid",
        "num_media",
        "num_segments",
        "price",
        "price_unit",
        "sid",
        "status",
        "subresource_uris",
        "to",
        "uri",
    ];
    assert_eq!(keys, documented, "the keys of a 201");
    assert_eq!((&made["body"], &made["status"]), (&json!("50 % & more"), &json!("queued")));
    assert!(made["sid"].as_str().is_some_and(|sid| sid.starts_with("SM") && sid.len() == 34), "{}", made["sid"]);
    assert_eq!(&*b.sim.take_arrivals().messages[0].key, "shop/s-1");

    let check = async |why: &str, name: &str, value: &str, code: u32| {
        let change =
            |&(n, v): &(&'static str, &'static str)| (n, if n == name { value.to_owned() } else { v.to_owned() });
        let fields: Vec<(&str, String)> = fields.iter().map(change).collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let response = send(b.sms(&fields)).await;
        assert_eq!(response.status(), 400, "{why}");
        let said = body(response).await;
        assert_eq!((&said["code"], &said["status"]), (&json!(code), &json!(400)), "{why}: {said}");
        assert_eq!(said["more_info"], json!(format!("https://www.twilio.com/docs/errors/{code}")), "{why}");
    };
    check("no plus", "To", "15550000015", 21211).await;
    check("no sender", "From", "", 21603).await;
    check("no body", "Body", "", 21602).await;
    check("1601 characters", "Body", &"\u{fc}".repeat(1601), 21617).await;
    check("a callback without a host", "StatusCallback", "/feedback/sms", 21609).await;
    check("a callback host with an underscore", "StatusCallback", "https://my_shop.example/", 21609).await;
    check("magic: unsubscribed", "To", "+15550000001", 21610).await;
    check("magic: no route", "To", "+15550000002", 21612).await;
    check("magic: region", "To", "+15550000003", 21408).await;
    check("magic: queue full", "To", "+15550000008", 21611).await;
    check("magic: landline", "To", "+15550000009", 21614).await;
    // `headers` replaces, where `basic_auth` would add a second one.
    let wrong = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic QUMwOng="))]);
    let response = send(b.sms(&fields).headers(wrong)).await;
    assert_eq!(
        (response.status().as_u16(), body(response).await["code"].clone()),
        (401, json!(20003)),
        "wrong password"
    );
    assert!(b.sim.arrivals().messages.iter().all(|a| !a.sent && &*a.key == "shop/s-1"), "nothing of this was sent");
}

#[tokio::test]
async fn webhooks_are_verified() {
    let b = bench(SimConfig::default()).await;
    let now = now_s();
    let check = async |why: &str, call: RequestBuilder, expected: u16| {
        assert_eq!(status(call).await, expected, "{why}");
        let last = b.sim.take_arrivals().messages.pop().unwrap();
        assert_eq!((last.answer, last.sent), (expected, expected == 200), "{why}: the log says otherwise");
        last.key
    };
    let good = |id| b.hook("/hook/7", id, now, "{\"n\":1}");
    assert_eq!(&*check("signed", good("shop/a%20%25b"), 200).await, "shop/a %b", "the id is decoded");
    check("another body", good("shop/1").body("{\"n\":2}"), 401).await;
    check("six minutes old", b.hook("/hook/7", "shop/1", now - 360, "{}"), 401).await;
    check("six minutes ahead", b.hook("/hook/7", "shop/1", now + 360, "{}"), 401).await;
    check("four minutes old", b.hook("/hook/7", "shop/1", now - 240, "{}"), 200).await;
    check("unsigned", b.client.post(b.url("/hook/7")), 401).await;
    check("gone", b.hook("/hook/answer/410", "shop/1", now, "{}"), 410).await;
}
