//! Which records of an id go, which repeat it, which wait: over deferrals, crashes and restarts.

use peakpost::job::receipt::End;
use peakpost::job::{JobKey, Lane, Source};
use peakpost::ledger::known::{Judgement, Known};

const LANE: Source = Source::Jobs(Lane::Marketing);
const TIER: Source = Source::Delay(Lane::Marketing, 0);
const HOLD: Source = Source::Hold(Lane::Marketing, 1);
use Judgement::{Goes, NotYet, Repeat};

/// What happens to one job.
#[derive(Clone, Copy, Debug)]
enum Do {
    /// A record of it is judged, that was deferred so often and lies there; if it goes, it is in flight.
    Judge(u16, Source, i64, Judgement),
    /// A record that had been deferred so often gets its terminal outcome.
    End(u16),
    /// A record that had been deferred so often is deferred once more.
    Defer(u16),
    /// A record that had been deferred so often was one too many.
    TurnAway(u16),
}
use Do::{Defer, Judge, TurnAway};

fn key(id: &str) -> JobKey {
    JobKey::new("shop", id, 0)
}

#[test]
fn a_record_goes_repeats_or_waits() {
    let rows: &[(&[Do], &str)] = &[
        (&[Judge(0, LANE, 5, Goes)], "nobody knows it"),
        (&[Judge(0, LANE, 5, Goes), Judge(0, LANE, 9, Repeat)], "upstream enqueued it twice; the first is in flight"),
        (&[Judge(0, LANE, 5, Goes), Judge(0, LANE, 5, Goes)], "the same record again is no repeat"),
        (&[Judge(0, LANE, 5, Goes), Do::End(0), Judge(0, LANE, 9, Repeat)], "the first is done"),
        (
            &[Judge(0, LANE, 5, Goes), TurnAway(0), Judge(0, LANE, 5, Goes)],
            "a repeat's outcome says nothing about the job",
        ),
        (&[Judge(0, LANE, 5, Goes), Defer(0), Judge(1, TIER, 0, Goes)], "it comes back"),
        (&[Judge(0, LANE, 5, Goes), Judge(1, HOLD, 0, NotYet)], "its deferral is written, but not acknowledged"),
        (&[Judge(0, LANE, 5, Goes), Judge(1, HOLD, 0, NotYet), Defer(0), Judge(1, HOLD, 0, Goes)], "now it is"),
        (
            &[Defer(0), Judge(1, TIER, 3, Goes), Judge(1, TIER, 4, Repeat), Do::End(1), Judge(1, TIER, 4, Repeat)],
            "a crash between a deferral's two records left a twin",
        ),
        (&[Defer(0), Judge(0, LANE, 9, Repeat)], "enqueued again while it waits in a tier"),
        (
            &[Judge(0, LANE, 5, Goes), Judge(1, TIER, 3, NotYet), Do::End(0), Judge(1, TIER, 3, Repeat)],
            "read again after a crash, the record went out at once; its twin in the tier is one too many",
        ),
        (
            &[Defer(0), Judge(1, TIER, 3, Goes), Defer(1), Judge(1, TIER, 8, Repeat), Judge(2, TIER, 9, Goes)],
            "two hops on, a twin of the first is one too many",
        ),
        (&[Do::End(3), Defer(1), Judge(2, TIER, 9, Repeat)], "a deferral that comes late does not bring it back"),
        (&[Defer(4), Defer(1), Judge(2, TIER, 9, Repeat), Judge(5, TIER, 9, Goes)], "nor does it turn the way back"),
        (&[Judge(7, TIER, 0, Goes)], "the way before was forgotten: it goes on"),
    ];
    for (steps, why) in rows {
        let (mut known, job) = (Known::new(10), key("a"));
        for (n, step) in steps.iter().enumerate() {
            match *step {
                Judge(hop, source, offset, expected) => {
                    let judged = known.judge(job, hop, source, offset);
                    assert_eq!(judged, expected, "{why}: step {n} of {steps:?}");
                    if judged == Goes {
                        known.taken(job, hop, source, offset);
                    }
                }
                Do::End(hop) => known.settled(job, hop, End::Terminal),
                Defer(hop) => known.settled(job, hop, End::Deferred(None)),
                TurnAway(hop) => known.settled(job, hop, End::Repeat),
            }
        }
    }
}

/// Another tenant's id, and a redriven job, are other jobs.
#[test]
fn a_job_is_tenant_id_and_generation() {
    let keys =
        [JobKey::new("a", "bc", 0), JobKey::new("ab", "c", 0), JobKey::new("a", "bc", 1), JobKey::new("b", "bc", 0)];
    for (n, one) in keys.iter().enumerate() {
        for other in &keys[n + 1..] {
            assert_ne!(one, other, "these must be two jobs");
        }
    }
}

/// The oldest are forgotten first, and not before there are enough; what is in flight is never forgotten.
#[test]
fn the_window_is_bounded_and_keeps_what_is_in_flight() {
    const DEPTH: i64 = 1000;
    let mut known = Known::new(1000);
    known.taken(key("slow"), 0, LANE, 0);
    known.settled(key("waits"), 0, End::Deferred(None));
    known.taken(key("waits"), 1, TIER, 0);
    for n in 0..10 * DEPTH {
        let job = key(&n.to_string());
        known.taken(job, 0, LANE, n + 1);
        known.settled(job, 0, End::Terminal);
        assert!(known.len() <= 1002, "{} are remembered at {n}: the depth, and two in flight", known.len());
        let oldest = (n - DEPTH + 1).max(0);
        assert_eq!(known.judge(key(&oldest.to_string()), 0, LANE, 99_999), Repeat, "{oldest} at {n}: within the depth");
    }
    assert_eq!(known.judge(key("0"), 0, LANE, 99_999), Goes, "long forgotten");
    assert_eq!(known.judge(key("slow"), 0, LANE, 99_999), Repeat, "in flight since before");
    assert_eq!(known.judge(key("waits"), 1, TIER, 7), Repeat, "in flight again: its mention as deferred is old");
}

/// A job that hops and hops takes the place of one.
#[test]
fn many_hops_of_one_job_do_not_push_others_out() {
    let mut known = Known::new(100);
    known.settled(key("other"), 0, End::Terminal);
    for hop in 0..10_000 {
        known.settled(key("hops"), hop, End::Deferred(None));
    }
    assert_eq!(known.judge(key("other"), 0, LANE, 5), Repeat, "two jobs are known, the window holds a hundred");
    assert_eq!(known.len(), 2);
}
