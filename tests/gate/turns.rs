//! Who is let through, in which order, and what stands in the way: lanes, slots, stops.

use std::time::{Duration, Instant};

use peakpost::gate::{Ask, Config, PERMIT_LIFE};
use peakpost::job::Lane::{self, Marketing, Transactional};
use peakpost::observe::Clock;
use proptest::prelude::*;

use super::alone::{Alone, Grant};
use super::world::{Granted, Wants, World};
use super::{batch, config, ms, singles};

fn start() -> Instant {
    Clock::default().mono()
}

fn turn(gate: &mut Alone, now: Instant) -> (Vec<Grant>, Option<Instant>) {
    let mut grants = Vec::new();
    let wake = gate.turn(now, &mut grants);
    (grants, wake)
}

/// Grants as (shard, lane, requests, messages).
fn shown(grants: &[Grant]) -> Vec<(usize, Lane, u32, u32)> {
    grants.iter().map(|g| (g.shard, g.permit.lane(), g.permit.requests(), g.permit.messages())).collect()
}

/// A gate without limits, so that slots alone decide.
fn slots_only(concurrency: u32, reserve: f64) -> Config {
    Config { reserve, ..config(&[], concurrency) }
}

/// A gate whose bucket has been full for long.
fn rested(config: &Config) -> (Alone, Instant) {
    let begin = start();
    (Alone::new(config, begin), begin + Duration::from_secs(120))
}

#[test]
fn a_new_gate_is_empty_and_says_when_the_first_unit_comes() {
    for (limit, first, why) in [
        ("600 requests/s", 1.838, "1.05 s for 571 units"),
        ("1 messages/s", 1050.0, "the first message waits the whole window and the jitter"),
        ("100 messages/10s", 104.69, "10.05 s for 96 units"),
    ] {
        let begin = start();
        let mut gate = Alone::new(&config(&[limit], 8), begin);
        gate.ask(singles(0, Transactional, 1), begin);
        let (grants, wake) = turn(&mut gate, begin);
        assert_eq!(shown(&grants), [], "{why}: a restart must never add a burst; `{limit}`");
        let wake = wake.unwrap_or_else(|| panic!("{why}: nobody would look again; `{limit}`"));
        let wait = (wake - begin).as_secs_f64() * 1000.0;
        assert!((wait - first).abs() < 0.01 * first, "{why}: `{limit}` begins after {wait} ms, expected {first}");
        let early = wake.checked_sub(Duration::from_nanos(1)).unwrap();
        assert_eq!(turn(&mut gate, early).1, Some(wake), "{why}: a look too early changes nothing; `{limit}`");
        assert_eq!(shown(&turn(&mut gate, wake).0), [(0, Transactional, 1, 1)], "{why}: the named time is right");
    }
}

/// What is asked of a rested gate with 10 slots, and what is given at once.
#[test]
fn an_ask_is_cut_to_what_slots_and_a_grant_allow() {
    type Case<'a> = (&'a [&'a str], Ask, (u32, u32), &'a str);
    let cases: &[Case<'_>] = &[
        (&["600 requests/s"], singles(0, Transactional, 64), (10, 10), "slots"),
        (&["600 requests/s"], singles(0, Marketing, 64), (8, 8), "the slots that marketing may have"),
        (&["100 requests/s"], singles(0, Transactional, 64), (3, 3), "half a burst of 5, rounded up"),
        (&["100 requests/s"], singles(0, Marketing, 64), (2, 2), "half of the 4 that marketing may have"),
        (&["100 messages/s"], singles(0, Transactional, 64), (3, 3), "the same for messages"),
        (&["100 messages/s"], batch(0, Transactional, 1000), (1, 3), "a batch is cut to the grant"),
        (&["100 messages/s", "5 requests/s"], batch(0, Transactional, 1000), (1, 3), "one request is one"),
        (&["100 messages/s", "5 requests/s"], singles(0, Transactional, 9), (1, 1), "one message each"),
        (&[], batch(0, Marketing, 1000), (1, 1000), "no limits"),
        (&[], batch(0, Marketing, 2000), (1, 1000), "a request carries no more than it can"),
        (&[], Ask { requests: 4, ..batch(0, Marketing, 2500) }, (4, 2500), "several requests, not all of them full"),
        (&[], Ask { requests: 20, ..batch(0, Marketing, 20_000) }, (8, 8000), "as many as there are slots"),
        (
            &["100 messages/s"],
            Ask { requests: 4, ..batch(0, Transactional, 2500) },
            (1, 3),
            "three messages need no four requests, and what is taken is spent",
        ),
        (&["60 requests/s"], Ask { requests: 4, ..batch(0, Transactional, 2500) }, (2, 2000), "cut by requests"),
    ];
    for (limits, ask, expected, why) in cases {
        let (mut gate, now) = rested(&config(limits, 10));
        gate.ask(ask.clone(), now);
        let found = turn(&mut gate, now + ms(7)).0;
        assert_eq!(shown(&found), [(ask.shard, ask.lane, expected.0, expected.1)], "{why}: {ask:?} under {limits:?}");
        for grant in found {
            assert_eq!(grant.waited, ms(7), "{why}: the wait counts from the ask");
            assert_eq!(grant.permit.deadline(), now + ms(7) + PERMIT_LIFE, "{why}: a permit lives 50 ms");
            assert_eq!(gate.free_slots(now), 10 - grant.permit.requests(), "{why}: each request holds a slot");
        }
    }
}

