//! How an outcome, a dead letter and a deferred job are written down.
//!
//! Why: the only place that turns what happened into records; formats are a contract with upstream.
//! Must not know: producers, retries.

use std::borrow::Cow;

use ring::digest;

use super::{Parts, Settlement};
use crate::job::topic::Topics;
use crate::job::trip::{self, Trip};
use crate::job::{Coordinates, Headers, Job, Lane, Receipt, Wall, Way, field};
use crate::outcome::record::{Place, Record, VERSION};

/// Dead letters carry the original bytes up to this size; above it their hash, size and first 4 KiB.
const WHOLE_MAX: usize = 512 * 1024;
/// The record's own headers are kept up to this size; a letter that the broker refuses would stop its home.
const HEADER_BYTES: usize = 64 * 1024;
/// What is kept of a record that is too large to be kept.
const HEAD_BYTES: usize = 4 * 1024;

/// Writes the outcome record as JSON into `out`.
pub(super) fn outcome(s: &Settlement, topics: &Topics, out: &mut Vec<u8>) {
    let Coordinates { from, home, offset } = s.subject.receipt().source();
    let source = Place { topic: Cow::Borrowed(topics.source(from)), partition: home, offset };
    let Parts { spec, lane, way, enqueued, .. } = s.subject.parts();
    let origin = origin(s.subject.receipt(), lane, way, topics);
    Record {
        v: VERSION,
        outcome: Cow::Borrowed(s.outcome.kind.as_str()),
        reason: Cow::Borrowed(s.outcome.reason.as_str()),
        field: Cow::Borrowed(&s.outcome.field),
        detail: Cow::Borrowed(&s.outcome.detail),
        id: Cow::Borrowed(spec.map_or("", |spec| &*spec.id)),
        tenant: Cow::Borrowed(spec.map_or("", |spec| &*spec.tenant)),
        campaign: Cow::Borrowed(spec.and_then(|spec| spec.campaign.as_deref()).unwrap_or("")),
        channel: Cow::Borrowed(spec.map_or("", |spec| spec.channel.as_str())),
        lane: Cow::Borrowed(lane.as_str()),
        provider: Cow::Borrowed(s.provider.as_deref().unwrap_or("")),
        vendor_id: Cow::Borrowed(s.outcome.vendor_id.as_deref().unwrap_or("")),
        happened: Cow::Borrowed(""),
        event: Cow::Borrowed(""),
        attempts: way.attempts,
        at_ms: s.at.0,
        enqueued_ms: enqueued.0,
        origin,
        source,
        hop: way.hop,
        generation: way.generation,
        late: s.late,
    }
    .write(out);
}

/// The record that asked for the send: the one that was read, or the one that a deferred job remembers.
fn origin<'a>(receipt: &Receipt, lane: Lane, way: &Way, topics: &'a Topics) -> Place<'a> {
    let Coordinates { from, home, offset } = receipt.source();
    match way.origin {
        Some((partition, offset)) => Place { topic: Cow::Borrowed(topics.jobs(lane)), partition, offset },
        None => Place { topic: Cow::Borrowed(topics.source(from)), partition: home, offset },
    }
}

/// The record with which a job goes on: its own bytes and headers, and its trip.
pub(super) fn deferred<'a>(job: &'a Job, due: Option<Wall>, topics: &Topics) -> Letter<'a> {
    let spec = job.spec();
    let trip = Trip {
        tenant: Cow::Borrowed(&spec.tenant),
        id: Cow::Borrowed(&spec.id),
        origin: origin(&job.receipt, job.lane, &job.way, topics),
        hop: job.way.hop.saturating_add(1),
        generation: job.way.generation,
        attempts: job.way.attempts,
        failures: job.way.failures,
        unsure: job.way.unsure,
        first_seen_ms: job.enqueued.0,
        due_ms: due.map_or(0, |due| due.0),
        last_error: Cow::Borrowed(job.way.last_error.as_deref().unwrap_or("")),
        provider: Cow::Borrowed(job.way.provider.map_or("", |number| topics.provider(number))),
    };
    let (mut headers, _cut) = kept(&job.headers);
    // Plain strings and numbers: cannot fail.
    let trip = serde_json::to_vec(&trip).unwrap_or_default();
    headers.push((trip::HEADER.to_owned(), Some(Cow::Owned(trip))));
    Letter { payload: Cow::Borrowed(job.bytes()), headers }
}

/// Upstream's own headers, as far as there is room for them; and how many had none. What speaks in our name is ours
/// from an earlier record, or forged: neither goes on.
fn kept(original: &Headers) -> (Vec<Header<'_>>, usize) {
    let mut room = HEADER_BYTES;
    let fits = |(key, value): &&(String, Option<Vec<u8>>)| {
        let size = key.len() + value.as_ref().map_or(0, Vec::len);
        let fits = size <= room;
        room -= if fits { size } else { room };
        fits
    };
    let theirs = || original.iter().filter(|(key, _)| !key.starts_with(trip::OURS));
    let kept: Vec<Header<'_>> =
        theirs().take_while(fits).map(|(key, value)| (key.clone(), value.as_deref().map(Cow::Borrowed))).collect();
    let cut = theirs().count() - kept.len();
    (kept, cut)
}

type Header<'a> = (String, Option<Cow<'a, [u8]>>);

/// One record beside an outcome: what goes into the dead topic, a tier or a hold.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) payload: Cow<'a, [u8]>,
    headers: Vec<Header<'a>>,
}

impl<'a> Letter<'a> {
    /// One without headers.
    pub(super) fn plain(payload: Cow<'a, [u8]>) -> Self {
        Self { payload, headers: Vec::new() }
    }

    /// The same, borrowed from nobody.
    pub(super) fn into_owned(self) -> Letter<'static> {
        let own = |(name, value): Header<'_>| (name, value.map(|value| Cow::Owned(value.into_owned())));
        Letter { payload: Cow::Owned(self.payload.into_owned()), headers: self.headers.into_iter().map(own).collect() }
    }

    /// Headers as a producer takes them.
    pub(super) fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect()
    }
}

/// The dead letter of a settlement: the record's own bytes and headers, then ours (`peakpost-…`).
pub(super) fn dead<'a>(s: &'a Settlement, topics: &Topics) -> Letter<'a> {
    let Parts { bytes, headers: original, spec, lane, way, enqueued } = s.subject.parts();
    let (mut headers, cut) = kept(original);
    let mut ours = |name: &str, value: Cow<'a, str>| {
        let value = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        headers.push((format!("{}{name}", trip::OURS), Some(value)));
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
    let Place { topic, partition, offset } = origin(s.subject.receipt(), lane, way, topics);
    ours("origin", Cow::Owned(format!("{topic}/{partition}/{offset}")));
    ours("at-ms", Cow::Owned(s.at.0.to_string()));
    ours("first-seen-ms", Cow::Owned(enqueued.0.to_string()));
    ours("lane", Cow::Borrowed(lane.as_str()));
    ours("attempts", Cow::Owned(way.attempts.to_string()));
    ours("hop", Cow::Owned(way.hop.to_string()));
    ours("generation", Cow::Owned(way.generation.to_string()));
    if let Some(spec) = spec {
        ours("channel", Cow::Borrowed(spec.channel.as_str()));
    }
    if let Some(campaign) = spec.and_then(|spec| spec.campaign.as_deref()) {
        ours("campaign", Cow::Borrowed(campaign));
    }
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
