//! Jobs into one mail/send request.
//!
//! Why a file of its own: the hot half. The JSON is written straight from the jobs' borrowed fields into one
//! buffer; no tree is built, no field is copied on the way.
//! Must not know: what the vendor answers.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::SendGrid;
use crate::job::{Channel, Content, Job, Spec, Wall, field};
use crate::outcome::{Code, Said};
use crate::provider::{Request, Unencodable, echo};

/// Bytes of one personalization beside the job's own words, roughly; only sizes the buffer.
const FRAME: usize = 400;

/// What must be equal for jobs to share a request: all that stands at its top level, and what keeps the
/// reputation of one stream apart from another's. Key and check both come from here, so they cannot differ.
#[derive(PartialEq, Eq, Hash)]
struct Shared<'a> {
    tenant: &'a str,
    lane: crate::job::Lane,
    channel: Channel,
    campaign: Option<&'a str>,
    from: Option<&'a str>,
    reply_to: Option<&'a str>,
    group: Option<u32>,
    message: Message<'a>,
}

/// The part of the content that all jobs of a request share.
#[derive(PartialEq, Eq, Hash)]
enum Message<'a> {
    Mail { subject: &'a str, text: Option<&'a str>, html: Option<&'a str> },
    Template(&'a str),
    NotMail,
}

impl<'a> Shared<'a> {
    fn of(job: &'a Job) -> Self {
        let spec = job.spec();
        Self {
            tenant: &spec.tenant,
            lane: job.lane,
            channel: spec.channel,
            campaign: spec.campaign.as_deref(),
            from: spec.from.as_deref(),
            reply_to: spec.reply_to.as_deref(),
            group: spec.unsubscribe.as_ref().and_then(|u| u.group),
            message: match &spec.content {
                Content::Mail { subject, text, html } => {
                    Message::Mail { subject, text: text.as_deref(), html: html.as_deref() }
                }
                Content::Template { id, .. } => Message::Template(id),
                Content::Sms { .. } | Content::Push { .. } | Content::Webhook(_) => Message::NotMail,
            },
        }
    }
}

impl SendGrid {
    /// Jobs with equal keys may share a request. The same within one process; not to be stored.
    #[must_use]
    pub fn batch_key(&self, job: &Job) -> u64 {
        // `DefaultHasher::new` has fixed keys, and `Hash` for `str` ends each part with a byte that UTF-8 never
        // holds, so parts cannot run into one another.
        let mut hasher = DefaultHasher::new();
        Shared::of(job).hash(&mut hasher);
        hasher.finish()
    }

    /// Puts jobs (1 to `batch_max`, one batch key, no address twice) into one request.
    ///
    /// # Errors
    /// The first job that cannot be said in SendGrid's words, or that cannot share the first one's request.
    pub fn encode(&self, jobs: &[&Job], now: Wall) -> Result<Request, Unencodable> {
        let unencodable = |index, code, text: &str| Unencodable { index, said: Said::new(code, text) };
        let Some(first) = jobs.first() else {
            return Err(unencodable(0, Code::Invalid, "a request without jobs"));
        };
        debug_assert!(jobs.len() <= self.batch_max, "{} jobs in one request; split by batch_max first", jobs.len());
        debug_assert!(each_address_once(jobs), "an address twice in one request; compare addresses before batching");
        let shared = Shared::of(first);
        for (index, job) in jobs.iter().enumerate() {
            sayable(job.spec()).map_err(|said| Unencodable { index, said })?;
            let alike = index == 0 || Shared::of(job) == shared;
            debug_assert!(alike, "{job:?} does not share the first job's request; compare batch keys first");
            if !alike {
                return Err(unencodable(
                    index,
                    Code::Invalid,
                    "cannot share a request with the other jobs of its batch",
                ));
            }
        }
        let mut body = Vec::with_capacity(first.bytes().len() + FRAME * jobs.len());
        serde_json::to_writer(&mut body, &Body::of(&shared, jobs, &echo::sent(now)))
            .map_err(|e| unencodable(0, Code::Invalid, &e.to_string()))?;
        Ok(Request { url: self.url.clone(), headers: self.headers.clone(), body: Bytes::from(body) })
    }
}

/// Whether SendGrid has words for this job.
fn sayable(spec: &Spec<'_>) -> Result<(), Said> {
    match (&spec.content, &spec.from) {
        (Content::Mail { .. } | Content::Template { .. }, None) => Err(Said::new(Code::BadSender, "no `from`")),
        // Templates without `d-` are legacy ones, which are filled by `substitutions` of strings and not by data.
        (Content::Template { id, data: Some(_) }, _) if !id.starts_with("d-") => {
            Err(Said::new(Code::Invalid, "`data` fills dynamic templates only; hint: their ids begin with `d-`"))
        }
        (Content::Mail { .. } | Content::Template { .. }, _) => Ok(()),
        (Content::Sms { .. } | Content::Push { .. } | Content::Webhook(_), _) => {
            Err(Said::new(Code::Invalid, "SendGrid carries email only"))
        }
    }
}

/// The vendor turns down a request that names an address twice. Looked at in debug builds only: the caller
/// compares addresses when it fills the batch.
fn each_address_once(jobs: &[&Job]) -> bool {
    let mut seen = std::collections::HashSet::new();
    jobs.iter().all(|job| seen.insert(field::address(&job.spec().to).to_ascii_lowercase()))
}

#[derive(Serialize)]
struct Body<'a> {
    personalizations: Personalizations<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Mailbox<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Mailbox<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Parts::is_empty")]
    content: Parts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asm: Option<Asm>,
}

