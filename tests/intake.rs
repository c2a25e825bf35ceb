//! The real intake and settle thread on librdkafka's mock cluster: what was spent of long limits is told before a home
//! is opened, and what another home has handed over is read like any other.
//!
//! Why: who opens a home without knowing what its last owner spent spends it again; and a job must not be lost or
//! doubled on its way between two homes.
#![expect(clippy::disallowed_methods, reason = "real threads answer in real time; polling sleeps")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use peakpost::control::Order;
use peakpost::intake::control;
use peakpost::intake::{self, FirstStart, Intake};
use peakpost::job::receipt::{Back, Why};
use peakpost::job::topic::Topics;
use peakpost::job::{Coordinates, Headers, Incoming, Job, Lane, Receipt, Source, Wall, Way};
use peakpost::lane::inbox::{ToShard, Turned};
use peakpost::ledger::ownership::Ownership;
use peakpost::ledger::usage::Opened;
use peakpost::observe::thread::Running;
use peakpost::observe::{Clock, Metrics};
use peakpost::outcome::{Kind, Outcome, Reason};
use peakpost::settle::{self, Deferral, Settlement, Settling, Subject, WriteAhead};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::sync::mpsc;

/// Longest wait for a thread to answer.
const PATIENCE: Duration = Duration::from_secs(30);
const HOMES: u16 = 3;
const JOB: &[u8] = br#"{"id":"1","tenant":"t","channel":"webhook","to":"https://example.com/","content":1}"#;

struct Line {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: Topics,
}

/// An instance's intake with all that it talks to.
struct Instance {
    ownership: Arc<Ownership>,
    usage: mpsc::Receiver<Opened>,
    intake: Intake,
    metrics: Metrics,
    shard: mpsc::Receiver<ToShard>,
    give_back: Sender<Vec<Back>>,
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Line {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let topics = Topics::with("line", &["10s".to_owned()], &["mail".to_owned()]);
        for topic in topics.all() {
            cluster.create_topic(&topic, i32::from(HOMES), 1).unwrap();
        }
        Self { cluster, topics }
    }

    fn client(&self) -> Vec<(String, String)> {
        vec![("bootstrap.servers".to_owned(), self.cluster.bootstrap_servers())]
    }

    /// Starts a settle thread; receipts come back through the receiver.
    fn settling(&self) -> (Settling, Receiver<Vec<Back>>) {
        let (topics, linger) = (self.topics.clone(), Duration::ZERO);
        let config = settle::Config { client: self.client(), topics, linger, queue_max: 1000, queue_bytes: 1 << 20 };
        let (back, came) = settle::back_channel();
        let (metrics, wake) = (Metrics::new().unwrap(), std::thread::current());
        let links = settle::Links { metrics, clock: Clock::default(), back, wake };
        (settle::start(&config, links).unwrap(), came)
    }

    /// Hands a job over to another home, as its own home does.
    fn hand_over(&self, from: Coordinates, to: Deferral) {
        let (Settling { settler, thread }, came) = self.settling();
        let incoming = Incoming {
            bytes: JOB[..].into(),
            headers: Headers::new(),
            enqueued: Wall(5_000),
            lane: Lane::Marketing,
            way: Way::default(),
            receipt: Receipt::new(from, 1, 0, 80),
        };
        let job = Job::parse(incoming).unwrap_or_else(|malformed| panic!("no job: {}", malformed.invalid));
        settler.settle(vec![Settlement {
            subject: Subject::Job(job),
            outcome: Outcome::plain(Kind::Deferred, Reason::ProviderBusy),
            deferral: Some(to),
            late: false,
            provider: None,
            at: Wall(6_000),
            decided: Clock::default().mono(),
            unrecorded: None,
            suppression: None,
            told_under: None,
        }]);
        let back = came.recv_timeout(PATIENCE).expect("the hand-over is durable");
        assert!(matches!(&back[..], [Back::Settled(_)]), "{back:?}");
        drop(settler);
        thread.join().unwrap().unwrap();
    }

