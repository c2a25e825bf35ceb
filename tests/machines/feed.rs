//! When a topic counts as read: every way to its end, and every way in which a reader could only believe that it is there.
//!
//! Why: the moment too early is a message to somebody who had left.

use peakpost::recipient::feed::Feed;

use super::{ms, start};

/// What happens to a reader of two partitions, both of which begin at 0.
enum Step {
    /// A record of a partition with this offset.
    Read(usize, i64),
    /// The client says that a partition has no more.
    Over(usize),
    /// The ends, asked for so many milliseconds after the start.
    Told(u64, [i64; 2]),
}
use Step::{Over, Read, Told};

/// Why, the steps, and for which question's moment (milliseconds) it is fresh after the last of them.
type Row = (&'static str, &'static [Step], Option<u64>);

const ROWS: &[Row] = &[
    ("nobody has said where it ends", &[Read(0, 0), Over(0), Over(1)], None),
    ("nothing was there", &[Told(5, [0, 0])], Some(5)),
    ("one record is left", &[Told(5, [2, 0]), Read(0, 0)], None),
    ("and read", &[Told(5, [2, 0]), Read(0, 0), Read(0, 1)], Some(5)),
    ("the other partition is left", &[Told(5, [1, 1]), Read(0, 0)], None),
    ("read before it was asked", &[Read(0, 0), Read(1, 0), Told(5, [1, 1])], Some(5)),
    ("what is compacted away is passed", &[Told(5, [9, 0]), Read(0, 3), Read(0, 8)], Some(5)),
    (
        "a later question does not make an earlier one younger",
        &[Told(5, [2, 0]), Told(1005, [9, 0]), Read(0, 1)],
        Some(5),
    ),
    (
        "the end runs away: so much is known, and no more",
        &[Told(5, [1, 0]), Read(0, 0), Told(6, [3, 0]), Read(0, 1)],
        None,
    ),
    (
        "the client says that there is no more: one answer may be older than that",
        &[Read(0, 0), Over(0), Told(5, [2, 0])],
        None,
    ),
    (
        "a marker behind the last record, which no reader is shown",
        &[Read(0, 0), Over(0), Told(5, [2, 0]), Told(1005, [2, 0])],
        Some(5),
    ),
    ("the same where nothing is left of a partition", &[Over(0), Told(5, [7, 0]), Told(1005, [7, 0])], Some(5)),
    ("it grew in between: what is new has not come", &[Read(0, 0), Over(0), Told(5, [2, 0]), Told(1005, [3, 0])], None),
    (
        "it grew and rests: that there was no more was said of an earlier end",
        &[Read(0, 0), Over(0), Told(5, [2, 0]), Told(1005, [3, 0]), Told(2005, [3, 0]), Told(3005, [3, 0])],
        None,
    ),
    (
        "it grew, and the reader said anew that there is no more",
        &[Read(0, 0), Over(0), Told(5, [2, 0]), Told(1005, [3, 0]), Over(0), Told(2005, [3, 0]), Told(3005, [3, 0])],
        Some(5),
    ),
    (
        "something came in between: the client has not said anew that there is no more",
        &[Over(0), Told(5, [7, 0]), Read(0, 3), Told(1005, [7, 0])],
        None,
    ),
    ("it never said that there is no more", &[Told(5, [7, 0]), Told(1005, [7, 0]), Told(2005, [7, 0])], None),
    ("a partition of somebody else's", &[Told(5, [1, 0]), Read(9, 0), Over(9)], None),
];

#[test]
fn a_topic_counts_as_read_when_its_end_was_reached() {
    let began = start();
    for (why, steps, expected) in ROWS {
        let mut feed = Feed::new(&[0, 0]);
        let mut fresh = None;
        for step in *steps {
            match step {
                Read(partition, offset) => feed.read(*partition, *offset),
                Over(partition) => feed.over(*partition),
                Told(at, ends) => feed.told(began + ms(*at), ends),
            }
            fresh = feed.fresh();
        }
        assert_eq!(fresh, expected.map(|at| began + ms(at)), "{why}; hint: src/recipient/feed.rs");
        assert!(fresh.is_none() || feed.fresh().is_none(), "{why}: a question is answered once");
    }
}

/// Each answer is a new moment: an idle topic stays fresh for as long as it answers.
#[test]
fn a_quiet_topic_stays_fresh() {
    let began = start();
    let mut feed = Feed::new(&[4, 0]);
    for second in 0..5 {
        let asked = began + ms(1000 * second);
        feed.told(asked, &[4, 0]);
        assert_eq!(feed.fresh(), Some(asked), "second {second}");
    }
    feed.told(began + ms(9000), &[6, 0]);
    assert_eq!((feed.fresh(), feed.left()), (None, 2), "two have come and are not read");
}
