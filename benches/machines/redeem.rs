//! Redeeming a permit: the last look at a job before it is written, in the order in which `dispatch` asks. Batch and
//! encoding are `lane` and `provider`.

use std::hint::black_box;
use std::time::Duration;

use peakpost::job::Job;
use peakpost::ledger::ownership::{Ownership, Standing};
use peakpost::policy::Decision;
use peakpost::recipient::address::Hashed;
use peakpost::sim::load::Shape;

use crate::inputs::{Jobs, NOW, records, start};
use crate::{Machine, N, Round, policy, recipient};

pub const MACHINES: &[Machine] = &[Machine::new("redeem: ours, fresh, not suppressed", last_look)];

fn last_look() -> Round {
    let (jobs, policy) = (Jobs::of(records(Shape::TemplateMail).take(N)), policy::config());
    let (recipients, now) = (recipient::known(1000), start());
    recipients.fresh(now);
    let ownership = Ownership::new(1, now);
    ownership.open(0, 1);
    ownership.renew(now + Duration::from_secs(10));
    // Reckoned when the job came: the job keeps it.
    let hash = |job: &Job| recipients.hash(job.spec().channel, &job.spec().to);
    let hashes: Vec<Hashed> = jobs.0.iter().map(hash).collect();
    Box::new(move || {
        for (job, hash) in jobs.0.iter().zip(&hashes) {
            let spec = job.spec();
            let ours = ownership.standing(&job.receipt, now) == Standing::Ours && recipients.open(now);
            let fresh = policy.recheck(spec, job.lane, job.enqueued, NOW) == Decision::Send;
            let suppressed = recipients.suppressed(*hash, &spec.tenant, job.lane);
            assert!(black_box(ours && fresh && suppressed.is_none()), "it may not go");
        }
    })
}
