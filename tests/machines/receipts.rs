//! An obligation that is dropped silently is a lost message: it is counted, and in test builds it is loud.

use std::panic::{AssertUnwindSafe, catch_unwind};

use peakpost::job::receipt::{End, Why, dropped_unsettled};
use peakpost::job::{Coordinates, Headers, Incoming, Job, Lane, Receipt, Source, Wall, Way};

fn receipt() -> Receipt {
    Receipt::new(Coordinates { from: Source::Jobs(Lane::Marketing), home: 4, offset: 17 }, 2, 9, 100)
}

/// What dropping a value says; `None` when it says nothing.
fn dropping<T>(value: T) -> Option<String> {
    catch_unwind(AssertUnwindSafe(move || drop(value))).err().map(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "a panic without words".to_owned(),
    })
}

/// One test for all of it: the count is of the whole process.
#[test]
fn a_receipt_dropped_unsettled_is_counted_and_panics_in_strict_builds() {
    let before = dropped_unsettled();
    let said = dropping(receipt()).expect("it must panic: is the feature `strict` on for tests? see Cargo.toml");
    for part in ["dropped unsettled", "marketing/4@17 epoch 2", "settle it or abandon it by name"] {
        assert!(said.contains(part), "`{part}` is missing in `{said}`: it must say which job, and what to do");
    }
    assert_eq!(dropped_unsettled(), before + 1, "and it is counted");

    assert_eq!(dropping(receipt().settle(5, End::Terminal)), None, "settled is met");
    for why in [Why::Revoked, Why::Shutdown, Why::HomeStopped] {
        assert_eq!(dropping(receipt().abandon(why)), None, "abandoned by name ({why:?}) is met");
    }
    assert_eq!(dropped_unsettled(), before + 1, "what is met is not counted");

    // Inside what owns it, too.
    let record = br#"{"id":"i","tenant":"t","channel":"webhook","to":"https://a.example","content":{}}"#;
    let incoming = |bytes: &[u8]| Incoming {
        bytes: bytes.into(),
        headers: Headers::new(),
        enqueued: Wall(0),
        lane: Lane::Marketing,
        way: Way::default(),
        receipt: receipt(),
    };
    assert!(dropping(Job::parse(incoming(record)).unwrap()).is_some(), "a job owns its receipt");
    assert!(dropping(Job::parse(incoming(b"{")).unwrap_err()).is_some(), "so does a record that is no job");
    assert_eq!(dropped_unsettled(), before + 3, "each is counted");

    // A panic on the way must not become an abort: while one is under way a drop is only counted.
    let under_way = catch_unwind(|| {
        let _held = receipt();
        panic!("the first panic");
    });
    let words = under_way.unwrap_err().downcast::<&str>().map_or("other words", |text| *text);
    assert_eq!(words, "the first panic", "the second must not hide the first");
    assert_eq!(dropped_unsettled(), before + 4, "but it is counted");
}

#[test]
fn what_comes_back_says_what_was_owed() {
    let settled = receipt().settle(33, End::Terminal);
    assert_eq!(
        (settled.source.from, settled.source.home, settled.source.offset, settled.epoch, settled.seq, settled.bytes),
        (Source::Jobs(Lane::Marketing), 4, 17, 2, 9, 100)
    );
    assert_eq!(settled.outcome_offset, 33);
    let abandoned = receipt().abandon(Why::Revoked);
    assert_eq!((abandoned.source, abandoned.epoch, abandoned.bytes), (settled.source, 2, 100));
    assert_eq!(abandoned.why, Why::Revoked);
}
