//! From what was typed to what each room needs; every fault is collected, not only the first.
//!
//! Why: an operator mends a file once.
//! Must not know: files, the environment.

use std::collections::HashMap;
use std::time::Duration;

use super::fixed::Fixed;
use super::raw::{Provider, Raw, Route};
use super::{Config, Faults, ProviderConfig, feedback, limits, provider, quantity, reputation};
use crate::intake::topics::Plan;
use crate::intake::{self, FirstStart};
use crate::job::source::Tiers;
use crate::job::topic::Topics;
use crate::job::{Channel, Lane};
use crate::observe::logs;
use crate::provider::secret::Secret;
use crate::recipient::{self, address::Keyer};
use crate::route::{self, Routes};
use crate::{dispatch, policy, retry, settle};

/// A lane's `max_age` below this would drop jobs that merely wait their turn.
const MAX_AGE_LEAST: Duration = Duration::from_secs(60);

/// Collects faults and goes on with a stand-in value.
#[derive(Default)]
pub(super) struct Collected(pub(super) Vec<String>);

impl Collected {
    pub(super) fn or<T>(&mut self, result: Result<T, String>, stand_in: T) -> T {
        result.unwrap_or_else(|fault| {
            self.0.push(fault);
            stand_in
        })
    }

    pub(super) fn duration(&mut self, key: &str, token: &str) -> Duration {
        self.or(quantity::duration(key, token), Duration::from_secs(1))
    }

    pub(super) fn must(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.0.push(fault());
        }
    }
}

/// `fixed` is what the file says beyond what a reload takes over.
pub(super) fn build(raw: Raw, fixed: Fixed) -> Result<Config, Faults> {
    let mut c = Collected::default();
    let client = client(&mut c, &raw);
    let providers: Vec<String> = raw.providers.iter().map(|p| p.name.clone()).collect();
    let names = Topics::with(&raw.kafka.prefix, &raw.delay.tiers, &providers);
    let intake = intake(&mut c, &raw, &client, &names);
    let topics = Plan {
        client: client.clone(),
        topics: names.clone(),
        partitions: raw.topics.partitions,
        replication: raw.topics.replication,
        outcomes_retention: c.duration("topics.outcomes_retention", &raw.topics.outcomes_retention),
        dead_retention: c.duration("topics.dead_retention", &raw.topics.dead_retention),
    };
    c.must((0.0..=1.0).contains(&raw.retry.budget), || "retry.budget must be 0 to 1".to_owned());
    c.must((0.0..=10_000.0).contains(&raw.retry.budget_floor), || {
        "retry.budget_floor must be 0 to 10000 a second".to_owned()
    });
    c.must((1..=10_000).contains(&raw.topics.partitions), || "topics.partitions must be 1 to 10000".to_owned());
    let linger = c.duration("settle.linger", &raw.settle.linger);
    let suppressions = suppressions(&mut c, &raw, &client, &names);
    let settle = settle::Config { client, topics: names, linger, queue_max: 500_000, queue_bytes: 256 << 20 };
    let ops = c.or(
        raw.ops.listen.parse().map_err(|e| format!("ops.listen = \"{}\": {e}; hint: `127.0.0.1:9464`", raw.ops.listen)),
        std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
    );
    let format = match raw.log.format.as_str() {
        "json" => logs::Format::Json,
        "pretty" => logs::Format::Pretty,
        other => c.or(Err(format!("log.format = \"{other}\" is neither \"json\" nor \"pretty\"")), logs::Format::Json),
    };
    let tiers = tiers(&mut c, &raw.delay.tiers);
    let rules = rules(&mut c, &raw, tiers);
    relations(&mut c, &raw, &intake);
    limits::check_weights(&mut c, &raw);
    let mut providers: Vec<ProviderConfig> =
        raw.providers.iter().filter_map(|p| provider::provider(&mut c, p, &raw, &intake)).collect();
    for (id, provider) in providers.iter_mut().enumerate() {
        provider.gate.elsewhere = rules.routes.has_another(id);
    }
    let mailboxes = feedback::mailboxes(&mut c, &raw);
    let feedback = feedback::listener(&mut c, &raw, &intake);
    let counts = reputation::counts(&mut c, &raw, &intake);
    let config = Config {
        topics,
        intake,
        settle,
        suppressions,
        providers,
        rules,
        shards: shards(&raw),
        feedback,
        counts,
        mailboxes,
        ops,
        log: logs::Config { format, filter: raw.log.filter },
        embedded: raw.kafka.embedded,
        fixed,
    };
    if c.0.is_empty() { Ok(config) } else { Err(Faults(c.0)) }
}

/// By default one for two cores: on two, a second carried no more, and woke others more often.
fn shards(raw: &Raw) -> usize {
    match raw.dispatch.shards {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get).div_ceil(2),
        n => n.min(256),
    }
}