    /// Spends as a gate does: each record is durable before the next is written.
    fn spend(&self, writes: &[(u16, &str, Vec<u8>)]) {
        let (Settling { settler, thread }, _came) = self.settling();
        let (done, mut acknowledged) = mpsc::channel(1);
        for (tag, (home, key, value)) in (0..).zip(writes) {
            let (key, value, done) = (key.as_bytes().to_vec(), value.clone(), done.clone());
            settler.write_ahead(WriteAhead { home: *home, key, value, tag, done });
            let came = until("what is written ahead is acknowledged", || acknowledged.try_recv().ok());
            assert_eq!(came, tag);
        }
        drop(settler);
        thread.join().unwrap().unwrap();
    }

    /// Writes as anybody may; without a payload it is a tombstone.
    fn write(&self, topic: &str, home: u16, key: &str, payload: Option<&[u8]>) {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.cluster.bootstrap_servers());
        let producer: BaseProducer = client.create().unwrap();
        let mut record = BaseRecord::<str, [u8]>::to(topic).partition(i32::from(home)).key(key);
        record.payload = payload;
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    fn config(&self) -> intake::Config {
        intake::Config {
            client: self.client(),
            topics: self.topics.clone(),
            group: "line".to_owned(),
            first_start: FirstStart::Earliest,
            session_timeout: Duration::from_secs(6),
            heartbeat: Duration::from_millis(500),
            lease: Duration::from_secs(4),
            commit_interval: Duration::from_secs(1),
            drain: Duration::from_secs(5),
            window_jobs: 100,
            restore_depth: 100,
            duplicate_window: 100,
            trims: false,
            memory_bytes: 16 << 20,
        }
    }

    /// Follows what instances tell each other.
    fn follow(&self) -> (Result<Running, String>, mpsc::Receiver<Order>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (to, orders) = mpsc::channel(1);
        (runtime.block_on(control::follow(&self.config(), HOMES, to, Clock::default())), orders)
    }

    /// Starts intake; nobody is told of more than `room` homes before somebody listens.
    fn start(&self, room: usize) -> Instance {
        let clock = Clock::default();
        let ownership = Arc::new(Ownership::new(HOMES, clock.mono()));
        let (to_shard, shard) = mpsc::channel(64);
        let (told, usage) = mpsc::channel(room);
        let (give_back, back) = settle::back_channel();
        let metrics = Metrics::new().unwrap();
        let links = intake::Links {
            ownership: Arc::clone(&ownership),
            shards: vec![to_shard],
            back,
            usage: Some(told),
            metrics: metrics.clone(),
            clock,
        };
        let intake = intake::start(self.config(), |_| Ok(links)).unwrap();
        Instance { ownership, usage, intake, metrics, shard, give_back }
    }
}

impl Instance {
    /// What it is told of each home, in the order in which they are opened. At no time is a home open of which nobody
    /// was told.
    fn told(&mut self) -> Vec<Opened> {
        let room = self.usage.max_capacity();
        let mut told: Vec<Opened> = Vec::new();
        while told.len() < usize::from(HOMES) {
            // The channel is full, or every home is told of: intake has gone as far as it can.
            let left = usize::from(HOMES) - told.len();
            until("the next home is told of", || (self.usage.len() >= room.min(left)).then_some(()));
            let waiting = self.usage.len();
            until("what was told of is open", || (self.ownership.owned().len() >= told.len() + waiting).then_some(()));
            let open = self.ownership.owned();
            assert!(
                open.len() <= told.len() + waiting,
                "{open:?} are open, and only {told:?} and {waiting} were told of"
            );
            told.push(self.usage.try_recv().unwrap());
        }
        told.sort_by_key(|opened| opened.home);
        let epochs: Vec<(u16, u32)> = told.iter().map(|opened| (opened.home, opened.epoch)).collect();
        assert_eq!(self.ownership.owned(), epochs, "what was told of is open, in the same periods");
        told
    }

