//! Makes send jobs as upstream services would, and says beforehand what must become of each.
//!
//! Why: a run is right when every job ended as foretold; what the generator does not foretell nobody checks.
//! Must not know: Kafka, how jobs are read, what the dispatcher does.
//!
//! Who asks for what in [`Mix::peak`]:
//!
//! | lane | shape | share |
//! |---|---|---|
//! | marketing | mail by template: 3 tenants × 4 campaigns, one template each | 60 % |
//! | marketing | rendered mail, about 1 KB | 10 % |
//! | marketing | SMS with consent | 10 % |
//! | marketing | webhook | 10 % |
//! | transactional | rendered mail | 5 % |
//! | transactional | SMS with a code | 3 % |
//! | transactional | webhook | 2 % |
//!
//! and, before that, of all jobs 0.5 % each: marketing SMS without consent, marketing mail without a way to
//! leave, a job that has expired, a record that is no job ([`malformed`], one kind after the other).
//!
//! No recipient comes twice in one run, ids are `{prefix}-{n}`, and no number ends like one that a simulated
//! vendor refuses.

mod malformed;

pub use malformed::{KINDS, malformed};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::job::Lane;

/// What one job asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A mail that the vendor renders.
    TemplateMail,
    /// A rendered mail.
    RenderedMail,
    /// A text message; with consent in the marketing lane.
    Sms,
    /// A callback to the webhook simulator.
    Webhook,
}

/// Who asks for what. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// Weights of the jobs that must be accepted. They need not add up to 1.
    pub shares: Vec<(Lane, Shape, f64)>,
    /// Share of all jobs: marketing SMS without consent.
    pub no_consent: f64,
    /// Share of all jobs: marketing mail without a way to leave.
    pub no_unsubscribe: f64,
    /// Share of all jobs: expired before they were asked for.
    pub expired: f64,
    /// Share of all jobs: records that are no jobs.
    pub malformed: f64,
}

impl Mix {
    /// A day in peak season: the table above.
    #[must_use]
    pub fn peak() -> Self {
        use Lane::{Marketing, Transactional};
        let shares = vec![
            (Marketing, Shape::TemplateMail, 0.60),
            (Marketing, Shape::RenderedMail, 0.10),
            (Marketing, Shape::Sms, 0.10),
            (Marketing, Shape::Webhook, 0.10),
            (Transactional, Shape::RenderedMail, 0.05),
            (Transactional, Shape::Sms, 0.03),
            (Transactional, Shape::Webhook, 0.02),
        ];
        Self { shares, no_consent: 0.005, no_unsubscribe: 0.005, expired: 0.005, malformed: 0.005 }
    }

    /// One kind of job only, all of which must be accepted.
    #[must_use]
    pub fn only(lane: Lane, shape: Shape) -> Self {
        Self { shares: vec![(lane, shape, 1.0)], no_consent: 0.0, no_unsubscribe: 0.0, expired: 0.0, malformed: 0.0 }
    }

    fn check(&self) -> Result<(), String> {
        let faults = [self.no_consent, self.no_unsubscribe, self.expired, self.malformed];
        let in_range = |share: f64| (0.0..=1.0).contains(&share);
        if !faults.iter().chain(self.shares.iter().map(|(_, _, share)| share)).all(|&share| in_range(share)) {
            return Err("a share of the mix is not from 0 to 1".to_owned());
        }
        let (good, bad): (f64, f64) = (self.shares.iter().map(|(_, _, share)| share).sum(), faults.iter().sum());
        match good > 0.0 && bad <= 1.0 {
            true => Ok(()),
            false => Err("the mix asks for no good job, or for more bad jobs than there are jobs".to_owned()),
        }
    }
}

/// Where jobs go and how they are named.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Scheme, host and port of the webhook simulator, as in `http://127.0.0.1:4000`.
    pub webhook_base_url: String,
    /// What every id begins with: letters, digits, `.`, `_`, `-`, at most 100. Two runs on one line need two.
    pub prefix: String,
}