#[test]
fn asks_of_a_lane_are_answered_in_order() {
    let (mut gate, now) = rested(&slots_only(3, 0.2));
    for (shard, n) in [(2, 1), (0, 4), (1, 1)] {
        gate.ask(singles(shard, Transactional, n), now);
    }
    let (first, wake) = turn(&mut gate, now);
    assert_eq!(
        shown(&first),
        [(2, Transactional, 1, 1), (0, Transactional, 2, 2)],
        "the second is cut to what is left"
    );
    assert_eq!(wake, None, "only a slot given back helps the third");
    gate.release(Transactional, 1);
    assert_eq!(shown(&turn(&mut gate, now).0), [(1, Transactional, 1, 1)], "and then it is its turn");
}

/// Transactional comes first: 9 permits for each of marketing's, in any order of arrival.
#[test]
fn lanes_take_turns_by_weight() {
    let (mut gate, now) = rested(&slots_only(1000, 0.2));
    for shard in 0..30 {
        gate.ask(batch(shard, Marketing, 10), now);
    }
    for shard in 0..30 {
        gate.ask(batch(shard, Transactional, 10), now);
    }
    let order: String =
        shown(&turn(&mut gate, now).0).iter().map(|g| if g.1 == Marketing { 'm' } else { 't' }).collect();
    let expected = format!("{}ttt{}", "tttttttttm".repeat(3), "m".repeat(27));
    assert_eq!(order, expected, "t: transactional, m: marketing; hint: see Gate::first_lane");
}

/// While marketing takes all it can get, what is kept for transactional is there the moment it asks.
#[test]
fn transactional_finds_its_reserve_at_once_while_marketing_saturates() {
    for (limits, reserved, why) in [
        (&["600 requests/s"][..], 6, "a fifth of a burst of 30"),
        (&["1_000 messages/s"], 10, "a fifth of a burst of 50"),
        (&["100 messages/10s"], 1, "a fifth of a burst of 5"),
        (&["600 requests/s", "1_000 messages/s"], 6, "the smaller of two reserves"),
    ] {
        let config = config(limits, 100);
        let (mut gate, mut now) = rested(&config);
        let mut found = Vec::new();
        // Marketing takes whatever it may, at every look, for a long time.
        for shard in 0..2000 {
            gate.ask(singles(shard, Marketing, 64), now);
            for grant in turn(&mut gate, now).0 {
                gate.release(grant.permit.lane(), grant.permit.requests());
            }
            now += ms(3);
            if shard % 100 == 99 {
                // Long enough ago for the last one's reserve to be whole again.
                gate.ask(singles(9999, Transactional, reserved), now);
                let grants = turn(&mut gate, now).0;
                found.extend(grants.iter().find(|g| g.shard == 9999).map(|g| (g.permit.requests(), g.waited)));
                for grant in grants {
                    gate.release(grant.permit.lane(), grant.permit.requests());
                }
            }
        }
        assert_eq!(found, [(reserved, Duration::ZERO); 20], "{why}: {limits:?}; see Bucket::new");
    }
}

fn share_of_marketing(log: &[Granted]) -> f64 {
    log.iter().filter(|g| g.lane == Marketing).count() as f64 / log.len() as f64
}

