//! The line from a shard's inbox to the outcome: dispatch and settle as they are, a simulated vendor, the embedded broker;
//! who decides about reputations is the test.
//!
//! Why: what comes back from a provider takes other ways into a queue than what comes from Kafka, and meets the same rules.
//! Must not know: reading and commits; more than one home.
#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's; polling sleeps")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use peakpost::config::Config;
use peakpost::dispatch::{self, Parts, PermitLog, Provider, Reputation};
use peakpost::job::receipt::{Back, End};
use peakpost::job::{Channel, Coordinates, Headers, Incoming, Job, Lane, Receipt, Source, Way};
use peakpost::lane::inbox::ToShard;
use peakpost::ledger::ownership::Ownership;
use peakpost::observe::{Clock, Metrics};
use peakpost::provider::wire::Wire;
use peakpost::recipient::Recipients;
use peakpost::reputation::{Cohort, Config as Rules, Counts, Partial, Stream, Sums, Verdicts};
use peakpost::settle::{self, Settling};
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::broker::Broker;
use peakpost::sim::vendor::{Behaviour, Latency, SimConfig, Simulator};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);
/// How long the vendor takes: time enough to change a verdict while a request is out.
const TAKES: Latency = Latency { median_ms: 700.0, sigma: 0.0 };

struct World {
    shard: mpsc::Sender<ToShard>,
    verdicts: watch::Sender<Arc<Verdicts>>,
    settled: Receiver<Vec<Back>>,
    permits: PermitLog,
    vendors: Simulator,
    clock: Clock,
    rules: Rules,
    // In this order: tasks end before what they talk to.
    runtime: Runtime,
    _broker: Broker,
}

fn config(dir: &std::path::Path, vendors: &Simulator, account: &SimConfig) -> Config {
    let secret = |name: &str, value: &str| {
        std::fs::write(dir.join(name), value).unwrap();
        format!("file:{}", dir.join(name).display())
    };
    let (recipients, key) = (secret("recipients", "a key of sixteen bytes"), secret("key", &account.sendgrid_key));
    let text = format!(
        r#"
        suppressions.key = "{recipients}"
        [tenants."*"]
        from = ["*"]
        marketing_without_unsubscribe = true
        [[providers]]
        name = "mail"
        kind = "sendgrid"
        base_url = "http://{}"
        key = "{key}"
        limits = ["10_000 messages/s"]
        concurrency = 4
        [[routes]]
        channel = "email"
        provider = "mail"
        "#,
        vendors.addr()
    );
    Config::from_parts(&text, std::iter::empty()).unwrap_or_else(|faults| panic!("{faults}"))
}

impl World {
    fn new() -> Self {
        let _made = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (dir, account) = (tempfile::tempdir().unwrap(), SimConfig::default());
        let vendors = runtime.block_on(Simulator::start(account.clone())).unwrap();
        let config = config(dir.path(), &vendors, &account);
        let broker = Broker::start(vec![config.settle.topics.clone()], 1, 1).unwrap();
        let (clock, metrics) = (Clock::default(), Metrics::new().unwrap());
        let now = clock.mono();
        let ownership = Arc::new(Ownership::new(1, now));
        ownership.open(0, 1);
        ownership.renew(now + 100 * LONG);
        let keyer = config.suppressions.keyer.clone().unwrap();
        let recipients = Arc::new(Recipients::new(keyer, 100 * LONG, now));
        recipients.fresh(clock.mono());
        let client = vec![("bootstrap.servers".to_owned(), broker.brokers.clone())];
        let (back, settled) = settle::back_channel();
        let links =
            settle::Links { metrics: metrics.clone(), clock: clock.clone(), back, wake: std::thread::current() };
        let Settling { settler, .. } = settle::start(&settle::Config { client, ..config.settle }, links).unwrap();
        let (verdicts, newest) = watch::channel(Arc::default());
        let permits = PermitLog::default();
        let (_no_orders, control) = mpsc::channel(1);
        let provider = |p: peakpost::config::ProviderConfig| {
            let wire = Wire::new(&p.wire).unwrap();
            Provider { name: p.name.into(), kind: p.kind, wire, gate: p.gate }
        };
        let parts = Parts {
            providers: config.providers.into_iter().map(provider).collect(),
            rules: config.rules,
            homes: 1,
            opened: None,
            control,
            instance: "test".to_owned(),
            shards: 1,
            seed: 1,
            ownership,
            recipients,
            reputation: Reputation { verdicts: newest, mailboxes: config.mailboxes },
            settler,
            metrics,
            clock: clock.clone(),
            permit_log: Some(Arc::clone(&permits)),
        };
        let mut line = runtime.block_on(async { dispatch::start(parts) });
        let shard = line.shards.remove(0);
        line.tasks.detach_all();
        Self {
            shard,
            verdicts,
            settled,
            permits,
            vendors,
            clock,
            rules: config.counts.reputation,
            runtime,
            _broker: broker,
        }
    }

