//! The simulated `SendGrid` v3 `POST /v3/mail/send`: takes what the vendor takes and refuses the rest in its words.
//!
//! Why: an encoder that only a friendly fake has read is not tested. Rules and quoted messages are those of the
//! vendor's error page (mail-send/errors) and `OpenAPI` description; messages marked `ours` are not documented
//! there, only their status and form are.
//! Must not know: limits, faults, how arrivals are kept.

mod wire;

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use axum::http::request::Parts;
use serde::Serialize;

use super::answer::{Answer, Judged, bearer, media_type};
use wire::{Address, Args, Headers, Mail, Personalization};

/// 30 MB with attachments (vendor's documentation on attachments; whether it means 10⁶ or 2²⁰ is not said).
const MAX_BYTES: usize = 30 * 1024 * 1024;
const MAX_RECIPIENTS: usize = 1000;
const MAX_ARGS_BYTES: usize = 10_000;

/// One entry of the vendor's `errors`.
#[derive(Serialize)]
struct Fault<'a> {
    message: &'a str,
    field: Option<&'a str>,
    help: Option<&'a str>,
}

/// The vendor's error body around one message that names no field.
pub(super) fn error(status: u16, message: &str) -> Answer {
    errors(status, &[(message.to_owned(), None)])
}

fn errors(status: u16, faults: &[(String, Option<String>)]) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        errors: Vec<Fault<'a>>,
    }
    let errors = faults.iter().map(|(message, field)| Fault { message, field: field.as_deref(), help: None }).collect();
    Answer::json(status, &Body { errors })
}

/// Applies the vendor's rules to one request. `message_id` (22 characters) names it when it is taken.
pub(super) fn judge(key: &str, message_id: String, head: &Parts, body: &[u8]) -> Judged {
    let mail: Result<Mail<'_>, _> = serde_json::from_slice(body);
    let keys = mail.as_ref().map_or_else(|_| Vec::new(), keys);
    let refused = |answer| Judged { keys: keys.clone(), answer, taken: false };
    if bearer(head) != Some(key) {
        return refused(error(401, "authorization required"));
    }
    if media_type(head) != Some("application/json") {
        return refused(error(415, "Content-Type should be application/json.")); // ours
    }
    if body.len() > MAX_BYTES {
        return refused(error(413, "content too large"));
    }
    let mail = match mail {
        Ok(mail) => mail,
        Err(e) => return refused(error(400, &format!("Bad Request: {e}"))), // ours
    };
    let mut faults = Faults::default();
    faults.check(&mail);
    if !faults.0.is_empty() {
        return refused(errors(400, &faults.0));
    }
    if poisoned(&mail) {
        return refused(error(400, "Bad Request"));
    }
    let sandbox = mail.settings.is_some_and(|s| s.sandbox_mode.is_some_and(|mode| mode.enable));
    let answer = Answer { status: if sandbox { 200 } else { 202 }, ..Answer::empty() }.with("x-message-id", message_id);
    Judged { keys, answer, taken: !sandbox }
}

/// `tenant/id` of each message; empty where the request does not say.
fn keys(mail: &Mail<'_>) -> Vec<Box<str>> {
    let key = |p: &Personalization<'_>| {
        let of = |args: &Args<'_>| Some(format!("{}/{}", &**args.tenant.as_ref()?, &**args.id.as_ref()?));
        of(&p.custom_args).or_else(|| of(&mail.custom_args)).unwrap_or_default().into_boxed_str()
    };
    mail.personalizations.iter().map(key).collect()
}

fn recipients<'m, 'a>(p: &'m Personalization<'a>) -> impl Iterator<Item = &'m Address<'a>> {
    p.to.iter().chain(p.cc.iter()).chain(p.bcc.iter())
}

/// The magic recipient that spoils a request without being named.
fn poisoned(mail: &Mail<'_>) -> bool {
    let poison = |a: &Address<'_>| a.email.as_ref().is_some_and(|email| email.starts_with("poison-"));
    mail.personalizations.iter().any(|p| recipients(p).any(poison))
}

/// What is wrong with a request: message and field.
#[derive(Default)]
struct Faults(Vec<(String, Option<String>)>);

impl Faults {
    fn add(&mut self, message: &str, field: impl Into<String>) {
        self.0.push((message.to_owned(), Some(field.into())));
    }

    fn check(&mut self, mail: &Mail<'_>) {
        let n = mail.personalizations.len();
        if n == 0 {
            self.add("You must have at least one personalization.", "personalizations");
        }
        if n > MAX_RECIPIENTS {
            let message = format!(
                "The personalization block is limited to 1000 personalizations per API request. You have provided \
                 [{n}] personalizations. Please consider splitting this into multiple requests and resending your \
                 request."
            );
            self.add(&message, "personalizations");
        }
        self.addresses(mail);
        self.content(mail);
        self.extras(&mail.headers, &mail.custom_args, None);
        for (i, p) in mail.personalizations.iter().enumerate() {
            self.extras(&p.headers, &p.custom_args, Some(i));
            if p.subject.as_ref().is_some_and(|s| s.is_empty()) {
                self.add("The subject must not be empty.", format!("personalizations.{i}.subject")); // ours
            }
        }
        if mail.categories.len() > 10 || mail.categories.iter().any(|c| c.len() > 255) {
            self.add("At most 10 categories of at most 255 characters.", "categories"); // ours
        }
        if mail.asm.as_ref().is_some_and(|asm| asm.group_id.is_none() || asm.groups_to_display.len() > 25) {
            self.add("asm needs a group_id and at most 25 groups_to_display.", "asm"); // ours
        }
    }