    /// Takes what is handed to the shard, in which so many records are; each as where it lies, what its trip says, and
    /// whether it goes. Their receipts are given back unmet.
    fn handed(&mut self, count: usize) -> Vec<(Coordinates, Way, bool)> {
        let mut handed = Vec::new();
        until("every record is handed over", || {
            let came: Vec<(Job, bool)> = match self.shard.try_recv() {
                Ok(ToShard::Jobs(jobs)) => jobs.into_iter().map(|job| (job, true)).collect(),
                Ok(ToShard::Turned(turned)) => turned.into_iter().map(|turned| (repeat(turned), false)).collect(),
                _ => Vec::new(),
            };
            for (job, goes) in came {
                handed.push((job.receipt.source(), job.way.clone(), goes));
                self.give_back([job]);
            }
            (handed.len() >= count).then_some(())
        });
        handed.sort_by_key(|(at, ..)| *at);
        handed
    }

    /// Takes so many jobs and keeps them, as if each were at a provider.
    fn kept(&mut self, count: usize) -> Vec<Job> {
        let mut kept = Vec::new();
        until("as many jobs are handed over", || {
            if let Ok(ToShard::Jobs(jobs)) = self.shard.try_recv() {
                kept.extend(jobs);
            }
            (kept.len() >= count).then_some(())
        });
        kept
    }

    fn give_back(&self, jobs: impl IntoIterator<Item = Job>) {
        let back = jobs.into_iter().map(|job| Back::Abandoned(job.into_receipt().abandon(Why::Shutdown))).collect();
        self.give_back.send(back).unwrap();
    }

    fn stop(self) {
        self.intake.stop.send(PATIENCE).unwrap();
        self.intake.thread.join().unwrap().unwrap();
    }
}

fn repeat(turned: Turned) -> Job {
    match turned {
        Turned::Repeat(job) => job,
        other => panic!("it is turned away for another reason: {other:?}"),
    }
}

fn records(opened: &Opened) -> Vec<(&str, &[u8])> {
    opened.records.iter().map(|(key, value)| (std::str::from_utf8(key).unwrap(), &**value)).collect()
}

#[test]
fn a_new_owner_is_told_what_was_spent_before_its_home_is_open() {
    let line = Line::new();
    line.spend(&[
        (0, "day", vec![1]),
        (0, "month", vec![7]),
        (0, "day", vec![2]),
        (1, "day", vec![5]),
        (1, "gone", vec![9]),
    ]);
    line.write(&line.topics.usage(), 1, "gone", None);
    let mut first = line.start(1);
    let told = first.told();
    assert_eq!(records(&told[0]), [("day", &[2][..]), ("month", &[7])], "the latest of each key");
    assert_eq!(records(&told[1]), [("day", &[5][..])], "without what a tombstone took");
    assert_eq!(records(&told[2]), [], "of a home that has spent nothing it is told, too");
    first.stop();

    line.spend(&[(0, "day", vec![3]), (2, "day", vec![1])]);
    let mut second = line.start(1);
    let told = second.told();
    assert_eq!(records(&told[0]), [("day", &[3][..]), ("month", &[7])], "what was spent since counts");
    assert_eq!(records(&told[2]), [("day", &[1][..])], "the first that this home has spent");
    second.stop();
}

/// The embedded broker keeps 5 MiB of a partition; a real one forgets what is older than its retention.
#[test]
fn what_was_trimmed_is_not_waited_for() {
    let line = Line::new();
    // Bytes that do not compress.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let names: Vec<String> = (10..30).map(|n| n.to_string()).collect();
    let big: Vec<_> = names.iter().map(|n| (0, n.as_str(), (0..400_000).map(|_| noise()).collect())).collect();
    line.spend(&big);
    let mut instance = line.start(usize::from(HOMES));
    let told = instance.told();
    let kept: Vec<&str> = records(&told[0]).into_iter().map(|(key, _)| key).collect();
    assert!(kept.len() < names.len(), "the broker has trimmed nothing; hint: write more: {kept:?}");
    assert_eq!(kept[..], names[names.len() - kept.len()..], "what is there is told to its end");
    instance.stop();
}