/// What must become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A provider takes it.
    Accepted,
    /// Our rules turn it down, for this reason.
    Refused(&'static str),
    /// Its recipient must not be written to, for this reason. No mix makes these.
    Suppressed(&'static str),
    /// It is worthless when it is read.
    Expired,
    /// It is no job, for this reason, by this field.
    Dead {
        /// The reason code.
        reason: &'static str,
        /// The field at fault; empty when it is the record as a whole.
        field: &'static str,
    },
}

/// One record for a jobs topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The lane whose topic it belongs in.
    pub lane: Lane,
    /// Its key in Kafka: the recipient.
    pub key: String,
    /// Whose job it is; empty when it is none.
    pub tenant: &'static str,
    /// The job's id, unique in this run. A record that is no job has one all the same, but may not carry it.
    pub id: String,
    /// The record's value.
    pub payload: Vec<u8>,
    /// What must become of it.
    pub expect: Expect,
}

const TENANTS: [&str; 3] = ["shop", "travel", "news"];
const CAMPAIGNS: [&str; 4] = ["early-access", "black-friday", "cyber-monday", "last-call"];

/// Long before any run.
const CONSENT: &str = r#","consent":{"at":"2025-01-05T10:00:00Z","source":"signup form"}"#;
const EXPIRED: &str = r#","expires_at":"2025-01-06T10:00:00Z""#;

const TEXT: &str = "Our biggest sale of the year starts now. Everything you marked is in stock, and members see the \
    prices a day before everyone else. Orders until Sunday arrive before the holidays; returns are free until the \
    end of January.\\n\\nSee you there,\\nyour team\\n";
const HTML: &str = "<!doctype html><html lang=\\\"en\\\"><body style=\\\"font-family:sans-serif;margin:0\\\"><h1>It \
    starts now</h1><p>Our biggest sale of the year starts now. Everything you marked is in stock, and members see \
    the prices a day before everyone else.</p><p>Orders until Sunday arrive before the holidays; returns are free \
    until the end of January.</p><p><a href=\\\"https://shop.example/sale\\\">To the sale</a></p><p>See you \
    there,<br>your team</p></body></html>";

/// An endless, seeded stream of jobs.
#[derive(Debug)]
pub struct Generator {
    rng: SmallRng,
    mix: Mix,
    targets: Targets,
    total: f64,
    next: u64,
    next_malformed: u64,
}

/// One job to be written.
struct Plan {
    lane: Lane,
    shape: Shape,
    expect: Expect,
    consent: bool,
    unsubscribe: bool,
}

impl Generator {
    /// The same seed, mix and targets make the same jobs.
    ///
    /// # Errors
    /// When the mix, the prefix or the URL cannot be used.
    pub fn new(seed: u64, mix: Mix, targets: Targets) -> Result<Self, String> {
        mix.check()?;
        crate::job::field::label(&targets.prefix, 100).map_err(|(_, why)| format!("the prefix of the ids: {why}"))?;
        crate::job::field::http_url(&targets.webhook_base_url).map_err(|(_, why)| format!("the webhook URL: {why}"))?;
        if targets.webhook_base_url.contains(['"', '\\']) {
            return Err("the webhook URL holds a quote or a backslash".to_owned());
        }
        let total = mix.shares.iter().map(|(_, _, share)| share).sum();
        Ok(Self { rng: SmallRng::seed_from_u64(seed), mix, targets, total, next: 0, next_malformed: 0 })
    }

    fn plan(&mut self) -> Option<Plan> {
        let mut u: f64 = self.rng.random();
        let mut falls = |share: f64| {
            u -= share;
            u < 0.0
        };
        let marketing = |shape, why| Plan {
            lane: Lane::Marketing,
            shape,
            expect: Expect::Refused(why),
            consent: why != "no_consent",
            unsubscribe: why != "no_unsubscribe",
        };
        if falls(self.mix.no_consent) {
            return Some(marketing(Shape::Sms, "no_consent"));
        }
        if falls(self.mix.no_unsubscribe) {
            return Some(marketing(Shape::RenderedMail, "no_unsubscribe"));
        }
        let expired = falls(self.mix.expired);
        if !expired && falls(self.mix.malformed) {
            return None;
        }
        let (lane, shape) = self.draw();
        let expect = if expired { Expect::Expired } else { Expect::Accepted };
        let marketing = lane == Lane::Marketing;
        Some(Plan { lane, shape, expect, consent: marketing, unsubscribe: marketing })
    }

