//! Jobs into one mail/send request.
//!
//! Why a file of its own: the hot half. The JSON is written straight from the jobs' borrowed fields into one
//! buffer; no tree is built, no field is copied on the way, and what all jobs have in common is written once.
//! Must not know: what the vendor answers.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::SendGrid;
use crate::job::json::Json;
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
        request(&mut Json(&mut body), &shared, jobs, &echo::Batch::of(first, &echo::sent(now)));
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

/// A request as `tsg_mail_v3.yaml` has it; what has no value is left out.
fn request(json: &mut Json<'_>, shared: &Shared<'_>, jobs: &[&Job], echoes: &echo::Batch) {
    json.raw(r#"{"personalizations":["#);
    for (index, job) in jobs.iter().enumerate() {
        json.raw(if index == 0 { "" } else { "," });
        personalization(json, job.spec(), echoes);
    }
    json.raw("]");
    if let Some(from) = shared.from {
        mailbox(json.raw(r#","from":"#), from);
    }
    if let Some(reply_to) = shared.reply_to {
        mailbox(json.raw(r#","reply_to":"#), reply_to);
    }
    match shared.message {
        Message::Mail { subject, text, html } => {
            json.raw(r#","subject":"#).text(subject).raw(r#","content":["#);
            // The vendor wants plain text before HTML.
            let parts = [(r#"{"type":"text/plain","value":"#, text), (r#"{"type":"text/html","value":"#, html)];
            let given = parts.into_iter().filter_map(|(part, value)| Some((part, value?)));
            for (index, (part, value)) in given.enumerate() {
                json.raw(if index == 0 { "" } else { "," }).raw(part).text(value).raw("}");
            }
            json.raw("]");
        }
        Message::Template(id) => _ = json.raw(r#","template_id":"#).text(id),
        Message::NotMail => {}
    }
    if let Some(group) = shared.group {
        json.raw(r#","asm":{"group_id":"#).number(group).raw("}");
    }
    json.raw("}");
}

/// What is one job's own. `custom_args` come back, flattened, in every feedback event; the vendor's limit of 10,000 bytes
/// for them is far away: the contract's longest values come to less than 1,000 bytes here, escapes included.
fn personalization(json: &mut Json<'_>, spec: &Spec<'_>, echoes: &echo::Batch) {
    mailbox(json.raw(r#"{"to":["#), &spec.to);
    json.raw("]");
    if let Content::Template { data: Some(data), .. } = &spec.content {
        json.raw(r#","dynamic_template_data":"#).raw(data);
    }
    if !spec.headers.is_empty() || spec.unsubscribe.is_some() {
        headers(json.raw(r#","headers":"#), spec);
    }
    echoes.write(json.raw(r#","custom_args":"#), &spec.id);
    json.raw("}");
}

fn mailbox(json: &mut Json<'_>, mailbox: &str) {
    json.raw(r#"{"email":"#).text(field::address(mailbox));
    if let Some(name) = field::display_name(mailbox) {
        json.raw(r#","name":"#).text(name);
    }
    json.raw("}");
}

/// The job's own headers, and the two of RFC 8058 for one-click unsubscription. The job contract reserves
/// every header that SendGrid does (`x-sg-id`, `dkim-signature`, `subject` …).
fn headers(json: &mut Json<'_>, spec: &Spec<'_>) {
    let mut between = "{";
    for (name, value) in &spec.headers {
        json.raw(between).text(name).raw(":").text(value);
        between = ",";
    }
    if let Some(unsubscribe) = &spec.unsubscribe {
        json.raw(between).raw(r#""List-Unsubscribe":"<"#).within(&unsubscribe.url);
        json.raw(r#">","List-Unsubscribe-Post":"List-Unsubscribe=One-Click""#);
    }
    json.raw("}");
}
