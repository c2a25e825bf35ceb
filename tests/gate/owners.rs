//! Budgets whose owners die, freeze, wake and hand over: what none of it makes them exceed, and what it wastes.

use peakpost::job::{Home, Lane};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::fleet::{BEGIN, Fleet};

use Lane::{Marketing, Transactional};

#[test]
fn a_day_budget_over_twenty_kills() {
    for (seed, (limit, homes)) in (1..).zip([
        ("100_000 messages/day", 4),
        ("1_000 messages/day", 8),
        ("16 messages/day", 16),
        ("20_000 messages/5min", 4),
    ]) {
        let mut fleet = Fleet::new(limit, homes, seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let all: Vec<Home> = (0..homes).collect();
        let (mut wasted, mut worst, batch) = (0, 0, (fleet.limit.count / 2000).max(1));
        for _ in 0..20 {
            let owner = fleet.start(&all);
            for _ in 0..rng.random_range(1..40) {
                fleet.send(owner, Lane::ALL[rng.random_range(0..2)], rng.random_range(1..=batch));
                fleet.wait(rng.random_range(1..15));
            }
            // Dead between a declaration and its acknowledgement, or after it; the write is lost, or lands later.
            fleet.cut_off(owner, 5);
            fleet.wait(20);
            let waste = fleet.wasted(owner);
            let allowed = fleet.waste_allowed(&all);
            assert!(waste <= allowed, "`{limit}`: one kill wasted {waste} units, at most {allowed} may be");
            worst = worst.max(waste);
            wasted += waste;
        }
        let owner = fleet.start(&all);
        let left = fleet.drain(owner, Marketing) + fleet.drain(owner, Transactional);
        assert!(homes == 16 || left > 0, "`{limit}`: nothing was left at the last kill, so it said nothing");
        let marketing = fleet.worst(Some(Marketing));
        assert!(
            homes == 16 || marketing <= u64::from(fleet.limit.count) * 4 / 5,
            "marketing had {marketing} of `{limit}`"
        );
        fleet.none_over("twenty kills");
        assert_eq!(fleet.total() + u64::from(wasted), u64::from(fleet.limit.count), "what is not wasted can be used");
        // The day after, all is there again.
        fleet.wait(fleet.window() * 131 / 128 + 1000);
        assert_eq!(fleet.drain(owner, Transactional), fleet.limit.count, "`{limit}`: waste lasts a window, no longer");
        fleet.none_over("twenty kills, and the day after");
        println!("`{limit}` over {homes} homes: 20 kills wasted {wasted} units, the worst {worst}");
    }
}

#[test]
fn a_frozen_owner_spends_only_what_it_declared() {
    for seed in 0..50 {
        let mut fleet = Fleet::new("4_000 messages/5min", 2, seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let slice = fleet.window() / 128;
        let frozen = fleet.start(&[0, 1]);
        fleet.backlog(BEGIN + rng.random_range(1..1000), &Lane::ALL, 7, 1);
        fleet.wait(rng.random_range(0..30));
        fleet.cut_off(frozen, 2 * fleet.window());
        let next = fleet.start(&[0, 1]);
        // It wakes beside the next owner, and spends all it can, over and over.
        let end = fleet.now + 3 * slice;
        let mut woken = 0;
        while fleet.now < end {
            woken += fleet.send(frozen, Marketing, 1000);
            fleet.send(next, Transactional, 50);
            fleet.wait(rng.random_range(1..200));
        }
        assert!(woken <= fleet.waste_allowed(&[0, 1]), "seed {seed}: {woken} units spent after it lost its homes");
        fleet.drain(next, Transactional);
        fleet.none_over("a frozen owner woke");
        // Its last records arrive when they like; the third owner adds them up.
        fleet.wait(rng.random_range(0..fleet.window()));
        let third = fleet.start(&[0, 1]);
        fleet.cut_off(next, 0);
        fleet.drain(third, Transactional);
        fleet.none_over("a frozen owner's records came late");
    }
}

#[test]
fn a_home_that_moves_in_peace_wastes_nothing() {
    let mut fleet = Fleet::new("10_000 messages/day", 4, 5);
    let (a, b) = (fleet.start(&[0, 1, 2, 3]), fleet.start(&[]));
    for round in 0..100 {
        let (from, to) = if round % 2 == 0 { (a, b) } else { (b, a) };
        fleet.backlog(fleet.now + 200, &Lane::ALL, 3, 20);
        fleet.own(from, &[]);
        fleet.wait(20);
        fleet.own(to, &[0, 1, 2, 3]);
    }
    fleet.own(b, &[]);
    fleet.wait(20);
    fleet.own(a, &[0, 1, 2, 3]);
    fleet.drain(a, Transactional);
    assert_eq!(fleet.total(), 10_000, "a hundred moves took nothing from the day's budget");
}

#[derive(Clone, Debug)]
enum Op {
    Wait(i64),
    Send(usize, Lane, u32),
    /// The process in this place dies, and another is started there.
    Kill(usize),
    /// It freezes, loses its homes to the one in the next place, and wakes beside it.
    Freeze(usize),
    Woken(Lane, u32),
    Move(Home, usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let lane = || prop_oneof![Just(Transactional), Just(Marketing)];
    let units = || prop_oneof![1..5_u32, 1..200_u32, Just(10_000)];
    let op = prop_oneof![
        4 => prop_oneof![4 => 1..30_i64, 3 => 30..5_000_i64, 1 => 5_000..200_000_i64].prop_map(Op::Wait),
        8 => (0..3_usize, lane(), units()).prop_map(|(place, lane, units)| Op::Send(place, lane, units)),
        1 => (0..3_usize).prop_map(Op::Kill),
        1 => (0..3_usize).prop_map(Op::Freeze),
        1 => (lane(), units()).prop_map(|(lane, units)| Op::Woken(lane, units)),
        2 => (0..HOMES, 0..3_usize).prop_map(|(home, place)| Op::Move(home, place)),
    ];
    prop::collection::vec(op, 1..400)
}

const HOMES: Home = 4;

/// Three places with a process each; who owns which home; who was frozen.
struct Places {
    fleet: Fleet,
    at: [usize; 3],
    owns: [usize; HOMES as usize],
    frozen: Vec<usize>,
}

impl Places {
    fn homes(&self, place: usize) -> Vec<Home> {
        (0..HOMES).filter(|home| self.owns[usize::from(*home)] == place).collect()
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Wait(millis) => self.fleet.wait(millis),
            Op::Send(place, lane, units) => {
                self.fleet.send(self.at[place], lane, units);
            }
            Op::Kill(place) => {
                self.fleet.cut_off(self.at[place], 100_000);
                self.at[place] = self.fleet.start(&self.homes(place));
            }
            Op::Freeze(place) => {
                self.fleet.cut_off(self.at[place], 100_000);
                self.frozen.push(self.at[place]);
                let next = (place + 1) % 3;
                self.owns.iter_mut().filter(|owner| **owner == place).for_each(|owner| *owner = next);
                self.fleet.own(self.at[next], &self.homes(next));
                self.at[place] = self.fleet.start(&[]);
            }
            Op::Woken(lane, units) => {
                for frozen in self.frozen.clone() {
                    self.fleet.send(frozen, lane, units);
                }
            }
            Op::Move(home, to) => {
                let from = std::mem::replace(&mut self.owns[usize::from(home)], to);
                self.fleet.own(self.at[from], &self.homes(from));
                self.fleet.own(self.at[to], &self.homes(to));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    /// Whatever happens in whatever order: the log of what was really spent is the naive model.
    #[test]
    fn no_order_of_events_breaks_the_limit(ops in ops(), small: bool, seed: u64) {
        let limit = if small { "40 messages/5min" } else { "8_000 messages/5min" };
        let mut fleet = Fleet::new(limit, HOMES, seed);
        let at = [fleet.start(&[0, 1]), fleet.start(&[2]), fleet.start(&[3])];
        let mut places = Places { fleet, at, owns: [0, 0, 1, 2], frozen: Vec::new() };
        for op in &ops {
            places.run(op);
        }
        let mut fleet = places.fleet;
        let lent = u64::from(fleet.limit.count) * 4 / 5;
        prop_assert!(fleet.worst(None) <= u64::from(fleet.limit.count), "{} units", fleet.worst(None));
        prop_assert!(fleet.worst(Some(Marketing)) <= lent, "{} of marketing's {lent}", fleet.worst(Some(Marketing)));
        // And nothing of it is lost for longer than a window.
        fleet.wait(2 * fleet.window());
        let last = fleet.start(&[0, 1, 2, 3]);
        prop_assert_eq!(u64::from(fleet.drain(last, Marketing)), lent);
        prop_assert_eq!(fleet.drain(last, Transactional), fleet.limit.count - u32::try_from(lent).unwrap());
    }
}
