//! Jobs of which nobody knows whether they were sent: whoever tells of one resolves it, once, in whatever order, and whichever
//! worker hears it.

use std::time::Duration;

use peakpost::event::{self, Happened};
use peakpost::feedback::doubts::{Config, Doubts, KNOWN_MAX, LATELY_MAX, Step, is_key};
use peakpost::job::{Channel, Wall};
use peakpost::outcome::record::{Place, Record, VERSION};
use peakpost::reputation::Cohort;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
/// When everything in these tests happens.
const NOW: i64 = 1_795_770_000_000;

fn doubts() -> Doubts {
    Doubts::new(&Config { channels: vec![Channel::Sms], unresolved_after: Duration::from_secs(72 * 3_600) })
}

/// The outcome of a quarantined job, as the line writes it.
fn outcome(id: &str) -> Record<'_> {
    let place = Place { topic: "p.jobs.marketing".into(), partition: 7, offset: 31 };
    Record {
        v: VERSION,
        outcome: "quarantined".into(),
        reason: "timeout".into(),
        field: "".into(),
        detail: "no answer".into(),
        id: id.into(),
        tenant: "acme".into(),
        campaign: "cyber-week".into(),
        channel: "sms".into(),
        lane: "marketing".into(),
        provider: "sms".into(),
        vendor_id: "".into(),
        happened: "".into(),
        event: "".into(),
        attempts: 1,
        at_ms: NOW,
        enqueued_ms: NOW - SECOND,
        origin: place.clone(),
        source: place,
        hop: 2,
        generation: 0,
        late: false,
    }
}

fn written(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.write(&mut out);
    out
}

fn mark(id: &str) -> Vec<u8> {
    written(&outcome(id))
}

fn event(id: &str, happened: Happened) -> event::Record<'_> {
    event::Record {
        v: event::VERSION,
        event: format!("sms/{id}-{}", happened.as_str()).into(),
        happened,
        provider: "sms".into(),
        channel: Channel::Sms,
        recipient: "00".into(),
        mailbox: "".into(),
        id: id.into(),
        tenant: "acme".into(),
        campaign: "cyber-week".into(),
        lane: None,
        sent_ms: None,
        at_ms: NOW,
        heard_ms: NOW + 5 * SECOND,
        vendor_id: "SM1".into(),
        detail: "30003".into(),
    }
}

