//! Flows: kept apart, each asks once at a time, nobody who could ask is forgotten, nobody else is looked at.

use std::collections::BTreeMap;

use peakpost::job::Lane;
use peakpost::lane::Fit;
use peakpost::lane::flows::{FlowId, Flows, Stand, Upcoming};
use proptest::prelude::*;

use super::{ms, start};

type Name = (String, String);

fn flows() -> Flows<Name, u32> {
    Flows::default()
}

const T: Lane = Lane::Transactional;
const M: Lane = Lane::Marketing;

fn push(flows: &mut Flows<Name, u32>, tenant: &str, sender: &str, lane: Lane, stand: Stand, job: u32) -> FlowId {
    let id = flows.enter(tenant, sender, || (tenant.to_owned(), sender.to_owned()));
    flows.push(id, lane, stand, 0, start() + ms(u64::from(job)), job);
    id
}

/// Whoever may ask in a lane asks, as a shard does it: the hungry, and of the poor as many as there is budget for.
fn ask(flows: &mut Flows<Name, u32>, lane: Lane, budget: u32) -> Vec<(Name, Upcoming)> {
    let mut asks = Vec::new();
    loop {
        let spared = budget.saturating_sub(flows.promised(lane));
        let next = flows.next_hungry(lane).or_else(|| if spared > 0 { flows.next_poor(lane) } else { None });
        let Some(id) = next else { return asks };
        let next = flows.upcoming(id, lane, 64, 10, spared);
        match next.requests {
            0 => flows.keep_poor(id, lane),
            _ => asks.push((flows.ask(id, lane, next.unsure).clone(), next)),
        }
    }
}

fn names(asks: &[(Name, Upcoming)]) -> Vec<&str> {
    asks.iter().map(|((tenant, _), _)| tenant.as_str()).collect()
}

/// Takes up to `most` of a flow and gives the answer back.
fn answer(flows: &mut Flows<Name, u32>, name: (&str, &str), lane: Lane, most: usize, spared: u32) -> Vec<u32> {
    let id = flows.find(name.0, name.1).expect("a flow stays as long as its ask is out");
    let mut out = Vec::new();
    while out.len() < most {
        let left = most - out.len();
        if flows.take(id, lane, &mut out, (left, spared), |_| Fit::Take).is_none() {
            break;
        }
    }
    flows.answered(id, lane);
    out
}

#[test]
fn tenants_and_senders_are_told_apart_and_ask_once_at_a_time() {
    let mut flows = flows();
    for (job, (tenant, sender)) in (0..).zip([("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")]) {
        push(&mut flows, tenant, sender, M, Stand::Fresh, job);
    }
    let asks = ask(&mut flows, M, 0);
    let jobs: Vec<usize> = asks.iter().map(|(_, next)| next.jobs).collect();
    assert_eq!((names(&asks), jobs), (vec!["a", "a", "b"], vec![2, 1, 1]), "in the order of their first jobs");
    assert!(ask(&mut flows, M, 0).is_empty(), "no second ask while one is out");
    push(&mut flows, "b", "x", M, Stand::Fresh, 9);
    assert!(ask(&mut flows, M, 0).is_empty(), "not even when more come");
    assert_eq!(answer(&mut flows, ("b", "x"), M, 1, 0), [2], "batches are of one flow");
    assert_eq!(names(&ask(&mut flows, M, 0)), ["b"], "after the answer it asks for the rest");
    push(&mut flows, "b", "x", T, Stand::Fresh, 10);
    assert_eq!(names(&ask(&mut flows, T, 0)), ["b"], "each lane asks for itself");
}

#[test]
fn an_empty_flow_goes_when_nothing_is_out() {
    let mut flows = flows();
    push(&mut flows, "a", "", M, Stand::Fresh, 1);
    ask(&mut flows, M, 0);
    let id = flows.find("a", "").unwrap();
    assert_eq!(flows.remove_if(|_| true), [1]);
    assert_eq!((flows.count(), flows.len(M)), (1, 0), "its answer will look for it");
    flows.answered(id, M);
    assert_eq!((flows.count(), flows.find("a", "")), (0, None), "nobody points at it");
    push(&mut flows, "b", "", M, Stand::Fresh, 2);
    flows.remove_if(|_| true);
    assert!(ask(&mut flows, M, 0).is_empty() && flows.count() == 0, "one that stood in a list goes with its turn");
}