/// Both lanes without end, and too little for either: each gets its share of the permits.
#[test]
fn neither_lane_starves() {
    for (seed, (limits, slots, wants, why)) in (1..).zip([
        (&["600 requests/s"][..], 500, Wants::Singles, "a bucket, large asks"),
        (&["600 requests/s"], 500, Wants::OneByOne, "a bucket, asks smaller than the reserve"),
        (&["50_000 messages/s"], 500, Wants::Batches, "batches"),
        (&["20 messages/s"], 500, Wants::Singles, "a bucket of one"),
        (&["600 requests/s", "3_000 messages/s"], 500, Wants::Both, "two limits"),
        (&[], 10, Wants::OneByOne, "slots"),
        (&[], 10, Wants::Singles, "slots, large asks"),
        (&[], 2, Wants::Batches, "the fewest slots there can be"),
        (&["600 requests/s"], 20, Wants::Singles, "slots and a bucket"),
    ]) {
        // A gatekeeper that is late finds more than the next ask needs; one that is on time must not starve anyone
        // either.
        for late in [ms(0), ms(1), ms(20)] {
            let mut world = World::new(&config(limits, slots), wants, &Lane::ALL, seed);
            world.late = late;
            world.run(Duration::from_secs(60));
            let (share, permits) = (share_of_marketing(&world.log) * 100.0, world.log.len());
            println!("{why}, looked at {late:?} late: {share:.1} % of {permits} permits were marketing's");
            // One permit in ten is its share while both wait. Where it may hold few slots it can be less than that,
            // where transactional's asks come late it is more.
            assert!(share >= 5.0, "{why}, {late:?} late: marketing starves with {share:.2} % of the permits");
            assert!(share <= 50.0, "{why}, {late:?} late: transactional got only {:.2} %", 100.0 - share);
        }
    }
}

#[test]
fn one_lane_alone_can_use_next_to_everything() {
    for lane in Lane::ALL {
        let config = config(&["600 requests/s"], 500);
        let mut world = World::new(&config, Wants::Singles, &[lane], 3);
        world.run(Duration::from_secs(100));
        let units: u32 = world.log.iter().map(|g| g.requests).sum();
        let used = f64::from(units) / 54_381.0;
        println!("{lane} alone uses {:.2} %", used * 100.0);
        assert!(used >= 0.95, "{lane} alone gets only {:.2} % of the rate; the reserve is lent", used * 100.0);
    }
}

/// What was accepted and is not durable yet would be sent again by a crash: it is never more than may be at the
/// provider.
#[test]
fn nothing_goes_while_too_much_is_not_durable() {
    let (mut gate, now) = rested(&slots_only(4, 0.2));
    for (unrecorded, goes, why) in
        [(4, false, "as many as there are slots"), (400, false, "far more"), (3, true, "one less"), (0, true, "none")]
    {
        gate.0.unrecorded(unrecorded);
        gate.ask(singles(0, Transactional, 1), now);
        let (grants, wake) = turn(&mut gate, now);
        assert_eq!(!grants.is_empty(), goes, "{why}");
        assert_eq!(wake.is_some(), !goes, "{why}: nobody tells when outcomes are durable, so it looks again");
        gate.0.unrecorded(0);
        for grant in turn(&mut gate, now).0.iter().chain(&grants) {
            gate.release(Transactional, grant.permit.requests());
        }
    }
    gate.0.unrecorded(3_999);
    gate.ask(batch(0, Transactional, 1_000), now);
    assert_eq!(turn(&mut gate, now).0.len(), 1, "a request carries 1,000: four of them are 4,000 messages");
}

/// Never more out than there are slots, and never more of marketing's than are not reserved.
#[test]
fn slots_are_kept() {
    for (slots, reserve, reserved, why) in [
        (2, 0.0, 1, "one slot is always kept"),
        (2, 0.9, 1, "and one is always left for marketing"),
        (10, 0.2, 2, "a fifth"),
        (64, 0.2, 13, "rounded up"),
        (10, 0.9, 9, "the largest reserve"),
    ] {
        for (lanes, seed) in [(&Lane::ALL[..], 5), (&[Marketing], 6), (&[Transactional], 7)] {
            let mut world = World::new(&slots_only(slots, reserve), Wants::Both, lanes, seed);
            world.restart_at(Duration::from_secs(7));
            world.run(Duration::from_secs(20));
            let most = |n: fn(&Granted) -> u32| world.log.iter().map(n).max().unwrap_or(0);
            let all = most(|g| g.out.iter().sum());
            let marketing = most(|g| g.out[Marketing.index()]);
            assert!(all <= slots, "{why}: {all} requests were out at once with {slots} slots");
            let lent = slots - reserved;
            assert!(marketing <= lent, "{why}: {marketing} of marketing's were out, {lent} are the most it may have");
            let expected = if lanes.contains(&Transactional) { slots } else { lent };
            assert_eq!(all, expected, "{why}: slots are left empty though {lanes:?} always waits");
        }
    }
}