/// Properties of every Kafka client. Values of secret properties are references.
fn client(c: &mut Collected, raw: &Raw) -> Vec<(String, String)> {
    /// Set by the rooms; another value would break what they promise.
    const OURS: &[&str] = &[
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "client.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "heartbeat.interval.ms",
        "max.poll.interval.ms",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "session.timeout.ms",
        "transactional.id",
    ];
    let mut client = vec![
        ("bootstrap.servers".to_owned(), raw.kafka.brokers.clone()),
        ("client.id".to_owned(), "peakpost".to_owned()),
    ];
    for (key, value) in &raw.kafka.client {
        c.must(!OURS.contains(&key.as_str()), || format!("kafka.client.\"{key}\" is set by peakpost itself"));
        let secret = ["password", "passphrase", "secret", "key.pem", "oauthbearer.config"]
            .iter()
            .any(|word| key.ends_with(word));
        let value = if secret {
            let read = Secret::resolve(value).map(|s| s.expose().to_owned());
            c.or(read.map_err(|e| format!("kafka.client.\"{key}\": {e}")), String::new())
        } else {
            value.clone()
        };
        client.push((key.clone(), value));
    }
    client
}

fn intake(c: &mut Collected, raw: &Raw, client: &[(String, String)], topics: &Topics) -> intake::Config {
    let prefix_ok = !raw.kafka.prefix.is_empty()
        && raw.kafka.prefix.len() <= 200
        && raw.kafka.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    c.must(prefix_ok, || "kafka.prefix: letters, digits, `.`, `_`, `-`, at most 200".to_owned());
    c.must(!raw.kafka.group.is_empty(), || "kafka.group must not be empty".to_owned());
    let first_start = match raw.kafka.first_start.as_str() {
        "earliest" => FirstStart::Earliest,
        "latest" => FirstStart::Latest,
        other => c.or(
            Err(format!("kafka.first_start = \"{other}\" is neither \"earliest\" nor \"latest\"")),
            FirstStart::Earliest,
        ),
    };
    intake::Config {
        client: client.to_vec(),
        topics: topics.clone(),
        group: raw.kafka.group.clone(),
        first_start,
        session_timeout: c.duration("kafka.session_timeout", &raw.kafka.session_timeout),
        heartbeat: c.duration("kafka.heartbeat", &raw.kafka.heartbeat),
        lease: c.duration("intake.lease", &raw.intake.lease),
        commit_interval: c.duration("intake.commit_interval", &raw.intake.commit_interval),
        drain: c.duration("intake.drain", &raw.intake.drain),
        window_jobs: raw.intake.window_jobs.max(1),
        trims: !raw.kafka.embedded,
        duplicate_window: raw.intake.duplicate_window,
        restore_depth: i64::try_from(raw.intake.restore_depth).unwrap_or(i64::MAX),
        memory_bytes: c.or(quantity::bytes("intake.memory", &raw.intake.memory), 1 << 20),
    }
}

/// A missing key is a fault only for who hashes recipients: topics are made without it.
fn suppressions(c: &mut Collected, raw: &Raw, client: &[(String, String)], topics: &Topics) -> recipient::Config {
    let max_stale = c.duration("suppressions.max_stale", &raw.suppressions.max_stale);
    let sensible = Duration::from_secs(1)..=Duration::from_secs(60);
    c.must(sensible.contains(&max_stale), || "suppressions.max_stale must be 1s to 1m".to_owned());
    let keyer = Secret::resolve(&raw.suppressions.key).and_then(|key| Keyer::new(key.expose().as_bytes()));
    let hint = "hint: `openssl rand -base64 32` makes one; keep it, with another no suppression is known";
    recipient::Config {
        client: client.to_vec(),
        group: raw.kafka.group.clone(),
        topic: topics.suppressions(),
        keyer: keyer.map_err(|e| format!("suppressions.key: {e}; {hint}")),
        max_stale,
    }
}

fn relations(c: &mut Collected, raw: &Raw, intake: &intake::Config) {
    let lease_max = intake.session_timeout.saturating_sub(intake.heartbeat);
    c.must(intake.lease <= lease_max, || {
        format!(
            "intake.lease {:?} must be at most kafka.session_timeout - kafka.heartbeat = {lease_max:?}",
            intake.lease
        )
    });
    c.must(intake.heartbeat * 3 <= intake.session_timeout, || {
        "kafka.heartbeat must be at most a third of kafka.session_timeout".to_owned()
    });
    c.must(intake.commit_interval >= Duration::from_millis(50), || {
        "intake.commit_interval must be at least 50ms".to_owned()
    });
    c.must(intake.memory_bytes >= 8 << 20, || "intake.memory must be at least 8MiB".to_owned());
    let reserve = raw.lanes.transactional.reserve;
    c.must((0.0..=0.9).contains(&reserve), || "lanes.transactional.reserve must be 0 to 0.9".to_owned());
    c.must(raw.retry.attempts_max >= 1, || "retry.attempts_max must be at least 1".to_owned());
}

/// Most delay tiers: each is a topic, with a partition per home to be read.
const TIERS_MAX: usize = 16;

