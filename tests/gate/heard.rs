//! What a gate makes of replies: who goes, who waits, who is sent elsewhere, what others are told, what is written down.

use std::time::{Duration, Instant};

use peakpost::gate::report::By;
use peakpost::gate::{Ask, Config, Gate, Pass, Say, State, Stop, Word};
use peakpost::job::Lane::{Marketing, Transactional};
use peakpost::job::Wall;
use peakpost::observe::Clock;
use peakpost::outcome::Code;

use super::{batch, config, flow, ms, singles};

/// The wall clock when the test begins: in the middle of a second.
const WALL: i64 = 1_795_000_000_400;

struct Heard {
    gate: Gate,
    begin: Instant,
    now: Instant,
}

impl Heard {
    /// A gate whose buckets are full.
    fn new(config: &Config) -> Self {
        let begin = Clock::default().mono();
        let mut gate = Gate::new(config, "mail", 1, 1, begin);
        gate.homes(&[(0, 1)], begin, Wall(WALL));
        gate.changes();
        Self { gate, begin: begin + Duration::from_secs(120), now: begin + Duration::from_secs(120) }
    }

    fn wall(&self) -> Wall {
        Wall(WALL + i64::try_from((self.now - self.begin).as_millis()).unwrap())
    }

    fn turn(&mut self) -> (Vec<Say>, Option<Instant>) {
        let (mut answers, mut writes) = (Vec::new(), Vec::new());
        let wake = self.gate.turn(self.now, self.wall(), &mut answers, &mut writes);
        (answers.into_iter().map(|answer| answer.say).collect(), wake)
    }

    fn ask(&mut self, ask: Ask) -> (Vec<Say>, Option<Instant>) {
        self.gate.ask(ask, self.now);
        self.turn()
    }

    fn hear(&mut self, pass: Pass, word: Word) {
        self.gate.landed(Transactional, self.now, pass, word, self.now, self.wall(), 0.0);
    }

    fn trip(&mut self) -> Instant {
        for _ in 0..5 {
            let (says, _) = self.ask(singles(0, Transactional, 1));
            self.hear(only(&says), Word::Failed);
        }
        self.gate.blocked_until(self.now).expect("five failures block")
    }

    fn changes(&mut self) -> Vec<(By, f64, f64)> {
        self.gate.changes().into_iter().map(|change| (change.by, change.from, change.to)).collect()
    }
}

/// The pass of the only answer, which is a permit for one message.
fn only(says: &[Say]) -> Pass {
    let [Say::Go(permit)] = says else { panic!("expected one permit: {says:?}") };
    assert_eq!((permit.requests(), permit.messages()), (1, 1), "one request with one message");
    permit.pass()
}

fn free(elsewhere: bool) -> Config {
    Config { elsewhere, ..config(&[], 100) }
}

fn throttled(wait: Option<Duration>, sender: Option<&str>) -> Word {
    Word::Throttled { wait, sender: sender.map(Into::into) }
}

#[test]
fn who_cannot_go_waits_or_is_sent_elsewhere() {
    let stop = |wait| throttled(Some(Duration::from_secs(wait)), None);
    for (word, elsewhere, sent_away, by, why) in [
        (stop(5), false, false, By::Stop, "there is nowhere else to go"),
        (stop(60), false, false, By::Stop, "however long it is"),
        (stop(5), true, false, By::Stop, "a short stop is waited for"),
        (stop(6), true, true, By::Stop, "a long one is not"),
        (Word::Down(Code::Account), false, false, By::Breaker, "there is nowhere else to go"),
        (Word::Down(Code::Account), true, true, By::Breaker, "a block is not waited for"),
    ] {
        let mut heard = Heard::new(&free(elsewhere));
        heard.hear(Pass::default(), word.clone());
        let end = match heard.gate.blocked_until(heard.now) {
            Some(until) => until,
            None => heard.gate.stopped(heard.now).expect("one of both"),
        };
        heard.gate.ask(singles(0, Marketing, 1), heard.now);
        let (says, wake) = heard.ask(singles(0, Transactional, 1));
        if sent_away {
            let expected = || Say::Elsewhere { until: end, by };
            assert_eq!((says, wake), (vec![expected(), expected()], None), "{why}: {word:?}");
        } else {
            assert_eq!((says, wake), (vec![], Some(end)), "{why}: {word:?}, woken at its end");
            heard.now += ms(100);
            heard.turn();
            let kept: Vec<By> = heard.gate.kept().into_iter().map(|(by, _)| by).collect();
            assert_eq!(kept, [by], "{why}: and what bound is named");
        }
    }
}

