//! Twilio's callbacks: what became of a message, and what its recipient answered.
//!
//! Why a file of its own: another secret, another format and another direction than `CreateMessage` has.
//! Must not know: what is done about an event.
//!
//! Signed: HMAC-SHA1 over the URL and the parameters, names and values run together in order (twilio-python
//! `request_validator.py`). So three things are ours to see to:
//! - There is no time in it. A captured request verifies for ever; it says the same of the same message, under the same
//!   event id, so that it is a no-op for as long as ids are remembered.
//! - Nothing marks where a name, a value or the query ends. Who holds a signed request can cut it anew: `ErrorCode=30005`
//!   into the end of another value, the first parameter into the query. What is read here has a form that leaves one
//!   place for each cut (see [`Callback::read`] and [`echoed`]); such a request says nothing, or the same.
//! - The vendor is of two minds about ports, so its own libraries take the URL with and without one.
//!
//! A callback carries no time of what happened; it is taken as happening when it is heard.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use url::{Url, form_urlencoded};

use crate::event::{Echo, Happened, Heard, echo as names};
use crate::job::{Channel, Wall, field};
use crate::provider::echo;
use crate::provider::feedback::{Call, Read, Turned, header, stamp};
use crate::provider::secret::Secret;

/// Most parameters; a callback has about twenty.
const MAX_PARAMETERS: usize = 256;

/// Replies that mean "no more", in upper case: the vendor's default keywords, and the words of 47 CFR 64.1200(a)(10).
const STOP_WORDS: [&str; 9] =
    ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "OPT OUT"];

/// Who may speak for a Twilio account. Prints no secret.
#[derive(Debug)]
pub struct Feedback {
    key: hmac::Key,
    urls: [String; 2],
}

impl Feedback {
    pub(in crate::provider) fn new(auth_token: &Secret, public_url: &str) -> Result<Self, String> {
        if auth_token.expose().is_empty() {
            return Err("the auth token is empty; hint: Twilio's console shows it beside the account sid".to_owned());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.expose().as_bytes());
        Ok(Self { key, urls: spellings(public_url)? })
    }

    pub(in crate::provider) fn hear(&self, call: &Call<'_>, now: Wall) -> Result<Vec<Heard>, Turned> {
        let tag = STANDARD.decode(header(call, "x-twilio-signature")?).map_err(|_| Turned::Forged)?;
        let parameters = parameters(call.body).ok_or(Turned::Forged)?;
        let words: String = parameters.iter().flat_map(|(name, value)| [&**name, &**value]).collect();
        let (mark, query) = call.query.map_or(("", ""), |query| ("?", query));
        let holds = |url: &String| {
            let signed = [url.as_str(), mark, query, &*words].concat();
            hmac::verify(&self.key, signed.as_bytes(), &tag).is_ok()
        };
        if !self.urls.iter().any(holds) {
            return Err(Turned::Forged);
        }
        let echo = call.query.map_or(Ok(Echo::default()), echoed)?;
        let callback = Callback::read(&parameters, &words)?;
        Ok(callback.heard(echo, now).into_iter().collect())
    }
}

/// A URL as it was configured, without and with its port. Twilio signs what it was given, so it has to be written here as
/// it travels.
pub(super) fn spellings(text: &str) -> Result<[String; 2], String> {
    let url = Url::parse(text).map_err(|e| format!("`{text}` is no URL: {e}; hint: `https://` and a host"))?;
    let (Some(host), Some(port), "http" | "https") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
        return Err(format!("`{text}` is no web address; hint: `https://` and a host"));
    };
    let bare = format!("{}://{host}{}", url.scheme(), url.path());
    let ported = format!("{}://{host}:{port}{}", url.scheme(), url.path());
    // Twilio takes no callback host with an underscore (`twilio_api_v2010.yaml`).
    if host.contains('_') || (text != bare && text != ported) {
        return Err(format!("`{text}` cannot be called back; hint: write it as `{bare}`, without a query"));
    }
    Ok([bare, ported])
}

/// The parameters of a form in the order in which they are signed, each once.
fn parameters(body: &[u8]) -> Option<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    let mut all: Vec<_> = form_urlencoded::parse(body).take(MAX_PARAMETERS + 1).collect();
    let bounded = all.len() <= MAX_PARAMETERS;
    all.sort_unstable();
    all.dedup();
    bounded.then_some(all)
}

