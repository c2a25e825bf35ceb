//! SendGrid v3 mail/send: up to 1,000 jobs with the same content in one JSON request, each a personalization.
//!
//! Why: one request per campaign slice instead of one per mail is what carries a peak. The vendor takes such a
//! request as a whole or not at all; what happens to each mail is told later, by its event webhook.
//! Must not know: how many jobs fit now (gate), which jobs share a batch (dispatch compares keys and addresses).
//!
//! Wire facts: twilio/sendgrid-oai `spec/yaml/tsg_mail_v3.yaml` and the vendor's mail-send error page.

mod decode;
mod encode;
pub(super) mod feedback;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::secret::Secret;

/// Most personalizations, and most recipients, of one request (`tsg_mail_v3.yaml`).
pub const MAX_PERSONALIZATIONS: usize = 1000;

/// One account's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Scheme and host: `https://api.sendgrid.com`, or `https://api.eu.sendgrid.com` for EU subusers.
    pub base_url: String,
    /// The API key (`SG.…`).
    pub key: Secret,
    /// Most jobs in one request: 1 to [`MAX_PERSONALIZATIONS`].
    pub batch_max: usize,
}

/// One SendGrid account. Prints no secret: the header that holds the key is marked sensitive.
#[derive(Debug)]
pub struct SendGrid {
    url: Url,
    headers: HeaderMap,
    batch_max: usize,
}

impl SendGrid {
    /// An account, with everything that is the same in every request already built.
    ///
    /// # Errors
    /// Names the setting that cannot be used, never its secret.
    pub fn new(config: Config) -> Result<Self, String> {
        let Config { base_url, key, batch_max } = config;
        if !(1..=MAX_PERSONALIZATIONS).contains(&batch_max) {
            return Err(format!("SendGrid's batch_max is {batch_max}; hint: 1 to {MAX_PERSONALIZATIONS}"));
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose()))
            .map_err(|_| "the SendGrid key holds characters that no header may hold; hint: look for line breaks")?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { url: super::endpoint(&base_url, "/v3/mail/send")?, headers, batch_max })
    }

    /// Most jobs one request may carry.
    #[must_use]
    pub fn batch_max(&self) -> usize {
        self.batch_max
    }
}