#[test]
fn homes_whose_past_cannot_be_read_stop_and_name_the_topic() {
    let line = Line::new();
    line.spend(&[(0, "day", vec![1]), (1, "day", vec![1]), (2, "day", vec![1])]);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    line.cluster.request_errors(RDKafkaApiKey::Fetch, &[refused; 1000]);
    let mut instance = line.start(usize::from(HOMES));
    let all = |status: &intake::Status| (status.stopped.len() == usize::from(HOMES)).then(|| status.stopped.clone());
    let stopped = until("every home has stopped", || all(&instance.intake.status.borrow()));
    for (home, why) in stopped {
        assert!(why.contains(&format!("`line.usage` partition {home} cannot be read")), "home {home}: {why}");
    }
    assert_eq!(instance.ownership.owned(), [], "what was spent is not known, so nothing may be sent");
    assert!(instance.usage.try_recv().is_err(), "and nobody may be told that it was nothing");
    instance.stop();
}

/// A member that was taken for dead waits for nothing at a stop: no commit of its homes can be acknowledged any more.
#[test]
fn who_is_out_of_the_group_leaves_at_once() {
    let line = Line::new();
    let mut instance = line.start(usize::from(HOMES));
    instance.told();
    let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    line.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[unknown; 1000]);
    let began = Clock::default().mono();
    instance.stop();
    let took = Clock::default().mono() - began;
    assert!(took < PATIENCE / 2, "it took {took:?} of at most {PATIENCE:?}: it has waited for a commit");
}

/// Jobs that hang may hold most of a lane's room. What is left of it must do, or they would hold up all behind them.
#[test]
fn a_full_lane_is_read_on_with_the_little_room_that_is_freed() {
    let line = Line::new();
    let (room, more) = (line.config().window_jobs, 3);
    for id in 0..room + more {
        let job = String::from_utf8_lossy(JOB).replace("\"1\"", &format!("\"{id}\""));
        line.write(line.topics.jobs(Lane::Marketing), 0, "1", Some(job.as_bytes()));
    }
    let mut instance = line.start(usize::from(HOMES));
    instance.told();
    let mut hang = instance.kept(room);
    assert_eq!(hang.len(), room, "more are in memory than may be");
    for freed in 1..=more {
        instance.give_back(hang.pop());
        let next = instance.kept(1);
        assert_eq!(next.len(), 1, "the room of {freed} jobs was freed, one after another");
        hang.splice(0..0, next);
    }
    instance.give_back(hang);
    instance.stop();
}

/// The question for the new coordinator must not wait behind a fetch, or a session is over before it is answered.
#[test]
fn who_loses_the_coordinator_finds_it_in_time() {
    let line = Line::new();
    let mut instance = line.start(usize::from(HOMES));
    instance.told();
    let before = instance.ownership.owned();
    let acknowledged = instance.metrics.commits.with_label_values(&["acknowledged"]);
    for closed in 1..=3 {
        let gone = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT;
        line.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[gone; 3]);
        let (began, had) = (Instant::now(), acknowledged.get());
        // The first may have been on its way before.
        until("commits are acknowledged again", || (acknowledged.get() >= had + 3).then_some(()));
        let took = began.elapsed();
        assert!(took < PATIENCE / 4, "time {closed}: commits came again after {took:?}, they are made every second");
    }
    assert_eq!(instance.ownership.owned(), before, "the homes were lost meanwhile");
    instance.stop();
}

/// A stop of the whole account that ends so many milliseconds from now.
fn order(provider: &str, ms: i64) -> Order {
    let until = Wall(Clock::default().wall().0 + ms);
    Order { provider: provider.into(), sender: None, until, by: "4f".into(), why: "throttled".into() }
}

