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
        ("6000 messages/60s", 6000, Unit::Messages, 60, "the longest window of a bucket"),
        ("5 messages/61s", 5, Unit::Messages, 61, "the shortest of a budget"),
        ("5 messages/5min", 5, Unit::Messages, 300, "minutes"),
        ("5 messages/h", 5, Unit::Messages, 3600, "an hour by name"),
        ("5 messages/12h", 5, Unit::Messages, 12 * 3600, "hours"),
        ("5 messages/day", 5, Unit::Messages, 86_400, "a day by name"),
        ("5 messages/1d", 5, Unit::Messages, 86_400, "a day, spelled out"),
        ("5 messages/30d", 5, Unit::Messages, 30 * 86_400, "a month as vendors mean it"),
        ("5 messages/744h", 5, Unit::Messages, 31 * 86_400, "the longest"),
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
        ("5 messages/0s", "1 s to 31 days", "no window at all"),
        ("5 messages/0d", "1 s to 31 days", "nor this way"),
        ("5 messages/32d", "1 s to 31 days", "longer than what is kept of it"),
        ("5 messages/18446744073709551615d", "1 s to 31 days", "longer than anything"),
        ("5 messages/month", "hint", "months differ"),
        ("5 messages/d", "hint", "a day has one name"),
        ("5 messages/2day", "hint", "days have one, too"),
        ("5 messages/12", "hint", "twelve of what"),
        ("5 messages/é", "hint", "letters of more than one byte"),
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

#[test]
fn a_window_is_shown_in_the_largest_unit_that_fits() {
    for (secs, text, budget) in [
        (1, "s", false),
        (10, "10s", false),
        (60, "min", false),
        (61, "61s", true),
        (90, "90s", true),
        (300, "5min", true),
        (3600, "h", true),
        (5400, "90min", true),
        (43_200, "12h", true),
        (86_400, "day", true),
        (90_000, "25h", true),
        (172_800, "2d", true),
        (2_592_000, "30d", true),
    ] {
        let limit = Limit { count: 5, unit: Unit::Messages, window: Duration::from_secs(secs) };
        assert_eq!(limit.to_string(), format!("5 messages/{text}"), "{secs} s");
        assert_eq!(limit.is_budget(), budget, "`{limit}`: what is longer than 60 s is written down");
    }
}

/// Windows of every size, and those that operators write.
fn windows() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..=60_u64,
        1..=31 * 86_400_u64,
        (1..=744_u64).prop_map(|h| h * 3600),
        (1..=31_u64).prop_map(|d| d * 86_400)
    ]
}

proptest! {
    #[test]
    fn what_is_shown_is_read_again(count in 1..=1_000_000_000_u32, requests: bool, secs in windows()) {
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
