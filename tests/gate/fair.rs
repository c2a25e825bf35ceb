//! Several tenants and senders at one provider: each gets what its weight says, and nobody waits for another's limit.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use peakpost::gate::{Ask, Config, Gate, Say, Scoped};
use peakpost::job::{Lane, Wall};
use peakpost::observe::Clock;

use super::{config, flow, ms, singles};

fn limits(texts: &[&str]) -> Vec<peakpost::gate::limit::Limit> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|fault| panic!("{fault}"))).collect()
}

fn gate(config: &Config, homes: u16) -> (Gate, Instant) {
    let begin = Clock::default().mono();
    let mut gate = Gate::new(config, "mail", homes, 1, begin);
    let owned: Vec<_> = (0..homes).map(|home| (home, 1)).collect();
    gate.homes(&owned, begin, Wall(0));
    (gate, begin)
}

/// Who wants to send: tenant, sender, how many messages, how many at once.
type Want<'a> = (&'a str, &'a str, usize, u32);

/// Everybody asks again as soon as he was answered, for as much as he is said to; until then or until all is sent.
/// Those before `new` have asked already. Returns when each message went, by tenant and sender.
fn run(
    gate: &mut Gate,
    begin: Instant,
    wants: &[Want<'_>],
    new: usize,
    until: Duration,
) -> BTreeMap<(String, String), Vec<Duration>> {
    let mut went: BTreeMap<(String, String), Vec<Duration>> = BTreeMap::new();
    let mut left: HashMap<usize, usize> = HashMap::new();
    let ask = |shard: usize, left: usize| {
        let (tenant, sender, _, at_once) = wants[shard];
        let n = at_once.min(u32::try_from(left).unwrap());
        Ask { flow: flow(tenant, sender), ..singles(shard, Lane::Marketing, n) }
    };
    for (shard, (.., count, _)) in wants.iter().enumerate() {
        left.insert(shard, *count);
        if shard >= new {
            gate.ask(ask(shard, *count), begin);
        }
    }
    let (mut now, mut answers, mut writes) = (begin, Vec::new(), Vec::new());
    while now < begin + until {
        let wake = gate.turn(now, Wall(0), &mut answers, &mut writes);
        let nobody = answers.is_empty();
        for answer in answers.drain(..) {
            let Say::Go(permit) = answer.say else { panic!("no warm-up, nobody is sent elsewhere") };
            gate.release(permit.lane(), permit.requests(), permit.pass());
            let (tenant, sender) = (answer.flow.tenant.to_string(), answer.flow.sender.to_string());
            let times = went.entry((tenant, sender)).or_default();
            times.extend(std::iter::repeat_n(now - begin, permit.messages() as usize));
            let left = left.get_mut(&answer.shard).unwrap();
            *left -= permit.messages() as usize;
            if *left > 0 {
                gate.ask(ask(answer.shard, *left), now);
            }
        }
        match wake {
            // Who was answered has asked again.
            _ if !nobody => now += Duration::from_micros(10),
            Some(wake) => now = wake.max(now + Duration::from_nanos(1)),
            None => break,
        }
    }
    went
}

/// The one with a million jobs does not keep the one with ten waiting, and both go by their weights.
#[test]
fn a_small_tenant_goes_out_within_its_weight() {
    for (weights, within, why) in [
        (&[][..], 20 + 64, "turn about: a grant for each, the large one's first is out already"),
        (&[("large", 9)], 9 * 10 + 2 * 64, "nine messages of the large one for each of the small one's"),
        (&[("small", 9)], 10 + 64, "one for nine"),
    ] {
        let mut config = config(&["100 messages/s"], 100);
        config.tenant_weights = weights.iter().map(|(name, weight)| ((*name).into(), *weight)).collect();
        let (mut gate, begin) = gate(&config, 1);
        // The large one has the line for itself for ten seconds.
        let wants = [("large", "", 1_000_000, 64), ("large", "", 1_000_000, 64), ("small", "", 10, 64)];
        let before = run(&mut gate, begin, &wants[..2], 0, Duration::from_secs(10));
        assert!(before[&("large".to_owned(), String::new())].len() > 800, "{why}: nothing goes; see Turns");
        let later = begin + Duration::from_secs(10);
        let went = run(&mut gate, later, &wants, 2, Duration::from_secs(60));
        let small = &went[&("small".to_owned(), String::new())];
        let last = small.last().copied().unwrap_or_default();
        let large = went
            .get(&("large".to_owned(), String::new()))
            .map_or(0, |times| times.iter().filter(|at| **at <= last).count());
        assert_eq!(small.len(), 10, "{why}: all ten go");
        assert!(
            10 + large <= within,
            "{why}: {large} of the large one's went before the small one's ten, at most {within} in all"
        );
    }
}

/// Under constant backlog of everybody the messages are parted as the weights are.
#[test]
fn backlogs_are_parted_by_weight() {
    let mut config = config(&["1_000 messages/s"], 1000);
    config.tenant_weights = [("b".into(), 2), ("c".into(), 5)].into();
    let (mut gate, begin) = gate(&config, 1);
    // `a` asks from four shards, which gives it no more; `c` asks for little at a time, which takes nothing from it.
    let wants = [
        ("a", "", 1 << 30, 64),
        ("a", "", 1 << 30, 64),
        ("a", "", 1 << 30, 64),
        ("a", "", 1 << 30, 64),
        ("b", "", 1 << 30, 64),
        ("c", "", 1 << 30, 7),
    ];
    let went = run(&mut gate, begin, &wants, 0, Duration::from_secs(100));
    let of = |tenant: &str| went[&(tenant.to_owned(), String::new())].len() as f64;
    for (tenant, weight) in [("b", 2.0), ("c", 5.0)] {
        let ratio = of(tenant) / of("a");
        assert!(
            (ratio / weight - 1.0).abs() < 0.05,
            "`{tenant}` got {ratio:.2} times what `a` got, its weight is {weight}; see Turns::granted"
        );
    }
}

/// One message a second from a number, whoever's it is, while others go as fast as the account allows.
#[test]
fn a_sender_at_its_limit_keeps_nobody_else_waiting() {
    let mut config = config(&["100 messages/s"], 100);
    config.senders =
        Scoped { named: [("fast".into(), limits(&["30 messages/s"]))].into(), each: limits(&["1 messages/s"]) };
    config.tenants = Scoped { named: [("thrifty".into(), limits(&["5 messages/s"]))].into(), each: vec![] };
    let (mut gate, begin) = gate(&config, 1);
    let wants = [
        ("acme", "slow", 1 << 30, 64),
        ("other", "slow", 1 << 30, 64),
        ("acme", "fast", 1 << 30, 64),
        ("thrifty", "fast", 1 << 30, 64),
    ];
    let secs = 200;
    let went = run(&mut gate, begin, &wants, 0, Duration::from_secs(secs));
    let rate = |of: &dyn Fn(&str, &str) -> bool| {
        let all = went.iter().filter(|((tenant, sender), _)| of(tenant, sender)).map(|(_, times)| times.len());
        all.sum::<usize>() as f64 / secs as f64
    };
    for (found, wanted, why) in [
        (rate(&|_, sender| sender == "slow"), 1.0 / 1.05, "two tenants share the number's one a second"),
        (rate(&|_, sender| sender == "fast"), 30.0 / 1.05, "the other number has its own limit"),
        (rate(&|tenant, _| tenant == "thrifty"), 5.0 / 1.05, "the tenant's limit is smaller than the number's"),
    ] {
        assert!((found / wanted - 1.0).abs() < 0.05, "{why}: {found:.2}/s, expected about {wanted:.2}/s");
    }
    let mut slow: Vec<_> =
        went.iter().filter(|((_, sender), _)| sender == "slow").flat_map(|(_, times)| times.clone()).collect();
    slow.sort_unstable();
    let nearest = slow.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min().unwrap();
    assert!(nearest >= ms(1050), "two messages of the slow number were {nearest:?} apart");
}

/// What is refused by a sender's limit takes nothing from the account's.
#[test]
fn a_senders_refusal_leaks_nothing() {
    let alone = |senders: bool| {
        let mut config = config(&["100 messages/s"], 100);
        config.senders = Scoped { named: [("slow".into(), limits(&["1 messages/s"]))].into(), each: vec![] };
        let (mut gate, begin) = gate(&config, 1);
        let wants = [("a", "free", 1 << 30, 8), ("a", "slow", if senders { 1 << 30 } else { 1 }, 8)];
        let went = run(&mut gate, begin, &wants, 0, Duration::from_secs(100));
        went.values().map(Vec::len).sum::<usize>()
    };
    let (with, without) = (alone(true), alone(false));
    assert!(with.abs_diff(without) <= 3, "{with} messages with a sender that is always refused, {without} without it");
}

/// A configuration; whether its account, a sender and a tenant are carried; why.
type Row<'a> = (Config, (bool, bool, bool), &'a str);