    fn addresses(&mut self, mail: &Mail<'_>) {
        match mail.from.as_ref().and_then(|from| from.email.as_ref()) {
            None => self.add("The from object must be provided for every email send.", "from.email"), // ours
            Some(email) => self.address(email, || "from.email".to_owned()),
        }
        if let Some(reply_to) = &mail.reply_to {
            self.address(reply_to.email.as_deref().unwrap_or(""), || "reply_to.email".to_owned());
        }
        if mail.reply_to.is_some() && mail.reply_to_list.len() > 0 {
            self.add("Give reply_to or reply_to_list, not both.", "reply_to"); // ours
        }
        for (i, p) in mail.personalizations.iter().enumerate() {
            if p.to.len() == 0 {
                // ours
                self.add(
                    "The to array is required for all personalization objects.",
                    format!("personalizations.{i}.to"),
                );
            }
            for (list, name) in [(&p.to, "to"), (&p.cc, "cc"), (&p.bcc, "bcc")] {
                for (j, address) in list.iter().enumerate() {
                    let email = address.email.as_deref().unwrap_or("");
                    self.address(email, || format!("personalizations.{i}.{name}.{j}.email"));
                }
            }
            if let Some(from) = &p.from {
                self.address(from.email.as_deref().unwrap_or(""), || format!("personalizations.{i}.from.email"));
            }
        }
        self.unique(mail);
    }

    /// The magic local part `invalid-` fails here too: that is how a bad address in a batch looks.
    fn address(&mut self, email: &str, field: impl Fn() -> String) {
        if !is_address(email) || email.starts_with("invalid-") {
            self.add("Does not contain a valid address.", field()); // ours
        }
    }

    fn unique(&mut self, mail: &Mail<'_>) {
        let mut seen = HashSet::with_capacity(mail.personalizations.len());
        let mut total = 0;
        for email in mail.personalizations.iter().flat_map(recipients).filter_map(|a| a.email.as_deref()) {
            total += 1;
            if !seen.insert(Folded(email)) {
                let message = format!(
                    "Each unique email address in the personalizations array should only be included once. You have \
                     included [{email}] more than once."
                );
                self.add(&message, "personalizations");
            }
        }
        if total > MAX_RECIPIENTS {
            let message = "There is a limit of 1000 total recipients (to + cc + bcc) per request.";
            self.add(message, "personalizations");
        }
    }

    fn content(&mut self, mail: &Mail<'_>) {
        let template = mail.template_id.as_ref().is_some_and(|id| !id.is_empty());
        let in_all = !mail.personalizations.is_empty() && mail.personalizations.iter().all(|p| p.subject.is_some());
        match &mail.subject {
            Some(subject) if subject.is_empty() => self.add("The subject must not be empty.", "subject"), // ours
            None if !template && !in_all => self.add("The subject is required.", "subject"),              // ours
            _ => {}
        }
        if mail.content.is_empty() && !template {
            self.add("Unless a valid template_id is provided, the content parameter is required.", "content"); // ours
        }
        let kind = |i: usize| mail.content.get(i).and_then(|part| part.kind.as_deref());
        for (i, part) in mail.content.iter().enumerate() {
            if part.kind.as_deref().is_none_or(str::is_empty) {
                self.add("The content type must not be empty.", format!("content.{i}.type")); // ours
            }
            if part.value.as_deref().is_none_or(str::is_empty) {
                self.add("The content value must not be empty.", format!("content.{i}.value")); // ours
            }
            let misplaced = match kind(i) {
                Some("text/plain") => i != 0,
                Some("text/html") => i > 1 || (i == 1 && kind(0) != Some("text/plain")),
                _ => false,
            };
            if misplaced {
                self.add("text/plain must be first, followed by text/html.", format!("content.{i}.type")); // ours
            }
        }
    }

    /// Of the whole request, or of one personalization.
    fn extras(&mut self, headers: &Headers<'_>, args: &Args<'_>, place: Option<usize>) {
        let at = |name: &str| place.map_or_else(|| name.to_owned(), |i| format!("personalizations.{i}.{name}"));
        if let Some(name) = &headers.reserved {
            self.add(&format!("The header [{}] is reserved.", &**name), at("headers")); // ours
        }
        if let Some(name) = &headers.broken {
            self.add(&format!("The header [{}] is not valid.", name.escape_debug()), at("headers")); // ours
        }
        if args.bytes > MAX_ARGS_BYTES {
            self.add("custom_args exceed 10000 bytes.", at("custom_args")); // ours
        }
    }
}

/// An address compared without regard to case. The vendor does not say whether it does; to a mailbox provider
/// the two are the same person.
struct Folded<'a>(&'a str);

impl PartialEq for Folded<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Folded<'_> {}

impl Hash for Folded<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.bytes().for_each(|b| state.write_u8(b.to_ascii_lowercase()));
    }
}

/// `local@domain` as a vendor would take it. On purpose not the check that jobs go through: this one judges it.
fn is_address(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    let clean = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[]\\,;:\"@".contains(c);
    let label = |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-');
    (1..=64).contains(&local.len())
        && local.chars().all(clean)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(label)
        && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}
