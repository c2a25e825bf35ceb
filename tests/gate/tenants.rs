//! Very many tenants in one lane: what is remembered of them is bounded, and no step looks at all of them.

use std::collections::BTreeSet;
use std::time::Instant;

use peakpost::gate::Ask;
use peakpost::gate::turns::{IDLE_MAX, Turns};
use peakpost::job::Lane;
use peakpost::observe::Clock;
use proptest::prelude::*;

use super::{flow, ms, singles};

fn ask(tenant: &str) -> Ask {
    Ask { flow: flow(tenant, ""), ..singles(0, Lane::Marketing, 1) }
}

fn first(turns: &Turns) -> String {
    turns.first().map(|(_, ask)| ask.flow.tenant.to_string()).unwrap_or_default()
}

/// A tenant asks and, though others wait, is the first to go: it is new, or was forgotten.
fn goes_at_once(turns: &mut Turns, tenant: &str, messages: u32, now: Instant) {
    turns.push((now, ask(tenant)));
    assert_eq!(first(turns), tenant, "a newcomer owes nothing; see Turns::join");
    turns.granted(messages, 1);
}

/// Where every ask may be a new tenant's, nobody is looked for among all that ever asked: whenever one more rests, at
/// most one is forgotten, and only those that wait are remembered without bound.
#[test]
fn a_hundred_thousand_tenants_cost_no_more_than_ten() {
    for (tenants, waiting, why) in [
        (10, 0, "few, each answered at once"),
        (100_000, 0, "each answered at once, none ever asks again"),
        (100_000, 1, "somebody waits all the time"),
        (100_000, 3 * IDLE_MAX, "more wait than are remembered of those that do not"),
    ] {
        let (mut turns, now) = (Turns::default(), Clock::default().mono());
        for n in 0..waiting {
            turns.push((now, ask(&format!("waits-{n}"))));
        }
        for n in 0..tenants {
            let before = turns.remembered();
            turns.push((now, ask(&n.to_string())));
            turns.granted(1, 1);
            let (after, most) = (turns.remembered(), turns.len() + IDLE_MAX);
            assert_eq!(turns.len(), waiting, "{why}: one came, one went");
            assert!(after <= most, "{why}: {after} tenants are remembered, at most {most}; see Turns::rest");
            let gone = (before + 1).saturating_sub(after);
            assert!(gone <= 1, "{why}: {gone} were forgotten in one step; somebody looks at all; see Turns::rest");
        }
        turns.clear();
        assert!(turns.remembered() <= IDLE_MAX, "{why}: after all were sent away; see Turns::clear");
    }
}

/// What a tenant was given is forgotten last of those that were given most.
#[test]
fn who_took_much_is_remembered_for_it() {
    let (mut turns, now) = (Turns::default(), Clock::default().mono());
    goes_at_once(&mut turns, "large", 10_000, now);
    for n in 0..2 * IDLE_MAX {
        goes_at_once(&mut turns, &n.to_string(), 1, now);
    }
    turns.push((now, ask("large")));
    turns.push((now, ask("late")));
    assert_eq!(first(&turns), "late", "who had ten thousand messages goes after who had none; see Turns::rest");
}

/// Being forgotten is no way to the head of the queue, and ever new names are none either.
#[test]
fn nobody_gains_by_being_forgotten() {
    let (mut turns, now) = (Turns::default(), Clock::default().mono());
    goes_at_once(&mut turns, "five", 5, now);
    goes_at_once(&mut turns, "four", 4, now);
    turns.push((now, ask("four")));
    for n in 0..IDLE_MAX {
        goes_at_once(&mut turns, &n.to_string(), 6, now);
    }
    assert_eq!(turns.remembered(), IDLE_MAX + 1, "`five` is forgotten: of those that rest it was given least");
    turns.push((now, ask("five")));
    assert_eq!(first(&turns), "four", "it was given less than `five`; see Turns::rest");
    turns.granted(100, 1);
    turns.push((now, ask("four")));
    let went = (0..).take_while(|n| {
        turns.push((now, ask(&format!("new-{n}"))));
        let newcomer = first(&turns) != "four";
        turns.granted(1, 1);
        newcomer && *n < 1_000 * IDLE_MAX
    });
    // It had 104 messages; so had, of one each, as many newcomers as are remembered, in turn.
    assert!(went.count() <= 105 * IDLE_MAX, "ever new tenants keep one that waits for ever; see Turns::rest");
}

#[derive(Clone, Debug)]
enum Step {
    Ask { tenant: usize },
    Grant { messages: u32 },
    Park { ms: u64 },
    Pass { ms: u64 },
    UnparkAll,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3 * IDLE_MAX).prop_map(|tenant| Step::Ask { tenant }),
        6 => (1..100_u32).prop_map(|messages| Step::Grant { messages }),
        2 => (1..50_u64).prop_map(|ms| Step::Park { ms }),
        2 => (1..50_u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::UnparkAll),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    /// Whatever happens: every ask comes out once, the sum is kept, and each that waits is remembered.
    #[test]
    fn no_ask_is_lost_and_the_sum_is_kept(steps in steps()) {
        let (mut turns, mut now) = (Turns::default(), Clock::default().mono());
        for n in 0..IDLE_MAX {
            goes_at_once(&mut turns, &n.to_string(), 1 + u32::try_from(n % 7).unwrap(), now);
        }
        let mut waiting: BTreeSet<usize> = BTreeSet::new();
        for (shard, step) in steps.into_iter().enumerate() {
            match step {
                Step::Ask { tenant } => {
                    turns.push((now, Ask { shard, ..ask(&tenant.to_string()) }));
                    waiting.insert(shard);
                }
                Step::Grant { messages } => {
                    let went = turns.first().map(|(_, ask)| ask.shard);
                    prop_assert_eq!(turns.granted(messages, 1).is_some(), went.is_some());
                    prop_assert!(went.is_none_or(|shard| waiting.remove(&shard)), "it went twice");
                }
                Step::Park { ms: n } => turns.park(now + ms(n)),
                Step::Pass { ms: n } => {
                    now += ms(n);
                    turns.unpark(now);
                    prop_assert!(turns.next().is_none_or(|next| next > now));
                }
                Step::UnparkAll => turns.unpark_all(),
                Step::Clear => {
                    let out: BTreeSet<usize> = turns.clear().iter().map(|(_, ask)| ask.shard).collect();
                    prop_assert_eq!(out, std::mem::take(&mut waiting));
                }
            }
            prop_assert_eq!(turns.len(), waiting.len());
            prop_assert_eq!(turns.is_empty(), waiting.is_empty());
            prop_assert!(turns.remembered() <= waiting.len() + IDLE_MAX);
        }
        turns.unpark_all();
        while let Some(shard) = turns.first().map(|(_, ask)| ask.shard) {
            turns.granted(1, 1);
            prop_assert!(waiting.remove(&shard), "it went twice");
        }
        prop_assert!(waiting.is_empty(), "these never went: {:?}", waiting);
    }
}
