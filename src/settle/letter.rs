//! How an outcome and a dead letter are written down.
//!
//! Why: the only place that turns what happened into records; formats are a contract with upstream.
//! Must not know: producers, retries.

use std::borrow::Cow;

use ring::digest;

use super::{Settlement, Subject};
use crate::job::topic::Topics;
use crate::job::{Coordinates, field};
use crate::outcome::record::{Place, Record, VERSION};

/// Dead letters carry the original bytes up to this size; above it their hash, size and first 4 KiB.
const WHOLE_MAX: usize = 512 * 1024;
/// The record's own headers are kept up to this size; a letter that the broker refuses would stop its home.
const HEADER_BYTES: usize = 64 * 1024;
/// What is kept of a record that is too large to be kept.
const HEAD_BYTES: usize = 4 * 1024;

/// Writes the outcome record as JSON into `out`.
pub(super) fn outcome(s: &Settlement, topics: &Topics, out: &mut Vec<u8>) {
    let source = s.subject.receipt().source();
    let place = Place { topic: Cow::Borrowed(topics.jobs(source.lane)), partition: source.home, offset: source.offset };
    let (spec, attempts, enqueued) = match &s.subject {
        Subject::Job(job) => (Some(job.spec()), job.attempts, job.enqueued),
        Subject::Malformed(malformed) => (None, 0, malformed.incoming.enqueued),
    };
    let record = Record {
        v: VERSION,
        outcome: Cow::Borrowed(s.outcome.kind.as_str()),
        reason: Cow::Borrowed(s.outcome.reason.as_str()),
        field: Cow::Borrowed(&s.outcome.field),
        detail: Cow::Borrowed(&s.outcome.detail),
        id: Cow::Borrowed(spec.map_or("", |spec| &*spec.id)),
        tenant: Cow::Borrowed(spec.map_or("", |spec| &*spec.tenant)),
        campaign: Cow::Borrowed(spec.and_then(|spec| spec.campaign.as_deref()).unwrap_or("")),
        channel: Cow::Borrowed(spec.map_or("", |spec| spec.channel.as_str())),
        lane: Cow::Borrowed(source.lane.as_str()),
        provider: Cow::Borrowed(s.provider.as_deref().unwrap_or("")),
        vendor_id: Cow::Borrowed(s.outcome.vendor_id.as_deref().unwrap_or("")),
        attempts,
        at_ms: s.at.0,
        enqueued_ms: enqueued.0,
        origin: place.clone(),
        source: place,
        hop: 0,
        generation: 0,
    };
    // Writing plain strings and numbers into memory cannot fail.
    let _written = serde_json::to_writer(out, &record);
}

/// One dead letter: what goes into the dead topic.
pub(super) struct Letter<'a> {
    pub(super) payload: Cow<'a, [u8]>,
    headers: Vec<(String, Option<Cow<'a, [u8]>>)>,
}

impl Letter<'_> {
    /// Headers as a producer takes them.
    pub(super) fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect()
    }
}

/// The dead letter of a settlement: the record's own bytes and headers, then ours (`peakpost-…`).
pub(super) fn dead<'a>(s: &'a Settlement, topics: &Topics) -> Letter<'a> {
    let (bytes, original, spec) = match &s.subject {
        Subject::Job(job) => (job.bytes(), &job.headers, Some(job.spec())),
        Subject::Malformed(malformed) => (&*malformed.incoming.bytes, &malformed.incoming.headers, None),
    };
    let Coordinates { lane, home, offset } = s.subject.receipt().source();
    let mut room = HEADER_BYTES;
    let fits = |(key, value): &&(String, Option<Vec<u8>>)| {
        let size = key.len() + value.as_ref().map_or(0, Vec::len);
        let fits = size <= room;
        room -= if fits { size } else { room };
        fits
    };
    let mut headers: Vec<(String, Option<Cow<'a, [u8]>>)> = original
        .iter()
        .take_while(fits)
        .map(|(key, value)| (key.clone(), value.as_deref().map(Cow::Borrowed)))
        .collect();
    let cut = original.len() - headers.len();
    let mut ours = |name: &str, value: Cow<'a, str>| {
        let value = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        headers.push((format!("peakpost-{name}"), Some(value)));
    };
    if cut > 0 {
        ours("headers-cut", Cow::Owned(cut.to_string()));
    }
    ours("reason", Cow::Borrowed(s.outcome.reason.as_str()));
    if !s.outcome.field.is_empty() {
        ours("field", Cow::Borrowed(&s.outcome.field));
    }
    if !s.outcome.detail.is_empty() {
        ours("detail", Cow::Borrowed(&s.outcome.detail));
    }
    ours("origin", Cow::Owned(format!("{}/{home}/{offset}", topics.jobs(lane))));
    ours("at-ms", Cow::Owned(s.at.0.to_string()));
    let named = spec
        .map_or_else(|| own_names(bytes), |spec| (Some(Cow::Borrowed(&*spec.id)), Some(Cow::Borrowed(&*spec.tenant))));
    if let Some(id) = named.0 {
        ours("id", id);
    }
    if let Some(tenant) = named.1 {
        ours("tenant", tenant);
    }
    if let Some(provider) = &s.provider {
        ours("provider", Cow::Borrowed(&**provider));
    }
    let payload = if bytes.len() > WHOLE_MAX {
        let sha256 = digest::digest(&digest::SHA256, bytes);
        ours("size", Cow::Owned(bytes.len().to_string()));
        let hex = sha256.as_ref().iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
        ours("sha256", Cow::Owned(hex));
        &bytes[..HEAD_BYTES]
    } else {
        bytes
    };
    Letter { payload: Cow::Borrowed(payload), headers }
}

/// The id and tenant that a record gives itself although it is no job: without them upstream could not tell which
/// of its jobs it was.
pub(super) fn own_names(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    #[derive(serde::Deserialize)]
    struct Names<'a> {
        #[serde(borrow, default)]
        id: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow, default)]
        tenant: Option<&'a serde_json::value::RawValue>,
    }
    let Ok(names) = serde_json::from_slice::<Names<'_>>(bytes) else { return (None, None) };
    let text = |raw: Option<&serde_json::value::RawValue>, max: usize| {
        let text: String = serde_json::from_str(raw?.get()).ok()?;
        field::header_safe(&text, max).is_ok().then_some(Cow::Owned(text))
    };
    (text(names.id, 128), text(names.tenant, 64))
}