    /// Mails of one template: they share a request.
    fn arrive(&self, to: &[&str]) {
        let job = |(offset, to): (usize, &&str)| {
            let bytes = format!(
                r#"{{"id":"{offset}","tenant":"acme","channel":"email","to":"{to}","from":"news@acme.example","content":{{"template_id":"d-0123456789abcdef0123456789abcdef"}}}}"#
            );
            let offset = i64::try_from(offset).unwrap();
            let source = Coordinates { from: Source::Jobs(Lane::Marketing), home: 0, offset };
            let receipt = Receipt::new(source, 1, u64::try_from(offset).unwrap(), 100);
            let (bytes, enqueued) = (bytes.into_bytes().into(), self.clock.wall());
            let (headers, lane, way) = (Headers::new(), Lane::Marketing, Way::default());
            let job = Job::parse(Incoming { bytes, headers, enqueued, lane, way, receipt });
            job.unwrap_or_else(|malformed| panic!("the test's job is none: {}", malformed.invalid))
        };
        let jobs = to.iter().enumerate().map(job).collect();
        self.runtime.block_on(self.shard.send(ToShard::Jobs(jobs))).unwrap();
    }

    fn behave(&self, behaviour: Behaviour) {
        self.vendors.set_behaviour(Vendor::SendGrid, behaviour).unwrap();
    }

    /// Waits until so many requests have come to the vendor.
    fn requests(&self, count: usize) {
        let deadline = Instant::now() + LONG;
        while self.vendors.arrivals().requests.len() < count {
            assert!(Instant::now() < deadline, "{:?}, must be {count}", self.vendors.arrivals().requests);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// From now on this stream is blocked.
    fn block(&self, mailbox: &str) {
        let now = self.clock.wall();
        let stream = Stream::new("acme", Channel::Email, Lane::Marketing, "mail", mailbox).unwrap();
        let counts = Counts { delivered: 10_000, complained: 60, ..Counts::default() };
        let mut sums = Sums::default();
        sums.put(Cohort { stream, start: now.0 / 1000 - 60 }, 0, Partial { upto: 1, counts });
        self.verdicts.send_replace(Arc::new(sums.verdicts(&self.rules, now)));
    }

    /// What becomes of so many jobs, in their order: where they go on, or nowhere.
    fn ends(&self, count: usize) -> Vec<Option<Source>> {
        let (deadline, mut ends) = (Instant::now() + LONG, Vec::new());
        while ends.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            let backs = self.settled.recv_timeout(left);
            let backs = backs.unwrap_or_else(|_| panic!("of {count} jobs only these ended: {ends:?}"));
            ends.extend(backs.into_iter().map(|back| match back {
                Back::Settled(settled) => (settled.source.offset, settled.end),
                other => panic!("{other:?}"),
            }));
        }
        ends.sort_by_key(|(offset, _)| *offset);
        let source = |end| match end {
            End::Deferred(to) => Some(to.expect("within its home").0),
            End::Terminal | End::Repeat => None,
        };
        ends.into_iter().map(|(_, end)| source(end)).collect()
    }

    fn requests_permitted(&self) -> u32 {
        self.permits.lock().unwrap().iter().map(|granted| granted.requests).sum()
    }
}

/// The four-hour tier: whoever waits for a reputation looks again then.
const WAITS: Option<Source> = Some(Source::Delay(Lane::Marketing, 5));

/// While a request is out its stream is blocked, and the vendor errs. The job neither waits for its next try nor for a permit:
/// none is spent on it.
#[test]
fn whose_stream_is_blocked_meanwhile_is_not_tried_again() {
    let world = World::new();
    world.behave(Behaviour { latency: TAKES, error_rate: 1.0, ..Behaviour::default() });
    world.arrive(&["jane@gmail.com"]);
    world.requests(1);
    world.block("gmail");
    assert_eq!(world.ends(1), [WAITS]);
    assert_eq!(world.requests_permitted(), 1, "a permit was spent on a job that may not go; hint: Shard::requeue");
}

/// A batch is turned down without a word of who is at fault, so its halves are tried apart; one half's stream is blocked by
/// then. It waits, and the other half is searched to its end all the same.
#[test]
fn a_half_whose_stream_is_blocked_meanwhile_waits_and_its_sibling_goes_on() {
    let world = World::new();
    world.behave(Behaviour { latency: TAKES, ..Behaviour::default() });
    world.arrive(&["jane@gmail.com", "joe@gmail.com", "poison-1@example.com", "jim@example.com"]);
    world.requests(1);
    world.block("gmail");
    assert_eq!(world.ends(4), [WAITS, WAITS, None, None]);
    let seen = world.vendors.arrivals();
    let sent: Vec<&str> = seen.messages.iter().filter(|arrival| arrival.sent).map(|arrival| &*arrival.key).collect();
    assert_eq!(sent, ["acme/3"], "the innocent goes, the guilty is refused");
    // The whole, the one half, its two halves.
    assert_eq!(world.requests_permitted(), 4, "permits were spent on jobs that may not go; hint: Shard::requeue");
}

/// All of a searched batch is blocked: nobody of it is left to wait for another.
#[test]
fn a_whole_batch_whose_stream_is_blocked_meanwhile_waits() {
    let world = World::new();
    world.behave(Behaviour { latency: TAKES, ..Behaviour::default() });
    world.arrive(&["jane@gmail.com", "joe@gmail.com", "jack@gmail.com", "poison-1@gmail.com"]);
    world.requests(1);
    world.block("gmail");
    assert_eq!(world.ends(4), [WAITS; 4]);
    assert_eq!(world.requests_permitted(), 1, "permits were spent on jobs that may not go; hint: Shard::requeue");
}