/// What happens to a partition.
#[derive(Clone, Copy, Debug)]
enum Came {
    /// The mark of a quarantined job; or one that a worker before this one has dealt with.
    Mark(&'static str),
    OldMark(&'static str),
    Told(&'static str, Happened),
    OldTold(&'static str, Happened),
    /// So many milliseconds after the mark: what was done is made durable.
    Publish(i64),
    /// The worker dies with what it has made durable, and another takes over.
    Dies,
}

fn said(step: &Step) -> String {
    match step {
        Step::Keep { key, .. } => format!("keep {key}"),
        Step::Resolve { key, record, .. } => {
            let record: Record<'_> = serde_json::from_slice(record).unwrap();
            format!("{} {key} {}", record.outcome, record.happened)
        }
        Step::Forget { key, unresolved: true } => format!("unresolved {key}"),
        Step::Forget { key, unresolved: false } => format!("forget {key}"),
    }
}

/// Plays what came. Everything that was made durable, in order.
fn play(all: &[Came]) -> Vec<String> {
    let mut doubts = doubts();
    let mut kept = Vec::new();
    let mut done = Vec::new();
    for came in all {
        match *came {
            Came::Mark(id) => assert!(doubts.quarantined(&mark(id), false), "it is the outcome of a quarantined job"),
            Came::OldMark(id) => assert!(doubts.quarantined(&mark(id), true), "it is the outcome of a quarantined job"),
            Came::Told(id, happened) => doubts.hear(&event(id, happened), false),
            Came::OldTold(id, happened) => doubts.hear(&event(id, happened), true),
            Came::Publish(at) => {
                for step in doubts.take_steps(Wall(NOW + at)) {
                    done.push(said(&step));
                    kept.push(match step {
                        Step::Keep { key, record } | Step::Resolve { key, record, .. } => (key, Some(record)),
                        Step::Forget { key, .. } => (key, None),
                    });
                }
            }
            Came::Dies => {
                doubts = self::doubts();
                for (key, record) in &kept {
                    doubts.restore(key, record.as_deref()).unwrap();
                }
            }
        }
    }
    done
}

#[test]
fn a_word_resolves_a_job_once() {
    use Came::{Dies, Mark, OldMark, OldTold, Publish, Told};
    use Happened::{BouncedHard, Delivered, Opened};
    let (keep, resolved, unresolved, forget) =
        ("keep ?/acme/1", "resolved ?/acme/1 delivered", "unresolved ?/acme/1", "forget ?/acme/1");
    let rows: [(&str, &[Came], &[&str]); 14] = [
        ("told later", &[Mark("1"), Publish(0), Told("1", Delivered), Publish(1)], &[keep, resolved]),
        (
            "told before the line gave up waiting for an answer",
            &[Told("1", Delivered), Mark("1"), Publish(0)],
            &[resolved],
        ),
        ("the first word counts", &[Mark("1"), Told("1", Delivered), Told("1", Opened), Publish(0)], &[keep, resolved]),
        ("also of those before", &[Told("1", Delivered), Told("1", BouncedHard), Mark("1"), Publish(0)], &[resolved]),
        ("of another job", &[Mark("1"), Told("2", Delivered), Publish(0)], &[keep]),
        ("nothing in time", &[Mark("1"), Publish(0), Publish(72 * HOUR - 1), Publish(72 * HOUR)], &[keep, unresolved]),
        ("too late", &[Mark("1"), Publish(72 * HOUR), Told("1", Delivered), Publish(0)], &[keep, unresolved]),
        (
            "it dies between",
            &[Mark("1"), Publish(0), Dies, OldMark("1"), Told("1", Delivered), Publish(0)],
            &[keep, resolved],
        ),
        (
            "it dies before it has committed",
            &[Mark("1"), Publish(0), Dies, Mark("1"), Told("1", Delivered), Publish(0)],
            &[keep, resolved],
        ),
        (
            "it dies after both, before it has committed",
            &[Mark("1"), Told("1", Delivered), Publish(0), Dies, Mark("1"), Told("1", Delivered), Publish(0)],
            &[keep, resolved],
        ),
        (
            "the same, told before",
            &[Told("1", Delivered), Mark("1"), Publish(0), Dies, Told("1", Delivered), Mark("1"), Publish(0)],
            &[resolved],
        ),
        (
            "told before another took over",
            &[Told("1", Delivered), Dies, OldTold("1", Delivered), Mark("1"), Publish(0)],
            &[resolved],
        ),
        (
            "marked twice, after a crash of the line",
            &[Mark("1"), Told("1", Delivered), Mark("1"), Told("1", Opened), Publish(0)],
            &[keep, resolved],
        ),
        (
            "what is resolved is forgotten when nobody can read it again",
            &[Mark("1"), Told("1", Delivered), Publish(HOUR), Publish(HOUR + 5 * SECOND), Dies, Publish(100 * HOUR)],
            &[keep, resolved, forget],
        ),
    ];
    for (why, came, expected) in rows {
        assert_eq!(play(came), expected, "{why}: {came:?}");
    }
}

#[test]
fn the_outcome_is_the_jobs_own_with_what_was_told() {
    let mut doubts = doubts();
    assert!(doubts.quarantined(&mark("order/1"), false));
    assert_eq!(doubts.open(), 1);
    doubts.hear(&event("order/1", Happened::BouncedHard), false);
    assert_eq!(doubts.open(), 0);
    let steps = doubts.take_steps(Wall(NOW));
    let Some(Step::Resolve { record, home, id, key }) = steps.last() else { panic!("{steps:?}") };
    assert_eq!((*home, &**id), (7, "order/1"), "beside the earlier outcomes of the job");
    assert!(is_key(key) && Cohort::parse(key).is_err(), "nobody takes it for a count");
    let expected = Record {
        outcome: "resolved".into(),
        reason: "told".into(),
        happened: "bounced_hard".into(),
        event: "sms/order/1-bounced_hard".into(),
        detail: "30003".into(),
        vendor_id: "SM1".into(),
        at_ms: NOW + 5 * SECOND,
        ..outcome("order/1")
    };
    assert_eq!(serde_json::from_slice::<Record<'_>>(record).unwrap(), expected);
}

/// Whatever else lies there, or comes in masses, changes nothing and takes no room without end.
#[test]
fn only_quarantined_jobs_are_kept_and_not_without_end() {
    let mut doubts = doubts();
    let accepted = written(&Record { outcome: "accepted".into(), ..outcome("1") });
    for (record, what) in [(&b"nonsense"[..], "nonsense"), (&accepted, "another outcome"), (b"{}", "nothing at all")] {
        assert!(!doubts.quarantined(record, false), "{what} is no quarantined job");
    }
    let mail = event::Record { channel: Channel::Email, ..event("1", Happened::Delivered) };
    doubts.hear(&mail, false);
    doubts.hear(&event("", Happened::Delivered), false);
    assert!(doubts.quarantined(&mark("1"), false));
    assert_eq!(doubts.open(), 1, "what is told of mail is not remembered, mail is never quarantined here");
    for n in 0..=LATELY_MAX {
        doubts.hear(&event(&format!("told-{n}"), Happened::Delivered), false);
    }
    assert!(doubts.quarantined(&mark("told-0"), false) && doubts.quarantined(&mark("told-1"), false));
    assert_eq!(doubts.open(), 2, "the oldest word is forgotten, the second is not");
    for n in 0..KNOWN_MAX {
        assert!(doubts.quarantined(&mark(&format!("more-{n}")), false));
    }
    let beyond = doubts
        .take_steps(Wall(NOW))
        .iter()
        .filter(|step| matches!(step, Step::Forget { unresolved: true, .. }))
        .count();
    assert_eq!((doubts.open(), beyond), (KNOWN_MAX - 1, 3), "what there is no room for counts as unresolved at once");
}
