//! What instances tell each other: how an order is written, read, and how long it holds.

use std::time::Duration;

use peakpost::control::{CLOCKS_APART, Order, Release, STOP_MAX};
use peakpost::job::Wall;

fn order(sender: Option<&str>, until: i64) -> Order {
    let (by, why) = ("4f".into(), "throttled".into());
    Order { provider: "mail-main".into(), sender: sender.map(Into::into), until: Wall(until), by, why }
}

#[test]
fn an_order_is_read_as_it_was_written() {
    let rows = [
        (None, "stop/mail-main", "the account"),
        (Some("shop@shop.example"), "stop/mail-main/shop@shop.example", "one sender"),
        (Some("+15550001111"), "stop/mail-main/+15550001111", "a number"),
        (Some("a/b \"ü\""), "stop/mail-main/a/b \"ü\"", "whatever stands in a sender"),
    ];
    for (sender, key, why) in rows {
        let order = order(sender, 1_767_225_600_000);
        assert_eq!(String::from_utf8_lossy(&order.key()), key, "{why}: nothing else may lie under its key");
        assert_eq!(Order::parse(&order.key(), &order.value()), Ok(Some(order)), "{why}");
    }
}

#[test]
fn what_others_write_there_is_read_or_passed_over_or_named() {
    let full = r#"{"until_ms":7,"by":"4f","why":"throttled"}"#;
    let nobody = Order { by: "".into(), why: "".into(), ..order(None, 7) };
    let rows = [
        ("stop/mail-main", full, Ok(Some(order(None, 7))), "an order"),
        (
            "stop/mail-main",
            r#"{"until_ms":7,"by":"4f","why":"throttled","new":[1]}"#,
            Ok(Some(order(None, 7))),
            "a later version's",
        ),
        ("stop/mail-main", r#"{"until_ms":7}"#, Ok(Some(nobody)), "author and reason are for people"),
        (
            "stop/mail-main",
            r#"{"until_ms":7,"by":"4f","why":"thr\u006fttled"}"#,
            Ok(Some(order(None, 7))),
            "JSON may be written in many ways",
        ),
        ("pause/lane/marketing", "{}", Ok(None), "a wish that only a later version knows"),
        ("", full, Ok(None), "nobody's key"),
        ("stopped/mail-main", full, Ok(None), "the whole word counts"),
        ("stop", full, Err("its key names no provider"), "no provider"),
        ("stop/", full, Err("its key names no provider"), "an empty one"),
        ("stop/mail-main", "", Err("its value cannot be read"), "nothing"),
        ("stop/mail-main", r#"{"by":"4f"}"#, Err("until_ms"), "no time"),
        ("stop/mail-main", r#"{"until_ms":"soon"}"#, Err("its value cannot be read"), "no number"),
    ];
    for (key, value, expected, why) in rows {
        match (Order::parse(key.as_bytes(), value.as_bytes()), expected) {
            (Err(said), Err(part)) => assert!(said.contains(part), "{why}: `{said}` must say `{part}`"),
            (read, expected) => assert_eq!(read, expected.map_err(str::to_owned), "{why}"),
        }
    }
    assert_eq!(Order::parse(b"\xff\xfe", full.as_bytes()), Ok(None), "a key that is no text");
}

#[test]
fn an_order_holds_to_its_end_and_never_for_ever() {
    let rows = [
        (60_000, 0, Some(Duration::from_secs(60) + CLOCKS_APART), "what is left, and what clocks may differ"),
        (60_000, 59_999, Some(Duration::from_millis(1) + CLOCKS_APART), "to the last millisecond"),
        (60_000, 60_000, None, "its time has come"),
        (60_000, 70_000, None, "its time has passed"),
        (i64::MAX, 0, Some(STOP_MAX + CLOCKS_APART), "nobody stops a provider for centuries"),
        (i64::MAX, i64::MIN, Some(STOP_MAX + CLOCKS_APART), "nor does a difference that is no number"),
        (i64::MIN, i64::MAX, None, "the same the other way round"),
    ];
    for (until, now, expected, why) in rows {
        assert_eq!(order(None, until).left(Wall(now)), expected, "{why}");
    }
}

#[test]
fn a_release_is_read_as_it_was_written() {
    let release = Release {
        stream: "acme/email/marketing/mail/gmail".into(),
        at: Wall(7),
        by: "ops".into(),
        why: "the list is mended".into(),
    };
    assert_eq!(release.key(), b"release/acme/email/marketing/mail/gmail", "nothing else may lie under its key");
    assert_eq!(Release::parse(&release.key(), &release.value()), Ok(Some(release.clone())));
    assert_eq!(Order::parse(&release.key(), &release.value()), Ok(None), "it is no stop");
    let stop = order(None, 7);
    assert_eq!(Release::parse(&stop.key(), &stop.value()), Ok(None), "nor is a stop a release");
    let fault = Release::parse(&release.key(), b"{}").unwrap_err();
    assert!(fault.contains("at_ms"), "`{fault}` must say what is missing");
}