    fn draw(&mut self) -> (Lane, Shape) {
        let mut u = self.rng.random::<f64>() * self.total;
        let fallen = self.mix.shares.iter().find(|(_, _, share)| {
            u -= share;
            u < 0.0
        });
        // Rounding may leave nothing; `check` saw that there is a last one.
        fallen
            .or(self.mix.shares.last())
            .map_or((Lane::Marketing, Shape::TemplateMail), |&(lane, shape, _)| (lane, shape))
    }

    fn recipient(&self, shape: Shape, n: &str) -> String {
        match shape {
            Shape::TemplateMail | Shape::RenderedMail => ["user-", n, "@example.com"].concat(),
            // The last digit keeps clear of the endings that mean something to the simulated vendor.
            Shape::Sms => format!("+1555{n:0>7}5"),
            Shape::Webhook => [self.targets.webhook_base_url.trim_end_matches('/'), "/hook/", n].concat(),
        }
    }

    fn write(&mut self, plan: &Plan, n: &str, id: &str, to: &str) -> (&'static str, Vec<u8>) {
        let (t, c) = (self.rng.random_range(0..TENANTS.len()), self.rng.random_range(0..CAMPAIGNS.len()));
        let (tenant, campaign) = (TENANTS[t], CAMPAIGNS[c]);
        let mut out = Vec::with_capacity(if plan.shape == Shape::RenderedMail { 2048 } else { 640 });
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        let channel = match plan.shape {
            Shape::TemplateMail | Shape::RenderedMail => "email",
            Shape::Sms => "sms",
            Shape::Webhook => "webhook",
        };
        put(&[r#"{"id":""#, id, r#"","tenant":""#, tenant, r#"","channel":""#, channel, r#"","to":""#, to, "\""]);
        if plan.lane == Lane::Marketing {
            put(&[r#","campaign":""#, campaign, "\""]);
        }
        match plan.shape {
            Shape::TemplateMail => {
                let template =
                    ["d-", ["1a", "2b", "3c"][t], ["4d", "5e", "6f", "70"][c], "c0ffee0c0ffee0c0ffee0c0ffee0"];
                put(&[
                    r#","from":"News <news@"#,
                    tenant,
                    r#".example>","content":{"template_id":""#,
                    &template.concat(),
                ]);
                put(&[r#"","data":{"first_name":"Customer "#, n, r#"","voucher":"V"#, n, r#"","percent":20}}"#]);
            }
            Shape::RenderedMail => {
                put(&[r#","from":"Service <service@"#, tenant, r#".example>","content":{"subject":"Your order "#, n]);
                put(&[r#"","text":""#, TEXT, r#"","html":""#, HTML, r#""}"#]);
            }
            Shape::Sms => {
                let code = self.rng.random_range(100_000..1_000_000_u32).to_string();
                put(&[r#","from":"+15557770005","content":{"body":"Your code is "#, &code]);
                put(&[r#". It is good for ten minutes."}"#]);
            }
            Shape::Webhook => put(&[r#","content":{"event":"order.paid","order":"#, n, r#","amount":"49.90"}"#]),
        }
        if plan.unsubscribe && channel == "email" {
            put(&[r#","unsubscribe":{"url":"https://"#, tenant, ".example/u/", n, r#""}"#]);
        }
        if plan.consent && channel == "sms" {
            put(&[CONSENT]);
        }
        if plan.expect == Expect::Expired {
            put(&[EXPIRED]);
        }
        put(&["}"]);
        (tenant, out)
    }

    fn malformed(&mut self, n: &str, id: String) -> Generated {
        let lane = Lane::ALL[self.rng.random_range(0..Lane::ALL.len())];
        let (payload, reason, field) = malformed(self.next_malformed);
        self.next_malformed += 1;
        let key = ["malformed-", n].concat();
        Generated { lane, key, tenant: "", id, payload, expect: Expect::Dead { reason, field } }
    }
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        let mut digits = itoa::Buffer::new();
        let n = digits.format(self.next);
        self.next += 1;
        let id = [&self.targets.prefix, "-", n].concat();
        let Some(plan) = self.plan() else { return Some(self.malformed(n, id)) };
        let key = self.recipient(plan.shape, n);
        let (tenant, payload) = self.write(&plan, n, &id, &key);
        Some(Generated { lane: plan.lane, key, tenant, id, payload, expect: plan.expect })
    }
}
