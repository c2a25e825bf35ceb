//! Twilio Messages: one text message per request, form-encoded.
//!
//! Why: the vendor takes one recipient a request; its error codes say far more than its statuses, and part of
//! them ask for the sender to be stopped and not the job.
//! Must not know: how many requests may run at a time (gate).
//!
//! Wire facts: twilio/twilio-oai `spec/yaml/twilio_api_v2010.yaml`, `CreateMessage`.

mod decode;
pub(super) mod feedback;
mod form;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::secret::Secret;
use super::{Request, echo};
use crate::job::json::Json;
use crate::job::{Content, Job, Wall};
use crate::outcome::{Code, Said};

pub(super) use decode::throttled;

/// Bytes of an echo, roughly; only sizes buffers.
const ECHO: usize = 256;

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
    url: Url,
    headers: HeaderMap,
    /// The parameter with our address, encoded, up to the query.
    callback: Option<Vec<u8>>,
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
        let callback = callback.map(|url| {
            let mut parameter = b"&StatusCallback=".to_vec();
            form::encode(&mut parameter, format!("{url}?").as_bytes());
            parameter
        });
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
        // For whoever looks the message up: `Tags` is JSON (`twilio_api_v2010.yaml`, which names no limit for its values).
        let mut inner = Vec::with_capacity(ECHO);
        echo::Batch::of(job, &sent).write(&mut Json(&mut inner), &spec.id);
        // Percent-encoding at most triples; most bytes stay one.
        let room = 2 * (ECHO + body.len()) + self.callback.as_ref().map_or(0, |callback| callback.len() + 2 * ECHO);
        let mut form = Vec::with_capacity(room);
        let mut parameter = |name: &str, value: &[u8]| {
            form.extend_from_slice(name.as_bytes());
            form::encode(&mut form, value);
        };
        parameter("To=", spec.to.as_bytes());
        parameter(if is_service(from) { "&MessagingServiceSid=" } else { "&From=" }, from.as_bytes());
        parameter("&Body=", body.as_bytes());
        parameter("&Tags=", &inner);
        if let Some(callback) = &self.callback {
            form.extend_from_slice(callback);
            // The echo is its query: encoded as a query, and again as a part of this form.
            inner.clear();
            for (name, value) in echo::pairs(job, &sent) {
                inner.extend_from_slice(if inner.is_empty() { b"" } else { b"&" });
                inner.extend_from_slice(name.as_bytes());
                inner.push(b'=');
                form::encode(&mut inner, value.as_bytes());
            }
            form::encode(&mut form, &inner);
        }
        Ok(Request { url: self.url.clone(), headers: self.headers.clone(), body: Bytes::from(form) })
    }
}

/// A messaging service's sid is `MG` and 32 hex digits; a sender id may begin with `MG` too, but has at most 11
/// characters.
fn is_service(from: &str) -> bool {
    from.len() == 34 && from.starts_with("MG")
}