#[test]
fn who_waits_for_the_budget_alone_is_looked_at_when_there_is_some() {
    let mut flows = flows();
    for (job, tenant) in (0..).zip(["a", "b", "c"]) {
        push(&mut flows, tenant, "", M, Stand::Unsure, job);
        push(&mut flows, tenant, "", M, Stand::Unsure, job + 10);
    }
    assert!(ask(&mut flows, M, 0).is_empty() && flows.waits_for_budget(), "nothing is spared");
    let asks = ask(&mut flows, M, 3);
    assert_eq!((names(&asks), flows.promised(M)), (vec!["a", "b"], 3), "three are spared: two of a's, one of b's");
    assert_eq!(asks[1].1, Upcoming { requests: 1, jobs: 1, unsure: 1 });
    assert!(ask(&mut flows, M, 3).is_empty(), "what is promised is not spared twice");
    push(&mut flows, "c", "", M, Stand::Fresh, 30);
    assert_eq!(names(&ask(&mut flows, M, 3)), ["c"], "fresh work needs no budget");
    push(&mut flows, "c", "", T, Stand::Unsure, 31);
    assert_eq!(names(&ask(&mut flows, T, 3)), ["c"], "nor does one lane wait for what is promised to the other");
    assert_eq!(answer(&mut flows, ("a", ""), M, 9, 2), [0, 10]);
    assert_eq!(names(&ask(&mut flows, M, 3)), ["a"; 0], "a has gone; b and c have asks out");
    assert_eq!(flows.promised(M), 1, "what a was promised is free again");
}

#[test]
fn stands_take_turns_within_a_flow() {
    let mut flows = flows();
    let mut id = 0;
    for job in 0..3 {
        id = push(&mut flows, "a", "", M, Stand::Fresh, job);
        push(&mut flows, "a", "", M, Stand::Again, 10 + job);
        push(&mut flows, "a", "", M, Stand::Unsure, 20 + job);
    }
    let mut order = Vec::new();
    loop {
        let mut out = Vec::new();
        if flows.take(id, M, &mut out, (1, 1), |_| Fit::Take).is_none() {
            break;
        }
        order.extend(out);
    }
    assert_eq!(order, [0, 10, 20, 1, 11, 21, 2, 12, 22], "neither fresh work nor retries wait for the others' end");
}

/// The same as one list; who may ask is found by looking at everybody.
#[derive(Default)]
struct Model {
    jobs: Vec<(Name, usize, Stand, u32)>,
    /// Flow and lane of the asks that are out, with what of the budget is promised to each.
    asks: BTreeMap<(Name, usize), u32>,
}

impl Model {
    fn of(&self, name: &Name, lane: Lane) -> impl Iterator<Item = &(Name, usize, Stand, u32)> {
        self.jobs.iter().filter(move |(of, in_lane, ..)| of == name && *in_lane == lane.index())
    }

    fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.jobs.iter().map(|(name, ..)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn promised(&self, lane: Lane) -> u32 {
        self.asks.iter().filter(|((_, of), _)| *of == lane.index()).map(|(_, unsure)| unsure).sum()
    }

    /// Flows that must have an ask out once everybody had the chance.
    fn must_have_asked(&self, lane: Lane) -> Vec<Name> {
        let certain = |name: &Name| self.of(name, lane).any(|(_, _, stand, _)| *stand != Stand::Unsure);
        self.names().into_iter().filter(certain).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { flow: usize, lane: Lane, stand: Stand },
    Ask { lane: Lane, budget: u32 },
    Answer { nth: usize, most: usize, spared: u32 },
    Remove { modulus: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = || prop::sample::select(Lane::ALL.to_vec());
    let stand = prop::sample::select(Stand::ALL.to_vec());
    let step = prop_oneof![
        6 => (0..6_usize, lane(), stand).prop_map(|(flow, lane, stand)| Step::Push { flow, lane, stand }),
        3 => (lane(), 0..6_u32).prop_map(|(lane, budget)| Step::Ask { lane, budget }),
        3 => (0..9_usize, 0..5_usize, 0..3_u32).prop_map(|(nth, most, spared)| Step::Answer { nth, most, spared }),
        1 => (1..6_u32).prop_map(|modulus| Step::Remove { modulus }),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nobody_who_could_ask_is_forgotten(steps in steps()) {
        let (mut flows, mut model) = (flows(), Model::default());
        for (job, step) in (0..).zip(&steps) {
            match step {
                Step::Push { flow, lane, stand } => {
                    let name = (format!("t{}", flow % 3), format!("s{}", flow / 3));
                    push(&mut flows, &name.0, &name.1, *lane, *stand, job);
                    model.jobs.push((name, lane.index(), *stand, job));
                }
                Step::Ask { lane, budget } => {
                    for (name, next) in ask(&mut flows, *lane, *budget) {
                        prop_assert!(next.requests > 0 && next.jobs <= model.of(&name, *lane).count());
                        let twice = model.asks.insert((name.clone(), lane.index()), next.unsure);
                        prop_assert!(twice.is_none(), "{:?} asks twice", name);
                    }
                    for name in model.must_have_asked(*lane) {
                        prop_assert!(model.asks.contains_key(&(name.clone(), lane.index())), "{:?} is forgotten", name);
                    }
                    let without = |name: &Name| {
                        !model.asks.contains_key(&(name.clone(), lane.index())) && model.of(name, *lane).next().is_some()
                    };
                    let left_out = model.names().iter().any(without);
                    prop_assert!(!left_out || model.promised(*lane) >= *budget, "there was budget left for the poor");
                    prop_assert!(!left_out || flows.waits_for_budget(), "nobody would look at them again");
                }
                Step::Answer { nth, most, spared } => {
                    let Some(key) = model.asks.keys().nth(nth % model.asks.len().max(1)).cloned() else { continue };
                    model.asks.remove(&key);
                    let (name, lane) = (key.0, Lane::ALL[key.1]);
                    for gone in answer(&mut flows, (&name.0, &name.1), lane, *most, *spared) {
                        let at = model.jobs.iter().position(|(of, in_lane, _, job)| {
                            *job == gone && *of == name && *in_lane == lane.index()
                        });
                        prop_assert!(at.is_some(), "{} is not of {:?} in {}", gone, name, lane);
                        model.jobs.remove(at.unwrap());
                    }
                }
                Step::Remove { modulus } => {
                    let mut gone = flows.remove_if(|job| job % modulus == 0);
                    gone.sort_unstable();
                    let expected: Vec<u32> = model.jobs.iter().map(|job| job.3).filter(|job| job % modulus == 0).collect();
                    prop_assert_eq!(gone, expected);
                    model.jobs.retain(|job| job.3 % modulus != 0);
                }
            }
            for lane in Lane::ALL {
                let of_lane = || model.jobs.iter().filter(|job| job.1 == lane.index());
                prop_assert_eq!(flows.len(lane), of_lane().count());
                prop_assert_eq!(flows.unsure(lane), of_lane().filter(|job| job.2 == Stand::Unsure).count());
                prop_assert_eq!(flows.promised(lane), model.promised(lane));
                prop_assert_eq!(flows.asks(lane), model.asks.keys().filter(|(_, of)| *of == lane.index()).count());
                prop_assert_eq!(flows.jobs(lane).count(), flows.len(lane));
            }
        }
        flows.remove_if(|_| true);
        for (name, lane) in model.asks.into_keys() {
            let id = flows.find(&name.0, &name.1).unwrap();
            flows.answered(id, Lane::ALL[lane]);
        }
        for lane in Lane::ALL {
            while flows.next_hungry(lane).or_else(|| flows.next_poor(lane)).is_some() {}
        }
        prop_assert_eq!(flows.count(), 0, "flows that nobody needs are kept");
    }
}
