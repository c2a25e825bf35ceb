//! What may be committed: nothing beyond the oldest job without a durable outcome, ever.

use std::collections::BTreeMap;

use peakpost::job::receipt::{End, Settled, Why};
use peakpost::job::source::Layout;
use peakpost::job::{Abandoned, Coordinates, Lane, Receipt, Source};
use peakpost::ledger::{Commit, Ledger, Returned, decode_metadata, encode_metadata};
use proptest::prelude::*;

use super::give_back;

const HOME: u16 = 3;
const EPOCH: u32 = 7;
const T: Source = Source::Jobs(Lane::Transactional);
const M: Source = Source::Jobs(Lane::Marketing);

/// A ledger of two lanes, nothing else.
fn ledger(next: [i64; 2], outcomes_end: i64) -> Ledger {
    Ledger::new(HOME, EPOCH, Layout::default(), &next, outcomes_end, 10)
}

fn number(lane: Source) -> usize {
    Layout::default().index(lane)
}

/// What happens to the records of one lane, in this order.
#[derive(Clone, Copy, Debug)]
enum Do {
    /// An earlier owner made the outcome of the record at the first offset durable, at the second.
    Before(i64, i64),
    /// A record at this offset is read.
    Read(i64),
    /// The n-th record read gets its outcome at this offset.
    Settle(usize, i64),
    /// The n-th record read is given back unmet.
    Abandon(usize),
}
use Do::{Abandon, Before, Read, Settle};

/// Runs steps on the marketing lane; the ledger starts at offset 100, its outcomes at 50.
fn after(steps: &[Do]) -> Ledger {
    let mut ledger = ledger([0, 100], 50);
    let mut receipts: Vec<Option<Receipt>> = Vec::new();
    for step in steps {
        match *step {
            Before(offset, at) => ledger.done_before(M, offset, at),
            Read(offset) => receipts.push(ledger.deliver(M, offset, 10)),
            Settle(n, at) => {
                assert_eq!(ledger.settle(&receipts[n].take().unwrap().settle(at, End::Terminal)), Returned::Counted);
            }
            Abandon(n) => {
                assert_eq!(ledger.abandon(&receipts[n].take().unwrap().abandon(Why::Revoked)), Returned::Counted);
            }
        }
    }
    for receipt in receipts.into_iter().flatten() {
        give_back(receipt);
    }
    ledger
}