/// A limit too small for every home has one home; the same on every instance, and all limits of the name with it.
#[test]
fn small_limits_are_carried() {
    let with = |account: &[&str], senders: &[&str], tenants: &[&str], concurrency| {
        let mut config = config(account, concurrency);
        config.senders.each = limits(senders);
        config.tenants.each = limits(tenants);
        config
    };
    let rows: &[Row<'_>] = &[
        (with(&["600 messages/s"], &[], &[], 64), (false, false, false), "nothing is small"),
        (with(&["47 messages/s"], &[], &[], 64), (true, true, true), "the account is: everything goes with it"),
        (with(&["48 messages/s"], &[], &[], 64), (false, false, false), "four units for each of twelve homes"),
        (with(&["600 messages/s"], &[], &[], 11), (true, true, true), "fewer slots than homes"),
        (with(&["600 messages/s"], &["1 messages/s"], &[], 64), (false, true, false), "senders are"),
        (with(&["600 messages/s"], &[], &["1 messages/s"], 64), (false, false, true), "tenants are"),
        (with(&["600 messages/s"], &["1 messages/s"], &["1 messages/s"], 64), (false, true, true), "both are"),
    ];
    for (config, expected, why) in rows {
        use peakpost::gate::carrier::Scope;
        let by = |scope| config.scope_carrier("mail", scope, 12);
        let found = (
            config.account_carrier("mail", 12).is_some(),
            by(Scope::Sender("s")).is_some(),
            by(Scope::Tenant("t")).is_some(),
        );
        assert_eq!(found, *expected, "{why}: (account, sender, tenant)");
        let carried = config.carrier("mail", "s", "t", 12);
        assert_eq!(carried.is_some(), expected.0 || expected.1 || expected.2, "{why}: a job of it");
        assert_eq!(config.carries_nothing(12), carried.is_none(), "{why}: the short answer is the same");
        assert_eq!(config.carrier("mail", "s", "t", 1), None, "{why}: one home has everything anyway");
        if let (Some(sender), Some(tenant)) = (by(Scope::Sender("s")), by(Scope::Tenant("t"))) {
            assert_eq!(sender, tenant, "{why}: a job needs both in one place");
        }
    }
    let config = with(&["600 messages/s"], &["1 messages/s"], &[], 64);
    let homes: std::collections::BTreeSet<_> =
        (0..100).map(|n| config.carrier("mail", &format!("+1555{n}"), "t", 12)).collect();
    assert!(homes.len() > 8, "a hundred numbers are carried by {} homes of 12", homes.len());
}