#[test]
fn a_refusal_by_one_limit_leaks_nothing_of_another() {
    // Requests bind, next to all messages are free. If each of the thousand refusals took messages along, their
    // bucket would soon bind instead. (With 100 messages/s the two would keep step by chance and hide it.)
    let orders: [&[&str]; 3] =
        [&["2 requests/s"], &["2 requests/s", "110 messages/s"], &["110 messages/s", "2 requests/s"]];
    let granted = orders.map(|limits| {
        let begin = start();
        let mut gate = Alone::new(&config(limits, 100), begin);
        let mut at = Vec::new();
        gate.ask(batch(0, Transactional, 3), begin);
        for look in 1..=10_000 {
            for grant in turn(&mut gate, begin + ms(look)).0 {
                gate.release(grant.permit.lane(), grant.permit.requests());
                at.push((look, grant.permit.messages()));
                gate.ask(batch(0, Transactional, 3), begin + ms(look));
            }
        }
        at
    });
    assert_eq!(granted[0].len(), 19, "2/s is 1.9/s with jitter: {:?}", granted[0]);
    assert_eq!(granted[1], granted[0], "messages listed last; see Gate::take");
    assert_eq!(granted[2], granted[0], "messages listed first; see Gate::take");
}

#[test]
fn a_stop_holds_is_extended_and_never_shortened() {
    let (mut gate, now) = rested(&config(&["600 requests/s"], 10));
    assert_eq!(gate.stopped(now), None, "nobody stopped it");
    for (until, end, why) in [
        (ms(500), ms(500), "a first stop"),
        (ms(200), ms(500), "an earlier end never shortens it"),
        (ms(900), ms(900), "a later end extends it"),
        (ms(0), ms(900), "a stop that is over says nothing"),
    ] {
        gate.stop_until(now + until);
        assert_eq!(gate.stopped(now), Some(now + end), "{why}");
    }
    assert_eq!(turn(&mut gate, now), (vec![], None), "nobody waits, nobody is woken");
    for lane in Lane::ALL {
        gate.ask(singles(0, lane, 1), now);
    }
    for at in [0, 1, 500, 899] {
        let found = turn(&mut gate, now + ms(at));
        assert_eq!(found, (vec![], Some(now + ms(900))), "{at} ms: not for anyone, and woken at its end");
    }
    let expected = [(0, Transactional, 1, 1), (0, Marketing, 1, 1)];
    assert_eq!(shown(&turn(&mut gate, now + ms(900)).0), expected, "at its end it is over");
    assert_eq!(gate.stopped(now + ms(900)), None, "and is no longer shown");
    gate.stop_until(now + ms(950));
    assert_eq!(gate.stopped(now + ms(901)), Some(now + ms(950)), "a new stop after an old one");
}

fn give_back(gate: &mut Alone, out: &mut [u32; 2]) {
    for (lane, out) in Lane::ALL.into_iter().zip(out) {
        gate.release(lane, std::mem::take(out));
    }
}

fn count(grants: &[Grant], out: &mut [u32; 2]) {
    for grant in grants {
        out[grant.permit.lane().index()] += grant.permit.requests();
    }
}

proptest! {
    /// Whatever is asked, released and stopped: nothing during a stop, slots add up, every ask is answered.
    #[test]
    fn nothing_goes_during_a_stop_and_no_ask_is_lost(
        steps in prop::collection::vec((0..4_u8, 0..200_u64, 1..70_u32, any::<bool>()), 1..80),
    ) {
        let begin = start();
        let mut gate = Alone::new(&config(&["200 requests/s", "1_000 messages/s"], 8), begin);
        let (mut now, mut stop, mut out, mut asked, mut answered) = (begin, begin, [0; 2], 0, 0);
        for (step, after, n, marketing) in steps {
            now += ms(after);
            let lane = if marketing { Marketing } else { Transactional };
            match step {
                0 => gate.ask(singles(asked, lane, n), now),
                1 => gate.ask(batch(asked, lane, n), now),
                2 => give_back(&mut gate, &mut out),
                _ => {
                    gate.stop_until(now + ms(u64::from(n)));
                    stop = stop.max(now + ms(u64::from(n)));
                }
            }
            asked += usize::from(step < 2);
            let grants = turn(&mut gate, now).0;
            prop_assert!(grants.is_empty() || now >= stop, "granted during a stop");
            answered += grants.len();
            count(&grants, &mut out);
            prop_assert_eq!(gate.free_slots(now) + out.iter().sum::<u32>(), 8);
            prop_assert!(out[Marketing.index()] <= 6, "marketing took the reserved slots");
        }
        // Left alone with slots free, everyone is answered in time.
        for _ in 0..10_000 {
            give_back(&mut gate, &mut out);
            let (grants, wake) = turn(&mut gate, now);
            answered += grants.len();
            count(&grants, &mut out);
            match wake {
                Some(wake) => now = wake,
                None if grants.is_empty() => break,
                None => {}
            }
        }
        prop_assert_eq!(answered, asked, "asks without an answer");
    }
}
