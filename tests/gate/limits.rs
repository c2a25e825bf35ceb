//! Limits as operators write them.

use std::time::Duration;

use peakpost::gate::limit::{Limit, Unit};
use proptest::prelude::*;

#[test]
fn limits_are_read() {
    for (text, count, unit, secs, why) in [
        ("600 requests/s", 600, Unit::Requests, 1, "the usual one"),
        ("50_000 messages/s", 50_000, Unit::Messages, 1, "digits in groups"),
        ("100 messages/10s", 100, Unit::Messages, 10, "a longer window"),
        ("1 message/s", 1, Unit::Messages, 1, "the singular"),
        ("1 request/1s", 1, Unit::Requests, 1, "a window of one, spelled out"),
        ("6000 messages/min", 6000, Unit::Messages, 60, "a minute by name"),
        ("6000 messages/60s", 6000, Unit::Messages, 60, "the longest window"),
        ("  5 messages / s ", 5, Unit::Messages, 1, "spaces around and within"),
        ("1_000_000_000 messages/s", 1_000_000_000, Unit::Messages, 1, "the largest count"),
    ] {
        let expected = Limit { count, unit, window: Duration::from_secs(secs) };
        assert_eq!(text.parse(), Ok(expected), "{why}: `{text}`");
    }
}

#[test]
fn what_is_no_limit_is_refused_with_a_hint() {
    for (text, part, why) in [
        ("", "hint", "nothing"),
        ("600", "hint", "a bare number has burnt every system of this kind"),
        ("600/s", "hint", "no unit"),
        ("requests/s", "hint", "no count"),
        ("600 requests", "hint", "no window"),
        ("600 mails/s", "hint", "a unit that nobody counts"),
        ("600 Requests/s", "hint", "units are lower case"),
        ("-1 messages/s", "hint", "a negative count"),
        ("1.5 messages/s", "hint", "half a message"),
        ("4294967296 messages/s", "hint", "a count beyond 32 bits"),
        ("0 messages/s", "1 to 1_000_000_000", "nothing ever: stop the provider in another way"),
        ("1_000_000_001 messages/s", "1 to 1_000_000_000", "one too many"),
        ("5 messages/0s", "1 s to 60 s", "no window at all"),
        ("5 messages/61s", "1 s to 60 s", "longer than a bucket can hold"),
        ("5 messages/day", "hint", "a budget, not a bucket"),
        ("5 messages/100ms", "hint", "shorter than a second"),
        ("5 messages/10 s", "hint", "a window is one token"),
        ("5 messages/-1s", "hint", "a window that ends before it begins"),
        ("5 messages/s/s", "hint", "an acceleration"),
    ] {
        match text.parse::<Limit>() {
            Err(fault) => {
                assert!(fault.contains(part), "{why}: `{text}` gives `{fault}`, expected `{part}` in it");
                assert!(fault.contains(&format!("`{text}`")), "{why}: `{fault}` does not show what was typed");
            }
            Ok(limit) => panic!("{why}: `{text}` was read as `{limit}`"),
        }
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_read_again(count in 1..=1_000_000_000_u32, requests: bool, secs in 1..=60_u64) {
        let unit = if requests { Unit::Requests } else { Unit::Messages };
        let limit = Limit { count, unit, window: Duration::from_secs(secs) };
        prop_assert_eq!(limit.to_string().parse(), Ok(limit));
    }

    #[test]
    fn no_text_makes_the_reader_fall_over(text in any::<String>()) {
        if let Ok(limit) = text.parse::<Limit>() {
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }
    }
}
