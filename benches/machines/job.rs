//! `job`: a record into a job, by shape. As intake does it, with the copy of the record and the job's end.

use std::hint::black_box;

use peakpost::lane::inbox::shard_of;
use peakpost::sim::load::Shape;

use crate::inputs::{Jobs, give_back, read, records};
use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[
    Machine::new("job: parse mail by template", || parse(Shape::TemplateMail)),
    Machine::new("job: parse rendered mail", || parse(Shape::RenderedMail)),
    Machine::new("job: parse text message", || parse(Shape::Sms)),
    Machine::new("job: parse webhook", || parse(Shape::Webhook)),
    Machine::new("job: key, shard", names),
];

fn parse(shape: Shape) -> Round {
    let records: Vec<Vec<u8>> = records(shape).take(N).collect();
    Box::new(move || {
        for (record, offset) in records.iter().zip(0..) {
            give_back(black_box(read(record, offset)));
        }
    })
}

/// What stands for it in the ledger, and which shard it goes to.
fn names() -> Round {
    let jobs = Jobs::of(records(Shape::TemplateMail).take(N));
    Box::new(move || {
        for job in &jobs.0 {
            black_box((job.key(), shard_of(job.spec(), 2)));
        }
    })
}