/// The echo that our own callback URL carries. It ends with ten digits, so no parameter can be hidden at its end and
/// nothing of it taken for a parameter.
fn echoed(query: &str) -> Result<Echo, Turned> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).take(echo::NAMES.len() + 1).collect();
    let value = |name: &str| pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| &**value);
    let ours = echo::NAMES.iter().filter(|name| **name != names::CAMPAIGN || pairs.iter().any(|(n, _)| n == **name));
    let echo = echo::read(echo::NAMES.map(value));
    let ends = query.rsplit_once('=').is_some_and(|(_, last)| stamp(last).is_some());
    match ends && ours.copied().eq(pairs.iter().map(|(name, _)| &**name)) && echo.lane.is_some() {
        true => Ok(echo),
        false => Err(Turned::Malformed("a query that is not our echo")),
    }
}

/// What a callback says, as far as it matters here.
struct Callback<'a> {
    sid: &'a str,
    status: &'a str,
    error: &'a str,
    to: &'a str,
    from: &'a str,
    body: &'a str,
    opt_out: &'a str,
}

impl<'a> Callback<'a> {
    /// Reads the parameters; `words` is all of them run together, as signed. Every name begins with a letter, so no
    /// number and no sid can be cut short; sid, status, numbers and code have one form, so none can be drawn longer; a
    /// number's name stands there once, so that no text can bring another's; and
    /// a code that is signed but is no parameter was hidden in one.
    fn read(parameters: &'a [(Cow<'a, str>, Cow<'a, str>)], words: &str) -> Result<Self, Turned> {
        if !parameters.iter().all(|(name, _)| name.starts_with(|c: char| c.is_ascii_alphabetic())) {
            return Err(Turned::Malformed("a parameter that Twilio has no name for"));
        }
        let one = |wanted: &str| {
            let mut values = parameters.iter().filter(|(name, _)| name == wanted).map(|(_, value)| &**value);
            match (values.next(), values.next()) {
                (value, None) => Ok(value.unwrap_or("")),
                _ => Err(Turned::Malformed("a parameter that stands there twice")),
            }
        };
        let callback = Self {
            sid: one("MessageSid")?,
            status: one("MessageStatus")?,
            error: one("ErrorCode")?,
            to: one("To")?,
            from: one("From")?,
            body: one("Body")?,
            opt_out: one("OptOutType")?,
        };
        if !callback.sid.strip_prefix("SM").or(callback.sid.strip_prefix("MM")).is_some_and(is_hex) {
            return Err(Turned::Malformed("no message sid"));
        }
        let number = callback.error.len() <= 6 && callback.error.bytes().all(|b| b.is_ascii_digit());
        // Whoever wrote the text may have written a number into it, to be cut out as another's.
        if ["From+", "To+"].iter().any(|name| words.matches(name).count() > 1) {
            return Err(Turned::Malformed("a number within another value"));
        }
        let hidden = !callback.status.is_empty() && callback.error.is_empty() && words.contains("ErrorCode");
        if !number || hidden {
            return Err(Turned::Malformed("an error code that is none"));
        }
        Ok(callback)
    }

    fn heard(&self, echo: Echo, now: Wall) -> Option<Heard> {
        let (happened, id, to) = match self.status {
            "" => (self.stopped()?, format!("{}-stop", self.sid), self.from),
            status => (self.happened()?, format!("{}-{status}-{}", self.sid, self.error), self.to),
        };
        field::phone(to).ok()?;
        let (vendor_id, detail) = (self.sid, self.error);
        Read { id: &id, happened, to, channel: Channel::Sms, echo, at: now, vendor_id, detail }.heard()
    }

    /// What became of a message. On its way (`queued`, `sent`, …) it means nothing yet.
    fn happened(&self) -> Option<Happened> {
        match (self.status, self.error) {
            ("delivered", _) => Some(Happened::Delivered),
            ("read", _) => Some(Happened::Opened),
            // Unknown or landline; not a number; not mobile.
            ("failed" | "undelivered", "30005" | "30006" | "21211" | "21614") => Some(Happened::BouncedHard),
            // Filtered as spam; a US number without its A2P registration.
            ("failed" | "undelivered", "30007" | "30034") => Some(Happened::BouncedBlocked),
            ("failed" | "undelivered", "21610") => Some(Happened::VendorSuppressed),
            // Off, unknown, and what is not known here.
            ("failed" | "undelivered", _) => Some(Happened::BouncedSoft),
            _ => None,
        }
    }

    /// Whether an incoming message says "no more": by the vendor's word where Advanced Opt-Out is on, else by ours.
    fn stopped(&self) -> Option<Happened> {
        let stop = match self.opt_out {
            "" => STOP_WORDS.contains(&self.body.trim().to_uppercase().as_str()),
            word => word == "STOP",
        };
        stop.then_some(Happened::Unsubscribed)
    }
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
