//! From what was typed to what each room needs; every fault is collected, not only the first.
//!
//! Why: an operator mends a file once.
//! Must not know: files, the environment.

use std::collections::HashMap;
use std::time::Duration;

use super::raw::{Provider, Raw, Route};
use super::{Config, Faults, ProviderConfig, quantity};
use crate::intake::topics::Plan;
use crate::intake::{self, FirstStart};
use crate::job::source::Tiers;
use crate::job::topic::Topics;
use crate::job::{Channel, Lane};
use crate::observe::logs;
use crate::provider::secret::Secret;
use crate::provider::wire::WireConfig;
use crate::provider::{Kind, sendgrid, twilio, webhook};
use crate::route::{self, Routes};
use crate::{dispatch, gate, policy, retry, settle};

/// The longest that outcomes may take to become durable for the drain to count on it.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// A lane's `max_age` below this would drop jobs that merely wait their turn.
const MAX_AGE_LEAST: Duration = Duration::from_secs(60);

/// Collects faults and goes on with a stand-in value.
#[derive(Default)]
struct Collected(Vec<String>);

impl Collected {
    fn or<T>(&mut self, result: Result<T, String>, stand_in: T) -> T {
        result.unwrap_or_else(|fault| {
            self.0.push(fault);
            stand_in
        })
    }

    fn duration(&mut self, key: &str, token: &str) -> Duration {
        self.or(quantity::duration(key, token), Duration::from_secs(1))
    }

    fn must(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.0.push(fault());
        }
    }
}

pub(super) fn build(raw: Raw) -> Result<Config, Faults> {
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
    let settle = settle::Config { client, topics: names, linger, queue_max: 500_000 };
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
    let providers: Vec<ProviderConfig> =
        raw.providers.iter().filter_map(|p| provider(&mut c, p, &raw, &intake)).collect();
    let config = Config {
        topics,
        intake,
        settle,
        providers,
        rules,
        shards: shards(&raw),
        ops,
        log: logs::Config { format, filter: raw.log.filter },
        embedded: raw.kafka.embedded,
    };
    if c.0.is_empty() { Ok(config) } else { Err(Faults(c.0)) }
}