#[test]
fn a_probe_is_one_message_and_whoever_gets_none_is_told() {
    for elsewhere in [false, true] {
        let mut heard = Heard::new(&free(elsewhere));
        heard.now = heard.trip();
        let mut probes: Vec<Pass> = Vec::new();
        for shard in 0..3 {
            let lane = if shard == 1 { Marketing } else { Transactional };
            probes.push(only(&heard.ask(batch(shard, lane, 1_000)).0));
        }
        assert_eq!(heard.gate.breaker_state(), State::Probe);
        let (says, wake) = heard.ask(batch(3, Transactional, 1_000));
        if elsewhere {
            let until = heard.now + Duration::from_secs(1);
            assert_eq!(says, [Say::Elsewhere { until, by: By::Breaker }], "a fourth goes elsewhere");
        } else {
            assert_eq!(says, [], "a fourth waits");
            assert_eq!(wake, Some(heard.now + Duration::from_secs(90)), "at the latest until a probe is given up");
        }
        heard.gate.release(Marketing, 1, probes.remove(1));
        if elsewhere {
            heard.gate.ask(batch(3, Transactional, 1_000), heard.now);
        }
        probes.push(only(&heard.turn().0));
        for probe in probes {
            heard.hear(probe, Word::Well);
        }
        assert_eq!(heard.gate.breaker_state(), State::Allow, "three good answers");
        heard.turn();
        assert!((heard.gate.factor() - 0.05).abs() < 1e-9, "and a ramp, not a herd: {}", heard.gate.factor());
        let (says, _) = heard.ask(singles(0, Transactional, 64));
        let [Say::Go(permit)] = says.as_slice() else { panic!("{says:?}") };
        assert_eq!(permit.requests(), 5, "a twentieth of the slots, where there is no rate to scale");
    }
}

/// Every change of state, factor and ramp is one entry.
#[test]
fn what_changes_is_written_down() {
    let mut heard = Heard::new(&config(&["600 requests/s"], 100));
    let end = heard.trip();
    assert_eq!(heard.changes(), [(By::Breaker, 0.0, 1.0)], "Allow is 0, Block 1");
    heard.now = end;
    let mut probes = Vec::new();
    for _ in 0..3 {
        probes.push(only(&heard.ask(singles(0, Transactional, 1)).0));
    }
    for probe in probes {
        heard.hear(probe, Word::Well);
    }
    for _ in 0..60 {
        heard.turn();
        heard.now += ms(100);
    }
    let ramp = [1.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0];
    let steps = ramp.windows(2).map(|pair| (By::Ramp, pair[0], pair[1]));
    let expected: Vec<_> = [(By::Breaker, 1.0, 2.0), (By::Breaker, 2.0, 0.0)].into_iter().chain(steps).collect();
    assert_eq!(heard.changes(), expected, "Probe is 2, then each step of the ramp");
    for n in 0..100 {
        let word = if n % 2 == 0 { throttled(None, None) } else { Word::Well };
        heard.hear(Pass::default(), word);
        heard.now += ms(11);
    }
    let found = heard.changes();
    let cut = |(by, from, to): &(By, f64, f64)| *by == By::Throttle && to < from;
    assert!(!found.is_empty() && found.iter().all(cut), "cuts, and nothing else: {found:?}");
    let rate: Vec<f64> = heard.gate.rates().map(|(_, rate)| rate).collect();
    heard.turn();
    let cut: Vec<f64> = heard.gate.rates().map(|(_, rate)| rate).collect();
    assert!((cut[0] / rate[0] - heard.gate.factor()).abs() < 0.001, "the bucket follows: {rate:?} to {cut:?}");
}

