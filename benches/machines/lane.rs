//! `lane`: into the queue of its flow, and out again in batches, as a shard does it.

use peakpost::job::{Job, Lane};
use peakpost::lane::Fit;
use peakpost::lane::flows::{Flows, Stand};
use peakpost::sim::load::Shape;

use crate::inputs::{Jobs, records, start};
use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[
    Machine::new("lane: push, take 1,000 at a time", || flows(3, 1000)),
    Machine::new("lane: push, take one at a time", || flows(3, 1)),
    Machine::new("lane: the same, 10 tenants", || flows(10, 1)),
    Machine::large("lane: the same, each of another tenant", || flows(N, 1)),
];

/// Requests in one ask.
const REQUESTS: usize = 64;

fn flows(tenants: usize, batch: usize) -> Round {
    let mut jobs = Jobs::of(records(Shape::TemplateMail).take(N));
    let names: Vec<String> = (0..tenants).map(|n| format!("tenant-{n}")).collect();
    let mut flows: Flows<String, Job> = Flows::default();
    let now = start();
    Box::new(move || {
        for (n, job) in jobs.0.drain(..).enumerate() {
            let tenant = &names[n % tenants];
            let id = flows.enter(tenant, "", || tenant.clone());
            flows.push(id, Lane::Marketing, Stand::Fresh, (n / tenants % 4) as u64, now, job);
        }
        while let Some(id) = flows.next_hungry(Lane::Marketing) {
            let upcoming = flows.upcoming(id, Lane::Marketing, REQUESTS, batch, 0);
            flows.ask(id, Lane::Marketing, 0);
            for _ in 0..upcoming.requests {
                flows.take(id, Lane::Marketing, &mut jobs.0, (batch, 0), |_: &Job| Fit::Take);
            }
            flows.answered(id, Lane::Marketing);
        }
        assert!(jobs.0.len() == N, "some are left in their queues");
    })
}