#[test]
fn commits_follow_the_oldest_job_without_an_outcome() {
    let rows: &[(&[Do], i64, i64, usize, &str)] = &[
        (&[], 100, 50, 0, "nothing read: where it started"),
        (&[Read(100)], 100, 50, 1, "read is not done"),
        (&[Read(100), Settle(0, 50)], 101, 51, 0, "done: the next one, and outcomes from behind its own"),
        (
            &[Read(100), Read(101), Settle(1, 50)],
            100,
            50,
            1,
            "the second is done before the first: from its outcome on",
        ),
        (&[Read(100), Read(101), Settle(1, 60), Settle(0, 61)], 102, 62, 0, "then the first: both are behind us"),
        (&[Read(100), Read(101), Settle(0, 60)], 101, 61, 1, "the first is done, the second is not"),
        (
            &[Read(100), Read(101), Read(102), Settle(2, 70), Settle(1, 71)],
            100,
            70,
            1,
            "two above the oldest: from the smaller outcome on",
        ),
        (
            &[Read(100), Read(101), Read(102), Read(103), Settle(1, 70), Settle(3, 71), Settle(0, 72)],
            102,
            71,
            1,
            "one below the oldest no longer counts",
        ),
        (&[Read(105)], 105, 50, 1, "a gap before the first record does not exist"),
        (&[Read(100), Read(140), Settle(0, 50)], 140, 51, 1, "a gap before the oldest is skipped"),
        (&[Read(100), Read(140), Settle(0, 50), Settle(1, 51)], 141, 52, 0, "after the last read, not before a gap"),
        (&[Read(100), Abandon(0)], 100, 50, 0, "given back is still owed, but nobody works on it"),
        (&[Read(100), Read(101), Abandon(0), Settle(1, 50)], 100, 50, 0, "nothing passes what was given back"),
        (&[Read(100), Read(101), Abandon(1), Settle(0, 50)], 101, 51, 0, "what lies before it does"),
        (
            &[Read(100), Read(101), Settle(0, 90), Settle(1, 60)],
            102,
            91,
            0,
            "outcomes out of order: the largest counts",
        ),
        (&[Before(101, 40)], 100, 40, 0, "done before above the commit: its outcome must be found again"),
        (&[Before(99, 40)], 100, 50, 0, "done before below it is committed"),
        (&[Before(100, 40), Read(100)], 101, 50, 0, "read again and skipped: it may be committed"),
        (&[Before(101, 40), Read(100), Read(101)], 100, 40, 1, "skipped above one that is owed"),
        (&[Before(101, 40), Read(100), Read(101), Settle(0, 60)], 102, 61, 0, "until that one is through"),
        (&[Before(101, 40), Before(103, 45), Read(100), Settle(0, 60)], 101, 40, 0, "two that are not read yet"),
        (&[Before(101, 40), Read(105)], 105, 50, 1, "gone from the log: nobody will read it again"),
        (&[Before(100, 40), Before(100, 44), Read(100)], 101, 50, 0, "two outcomes for one record are one"),
    ];
    for (steps, next, outcomes_from, out, why) in rows {
        let ledger = after(steps);
        let idle = Commit { source: T, next: 0, outcomes_from: ledger.commits()[0].outcomes_from };
        let expected = vec![idle, Commit { source: M, next: *next, outcomes_from: *outcomes_from }];
        assert_eq!(ledger.commits(), expected, "{why}: {steps:?}");
        assert_eq!(ledger.outstanding(), *out, "{why}: receipts out after {steps:?}");
        assert_eq!(ledger.outstanding_in(M), *out, "{why}: all of them are marketing's");
        assert_eq!(ledger.outstanding_bytes(M), out * 10, "{why}: 10 bytes each");
        assert_eq!((ledger.outstanding_in(T), ledger.outstanding_bytes(T), ledger.span(T)), (0, 0, 0), "{why}");
    }
}

/// Lanes share the outcomes partition: what one settles moves the idle other's place in it.
#[test]
fn a_lane_without_jobs_above_its_commit_reads_outcomes_from_the_home_s_end() {
    let mut ledger = ledger([10, 100], 50);
    let first = ledger.deliver(M, 100, 1).unwrap();
    let second = ledger.deliver(M, 101, 1).unwrap();
    ledger.settle(&second.settle(80, End::Terminal));
    let commits = ledger.commits();
    let (t, m) = (commits[0], commits[1]);
    assert_eq!((t.next, t.outcomes_from), (10, 81), "transactional owes nothing: from the end");
    assert_eq!((m.next, m.outcomes_from), (100, 80), "marketing's second job is done above its commit");
    ledger.settle(&first.settle(81, End::Terminal));
    assert_eq!(ledger.commits().iter().map(|c| c.outcomes_from).collect::<Vec<_>>(), [82, 82], "both are through");
}