#[test]
fn a_stopped_sender_waits_alone() {
    let mut heard = Heard::new(&free(false));
    heard.hear(Pass::default(), throttled(Some(Duration::from_secs(30)), Some("+1")));
    let from = |sender: &str| Ask { flow: flow("acme", sender), ..singles(0, Transactional, 1) };
    let end = heard.now + Duration::from_secs(30);
    assert_eq!(heard.ask(from("+1")), (vec![], Some(end)), "it waits for its end");
    only(&heard.ask(from("+2")).0);
    let report = heard.gate.report(heard.now, heard.wall());
    assert_eq!(report.stopped_senders, [("+1".to_owned(), 30.0)], "and is shown");
    assert_eq!(heard.gate.stopped(heard.now), None, "the account is not stopped");
    heard.now = end;
    only(&heard.turn().0);
}

#[test]
fn long_stops_are_told_to_others_once() {
    let told = |sender: Option<&str>, until: i64| Stop { sender: sender.map(Into::into), until: Wall(until) };
    let rounded = |secs: i64| 1_795_000_001_000 + secs * 1_000;
    let mut heard = Heard::new(&free(false));
    for (after, wait, sender, expected, why) in [
        (0, 1_000, None, vec![], "a second is over before they hear"),
        (0, 1_001, None, vec![told(None, rounded(1))], "a longer one is told, rounded up"),
        (0, 60_000, None, vec![told(None, rounded(60))], "so is a later end"),
        (10, 60_000, None, vec![], "but not every reply that moves it by the time it took"),
        (0, 30_000, None, vec![], "nor an earlier end"),
        (0, 30_000, Some("+1"), vec![told(Some("+1"), rounded(30))], "a sender has its own"),
        (0, 30_000, Some("+1"), vec![], "told once"),
    ] {
        heard.now += ms(after);
        heard.hear(Pass::default(), throttled(Some(ms(wait)), sender));
        assert_eq!(heard.gate.orders(), expected, "{why}: {wait} ms for {sender:?}");
    }
    let mut other = Heard::new(&free(false));
    other.gate.order(None, other.now + Duration::from_secs(60), other.now);
    other.gate.order(Some("+1"), other.now + Duration::from_secs(90), other.now);
    other.gate.order(None, other.now.checked_sub(ms(1)).unwrap(), other.now);
    assert_eq!(other.gate.stopped(other.now), Some(other.now + Duration::from_secs(60)), "it is obeyed");
    assert_eq!(other.gate.orders(), [], "and not told again");
    other.now += Duration::from_secs(60);
    let (says, _) = other.ask(Ask { flow: flow("acme", "+1"), ..singles(0, Transactional, 1) });
    assert_eq!(says, [], "the sender's lasts longer");
}

/// The end of a stop is everybody's end: it is a ramp from 5 s on, also if it grew to that.
#[test]
fn a_silence_ends_with_a_ramp() {
    for (stops, ramp, why) in [
        (&[(0, 4_999)][..], false, "a short stop"),
        (&[(0, 5_000)], true, "a long one"),
        (&[(0, 3_000), (2_000, 2_999)], false, "two that make a short one"),
        (&[(0, 3_000), (2_000, 3_000)], true, "two that make a long one"),
        (&[(0, 3_000), (3_001, 3_000)], false, "two with a pause between"),
    ] {
        let mut heard = Heard::new(&config(&["600 requests/s"], 100));
        let (begin, mut end) = (heard.now, heard.now);
        for (at, wait) in stops {
            heard.now = begin + ms(*at);
            heard.turn();
            heard.hear(Pass::default(), throttled(Some(ms(*wait)), None));
            heard.turn();
            end = heard.now + ms(*wait);
        }
        heard.now = end;
        let (says, _) = heard.ask(singles(0, Transactional, 64));
        let [Say::Go(permit)] = says.as_slice() else { panic!("{why}: {says:?}") };
        let (most, factor) = if ramp { (1, 0.05) } else { (15, 1.0) };
        assert!(permit.requests() <= most, "{why}: {} at once", permit.requests());
        let found = heard.gate.report(heard.now, heard.wall()).ramp;
        assert!((found - factor).abs() < 1e-9, "{why}: the ramp is {found}");
    }
}