/// The unsubscribe group that the vendor keeps.
#[derive(Serialize)]
struct Asm {
    group_id: u32,
}

impl<'a> Body<'a> {
    fn of(shared: &Shared<'a>, jobs: &'a [&'a Job], sent: &'a str) -> Self {
        let (subject, content, template_id) = match shared.message {
            Message::Mail { subject, text, html } => (Some(subject), Parts { text, html }, None),
            Message::Template(id) => (None, Parts { text: None, html: None }, Some(id)),
            Message::NotMail => (None, Parts { text: None, html: None }, None),
        };
        Self {
            personalizations: Personalizations { jobs, sent },
            from: shared.from.map(Mailbox::of),
            reply_to: shared.reply_to.map(Mailbox::of),
            subject,
            content,
            template_id,
            asm: shared.group.map(|group_id| Asm { group_id }),
        }
    }
}

/// The bodies of a mail; the vendor wants plain text before HTML.
struct Parts<'a> {
    text: Option<&'a str>,
    html: Option<&'a str>,
}

impl Parts<'_> {
    fn is_empty(&self) -> bool {
        self.text.is_none() && self.html.is_none()
    }
}

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Part<'a> {
            r#type: &'static str,
            value: &'a str,
        }
        let text = self.text.map(|value| Part { r#type: "text/plain", value });
        let html = self.html.map(|value| Part { r#type: "text/html", value });
        s.collect_seq(text.into_iter().chain(html))
    }
}

#[derive(Serialize)]
struct Mailbox<'a> {
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> Mailbox<'a> {
    fn of(mailbox: &'a str) -> Self {
        Self { email: field::address(mailbox), name: field::display_name(mailbox) }
    }
}

struct Personalizations<'a> {
    jobs: &'a [&'a Job],
    sent: &'a str,
}

impl Serialize for Personalizations<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.jobs.iter().map(|job| Personalization::of(job, self.sent)))
    }
}

#[derive(Serialize)]
struct Personalization<'a> {
    to: [Mailbox<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamic_template_data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    headers: Headers<'a>,
    /// Comes back, flattened, in every feedback event. The vendor's limit of 10,000 bytes is far away: the contract's
    /// longest values come to less than 1,000 bytes here, escapes included.
    custom_args: echo::Named<'a>,
}

impl<'a> Personalization<'a> {
    fn of(job: &'a Job, sent: &'a str) -> Self {
        let spec = job.spec();
        Self {
            to: [Mailbox::of(&spec.to)],
            dynamic_template_data: match &spec.content {
                Content::Template { data, .. } => *data,
                _ => None,
            },
            headers: Headers(spec),
            custom_args: echo::Named::of(job, sent),
        }
    }
}

/// The job's own headers, and the two of RFC 8058 for one-click unsubscription. The job contract reserves
/// every header that SendGrid does (`x-sg-id`, `dkim-signature`, `subject` …).
struct Headers<'a>(&'a Spec<'a>);

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.headers.is_empty() && self.0.unsubscribe.is_none()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for (name, value) in &self.0.headers {
            map.serialize_entry(&**name, &**value)?;
        }
        if let Some(unsubscribe) = &self.0.unsubscribe {
            map.serialize_entry("List-Unsubscribe", &format_args!("<{}>", &*unsubscribe.url))?;
            map.serialize_entry("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")?;
        }
        map.end()
    }
}