#[test]
fn what_is_not_owed_here_has_no_effect() {
    let mut ledger = ledger([0, 0], 0);
    let done = ledger.deliver(T, 0, 5).unwrap().settle(9, End::Terminal);
    let open = ledger.deliver(T, 1, 5).unwrap();
    assert_eq!(ledger.settle(&done), Returned::Counted);
    let before = (ledger.commits(), ledger.outstanding(), ledger.outstanding_bytes(T));
    let base = Settled { outcome_offset: 99, ..done };
    for (settled, why) in [
        (done, "settled again, already behind the commit"),
        (Settled { epoch: EPOCH - 1, seq: 1, ..base }, "an earlier ownership"),
        (Settled { epoch: EPOCH + 1, seq: 1, ..base }, "a later ownership"),
        (Settled { source: Coordinates { home: HOME + 1, ..base.source }, seq: 1, ..base }, "another home"),
        (Settled { seq: 2, ..base }, "never delivered"),
        (Settled { seq: u64::MAX, ..base }, "a sequence at the end of counting"),
        (Settled { source: Coordinates { from: M, ..base.source }, ..base }, "the other lane, which owes nothing"),
    ] {
        assert_eq!(ledger.settle(&settled), Returned::Stale, "{why}: {settled:?}");
        let now = (ledger.commits(), ledger.outstanding(), ledger.outstanding_bytes(T));
        assert_eq!(now, before, "{why}: it had an effect");
    }
    let abandoned = open.abandon(Why::Revoked);
    for (stale, why) in [
        (Abandoned { epoch: EPOCH - 1, ..abandoned }, "an earlier ownership"),
        (Abandoned { source: Coordinates { home: 0, ..abandoned.source }, ..abandoned }, "another home"),
    ] {
        assert_eq!(ledger.abandon(&stale), Returned::Stale, "{why}");
        assert_eq!(ledger.outstanding(), 1, "{why}: it had an effect");
    }
    assert_eq!(ledger.abandon(&abandoned), Returned::Counted, "the right one counts");
    assert_eq!((ledger.outstanding(), ledger.outstanding_bytes(T), ledger.span(T)), (0, 0, 1), "and is still owed");
}

#[test]
fn settled_twice_above_the_commit_counts_once() {
    let mut ledger = ledger([0, 0], 0);
    let oldest = ledger.deliver(M, 0, 5).unwrap();
    let settled = ledger.deliver(M, 1, 5).unwrap().settle(20, End::Terminal);
    assert_eq!(ledger.settle(&settled), Returned::Counted);
    assert_eq!(ledger.settle(&Settled { outcome_offset: 30, ..settled }), Returned::Stale, "its first outcome counts");
    assert_eq!((ledger.outstanding(), ledger.commits()[1].outcomes_from), (1, 20), "the second had an effect");
    ledger.settle(&oldest.settle(21, End::Terminal));
    assert_eq!(ledger.commits()[1], Commit { source: M, next: 2, outcomes_from: 22 });
}

/// A record of the naive model: its offset, size, outcome, and whether its receipt has come back.
#[derive(Clone, Copy, Debug)]
struct Owed {
    offset: i64,
    bytes: u32,
    outcome: Option<i64>,
    back: bool,
}

/// Everything ever delivered, never forgotten: one list per lane.
#[derive(Default)]
struct Model {
    lanes: [Vec<Owed>; 2],
    outcomes_end: i64,
    next: [i64; 2],
    /// What an earlier owner had done, by offset.
    before: [BTreeMap<i64, i64>; 2],
}

impl Model {
    fn commit(&self, lane: Source) -> Commit {
        let all = &self.lanes[number(lane)];
        let oldest = all.iter().position(|owed| owed.outcome.is_none()).unwrap_or(all.len());
        let unread = self.before[number(lane)].range(self.next[number(lane)]..).map(|(_, outcome)| *outcome);
        let above = all[oldest..].iter().filter_map(|owed| owed.outcome).chain(unread);
        Commit {
            source: lane,
            next: all.get(oldest).map_or(self.next[number(lane)], |owed| owed.offset),
            outcomes_from: above.min().unwrap_or(self.outcomes_end),
        }
    }

