//! What a home's owners have written ahead, read back: the latest of each key.

use peakpost::ledger::usage::{Latest, Opened};

/// A record: its key, and its value if it is no tombstone.
type Record = (&'static str, Option<&'static str>);
/// What is left of them.
type Kept = (&'static str, &'static str);

#[test]
fn the_latest_record_of_each_key_counts() {
    let rows: &[(&[Record], &[Kept], &str)] = &[
        (&[], &[], "nothing was ever spent"),
        (&[("day", Some("1"))], &[("day", "1")], "one record"),
        (&[("day", Some("1")), ("day", Some("2"))], &[("day", "2")], "the later one stands for the earlier"),
        (
            &[("month", Some("7")), ("day", Some("1")), ("month", Some("8"))],
            &[("day", "1"), ("month", "8")],
            "each key for itself",
        ),
        (&[("day", Some("1")), ("day", None)], &[], "a tombstone takes its key away"),
        (&[("day", None)], &[], "of a key that compaction has taken already"),
        (&[("day", Some("1")), ("day", None), ("day", Some("3"))], &[("day", "3")], "and it may come again"),
        (&[("day", Some(""))], &[("day", "")], "an empty value is a value"),
        (&[("", Some("1")), ("", Some("2"))], &[("", "2")], "so is an empty key"),
    ];
    for (records, left, why) in rows {
        let mut latest = Latest::default();
        for (key, value) in *records {
            latest.take(key.as_bytes(), value.map(str::as_bytes));
        }
        let records = left.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        assert_eq!(latest.opened(4, 9), Opened { home: 4, epoch: 9, records }, "{why}");
    }
}
