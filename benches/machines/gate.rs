//! `gate`: ask, permit, and its slots given back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use peakpost::gate::{Ask, Config, Flow, Gate, Say, Scoped};
use peakpost::job::{Lane, Wall};

use crate::inputs::start;
use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[
    Machine::new("gate: a permit for 1,000 in one request", || permits(1, 1, 1000)),
    Machine::new("gate: a permit for 64 requests of one", || permits(1, 64, 64)),
    Machine::new("gate: a permit for one", || permits(1, 1, 1)),
    Machine::new("gate: the same, 10 tenants", || permits(10, 1, 1)),
    Machine::large("gate: the same, 100,000 tenants", || permits(100_000, 1, 1)),
];

fn config() -> Config {
    Config {
        limits: ["1_000_000 requests/s", "100_000_000 messages/s"].iter().filter_map(|l| l.parse().ok()).collect(),
        senders: Scoped::default(),
        tenants: Scoped::default(),
        concurrency: 128,
        reserve: 0.2,
        jitter: Duration::from_millis(50),
        weight: 9,
        tenant_weights: HashMap::new(),
        warm_up: None,
        elsewhere: false,
    }
}

fn permits(tenants: usize, requests: u32, messages: u32) -> Round {
    let start = start();
    let mut gate = Gate::new(&config(), "bench", 1, 0, start);
    gate.homes(&[(0, 1)], start, Wall(0));
    let flow = |n| Arc::new(Flow { tenant: format!("tenant-{n}").into(), sender: "".into() });
    let flows: Vec<Arc<Flow>> = (0..tenants).map(flow).collect();
    let mut turns = flows.into_iter().cycle();
    let (mut answers, mut writes) = (Vec::new(), Vec::new());
    // Late enough for the buckets to have filled; on from there, slower than they do.
    let mut now = start + Duration::from_secs(1);
    Box::new(move || {
        let mut done = 0;
        while done < N {
            let Some(flow) = turns.next() else { return };
            let per_request = messages / requests;
            gate.ask(Ask { shard: 0, lane: Lane::Marketing, flow, requests, messages, per_request }, now);
            now += Duration::from_micros(u64::from(2 * messages));
            gate.turn(now, Wall(0), &mut answers, &mut writes);
            for answer in answers.drain(..) {
                let Say::Go(permit) = answer.say else { panic!("the gate lets nobody go; make its limits wider") };
                done += permit.messages() as usize;
                gate.release(Lane::Marketing, permit.requests(), permit.pass());
            }
        }
    })
}