    fn out(&self, lane: Source) -> (usize, usize) {
        let out = self.lanes[number(lane)].iter().filter(|owed| !owed.back);
        (out.clone().count(), out.map(|owed| owed.bytes as usize).sum())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Deliver { lane: bool, gap: i64, bytes: u32 },
    Settle { which: prop::sample::Index, ahead: i64, twice: bool },
    Abandon { which: prop::sample::Index },
    Stale { which: prop::sample::Index, newer: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || any::<prop::sample::Index>();
    let gap = prop_oneof![4 => Just(0_i64), 1 => 1..500_i64];
    prop::collection::vec(
        prop_oneof![
            5 => (any::<bool>(), gap, 0..300_000_u32).prop_map(|(lane, gap, bytes)| Step::Deliver { lane, gap, bytes }),
            4 => (which(), -3..6_i64, any::<bool>())
                .prop_map(|(which, ahead, twice)| Step::Settle { which, ahead, twice }),
            1 => which().prop_map(|which| Step::Abandon { which }),
            1 => (which(), any::<bool>()).prop_map(|(which, newer)| Step::Stale { which, newer }),
        ],
        0..120,
    )
}

/// The ledger and the model side by side.
struct Pair {
    ledger: Ledger,
    model: Model,
    /// Receipts that are out: lane, position in the model, receipt.
    out: Vec<(Source, usize, Receipt)>,
    sent: i64,
}

impl Pair {
    /// `before`: what an earlier owner had done, as lane, distance from the start and outcome.
    fn new(before: &[(bool, i64, i64)]) -> Self {
        let mut model = Model { outcomes_end: 1000, next: [5, 70], ..Model::default() };
        let mut ledger = ledger(model.next, 1000);
        for (lane, ahead, outcome) in before {
            let lane = if *lane { T } else { M };
            let offset = model.next[number(lane)] + ahead;
            ledger.done_before(lane, offset, *outcome);
            model.before[number(lane)].insert(offset, *outcome);
        }
        Self { ledger, model, out: Vec::new(), sent: 1000 }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Deliver { lane, gap, bytes } => {
                let lane = if *lane { T } else { M };
                let offset = self.model.next[number(lane)] + gap;
                self.model.next[number(lane)] = offset + 1;
                let outcome = self.model.before[number(lane)].get(&offset).copied();
                let all = &mut self.model.lanes[number(lane)];
                all.push(Owed { offset, bytes: *bytes, outcome, back: outcome.is_some() });
                let owed = self.ledger.deliver(lane, offset, *bytes);
                prop_assert_eq!(owed.is_none(), outcome.is_some(), "offset {}: owed only if not done before", offset);
                self.out.extend(owed.map(|receipt| (lane, all.len() - 1, receipt)));
            }
            Step::Settle { which, ahead, twice } if !self.out.is_empty() => {
                let (lane, at, receipt) = self.out.swap_remove(which.index(self.out.len()));
                // Acknowledgements come back a little out of order.
                self.sent += 4;
                let outcome = self.sent + ahead;
                let settled = receipt.settle(outcome, End::Terminal);
                prop_assert_eq!(self.ledger.settle(&settled), Returned::Counted);
                let owed = &mut self.model.lanes[number(lane)][at];
                (owed.outcome, owed.back) = (Some(outcome), true);
                self.model.outcomes_end = self.model.outcomes_end.max(outcome + 1);
                if *twice {
                    let again = Settled { outcome_offset: outcome + 1000, ..settled };
                    prop_assert_eq!(self.ledger.settle(&again), Returned::Stale);
                }
            }
            Step::Abandon { which } if !self.out.is_empty() => {
                let (lane, at, receipt) = self.out.swap_remove(which.index(self.out.len()));
                prop_assert_eq!(self.ledger.abandon(&receipt.abandon(Why::Shutdown)), Returned::Counted);
                self.model.lanes[number(lane)][at].back = true;
            }
            Step::Stale { which, newer } if !self.out.is_empty() => {
                // The same record under another ownership: its receipt comes back late, or from a confused world.
                let (_, _, receipt) = &self.out[which.index(self.out.len())];
                let epoch = if *newer { EPOCH + 1 } else { EPOCH - 1 };
                let other = || Receipt::new(receipt.source(), epoch, 0, 10);
                prop_assert_eq!(self.ledger.settle(&other().settle(5000, End::Terminal)), Returned::Stale);
                prop_assert_eq!(self.ledger.abandon(&other().abandon(Why::Revoked)), Returned::Stale);
            }
            _ => {}
        }
        Ok(())
    }

    fn agree(&self, before: &[Commit]) -> Result<(), TestCaseError> {
        let commits = self.ledger.commits();
        for lane in [T, M] {
            let commit = commits[number(lane)];
            prop_assert_eq!(commit, self.model.commit(lane));
            prop_assert!(
                commit.next >= before[number(lane)].next,
                "a commit went back: {:?} after {:?}",
                commit,
                before
            );
            let all = &self.model.lanes[number(lane)];
            let passed = all.iter().find(|owed| owed.offset < commit.next && owed.outcome.is_none());
            prop_assert!(passed.is_none(), "{commit:?} passes {passed:?}, which is not durable");
            // A restart that reads outcomes from there sees every job that is done above the commit.
            let done = all.iter().filter(|owed| owed.offset >= commit.next).filter_map(|owed| owed.outcome);
            prop_assert!(done.min().is_none_or(|outcome| outcome >= commit.outcomes_from));
            let out = (self.ledger.outstanding_in(lane), self.ledger.outstanding_bytes(lane));
            prop_assert_eq!(out, self.model.out(lane));
            let span = all.iter().filter(|owed| owed.offset >= commit.next).count();
            prop_assert_eq!(self.ledger.span(lane), span, "memory is what lies above the commit");
        }
        prop_assert_eq!(self.ledger.outstanding(), self.out.len());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_ledger_agrees_with_a_list_that_forgets_nothing(
        steps in steps(), before in prop::collection::vec((any::<bool>(), -3..40_i64, 500..1000_i64), 0..12),
    ) {
        let mut pair = Pair::new(&before);
        let mut verdict = pair.agree(&pair.ledger.commits());
        for step in &steps {
            if verdict.is_err() {
                break;
            }
            let before = pair.ledger.commits();
            verdict = pair.step(step).and_then(|()| pair.agree(&before));
        }
        for (_, _, receipt) in pair.out {
            give_back(receipt);
        }
        verdict?;
    }

    #[test]
    fn metadata_comes_back_as_it_was_written(n in 0..=i64::MAX) {
        prop_assert_eq!(decode_metadata(&encode_metadata(n)), Some(n));
    }

    #[test]
    fn no_other_text_is_metadata(text in any::<String>()) {
        let canonical = text.strip_prefix("1:").is_some_and(|n| n.parse::<i64>().is_ok_and(|n| encode_metadata(n) == text));
        prop_assert!(canonical || decode_metadata(&text).is_none());
    }
}

#[test]
fn metadata_is_read_only_without_any_doubt() {
    for (text, expected, why) in [
        ("1:0", Some(0), "the beginning"),
        ("1:9223372036854775807", Some(i64::MAX), "the largest offset there can be"),
        ("", None, "another client committed without metadata"),
        ("1:", None, "no number"),
        ("1", None, "no version"),
        ("12", None, "a bare number"),
        ("1:-1", None, "a sign"),
        ("1:+1", None, "a sign that parsers take"),
        ("1: 1", None, "a space"),
        (" 1:1", None, "a space in front"),
        ("1:1 ", None, "a space behind"),
        ("1:1\n", None, "a line break"),
        ("1:9223372036854775808", None, "beyond any offset"),
        ("1:00000000000000000001", None, "20 digits"),
        ("1:1_000", None, "digits in groups"),
        ("1:0x1", None, "another base"),
        ("1:1.0", None, "a fraction"),
        ("1:\u{661}", None, "digits of another script"),
        ("2:1", None, "a later version: its meaning is not known here"),
        ("0:1", None, "an earlier version"),
        ("1:1:1", None, "more than a number"),
        ("01:1", None, "a version written otherwise"),
    ] {
        assert_eq!(decode_metadata(text), expected, "{why}: {text:?}");
    }
}
