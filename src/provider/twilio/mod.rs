//! Twilio Messages: one text message per request, form-encoded.
//!
//! Why: the vendor takes one recipient a request; its error codes say far more than its statuses, and part of
//! them ask for the sender to be stopped and not the job.
//! Must not know: how many requests may run at a time (gate).
//!
//! Wire facts: twilio/twilio-oai `spec/yaml/twilio_api_v2010.yaml`, `CreateMessage`.

mod decode;
pub(super) mod feedback;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::form_urlencoded;

use super::secret::Secret;
use super::{Request, echo};
use crate::job::{Content, Job, Wall};
use crate::outcome::{Code, Said};

pub(super) use decode::throttled;

/// One account's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Scheme and host: `https://api.twilio.com`.
    pub base_url: String,
    /// The account that pays (`AC…`); stands in the path.
    pub account_sid: String,
    /// Who signs in: the account's own sid, or an API key (`SK…`).
    pub user: String,
    /// The account's auth token, or the API key's secret.
    pub password: Secret,
    /// Where it tells what became of each message: our feedback URL as the vendor reaches it, without a query. `None`: it
    /// tells nobody.
    pub status_callback: Option<String>,
}

/// One Twilio account. Prints no secret: the header that holds the password is marked sensitive.
#[derive(Debug)]
pub struct Twilio {
    url: String,
    headers: HeaderMap,
    callback: Option<String>,
}

impl Twilio {
    /// An account, with everything that is the same in every request already built.
    ///
    /// # Errors
    /// Names the setting that cannot be used, never its secret.
    pub fn new(config: Config) -> Result<Self, String> {
        let Config { base_url, account_sid, user, password, status_callback: callback } = config;
        if !account_sid.starts_with("AC") || !account_sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("account_sid `{account_sid}` is none; hint: `AC` and letters and digits"));
        }
        if user.is_empty() || user.contains(':') {
            return Err(
                "user is empty or holds `:`; hint: the account sid, or the sid of an API key (`SK…`)".to_owned()
            );
        }
        if let Some(callback) = &callback {
            feedback::spellings(callback).map_err(|e| format!("status_callback: {e}"))?;
        }
        let credentials = STANDARD.encode(format!("{user}:{}", password.expose()));
        let mut authorization = HeaderValue::try_from(format!("Basic {credentials}")).map_err(|e| e.to_string())?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let url = super::endpoint(&base_url, &format!("/2010-04-01/Accounts/{account_sid}/Messages.json"))?;
        Ok(Self { url, headers, callback })
    }

    /// Puts one job into a request.
    ///
    /// # Errors
    /// When the job is no text message or has no sender.
    pub fn encode(&self, job: &Job, now: Wall) -> Result<Request, Said> {
        let spec = job.spec();
        let Content::Sms { body } = &spec.content else {
            return Err(Said::new(Code::Invalid, "Twilio carries text messages only"));
        };
        let from = spec.from.as_deref().ok_or_else(|| Said::new(Code::BadSender, "no `from`"))?;
        let sent = echo::sent(now);
        let echo = echo::Named::of(job, &sent);
        // For whoever looks the message up: `Tags` is JSON (`twilio_api_v2010.yaml`, which names no limit for its values).
        let tags = serde_json::to_string(&echo).map_err(|e| Said::new(Code::Invalid, &e.to_string()))?;
        // Percent-encoding at most triples; most bytes stay one.
        let room = 256 + spec.to.len() + from.len() + 2 * (body.len() + 2 * tags.len());
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
        form.append_pair("To", &spec.to);
        form.append_pair(if is_service(from) { "MessagingServiceSid" } else { "From" }, from);
        form.append_pair("Body", body);
        form.append_pair("Tags", &tags);
        if let Some(callback) = &self.callback {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(echo.pairs()).finish();
            form.append_pair("StatusCallback", &format!("{callback}?{query}"));
        }
        Ok(Request { url: self.url.clone(), headers: self.headers.clone(), body: Bytes::from(form.finish()) })
    }
}

/// A messaging service's sid is `MG` and 32 hex digits; a sender id may begin with `MG` too, but has at most 11
/// characters.
fn is_service(from: &str) -> bool {
    from.len() == 34 && from.starts_with("MG")
}