fn shards(raw: &Raw) -> usize {
    match raw.dispatch.shards {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
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

fn route(c: &mut Collected, r: &Route, providers: &[Provider]) -> Option<route::Route> {
    let Some(id) = providers.iter().position(|p| p.name == r.provider) else {
        c.0.push(format!("routes: provider \"{}\" is not configured", r.provider));
        return None;
    };
    let carries = match providers[id].kind.as_str() {
        "sendgrid" => r.channel == Channel::Email,
        "twilio" => r.channel == Channel::Sms,
        _ => r.channel == Channel::Webhook || providers[id].url.is_some(),
    };
    c.must(carries, || {
        format!(
            "routes: provider \"{}\" ({}) cannot carry {}; hint: a webhook provider with `url` can",
            r.provider, providers[id].kind, r.channel
        )
    });
    Some(route::Route { channel: r.channel, tenant: r.tenant.clone(), lane: r.lane, provider: id })
}

fn provider(c: &mut Collected, p: &Provider, raw: &Raw, intake: &intake::Config) -> Option<ProviderConfig> {
    let at = |key: &str| format!("providers \"{}\": {key}", p.name);
    let name_ok = (1..=64).contains(&p.name.len())
        && p.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    c.must(name_ok, || at("the name has letters, digits, `.`, `_`, `-`, at most 64"));
    c.must(raw.providers.iter().filter(|other| other.name == p.name).count() == 1, || at("the name is used twice"));
    c.must((2..=10_000).contains(&p.concurrency), || {
        at("concurrency must be 2 to 10000 (one slot is always kept for transactional)")
    });
    let mut time =
        |key: &str, token: &Option<String>, default: &str| c.duration(&at(key), token.as_deref().unwrap_or(default));
    let connect_timeout = time("connect_timeout", &p.connect_timeout, "3s");
    let request_timeout = time("request_timeout", &p.request_timeout, "10s");
    let jitter = time("jitter", &p.jitter, "50ms");
    c.must(request_timeout + SETTLE_TIME < intake.drain, || {
        at(&format!(
            "request_timeout {request_timeout:?} + {SETTLE_TIME:?} to settle must be less than intake.drain {:?}",
            intake.drain
        ))
    });
    c.must(connect_timeout <= request_timeout, || at("connect_timeout must not be longer than request_timeout"));
    let mut limits = Vec::new();
    for text in &p.limits {
        match text.parse::<gate::limit::Limit>() {
            Ok(limit) => limits.push(limit),
            Err(fault) => c.0.push(at(&fault)),
        }
    }
    let kind = match kind(p) {
        Ok(kind) => kind,
        Err(fault) => {
            c.0.push(at(&fault));
            return None;
        }
    };
    let priority = &raw.lanes.transactional;
    let gate = gate::Config {
        limits,
        concurrency: p.concurrency.max(2),
        reserve: priority.reserve.clamp(0.0, 0.9),
        jitter,
        weight: priority.weight,
    };
    let wire = WireConfig {
        connect_timeout,
        request_timeout,
        idle_connections: p.concurrency as usize,
        allow_hosts: allow_hosts(p),
    };
    Some(ProviderConfig { name: p.name.clone(), kind, wire, gate })
}

/// Hosts that may be reached although they are private: those listed, and the one the operator wrote down himself.
fn allow_hosts(p: &Provider) -> Vec<String> {
    let own = [&p.base_url, &p.url].into_iter().flatten().filter_map(|text| url::Url::parse(text).ok());
    let own = own.filter_map(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    p.allow_hosts.iter().cloned().chain(own).collect()
}

fn kind(p: &Provider) -> Result<Kind, String> {
    let given = [
        ("base_url", p.base_url.is_some()),
        ("url", p.url.is_some()),
        ("key", p.key.is_some()),
        ("secret", p.secret.is_some()),
        ("account_sid", p.account_sid.is_some()),
        ("user", p.user.is_some()),
        ("password", p.password.is_some()),
        ("batch_max", p.batch_max.is_some()),
    ];
    let known: &[&str] = match p.kind.as_str() {
        "webhook" => &["url", "secret"],
        "sendgrid" => &["base_url", "key", "batch_max"],
        "twilio" => &["base_url", "account_sid", "user", "password"],
        other => return Err(format!("kind \"{other}\" is not known; hint: webhook, sendgrid or twilio")),
    };
    if let Some((key, _)) = given.iter().find(|(key, given)| *given && !known.contains(key)) {
        return Err(format!("`{key}` means nothing for kind \"{}\"; it takes {}", p.kind, known.join(", ")));
    }
    let need = |key: &str, value: &Option<String>| value.clone().ok_or_else(|| format!("`{key}` is missing"));
    let secret =
        |key: &str, value: &Option<String>| Secret::resolve(&need(key, value)?).map_err(|e| format!("`{key}`: {e}"));
    let base = |default: &str| safe_base(p.base_url.as_deref().unwrap_or(default));
    match p.kind.as_str() {
        "webhook" => {
            let url = p.url.as_deref().map(safe_base).transpose()?;
            webhook::Webhook::new(secret("secret", &p.secret)?.expose(), url).map(Kind::Webhook)
        }
        "sendgrid" => sendgrid::SendGrid::new(sendgrid::Config {
            base_url: base("https://api.sendgrid.com")?,
            key: secret("key", &p.key)?,
            batch_max: p.batch_max.unwrap_or(1000),
        })
        .map(Kind::SendGrid),
        _ => {
            let account_sid = need("account_sid", &p.account_sid)?;
            twilio::Twilio::new(twilio::Config {
                base_url: base("https://api.twilio.com")?,
                user: p.user.clone().unwrap_or_else(|| account_sid.clone()),
                account_sid,
                password: secret("password", &p.password)?,
            })
            .map(Kind::Twilio)
        }
    }
}

/// An https address, or http on loopback: credentials must not travel in the clear.
fn safe_base(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| format!("`{text}` is not a URL: {e}"))?;
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(format!("`{text}` must be https (http only on loopback)")),
    }
    Ok(text.trim_end_matches('/').to_owned())
}
