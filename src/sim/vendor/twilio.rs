//! The simulated Twilio `POST /2010-04-01/Accounts/{AC}/Messages.json`.
//!
//! Why: takes what the vendor takes and refuses the rest with the vendor's codes. Codes and their statuses are
//! from the vendor's error pages; the message texts of 21602, 21603, 21604, 21609, 20500 and 20503 are unverified.
//! Must not know: limits, faults, how arrivals are kept.

use std::borrow::Cow;
use std::time::SystemTime;

use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use super::answer::{Answer, Judged, media_type, text};

/// An account and its password (auth token).
pub(super) struct Account {
    pub(super) sid: String,
    pub(super) password: String,
}

/// The words of 21611.
pub(super) const QUEUE_FULL: &str = "This 'From' number has exceeded the maximum number of queued messages";

/// The vendor's error body.
pub(super) fn error(status: u16, code: u32, message: &str) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        code: u32,
        message: &'a str,
        more_info: String,
        status: u16,
    }
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    Answer::json(status, &Body { code, message, more_info, status })
}

/// The fields that are looked at. Others are ignored, as the vendor ignores them.
#[derive(Default)]
struct Form<'a> {
    to: Cow<'a, str>,
    from: Cow<'a, str>,
    service: Cow<'a, str>,
    body: Cow<'a, str>,
    tags: Cow<'a, str>,
    callback: Cow<'a, str>,
}

fn form(body: &[u8]) -> Form<'_> {
    let mut form = Form::default();
    for (name, value) in form_urlencoded::parse(body) {
        let slot = match &*name {
            "To" => &mut form.to,
            "From" => &mut form.from,
            "MessagingServiceSid" => &mut form.service,
            "Body" => &mut form.body,
            "Tags" => &mut form.tags,
            "StatusCallback" => &mut form.callback,
            _ => continue,
        };
        *slot = value;
    }
    form
}

/// Applies the vendor's rules to one request. `sid` names the message when it is taken.
pub(super) fn judge(account: &Account, sid: &str, head: &Parts, body: &[u8]) -> Judged {
    let is_form = media_type(head) == Some("application/x-www-form-urlencoded");
    let form = if is_form { form(body) } else { Form::default() };
    let keys = vec![key(&form.tags).into_boxed_str()];
    match refusal(account, &form, head) {
        Some(answer) => Judged { keys, answer, taken: false },
        None => Judged { keys, answer: created(&account.sid, sid, &form), taken: true },
    }
}

/// `tenant/id` from the tags; empty where they do not say.
fn key(tags: &str) -> String {
    #[derive(Deserialize)]
    struct Tags<'a> {
        #[serde(borrow)]
        peakpost_tenant: Cow<'a, str>,
        #[serde(borrow)]
        peakpost_id: Cow<'a, str>,
    }
    let tags = serde_json::from_str(tags);
    tags.map_or_else(|_| String::new(), |t: Tags<'_>| format!("{}/{}", t.peakpost_tenant, t.peakpost_id))
}

fn refusal(account: &Account, form: &Form<'_>, head: &Parts) -> Option<Answer> {
    let said = |code, message: &str| Some(error(400, code, message));
    let basic = text(head, "authorization").and_then(|value| value.strip_prefix("Basic "));
    let login = basic.and_then(|b64| STANDARD.decode(b64).ok());
    let path = format!("/2010-04-01/Accounts/{}/Messages.json", account.sid);
    if login != Some(format!("{}:{}", account.sid, account.password).into_bytes()) || head.uri.path() != path {
        return Some(error(401, 20003, "Authenticate"));
    }
    if form.to.is_empty() {
        return said(21604, "A 'To' phone number is required.");
    }
    if !is_e164(&form.to) {
        return said(21211, &format!("Invalid 'To' Phone Number: {}", form.to));
    }
    if form.from.is_empty() && form.service.is_empty() {
        return said(21603, "A 'From' phone number is required.");
    }
    if form.body.is_empty() {
        return said(21602, "Message body is required.");
    }
    if form.body.chars().count() > 1600 {
        return said(21617, "The concatenated message body exceeds the 1600 character limit");
    }
    if !form.callback.is_empty() && !can_be_called(&form.callback) {
        return said(21609, &format!("The 'StatusCallback' URL {} is not a valid URL.", form.callback));
    }
    magic(&form.to).and_then(|(code, message)| said(code, message))
}

/// A web address whose host has no underscore (`OpenAPI` description of `StatusCallback`).
fn can_be_called(text: &str) -> bool {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.is_some_and(|url| url.host_str().is_some_and(|host| !host.contains('_')))
}

/// Numbers that are refused for how they end; the table stands in the header of `vendor/mod.rs`.
fn magic(to: &str) -> Option<(u32, &'static str)> {
    match to.get(to.len().saturating_sub(4)..)? {
        "0001" | "0004" => Some((21610, "Attempt to send to unsubscribed recipient")),
        "0002" => Some((21612, "The 'To' phone number is not currently reachable using the 'From' phone number")),
        "0003" => Some((21408, "Permission to send an SMS has not been enabled for the region")),
        "0008" => Some((21611, QUEUE_FULL)),
        "0009" => Some((21614, "'To' number is not a valid mobile number")),
        _ => None,
    }
}

fn is_e164(to: &str) -> bool {
    let digits = to.strip_prefix('+').unwrap_or("");
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

/// 201 with every documented key.
fn created(account: &str, sid: &str, form: &Form<'_>) -> Answer {
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    let service = Some(&*form.service).filter(|service| !service.is_empty());
    // With a messaging service the sender is chosen later.
    let from = Some(&*form.from).filter(|from| service.is_none() && !from.is_empty());
    let uri = format!("/2010-04-01/Accounts/{account}/Messages/{sid}");
    let body = serde_json::json!({
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": form.body,
        "date_created": date,
        "date_sent": null,
        "date_updated": date,
        "direction": "outbound-api",
        "error_code": null,
        "error_message": null,
        "from": from,
        "messaging_service_sid": service,
        "num_media": "0",
        "num_segments": if service.is_some() { "0" } else { "1" },
        "price": null,
        "price_unit": null,
        "sid": sid,
        "status": if service.is_some() { "accepted" } else { "queued" },
        "subresource_uris": { "media": format!("{uri}/Media.json") },
        "to": form.to,
        "uri": format!("{uri}.json"),
    });
    Answer::json(201, &body)
}
