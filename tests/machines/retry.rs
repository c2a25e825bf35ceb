//! After every verdict, for every channel, at every attempt: again when, or given up why.

use std::time::Duration;

use peakpost::job::Channel;
use peakpost::outcome::{Code, Kind, Outcome, Reason, Said, Scope, Verdict};
use peakpost::retry::{Config, Next};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// Three attempts; waits of 1 s, 2 s, 4 s … up to 10 s; a text message that may have been sent is not repeated.
fn config() -> Config {
    Config { attempts_max: 3, backoff: SECOND, backoff_max: 10 * SECOND, quarantine: vec![Channel::Sms] }
}

fn said(code: Code) -> Said {
    Said::new(code, "words")
}

fn throttled(wait: Option<Duration>) -> Verdict {
    Verdict::Throttled { wait, scope: Scope::Provider, said: said(Code::RateLimit) }
}

/// Every verdict there is.
fn verdicts() -> [Verdict; 8] {
    // A new verdict does not compile until it is decided here and listed below.
    const _: fn(&Verdict) = |v| match v {
        Verdict::Accepted { .. }
        | Verdict::Refused(_)
        | Verdict::Throttled { .. }
        | Verdict::FailedBeforeWrite(_)
        | Verdict::Ambiguous(_)
        | Verdict::ProviderDown(_) => (),
    };
    [
        Verdict::Accepted { vendor_id: Some("id-1".into()) },
        Verdict::Accepted { vendor_id: None },
        Verdict::Refused(said(Code::BadRecipient)),
        throttled(Some(7 * SECOND)),
        throttled(None),
        Verdict::FailedBeforeWrite(said(Code::Connection)),
        Verdict::Ambiguous(said(Code::Timeout)),
        Verdict::ProviderDown(said(Code::Credentials)),
    ]
}

/// What must become of a job, in words: the outcome's kind and reason, or how long at most until the next attempt.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done(Kind, Reason),
    Again { from: Duration, to: Duration, counted: bool },
}

/// The rules once more, as a person would tell them.
fn expected(verdict: &Verdict, channel: Channel, attempts: u16) -> Answer {
    let backoff = match attempts {
        0 | 1 => SECOND,
        2 => 2 * SECOND,
        3 => 4 * SECOND,
        4 => 8 * SECOND,
        _ => 10 * SECOND,
    };
    let again = |counted| Answer::Again { from: Duration::ZERO, to: backoff, counted };
    match verdict {
        Verdict::Accepted { .. } => Answer::Done(Kind::Accepted, Reason::Accepted),
        Verdict::Refused(said) => Answer::Done(Kind::Refused, Reason::Vendor(said.code)),
        Verdict::Throttled { wait: Some(wait), .. } => {
            Answer::Again { from: *wait, to: *wait + SECOND, counted: false }
        }
        Verdict::Throttled { wait: None, .. } | Verdict::ProviderDown(_) => again(false),
        Verdict::Ambiguous(said) if channel == Channel::Sms => {
            Answer::Done(Kind::Quarantined, Reason::MaybeSent(said.code))
        }
        Verdict::Ambiguous(said) | Verdict::FailedBeforeWrite(said) if attempts >= 3 => {
            Answer::Done(Kind::Dead, Reason::AttemptsExhausted(said.code))
        }
        Verdict::Ambiguous(_) | Verdict::FailedBeforeWrite(_) => again(true),
    }
}

#[test]
fn every_verdict_in_every_channel_at_every_attempt() {
    let config = config();
    for verdict in verdicts() {
        for channel in Channel::ALL {
            for attempts in [0, 1, 2, 3, 4, 5, 100, u16::MAX] {
                let case = format!("{verdict:?} for {channel} at attempt {attempts}");
                let next = |chance| config.next(&verdict, channel, attempts, chance, None);
                let found = match (next(0.0), next(0.999_999_999)) {
                    (Next::Done(one), Next::Done(other)) => {
                        assert_eq!(one, other, "{case}: an outcome is no matter of chance");
                        Answer::Done(one.kind, one.reason)
                    }
                    (Next::Again { after: from, counted }, Next::Again { after, counted: too }) => {
                        assert_eq!(counted, too, "{case}: what counts is no matter of chance");
                        Answer::Again { from, to: rounded(after), counted }
                    }
                    (one, other) => panic!("{case}: chance decides between {one:?} and {other:?}"),
                };
                assert_eq!(found, expected(&verdict, channel, attempts), "{case}");
            }
        }
    }
}

/// To the nearest tenth of a second: chance never quite reaches the bound.
fn rounded(d: Duration) -> Duration {
    Duration::from_millis(u64::try_from((d.as_millis() + 50) / 100 * 100).unwrap())
}

