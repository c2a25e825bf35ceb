//! `outcome`: the record of what became of a job, as `settle` writes it.

use std::borrow::Cow;
use std::hint::black_box;

use peakpost::job::Job;
use peakpost::job::trip::Place;
use peakpost::outcome::record::{Record, VERSION};
use peakpost::outcome::{Kind, Reason};
use peakpost::sim::load::Shape;

use crate::inputs::{Jobs, NOW, records};
use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[Machine::new("outcome: encode", encode)];

fn record(job: &Job) -> Record<'_> {
    let (spec, at) = (job.spec(), job.receipt.source());
    let place = Place { topic: Cow::Borrowed("peakpost.jobs.marketing"), partition: at.home, offset: at.offset };
    Record {
        v: VERSION,
        outcome: Cow::Borrowed(Kind::Accepted.as_str()),
        reason: Cow::Borrowed(Reason::Accepted.as_str()),
        field: Cow::Borrowed(""),
        detail: Cow::Borrowed(""),
        id: Cow::Borrowed(&spec.id),
        tenant: Cow::Borrowed(&spec.tenant),
        campaign: Cow::Borrowed(spec.campaign.as_deref().unwrap_or("")),
        channel: Cow::Borrowed(spec.channel.as_str()),
        lane: Cow::Borrowed(job.lane.as_str()),
        provider: Cow::Borrowed("sendgrid-main"),
        vendor_id: Cow::Borrowed("14c5d75ce93.dfd.64b469"),
        attempts: 1,
        at_ms: NOW.0,
        enqueued_ms: NOW.0 - 1234,
        origin: place.clone(),
        source: place,
        hop: 0,
        generation: 0,
        late: false,
        happened: Cow::Borrowed(""),
        event: Cow::Borrowed(""),
    }
}

fn encode() -> Round {
    let jobs = Jobs::of(records(Shape::TemplateMail).take(N));
    let mut out = Vec::new();
    Box::new(move || {
        for job in &jobs.0 {
            out.clear();
            record(job).write(&mut out);
            black_box(&out);
        }
    })
}
