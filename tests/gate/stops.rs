//! Stops of single senders.

use std::time::Duration;

use peakpost::gate::stops::SenderStops;
use peakpost::observe::Clock;

use super::ms;

#[test]
fn a_named_time_holds_is_extended_and_never_shortened() {
    let now = Clock::default().mono();
    let mut stops = SenderStops::default();
    for (wait, before, end, why) in [
        (500, None, 500, "a first stop"),
        (200, Some(500), 500, "an earlier end never shortens it"),
        (900, Some(500), 900, "a later one extends it"),
    ] {
        let found = stops.throttled("+1".into(), Some(ms(wait)), now, now);
        assert_eq!(found, (before.map(|ms| now + Duration::from_millis(ms)), now + ms(end)), "{why}");
    }
    stops.extend("+1".into(), now + ms(700), now);
    assert_eq!(
        stops.until("+1", now),
        Some(now + ms(900)),
        "another instance's earlier end does not shorten it either"
    );
    stops.extend("+1".into(), now + ms(1_000), now);
    assert_eq!(stops.until("+1", now + ms(999)), Some(now + ms(1_000)), "a later one extends it");
    assert_eq!(stops.until("+1", now + ms(1_000)), None, "at its end it is over");
    assert_eq!(stops.until("+2", now), None, "others are free");
}

#[test]
fn without_a_time_waits_grow_with_what_is_sent_and_throttled_again() {
    let mut now = Clock::default().mono();
    let mut stops = SenderStops::default();
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        let sent = now;
        for late in 0..20 {
            stops.throttled("+1".into(), None, sent, now + ms(late));
        }
        let end = stops.until("+1", now).expect("stopped");
        assert_eq!(end, now + Duration::from_secs(wait), "twenty replies to one volley are one reason to wait");
        now = end;
    }
    now += Duration::from_secs(60);
    stops.throttled("+1".into(), None, now, now);
    let end = stops.until("+1", now);
    assert_eq!(end, Some(now + Duration::from_secs(1)), "after a minute of calm it is forgotten");
}

#[test]
fn what_is_remembered_is_bounded() {
    let now = Clock::default().mono();
    let mut stops = SenderStops::default();
    for n in 0..10_050_u64 {
        stops.throttled(format!("+{n}").into(), Some(ms(1_000 + n)), now, now);
    }
    assert_eq!(stops.remembered(), 10_000, "names come from outside");
    assert_eq!(stops.until("+49", now), None, "those that end first were forgotten");
    assert!(stops.until("+50", now).is_some() && stops.until("+10049", now).is_some(), "the others were not");
    let later = now + Duration::from_secs(100);
    stops.throttled("new".into(), None, later, later);
    assert_eq!(stops.remembered(), 1, "what has been calm for long goes first");
}
