//! A job that another home carries: what the home that hands it over and the one that takes it know of it, through
//! crashes and ways back.
//!
//! Why: the two homes share no books; the trip alone tells the second what the first has done.

use peakpost::job::receipt::End;
use peakpost::job::source::Layout;
use peakpost::job::{JobKey, Lane, Receipt, Source};
use peakpost::ledger::known::Judgement::{self, Goes, NotYet, Repeat};
use peakpost::ledger::{Ledger, Returned};

use super::give_back;

const LAYOUT: Layout = Layout { tiers: 1, holds: 1 };
const JOBS: Source = Source::Jobs(Lane::Marketing);
const TIER: Source = Source::Delay(Lane::Marketing, 0);
const HOLD: Source = Source::Hold(Lane::Marketing, 0);
/// Where the job comes from, and who carries it.
const OWN: u16 = 3;
const CARRIER: u16 = 5;

fn home(home: u16, epoch: u32) -> Ledger {
    Ledger::new(home, epoch, LAYOUT, &[0; 6], 0, 100)
}

fn job() -> JobKey {
    JobKey::new("shop", "a", 0)
}

/// Reads a record of the job, as intake does. What goes has a receipt with the job's name.
fn read(ledger: &mut Ledger, from: Source, offset: i64, hop: u16) -> (Judgement, Receipt) {
    let mut receipt = ledger.deliver(from, offset, 10).expect("its outcome is not durable");
    assert_eq!(receipt.source().home, ledger.home(), "a record belongs to the home in which it lies");
    let judgement = ledger.judge(job(), hop, from, offset);
    if judgement == Goes {
        receipt.name(job(), hop);
    }
    (judgement, receipt)
}

/// The record with which it goes on and the outcome are durable; the first lies in another home.
fn handed_over(ledger: &mut Ledger, receipt: Receipt, outcome: i64) {
    assert_eq!(ledger.settle(&receipt.settle(outcome, End::Deferred(None))), Returned::Counted);
}

fn next(ledger: &Ledger, source: Source) -> i64 {
    ledger.commits()[LAYOUT.index(source)].next
}

#[test]
fn what_is_handed_over_is_through_here_and_its_id_stays_known() {
    let mut own = home(OWN, 1);
    let (judgement, receipt) = read(&mut own, JOBS, 0, 0);
    assert_eq!((judgement, next(&own, JOBS)), (Goes, 0), "owed until it is handed over");
    handed_over(&mut own, receipt, 0);
    assert_eq!(next(&own, JOBS), 1, "its record may be committed");
    assert_eq!(next(&own, HOLD), 0, "the carrier's hold is not this home's");
    let (judgement, again) = read(&mut own, JOBS, 1, 0);
    assert_eq!(judgement, Repeat, "upstream enqueued the id again: the carrier has it");
    give_back(again);
}

/// Killed between the two records of the hand-over: the first lies in the carrier's hold, the outcome is missing. The
/// next owner knows nothing of that and hands the job over once more.
#[test]
fn the_twin_that_a_crash_leaves_is_turned_away_by_the_carrier() {
    let mut own = home(OWN, 1);
    let (_, killed) = read(&mut own, JOBS, 0, 0);
    give_back(killed);
    let mut own = home(OWN, 2);
    let (judgement, receipt) = read(&mut own, JOBS, 0, 0);
    assert_eq!(judgement, Goes, "without an outcome it is read again");
    handed_over(&mut own, receipt, 0);

    // What became of the first when the second is read.
    let rows: [(Option<End>, &str); 4] = [
        (None, "the first is in flight"),
        (Some(End::Terminal), "the first is sent"),
        (Some(End::Deferred(Some((TIER, 0)))), "the first failed and waits in the carrier's tier"),
        (Some(End::Deferred(None)), "the first went on to a third home"),
    ];
    for (end, why) in rows {
        let mut carrier = home(CARRIER, 1);
        let (judgement, first) = read(&mut carrier, HOLD, 0, 1);
        assert_eq!(judgement, Goes, "nobody here knows it: it goes");
        let kept = match end {
            Some(end) => {
                assert_eq!(carrier.settle(&first.settle(0, end)), Returned::Counted);
                None
            }
            None => Some(first),
        };
        let (judgement, second) = read(&mut carrier, HOLD, 1, 1);
        assert_eq!(judgement, Repeat, "{why}: the second is one too many");
        if end == Some(End::Deferred(Some((TIER, 0)))) {
            let (judgement, back) = read(&mut carrier, TIER, 0, 2);
            assert_eq!(judgement, Goes, "{why}, and goes on from there");
            give_back(back);
        }
        // The repeat's outcome frees its record and says nothing about the job.
        assert_eq!(carrier.settle(&second.settle(1, End::Repeat)), Returned::Counted);
        kept.into_iter().for_each(give_back);
    }
}

/// The carrier's provider fails, and the next of the route is carried by the home that the job came from.
#[test]
fn a_job_may_come_back_to_the_home_that_handed_it_over() {
    let mut own = home(OWN, 1);
    let (_, receipt) = read(&mut own, JOBS, 0, 0);
    handed_over(&mut own, receipt, 0);
    let (judgement, back) = read(&mut own, HOLD, 0, 2);
    assert_eq!(judgement, Goes, "it has come further than what is known here");
    assert_eq!(own.settle(&back.settle(1, End::Terminal)), Returned::Counted);
    let (judgement, late) = read(&mut own, HOLD, 1, 2);
    assert_eq!(judgement, Repeat, "once");
    give_back(late);

    // The same after a crash in the hand-over: it is back before it is handed over once more.
    let mut own = home(OWN, 2);
    let (_, receipt) = read(&mut own, JOBS, 0, 0);
    let judge = |own: &mut Ledger| own.judge(job(), 2, HOLD, 0);
    assert_eq!(judge(&mut own), NotYet, "the first of it is in flight here: which of the two goes is not known yet");
    handed_over(&mut own, receipt, 0);
    assert_eq!(judge(&mut own), Goes, "the second hand-over is the carrier's to turn away; this one goes on");
}