fn tiers(c: &mut Collected, tokens: &[String]) -> Tiers {
    let waits: Vec<Duration> = tokens.iter().map(|token| c.duration("delay.tiers", token)).collect();
    c.must((1..=TIERS_MAX).contains(&waits.len()), || format!("delay.tiers must be 1 to {TIERS_MAX}"));
    c.must(waits.is_sorted_by(|a, b| a < b), || "delay.tiers must grow, the shortest first".to_owned());
    let least = waits.first().is_none_or(|first| *first >= Duration::from_millis(100));
    c.must(least, || "delay.tiers: the shortest must be at least 100ms".to_owned());
    Tiers(waits)
}

fn rules(c: &mut Collected, raw: &Raw, tiers: Tiers) -> dispatch::Rules {
    let pair = |text: &String| {
        let fault = || format!("policy.require_consent: \"{text}\" is not channel/lane; hint: \"sms/marketing\"");
        let (channel, lane) = text.split_once('/').ok_or_else(fault)?;
        let channel = Channel::ALL.into_iter().find(|c| c.as_str() == channel).ok_or_else(fault)?;
        Ok::<_, String>((channel, lane.parse::<Lane>().map_err(|_| fault())?))
    };
    let mut require_consent = Vec::new();
    for text in &raw.policy.require_consent {
        match pair(text) {
            Ok(pair) => require_consent.push(pair),
            Err(fault) => c.0.push(fault),
        }
    }
    let tenant = |t: &super::raw::Tenant| policy::Tenant {
        from: t.from.clone(),
        marketing_without_unsubscribe: t.marketing_without_unsubscribe,
    };
    let mut tenants: HashMap<String, policy::Tenant> =
        raw.tenants.iter().map(|(name, t)| (name.clone(), tenant(t))).collect();
    let other_tenants = tenants.remove("*").unwrap_or_default();
    let send_at_max = c.duration("policy.send_at_max", &raw.policy.send_at_max);
    let ages = [&raw.lanes.transactional.max_age, &raw.lanes.marketing.max_age];
    let max_age = Lane::ALL.map(|lane| {
        let key = format!("lanes.{lane}.max_age");
        let age = c.duration(&key, ages[lane.index()]);
        c.must(age >= MAX_AGE_LEAST, || {
            format!("{key} must be at least 1m; hint: what is enqueued now must have time")
        });
        age
    });
    let routes = raw.routes.iter().filter_map(|r| route(c, r, &raw.providers)).collect();
    dispatch::Rules {
        policy: policy::Config { require_consent, tenants, other_tenants, send_at_max, max_age },
        routes: Routes(routes),
        retry: retry::Config {
            attempts_max: raw.retry.attempts_max,
            backoff: c.duration("retry.backoff", &raw.retry.backoff),
            backoff_max: c.duration("retry.backoff_max", &raw.retry.backoff_max),
            quarantine: raw.retry.quarantine.clone(),
        },
        budget: retry::budget::Config { ratio: raw.retry.budget, floor: raw.retry.budget_floor / shards(raw) as f64 },
        tiers,
    }
}

/// Most that a provider of a route may weigh.
const WEIGHT_MAX: u32 = 1_000;

fn route(c: &mut Collected, r: &Route, providers: &[Provider]) -> Option<route::Route> {
    let names = match (&r.provider, &r.providers) {
        (Some(one), None) => std::slice::from_ref(one),
        (None, Some(several)) if !several.is_empty() => several.as_slice(),
        _ => {
            let hint = "`provider = \"a\"`, or `providers = [\"a\", \"b\"]` with the preferred one first";
            c.0.push(format!(
                "routes: a route of {} needs `provider` or `providers`, one of them; hint: {hint}",
                r.channel
            ));
            return None;
        }
    };
    let mut ids = Vec::new();
    for name in names {
        let Some(id) = providers.iter().position(|p| p.name == *name) else {
            c.0.push(format!("routes: provider \"{name}\" is not configured"));
            continue;
        };
        c.must(!ids.contains(&id), || {
            format!("routes: provider \"{name}\" is named twice in a route of {}", r.channel)
        });
        ids.push(id);
        let carries = match providers[id].kind.as_str() {
            "sendgrid" => r.channel == Channel::Email,
            "twilio" => r.channel == Channel::Sms,
            _ => r.channel == Channel::Webhook || providers[id].url.is_some(),
        };
        c.must(carries, || {
            format!(
                "routes: provider \"{name}\" ({}) cannot carry {}; hint: a webhook provider with `url` can",
                providers[id].kind, r.channel
            )
        });
    }
    let fits = r.weights.is_empty()
        || (r.weights.len() == names.len()
            && r.weights.iter().all(|weight| *weight <= WEIGHT_MAX)
            && r.weights.iter().any(|weight| *weight > 0));
    c.must(fits, || {
        format!(
            "routes: `weights` of a route of {} must be one for each of `providers`, 0 to {WEIGHT_MAX}, not all 0; \
             hint: `weights = [70, 30]`",
            r.channel
        )
    });
    (!ids.is_empty()).then(|| route::Route {
        channel: r.channel,
        tenant: r.tenant.clone(),
        lane: r.lane,
        providers: ids,
        weights: r.weights.clone(),
    })
}