#[test]
fn outcomes_carry_what_the_vendor_said() {
    let done = |verdict: &Verdict, channel, attempts| match config().next(verdict, channel, attempts, 0.5, None) {
        Next::Done(outcome) => outcome,
        Next::Again { .. } => panic!("{verdict:?} must end here"),
    };
    let words = |kind, reason| Outcome { detail: "words".into(), ..Outcome::plain(kind, reason) };
    let accepted = done(&Verdict::Accepted { vendor_id: Some("id-1".into()) }, Channel::Email, 1);
    assert_eq!(accepted.vendor_id.as_deref(), Some("id-1"), "the vendor's id finds the message again");
    assert_eq!(&*accepted.detail, "", "a yes needs no words");
    let refused = done(&Verdict::Refused(said(Code::BadSender)), Channel::Sms, 1);
    assert_eq!(refused, words(Kind::Refused, Reason::Vendor(Code::BadSender)));
    let dead = done(&Verdict::FailedBeforeWrite(said(Code::Connection)), Channel::Email, 3);
    assert_eq!(dead, words(Kind::Dead, Reason::AttemptsExhausted(Code::Connection)));
    let quarantined = done(&Verdict::Ambiguous(said(Code::ServerError)), Channel::Sms, 1);
    assert_eq!(quarantined, words(Kind::Quarantined, Reason::MaybeSent(Code::ServerError)));
}

/// What may have been sent is never sent again where the channel's rule says so, not even at the first attempt;
/// what certainly was not sent is.
#[test]
fn quarantine_is_for_what_may_have_been_sent() {
    for channels in [vec![], vec![Channel::Email], Channel::ALL.to_vec()] {
        let config = Config { quarantine: channels.clone(), ..config() };
        for channel in Channel::ALL {
            let kept = channels.contains(&channel);
            let ambiguous = config.next(&Verdict::Ambiguous(said(Code::Timeout)), channel, 1, 0.5, None);
            assert_eq!(matches!(ambiguous, Next::Done(_)), kept, "{channel} with quarantine for {channels:?}");
            let failed = config.next(&Verdict::FailedBeforeWrite(said(Code::Connection)), channel, 1, 0.5, None);
            assert!(
                matches!(failed, Next::Again { counted: true, .. }),
                "{channel}: nothing was sent, so it goes again"
            );
        }
    }
}

/// No wait goes past the job's end: it expires on time, not when the wait is over.
#[test]
fn a_wait_ends_with_the_job() {
    let config = Config { backoff: 100 * SECOND, backoff_max: 100 * SECOND, ..config() };
    let minute = 60 * SECOND;
    for (verdict, left, expected, why) in [
        (throttled(Some(minute)), None, minute, "a job without an end waits as long as it is told"),
        (throttled(Some(minute)), Some(61 * SECOND), minute, "it outlives its wait"),
        (throttled(Some(minute)), Some(minute), minute, "it ends with its wait"),
        (throttled(Some(minute)), Some(59 * SECOND), 59 * SECOND, "the vendor's time is longer than the job"),
        (throttled(Some(minute)), Some(Duration::ZERO), Duration::ZERO, "it has expired: nothing to wait for"),
        (throttled(None), Some(SECOND), SECOND, "our own backoff is clipped as well"),
        (Verdict::ProviderDown(said(Code::Account)), Some(SECOND), SECOND, "and so it is where nothing counts"),
        (Verdict::Ambiguous(said(Code::Timeout)), Some(SECOND), SECOND, "and where it does"),
        (Verdict::FailedBeforeWrite(said(Code::Connection)), Some(SECOND), SECOND, "whatever went wrong"),
    ] {
        let chance = if left == Some(SECOND) { 0.5 } else { 0.0 };
        match config.next(&verdict, Channel::Email, 1, chance, left) {
            Next::Again { after, counted } => {
                assert_eq!(after, expected, "{why}: {verdict:?} with {left:?} left");
                let counts = matches!(verdict, Verdict::Ambiguous(_) | Verdict::FailedBeforeWrite(_));
                assert_eq!(counted, counts, "{why}: clipping says nothing about what counts");
            }
            Next::Done(outcome) => panic!("{why}: waiting turned into {outcome:?}"),
        }
    }
    let refused = config.next(&Verdict::Refused(said(Code::Invalid)), Channel::Email, 1, 0.5, Some(Duration::ZERO));
    assert!(matches!(refused, Next::Done(_)), "what is decided is decided, late or not");
}

proptest! {
    #[test]
    fn waits_stay_within_their_bounds(
        attempts: u16, chance in 0.0..1.0_f64, wait in 0..3600_u64, backoff in 1..10_000_u64, most in 1..100_000_u64,
        left in 0..3600_u64,
    ) {
        let (backoff, most) = (Duration::from_millis(backoff), Duration::from_millis(most));
        let config = Config { attempts_max: u16::MAX, backoff, backoff_max: most, quarantine: Vec::new() };
        let wait = Duration::from_secs(wait);
        for verdict in [throttled(None), throttled(Some(wait)), Verdict::Ambiguous(said(Code::Timeout))] {
            let named = matches!(&verdict, Verdict::Throttled { wait: Some(_), .. });
            if let Next::Again { after, .. } = config.next(&verdict, Channel::Email, attempts, chance, None) {
                let left = Duration::from_secs(left);
                let clipped = config.next(&verdict, Channel::Email, attempts, chance, Some(left));
                prop_assert!(
                    matches!(clipped, Next::Again { after: sooner, .. } if sooner == after.min(left)),
                    "{clipped:?} is not {after:?}, at most {left:?}"
                );
                match named {
                    true => prop_assert!(after >= wait && after <= wait + backoff, "the vendor's time is a floor"),
                    false => prop_assert!(after <= most, "{after:?} is beyond the bound {most:?}"),
                }
            }
        }
    }
}
