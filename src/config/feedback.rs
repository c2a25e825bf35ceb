//! The feedback listener, who may speak for each provider, the table of mailbox providers.
//!
//! Why: whether a vendor can be heard at all is said at start, not by its silence.
//! Must not know: what becomes of an event.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::build::Collected;
use super::provider::safe_base;
use super::quantity;
use super::raw::{self, Provider, Raw};
use crate::feedback::TlsConfig;
use crate::job::Channel;
use crate::provider::Ear;
use crate::provider::secret::Secret;
use crate::recipient::mailbox::{self, Mailboxes};

/// Less turns away whose clock is a little off; more keeps a captured request good for ever.
const AGES: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 86_400);

/// After this a connection is ended between two requests: instances behind one name share the work again, and nobody is
/// served an old certificate for long.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// How often the files of the certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

pub(super) fn listener(
    c: &mut Collected,
    raw: &Raw,
    intake: &crate::intake::Config,
) -> Option<crate::feedback::Config> {
    let listen = raw.feedback.listen.as_ref();
    for p in raw.providers.iter().filter(|p| p.feedback.is_some() && listen.is_none()) {
        c.0.push(format!("providers \"{}\": `feedback` is set and nobody listens; hint: `feedback.listen`", p.name));
    }
    let body_max = c.or(quantity::bytes("feedback.body_max", &raw.feedback.body_max), 1 << 20);
    let read_timeout = c.duration("feedback.read_timeout", &raw.feedback.read_timeout);
    let concurrency = raw.feedback.concurrency;
    c.must((64 << 10..=16 << 20).contains(&body_max), || "feedback.body_max must be 64KiB to 16MiB".to_owned());
    c.must((1..=4096).contains(&concurrency), || "feedback.concurrency must be 1 to 4096".to_owned());
    let seconds = Duration::from_secs(1)..=Duration::from_secs(60);
    c.must(seconds.contains(&read_timeout), || "feedback.read_timeout must be 1s to 1m".to_owned());
    let tls = raw.feedback.tls.as_ref().and_then(|of| {
        let read = TlsConfig::read(Path::new(&of.cert), Path::new(&of.key), LOOK_EVERY);
        read.map_err(|fault| c.0.push(format!("feedback.tls: {fault}"))).ok()
    });
    let listen = listen?;
    let listen: Result<SocketAddr, _> = listen.parse();
    let listen = listen.map_err(|e| format!("feedback.listen: {e}; hint: `127.0.0.1:9465`"));
    Some(crate::feedback::Config {
        listen: c.or(listen, SocketAddr::from(([127, 0, 0, 1], 0))),
        tls,
        body_max,
        concurrency,
        read_timeout,
        connection_max: CONNECTION_MAX,
        client: intake.client.clone(),
        topic: intake.topics.events(),
    })
}

/// Which jobs wait for a word, and how long. What is kept of them is kept in a topic for 40 days.
pub(super) fn doubts(c: &mut Collected, raw: &Raw) -> crate::feedback::doubts::Config {
    let unresolved_after = c.duration("feedback.unresolved_after", &raw.feedback.unresolved_after);
    let within = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
    c.must(within.contains(&unresolved_after), || "feedback.unresolved_after must be 1s to 30d".to_owned());
    crate::feedback::doubts::Config { channels: raw.retry.quarantine.clone(), unresolved_after }
}

/// Who is listened to, and whose mailboxes it writes to.
pub(super) fn shown(raw: &Raw) -> Vec<(Box<str>, Box<str>)> {
    let mut shown = BTreeSet::new();
    for p in raw.providers.iter().filter(|p| p.feedback.is_some()) {
        let carries =
            |r: &&raw::Route| r.provider.iter().chain(r.providers.iter().flatten()).any(|name| *name == p.name);
        for route in raw.routes.iter().filter(carries) {
            let mailboxes = raw.mailboxes.keys().map(String::as_str).chain([mailbox::OTHER]);
            let mailboxes: Vec<&str> = if route.channel == Channel::Email { mailboxes.collect() } else { vec![""] };
            shown.extend(mailboxes.into_iter().map(|mailbox| (p.name.as_str().into(), mailbox.into())));
        }
    }
    shown.into_iter().collect()
}

pub(super) fn mailboxes(c: &mut Collected, raw: &Raw) -> Mailboxes {
    let table = raw.mailboxes.iter().map(|(name, domains)| (name.as_str(), domains.as_slice()));
    c.or(Mailboxes::new(table), Mailboxes::default())
}

/// Who may speak for a provider, if anybody may.
pub(super) fn ear(c: &mut Collected, p: &Provider) -> Option<Ear> {
    let built = p.feedback.as_ref().map(|of| kind(c, p, of))?;
    built.map_err(|fault| c.0.push(format!("providers \"{}\": feedback: {fault}", p.name))).ok()
}

fn kind(c: &mut Collected, p: &Provider, of: &raw::Ear) -> Result<Ear, String> {
    let given = [
        ("key", of.key.is_some()),
        ("public_key", of.public_key.is_some()),
        ("url", of.url.is_some()),
        ("max_age", of.max_age.is_some()),
    ];
    let known: &[&str] = match p.kind.as_str() {
        "sendgrid" => &["public_key", "max_age"],
        "twilio" => &["url", "key"],
        _ => &["key", "max_age"],
    };
    if let Some((key, _)) = given.iter().find(|(key, given)| *given && !known.contains(key)) {
        return Err(format!("`{key}` means nothing for kind \"{}\"; it takes {}", p.kind, known.join(", ")));
    }
    let mut max_age = |or: &str| {
        let age = c.duration("feedback.max_age", of.max_age.as_deref().unwrap_or(or));
        c.must(AGES.contains(&age), || format!("providers \"{}\": feedback.max_age must be 1m to 7d", p.name));
        age
    };
    let need = |key: &str, value: &Option<String>| value.clone().ok_or_else(|| format!("`{key}` is missing"));
    let secret = |value: &Option<String>| Secret::resolve(&need("key", value)?).map_err(|e| format!("`key`: {e}"));
    match p.kind.as_str() {
        // SendGrid tells again for 24 hours.
        "sendgrid" => Ear::sendgrid(&need("public_key", &of.public_key)?, max_age("25h")),
        "twilio" => {
            let url = need("url", &of.url)?;
            safe_base(&url)?;
            let door = format!("/feedback/{}", p.name);
            if !url.ends_with(&door) {
                return Err(format!("`url` must end in `{door}`, which is where it is listened to for this provider"));
            }
            // Callbacks are signed with the account's auth token, whoever signs in to send.
            let token = if p.user.is_none() { of.key.clone().or_else(|| p.password.clone()) } else { of.key.clone() };
            Ear::twilio(&secret(&token)?, &url)
        }
        _ => Ear::signed(&secret(&of.key)?, max_age("5m")),
    }
}
