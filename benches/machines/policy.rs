//! `policy` and `route`: before a job may queue.

use std::hint::black_box;
use std::time::Duration;

use peakpost::job::{Channel, Lane};
use peakpost::policy::{Config, Decision, Tenant};
use peakpost::route::{Route, Routes};
use peakpost::sim::load::Shape;

use crate::inputs::{Jobs, NOW, records};
use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[Machine::new("policy: decide; route", decide)];

/// Three tenants, each with two senders.
pub fn config() -> Config {
    let tenant = |name: &str| {
        let from = vec!["*@shop.example".to_owned(), format!("*@{name}.example")];
        (name.to_owned(), Tenant { from, marketing_without_unsubscribe: false })
    };
    Config {
        require_consent: vec![(Channel::Sms, Lane::Marketing)],
        tenants: ["shop", "travel", "news"].map(tenant).into(),
        other_tenants: Tenant::default(),
        send_at_max: Duration::from_secs(30 * 86_400),
        max_age: [Duration::from_secs(3600), Duration::from_secs(3 * 86_400)],
    }
}

/// A line for each channel, and one for a tenant of its own before them.
fn routes() -> Routes {
    let line = |channel, tenant: Option<&str>| Route {
        channel,
        tenant: tenant.map(str::to_owned),
        lane: None,
        providers: vec![0, 1],
        weights: Vec::new(),
    };
    let all = Channel::ALL.into_iter().map(|channel| line(channel, None));
    Routes([line(Channel::Email, Some("own"))].into_iter().chain(all).collect())
}

fn decide() -> Round {
    let (jobs, config, routes) = (Jobs::of(records(Shape::TemplateMail).take(N)), config(), routes());
    Box::new(move || {
        for job in &jobs.0 {
            let spec = job.spec();
            assert!(config.decide(spec, job.lane, job.enqueued, NOW) == Decision::Send, "it would not be sent");
            let route = routes.find(spec.channel, &spec.tenant, job.lane);
            black_box(route.and_then(|route| route.plan(0).all().next()));
        }
    })
}
