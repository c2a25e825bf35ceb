//! Messages that can share a request wait for each other, and never for long.

use peakpost::lane::gather::{GATHER, Gather};

use super::{ms, start};

/// What waits, how long after the last ask, whether it may ask now and after how long else.
#[test]
fn who_comes_after_an_ask_waits_for_others_or_for_a_whole_batch() {
    let rows = [
        ("the first of a rest goes at once", 1, GATHER, true, None),
        ("long after, still", 1, GATHER * 100, true, None),
        ("right after an ask they gather", 1, ms(0), false, Some(GATHER)),
        ("until the time is over, not from when they came", 999, ms(5), false, Some(GATHER)),
        ("a whole batch has nothing to wait for", 1000, ms(5), true, None),
        ("nor has more than one", 64_000, ms(0), true, None),
        ("for nobody nothing is to be woken", 0, ms(5), false, None),
    ];
    for (what, waiting, after, may, opens) in rows {
        let asked = start();
        let mut gather = Gather::new(1000);
        assert!(gather.may_ask(waiting, asked), "{what}: nobody has asked yet");
        gather.asked(asked);
        let now = asked + after;
        assert_eq!(gather.may_ask(waiting, now), may, "{what}");
        assert_eq!(gather.opens_at(waiting, now), opens.map(|after| asked + after), "{what}");
    }
}

#[test]
fn where_a_request_carries_one_nobody_waits() {
    let now = start();
    let mut gather = Gather::new(1);
    gather.asked(now);
    assert!(gather.may_ask(1, now));
    assert_eq!(gather.opens_at(1, now), None, "a shard would wake in vain");
}
