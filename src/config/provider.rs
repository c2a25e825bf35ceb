//! One provider: its name, its kind with what that needs, its connections.
//!
//! Why: what a kind of provider takes and what it does not is looked up more often than all the rest.
//! Must not know: limits (`limits`), routes.

use std::time::Duration;

use super::build::Collected;
use super::raw::{Provider, Raw};
use super::{ProviderConfig, feedback, limits};
use crate::dispatch::PROBE_LIFE;
use crate::intake;
use crate::provider::secret::Secret;
use crate::provider::wire::WireConfig;
use crate::provider::{Kind, sendgrid, twilio, webhook};

/// The longest that outcomes may take to become durable for the drain to count on it.
const SETTLE_TIME: Duration = Duration::from_secs(5);

pub(super) fn provider(c: &mut Collected, p: &Provider, raw: &Raw, intake: &intake::Config) -> Option<ProviderConfig> {
    let at = |key: &str| format!("providers \"{}\": {key}", p.name);
    let name_ok = (1..=64).contains(&p.name.len())
        && p.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    c.must(name_ok, || at("the name has letters, digits, `.`, `_`, `-`, at most 64"));
    c.must(raw.providers.iter().filter(|other| other.name == p.name).count() == 1, || at("the name is used twice"));
    let mut time =
        |key: &str, token: &Option<String>, default: &str| c.duration(&at(key), token.as_deref().unwrap_or(default));
    let connect_timeout = time("connect_timeout", &p.connect_timeout, "3s");
    let request_timeout = time("request_timeout", &p.request_timeout, "10s");
    let jitter = time("jitter", &p.jitter, "50ms");
    c.must(request_timeout + SETTLE_TIME < intake.drain, || {
        at(&format!(
            "request_timeout {request_timeout:?} + {SETTLE_TIME:?} to settle must be less than intake.drain {:?}",
            intake.drain
        ))
    });
    c.must(request_timeout < PROBE_LIFE, || {
        at(&format!("request_timeout must be less than {PROBE_LIFE:?}, after which a breaker's probe counts as lost"))
    });
    let gate = limits::gate(c, p, raw, jitter);
    c.must(connect_timeout <= request_timeout, || at("connect_timeout must not be longer than request_timeout"));
    let kind = match kind(p) {
        Ok(kind) => kind,
        Err(fault) => {
            c.0.push(at(&fault));
            return None;
        }
    };
    let wire = WireConfig {
        connect_timeout,
        request_timeout,
        idle_connections: p.concurrency as usize,
        allow_hosts: allow_hosts(p),
    };
    let ear = feedback::ear(c, p);
    Some(ProviderConfig { name: p.name.clone(), kind, wire, gate, ear })
}

/// Hosts that may be reached although they are private: those listed, and the one the operator wrote down himself.
fn allow_hosts(p: &Provider) -> Vec<String> {
    let own = [&p.base_url, &p.url].into_iter().flatten().filter_map(|text| url::Url::parse(text).ok());
    let own = own.filter_map(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    p.allow_hosts.iter().cloned().chain(own).collect()
}

fn kind(p: &Provider) -> Result<Kind, String> {
    let given = [
        ("base_url", p.base_url.is_some()),
        ("url", p.url.is_some()),
        ("key", p.key.is_some()),
        ("secret", p.secret.is_some()),
        ("account_sid", p.account_sid.is_some()),
        ("user", p.user.is_some()),
        ("password", p.password.is_some()),
        ("batch_max", p.batch_max.is_some()),
    ];
    let known: &[&str] = match p.kind.as_str() {
        "webhook" => &["url", "secret"],
        "sendgrid" => &["base_url", "key", "batch_max"],
        "twilio" => &["base_url", "account_sid", "user", "password"],
        other => return Err(format!("kind \"{other}\" is not known; hint: webhook, sendgrid or twilio")),
    };
    if let Some((key, _)) = given.iter().find(|(key, given)| *given && !known.contains(key)) {
        return Err(format!("`{key}` means nothing for kind \"{}\"; it takes {}", p.kind, known.join(", ")));
    }
    let need = |key: &str, value: &Option<String>| value.clone().ok_or_else(|| format!("`{key}` is missing"));
    let secret =
        |key: &str, value: &Option<String>| Secret::resolve(&need(key, value)?).map_err(|e| format!("`{key}`: {e}"));
    let base = |default: &str| safe_base(p.base_url.as_deref().unwrap_or(default));
    match p.kind.as_str() {
        "webhook" => {
            let url = p.url.as_deref().map(safe_base).transpose()?;
            webhook::Webhook::new(secret("secret", &p.secret)?.expose(), url).map(Kind::Webhook)
        }
        "sendgrid" => sendgrid::SendGrid::new(sendgrid::Config {
            base_url: base("https://api.sendgrid.com")?,
            key: secret("key", &p.key)?,
            batch_max: p.batch_max.unwrap_or(1000),
        })
        .map(Kind::SendGrid),
        _ => {
            let account_sid = need("account_sid", &p.account_sid)?;
            twilio::Twilio::new(twilio::Config {
                base_url: base("https://api.twilio.com")?,
                user: p.user.clone().unwrap_or_else(|| account_sid.clone()),
                account_sid,
                password: secret("password", &p.password)?,
                status_callback: p.feedback.as_ref().and_then(|feedback| feedback.url.clone()),
            })
            .map(Kind::Twilio)
        }
    }
}

/// An https address, or http on loopback: credentials must not travel in the clear.
pub(super) fn safe_base(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| format!("`{text}` is not a URL: {e}"))?;
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(format!("`{text}` must be https (http only on loopback)")),
    }
    Ok(text.trim_end_matches('/').to_owned())
}