/// Who starts in the middle of a stop must not be the one who breaks it, and who runs must hear of the next in time.
#[test]
fn orders_in_force_are_heard_at_the_start_and_new_ones_as_they_come() {
    let line = Line::new();
    let topic = line.topics.control();
    let write = |home, order: &Order| {
        line.write(&topic, home, &String::from_utf8(order.key()).unwrap(), Some(&order.value()));
    };
    let standing: Vec<Order> = (0..HOMES).map(|home| order(&format!("mail-{home}"), 3_600_000)).collect();
    for (home, order) in (0..).zip(&standing) {
        write(home, order);
    }
    write(0, &order("mail-0", -1));
    line.write(&topic, 0, "stop/mail-1", Some(b"rubbish"));
    line.write(&topic, 1, "pause/lane/marketing", Some(b"{}"));
    line.write(&topic, 2, "stop/mail-2", None);
    let (following, mut orders) = line.follow();
    let following = following.unwrap();
    let mut next = || until("an order is heard", || orders.try_recv().ok());
    let mut heard: Vec<Order> = standing.iter().map(|_| next()).collect();
    heard.sort_by(|a, b| a.provider.cmp(&b.provider));
    assert_eq!(heard, standing, "what is in force in any partition, and nothing else");
    for home in 0..HOMES {
        let new = order(&format!("sms-{home}"), 3_600_000);
        let began = Instant::now();
        write(home, &new);
        assert_eq!(next(), new);
        assert!(began.elapsed() < Duration::from_secs(1), "heard after {:?}; hint: fetch.wait.max.ms", began.elapsed());
    }
    following.stop();
    assert!(orders.blocking_recv().is_none(), "nobody speaks any more, and nothing else was heard");
}

#[test]
fn orders_that_cannot_be_read_keep_the_daemon_from_starting() {
    let line = Line::new();
    // The mock tells the end of an empty partition even with an error.
    (0..HOMES).for_each(|home| line.write(&line.topics.control(), home, "stop/mail", Some(b"{}")));
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    line.cluster.request_errors(RDKafkaApiKey::Fetch, &[refused; 1000]);
    let why = line.follow().0.expect_err("a stop that is in force would not be known");
    assert!(why.contains("`line.control` cannot be read") && why.contains("ACLs"), "{why}");
}

/// Home 0 was killed between the two records of a hand-over to home 2, and handed the job over once more.
#[test]
fn a_carried_job_is_read_where_it_was_handed_to_and_its_twin_is_turned_away() {
    let line = Line::new();
    let own = Coordinates { from: Source::Jobs(Lane::Marketing), home: 0, offset: 0 };
    let hold = Source::Hold(Lane::Marketing, 0);
    for _killed in 0..2 {
        line.hand_over(own, Deferral { to: hold, due: None, home: 2 });
    }
    // The record itself, done by now; and upstream enqueues the id once more.
    for _again in 0..2 {
        line.write(line.topics.jobs(Lane::Marketing), 0, "1", Some(JOB));
    }
    let mut instance = line.start(usize::from(HOMES));
    let trip = Way { origin: Some((0, 0)), hop: 1, ..Way::default() };
    let held = |offset| Coordinates { from: hold, home: 2, offset };
    let expected = [
        (Coordinates { offset: 1, ..own }, Way::default(), false),
        (held(0), trip.clone(), true),
        (held(1), trip, false),
    ];
    assert_eq!(instance.handed(3), expected, "one of them goes, and its own home does not read its record again");
    instance.stop();
}

/// A hold that was read to its end is not read any more, until something is in it again: nothing must be lost in between.
#[test]
fn what_comes_into_a_hold_that_nobody_reads_is_found() {
    let line = Line::new();
    let mut instance = line.start(usize::from(HOMES));
    let hold = Source::Hold(Lane::Marketing, 0);
    for offset in 0..4 {
        let own = Coordinates { from: Source::Jobs(Lane::Marketing), home: 0, offset };
        line.hand_over(own, Deferral { to: hold, due: None, home: 2 });
        let handed: Vec<Coordinates> = instance.handed(1).into_iter().map(|(at, ..)| at).collect();
        assert_eq!(handed, [Coordinates { from: hold, home: 2, offset }], "each record is read once, in its turn");
        // Long enough to fall asleep in every second round: it is looked at every second.
        let since = Instant::now();
        let pause = Duration::from_secs(if offset % 2 == 0 { 3 } else { 0 });
        until("it has had time to fall asleep", || (since.elapsed() >= pause).then_some(()));
    }
    instance.stop();
}
