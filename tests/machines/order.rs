//! One after another per key: a plain model that keeps every job of a key in one list, its first the holder.

use std::collections::BTreeMap;

use peakpost::lane::order::Order;
use proptest::prelude::*;

/// Tells jobs apart: their number says when they came.
type Jobs = Vec<u32>;

#[test]
fn the_next_goes_when_the_one_before_is_through() {
    let mut order = Order::default();
    assert_eq!(order.enter("a", 1), Some(1), "nobody is before it");
    assert_eq!(order.enter("a", 2), None, "1 is out");
    assert_eq!(order.enter("b", 3), Some(3), "another key waits for nobody");
    assert_eq!(order.enter("a", 4), None, "behind 2");
    assert_eq!(order.parked(), 2);
    assert_eq!(order.leave(&"a"), Some(2), "in the order they came");
    assert_eq!(order.enter("a", 5), None, "2 holds the key now");
    assert_eq!(order.leave(&"b"), None, "nobody is behind 3");
    assert_eq!(order.enter("b", 6), Some(6), "so its key is free again");
    assert_eq!([order.leave(&"a"), order.leave(&"a"), order.leave(&"a")], [Some(4), Some(5), None]);
    assert_eq!(order.leave(&"a"), None, "nobody holds it; nothing happens");
    assert_eq!(order.leave(&"never seen"), None, "nor here");
    assert_eq!(order.parked(), 0, "nobody is left");
}

#[test]
fn a_home_that_goes_takes_its_parked_jobs_and_no_holder() {
    let mut order = Order::default();
    let came = [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 5), ("b", 6)].map(|(key, job)| order.enter(key, job));
    assert_eq!(came, [Some(1), None, None, None, Some(5), None]);
    assert_eq!(order.forget(|key| *key == "b"), [6], "the key goes with its holder's mark; 5 is elsewhere");
    assert_eq!(order.enter("b", 8), Some(8), "and is free");
    assert_eq!(order.parked(), 3);
    assert_eq!(order.leave(&"a"), Some(2), "those who stay keep their order");
    assert_eq!([order.leave(&"a"), order.leave(&"a"), order.leave(&"a")], [Some(3), Some(4), None]);
    assert_eq!(order.parked(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u8),
    Leave(u8),
    Forget(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..4_u8;
    let step = prop_oneof![
        8 => key.clone().prop_map(Step::Enter),
        5 => key.clone().prop_map(Step::Leave),
        1 => key.prop_map(Step::Forget),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn no_job_overtakes_and_none_is_lost(steps in steps()) {
        let mut order: Order<u8, u32> = Order::default();
        // Each key's jobs, the holder first; whoever is in no list any more has come out.
        let mut model: BTreeMap<u8, Jobs> = BTreeMap::new();
        for (job, step) in (0..).zip(steps) {
            match step {
                Step::Enter(key) => {
                    let line = model.entry(key).or_default();
                    line.push(job);
                    let goes = (line.len() == 1).then_some(job);
                    prop_assert_eq!(order.enter(key, job), goes, "who is first goes, who is not is kept");
                }
                Step::Leave(key) => {
                    let line = model.entry(key).or_default();
                    if !line.is_empty() {
                        line.remove(0);
                    }
                    prop_assert_eq!(order.leave(&key), line.first().copied(), "the next of its own key, and one only");
                }
                Step::Forget(key) => {
                    let line = model.remove(&key).unwrap_or_default();
                    prop_assert_eq!(order.forget(|k| *k == key), line.get(1..).unwrap_or_default(), "in order");
                }
            }
            let parked: usize = model.values().map(|line| line.len().saturating_sub(1)).sum();
            prop_assert_eq!(order.parked(), parked, "after step {}", job);
        }
    }
}
