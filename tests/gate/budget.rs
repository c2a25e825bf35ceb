//! Budgets in virtual time: their rules one by one, what a backlog makes of them, and what a peak waits for.

use peakpost::gate::budget::{Budget, Terms};
use peakpost::job::{Home, Lane, Wall};

use super::fleet::{ACK, BEGIN, Fleet, RESERVE, series};
use super::ms;

use Lane::{Marketing, Transactional};

#[test]
fn parts_sum_to_the_whole() {
    for (count, homes, carrier, least, most, why) in [
        (1000, 8, None, 125, 125, "an even split"),
        (1003, 8, None, 125, 126, "the rest is spread"),
        (5, 8, None, 0, 1, "less than one each"),
        (5, 8, Some(3), 0, 5, "carried by one"),
        (0, 8, None, 0, 0, "nothing to split"),
        (1_000_000_000, 64, None, 15_625_000, 15_625_000, "the largest"),
    ] {
        let limit = "1 messages/day".parse().unwrap();
        let mut budget = Budget::new(series(limit), homes, ms(50), 1, Terms { count, carrier, reserve: RESERVE });
        let mut parts = Vec::new();
        for home in 0..homes {
            budget.opened(home, 1, &[], Wall(BEGIN));
            budget.homes(&[(home, 1)], &mut 0, &mut Vec::new());
            parts.push(budget.used(Wall(BEGIN)).1);
        }
        assert_eq!(parts.iter().sum::<u32>(), count, "{why}: {parts:?}");
        assert_eq!(parts.iter().min(), Some(&least), "{why}: {parts:?}");
        assert_eq!(parts.iter().max(), Some(&most), "{why}: {parts:?}");
        assert!(carrier.is_none_or(|home| parts[usize::from(home)] == count), "{why}: {parts:?}");
    }
}

#[test]
fn nothing_is_spent_before_it_is_durable() {
    let mut fleet = Fleet::new("100_000 messages/day", 1, 1);
    let owner = fleet.start(&[0]);
    let slice = fleet.window() / 128;
    assert_eq!(fleet.send(owner, Marketing, 1), 0, "nothing is declared yet");
    fleet.wait(9);
    assert_eq!(fleet.send(owner, Marketing, 1), 0, "the write is still out");
    assert_eq!(fleet.writes, 1, "and only one: a purse has one write at a time");
    let budget = &mut fleet.owners[owner].budget;
    assert!(!budget.is_exhausted(Marketing, Wall(BEGIN + 9)), "there is a whole day's budget");
    assert_eq!(budget.next(Marketing, Wall(BEGIN + 9)), None, "no time helps, only the acknowledgement");
    fleet.wait(1);
    let wall = fleet.wall();
    let budget = &mut fleet.owners[owner].budget;
    assert_eq!(budget.available(Marketing, wall), 250, "a block: a four-hundredth");
    assert_eq!(budget.available(Transactional, wall), 250, "whichever lane asked for it");
    assert_eq!(budget.used(wall), (0, 100_000), "declared is not spent");
    assert_eq!(fleet.send(owner, Transactional, 1), 1);
    fleet.now = (wall.0 / slice + 1) * slice;
    assert_eq!(fleet.send(owner, Transactional, 1), 1, "it may be spent in the next slice, too");
    fleet.now += slice;
    assert_eq!(fleet.available(owner, Transactional), 0, "but not later: it counts too short");
    assert_eq!(fleet.owners[owner].budget.used(fleet.wall()), (2, 100_000), "what was not spent is taken back");
    fleet.wait(10);
    assert_eq!(fleet.wasted(owner), 248, "the topic does not know yet");
    fleet.send(owner, Transactional, 1);
    fleet.wait(10);
    assert_eq!(fleet.wasted(owner), 250, "the next record tells: only the new block is unspent");
    fleet.cut_off(owner, 0);
    fleet.send(owner, Transactional, 250);
    assert_eq!(fleet.available(owner, Transactional), 0);
    fleet.wait(1000);
    assert_eq!(fleet.send(owner, Transactional, 1), 0, "a write that is never acknowledged is never spent");
    let owner = fleet.start(&[0]);
    fleet.send(owner, Transactional, 1);
    fleet.now += 2 * slice;
    assert_eq!(fleet.send(owner, Transactional, 1), 0, "a write that is out for long");
    fleet.wait(10);
    assert_eq!(fleet.available(owner, Transactional), 0, "and then is durable is too old: it counts too short");
    fleet.send(owner, Transactional, 1);
    fleet.wait(10);
    assert_eq!(fleet.send(owner, Transactional, 1), 1, "but the next one goes");
}

/// Declared as early as can be, spent as late as can be, arrived late; and all of it again as early as can be.
#[test]
fn the_worst_timing_stays_within_the_limit() {
    for limit in ["1 messages/61s", "500 messages/5min", "1000 messages/h", "16 requests/day", "1000 messages/30d"] {
        for carry in [false, true] {
            let mut fleet = Fleet::new(limit, 1, 1);
            let slice = fleet.window() / 128;
            fleet.now = (BEGIN / slice + 1) * slice;
            let mut owner = fleet.start(&[0]);
            fleet.send(owner, Transactional, 1);
            fleet.wait(2 * slice - 1);
            let late = fleet.send(owner, Transactional, u32::MAX);
            assert!(late >= 1, "`{limit}`: what is declared may be spent to the end of the next slice");
            if carry {
                fleet.wait(ACK);
                fleet.cut_off(owner, 0);
                owner = fleet.start(&[0]);
            }
            fleet.drain(owner, Transactional);
            for _ in 0..3 * slice {
                let wall = fleet.wall();
                let Some(next) = fleet.owners[owner].budget.next(Transactional, wall) else { break };
                fleet.wait(next.0 - wall.0);
                fleet.drain(owner, Transactional);
                if fleet.now > BEGIN + 2 * fleet.window() {
                    break;
                }
            }
            fleet.none_over("spent as late as can be");
            assert!(fleet.total() > u64::from(fleet.limit.count), "`{limit}`: the second round never came");
        }
    }
}

#[test]
fn a_home_gives_nothing_before_it_is_read_and_owned() {
    let mut fleet = Fleet::new("1000 messages/day", 2, 1);
    let owner = fleet.start(&[]);
    let (mut tag, mut writes) = (0, Vec::new());
    let wall = fleet.wall();
    let budget = &mut fleet.owners[owner].budget;
    budget.homes(&[(0, 1)], &mut tag, &mut writes);
    budget.declare(Transactional, 1, wall, &mut tag, &mut writes);
    assert!(writes.is_empty() && budget.is_exhausted(Transactional, wall), "owned, but never read");
    assert_eq!(budget.next(Transactional, wall), None, "and no time changes that");
    budget.opened(0, 2, &[], wall);
    budget.declare(Transactional, 1, wall, &mut tag, &mut writes);
    assert!(writes.is_empty() && budget.is_exhausted(Transactional, wall), "read, but not owned yet");
    budget.homes(&[(0, 1)], &mut tag, &mut writes);
    budget.declare(Transactional, 1, wall, &mut tag, &mut writes);
    assert!(writes.is_empty(), "owned in an earlier epoch than it was read for");
    budget.homes(&[(0, 2)], &mut tag, &mut writes);
    budget.declare(Transactional, 1, wall, &mut tag, &mut writes);
    assert_eq!(writes.len(), 1, "read and owned");
    budget.written(writes[0].tag);
    assert_eq!(budget.available(Transactional, wall), 1);
    budget.homes(&[], &mut tag, &mut writes);
    assert_eq!(budget.available(Transactional, wall), 0, "a lost home takes its purse with it");
    assert_eq!(writes.len(), 2, "which gives back what it did not spend");
    assert!(String::from_utf8_lossy(&writes[1].value).contains("\"slices\":[]"), "{:?}", writes[1]);
}

#[test]
fn a_full_backlog_uses_it_up_and_no_window_is_over() {
    for (seed, (limit, homes, split, windows, why)) in (1..).zip([
        ("10_000 messages/61s", 1, &[1][..], 100, "the shortest window, one home"),
        ("20_000 requests/5min", 8, &[8], 60, "one instance"),
        ("20_000 messages/h", 8, &[3, 3, 2], 40, "three instances"),
        ("100_000 messages/day", 16, &[4, 12], 40, "a day, an uneven split"),
        ("37 messages/day", 16, &[16], 100, "two or three a home"),
        ("1_000_000 messages/30d", 4, &[4], 30, "a month"),
    ]) {
        let mut fleet = Fleet::new(limit, homes, seed);
        let mut first = 0;
        for count in split {
            fleet.start(&(first..first + count).collect::<Vec<Home>>());
            first += count;
        }
        let batch = (fleet.limit.count / 200).max(1);
        fleet.backlog(BEGIN + windows * fleet.window(), &Lane::ALL, batch, fleet.window() / 50_000);
        fleet.none_over(why);
        let used = fleet.total() as f64 / (f64::from(fleet.limit.count) * windows as f64);
        let writes = fleet.writes as f64 / windows as f64 / f64::from(homes);
        println!(
            "`{limit}` over {homes} homes: {:.2} % used, {writes:.0} records per home and window; {why}",
            used * 100.0
        );
        assert!(used >= 0.95, "{why}: only {:.2} % of `{limit}` were used under constant backlog", used * 100.0);
    }
}

#[test]
fn marketing_never_has_the_reserve() {
    for (limit, homes, lent, why) in [
        ("100_000 messages/day", 4, 80_000, "a fifth of every purse is not lent"),
        ("1000 messages/5min", 1, 800, "nor of a small one"),
        ("16 messages/day", 8, 8, "a reserve is rounded up"),
        ("8 messages/day", 8, 8, "but one unit is always marketing's too, or it would never go"),
    ] {
        let mut fleet = Fleet::new(limit, homes, 9);
        let owner = fleet.start(&(0..homes).collect::<Vec<_>>());
        let count = fleet.limit.count;
        assert_eq!(fleet.drain(owner, Marketing), lent, "{why}: `{limit}`");
        assert_eq!(fleet.drain(owner, Transactional), count - lent, "{why}: the rest is there at once");
        let wall = fleet.wall();
        let budget = &mut fleet.owners[owner].budget;
        assert_eq!(budget.used(wall), (count, count), "{why}");
        let next = budget.next(Marketing, wall).expect("all is used up, so time is what is awaited");
        assert!(next <= Wall(wall.0 + fleet.window() * 132 / 128 + 1000), "it comes back after a window");
        fleet.wait(next.0 - wall.0 - 1);
        assert_eq!(fleet.drain(owner, Marketing), 0, "{why}: not a moment before");
        fleet.wait(next.0 - fleet.now);
        assert!(fleet.drain(owner, Marketing) > 0, "{why}: and then");
        fleet.none_over(why);
    }
    // Transactional first: it may use everything, and marketing's part is no promise.
    let mut fleet = Fleet::new("1000 messages/day", 2, 9);
    let owner = fleet.start(&[0, 1]);
    assert_eq!(fleet.drain(owner, Transactional), 1000);
    assert_eq!(fleet.drain(owner, Marketing), 0);
}

#[test]
fn another_clock_ahead_still_counts() {
    let hour = 3_600_000;
    for (ahead, left_after, why) in [
        (0, 1, "the same clock"),
        (hour, 2, "an hour ahead: it counts an hour longer, which is the safe side"),
        (400 * 24 * hour, 26, "a clock in the next year: for twice the window, but not for a year"),
    ] {
        let mut fleet = Fleet::new("1000 messages/day", 1, 3);
        fleet.now += ahead;
        let other = fleet.start(&[0]);
        assert_eq!(fleet.drain(other, Transactional), 1000);
        fleet.wait(20);
        fleet.now = BEGIN;
        let owner = fleet.start(&[0]);
        fleet.log.clear();
        assert_eq!(fleet.drain(owner, Transactional), 0, "{why}: it is spent");
        fleet.wait(24 * hour + (left_after - 1) * hour);
        assert_eq!(fleet.drain(owner, Transactional), 0, "{why}: not yet");
        fleet.wait(hour);
        assert_eq!(fleet.drain(owner, Transactional), 1000, "{why}: all of it is there again");
    }
}

#[test]
fn another_count_keeps_what_was_spent() {
    let mut fleet = Fleet::new("1000 messages/day", 2, 3);
    let owner = fleet.start(&[0, 1]);
    assert_eq!(fleet.drain(owner, Transactional), 1000);
    let count = |fleet: &mut Fleet, owner: usize, count: u32| {
        fleet.terms.count = count;
        fleet.owners[owner].budget.set_terms(fleet.terms);
        fleet.drain(owner, Transactional)
    };
    assert_eq!(count(&mut fleet, owner, 1500), 500, "raised by reload: the difference");
    assert_eq!(count(&mut fleet, owner, 800), 0, "lowered: more than that is spent already");
    fleet.cut_off(owner, 0);
    fleet.wait(20);
    fleet.terms.count = 2000;
    let owner = fleet.start(&[0, 1]);
    let sent = fleet.drain(owner, Transactional);
    assert_eq!(sent, 500, "raised by restart: the number is not in the key");
    assert_eq!(count(&mut fleet, owner, 0), 0, "nothing goes at all");
    // Declared under the larger count, not spent under the smaller one.
    let mut fleet = Fleet::new("10_000 messages/day", 1, 3);
    let owner = fleet.start(&[0]);
    fleet.send(owner, Transactional, 100);
    fleet.wait(10);
    let declared = fleet.available(owner, Transactional);
    assert!(declared >= 25, "{declared}");
    fleet.terms.count = 10;
    fleet.owners[owner].budget.set_terms(fleet.terms);
    assert_eq!(fleet.available(owner, Transactional), 10);
    assert_eq!(fleet.available(owner, Marketing), 8);
}

#[test]
fn what_cannot_be_read_counts_as_spent() {
    for (value, why) in [
        ("", "a value that could not be written"),
        ("{", "damage"),
        (r#"{"v":2,"slice_ms":675000,"slices":[]}"#, "a later version"),
        (r#"{"v":1,"slice_ms":1000,"slices":[]}"#, "slices of another length"),
        (r#"{"v":1,"slice_ms":675000,"slices":[[1,-5,0]]}"#, "a count that is none"),
        (r#"{"v":1,"slice_ms":675000}"#, "half of it"),
    ] {
        let mut fleet = Fleet::new("1000 messages/day", 2, 3);
        let key = series(fleet.limit).prefix() + "0000000000000001.1";
        fleet.plant(1, key, value);
        let owner = fleet.start(&[0, 1]);
        assert_eq!(fleet.drain(owner, Transactional), 500, "{why}: `{value}`; the other home has its part");
        let budget = &fleet.owners[owner].budget;
        assert_eq!(budget.unreadable(fleet.wall()), 1, "{why}: it can be seen");
        assert_eq!(budget.used(fleet.wall()), (1000, 1000), "{why}");
        fleet.wait(fleet.window() * 132 / 128);
        assert_eq!(fleet.owners[owner].budget.unreadable(fleet.wall()), 0, "{why}: a window later it is over");
        assert_eq!(fleet.drain(owner, Transactional), 1000, "{why}");
    }
    for (key, why) in [
        ("mail\nprovider\nmessages/12h\n0000000000000001.1", "another window"),
        ("mail\nprovider\nrequests/day\n0000000000000001.1", "another unit"),
        ("mail\ntenant:a\nmessages/day\n0000000000000001.1", "another scope"),
        ("mail2\nprovider\nmessages/day\n0000000000000001.1", "another provider"),
        ("\u{0}", "nobody's"),
    ] {
        let mut fleet = Fleet::new("1000 messages/day", 1, 3);
        fleet.plant(0, key.to_owned(), "{");
        let owner = fleet.start(&[0]);
        assert_eq!(fleet.drain(owner, Transactional), 1000, "{why} is none of ours");
        assert!(fleet.records(0).len() == 2);
    }
}

/// A peak burns what an average window has in a fiftieth of it. The writer must not be what holds it up.
#[test]
fn a_peak_is_not_held_up_by_the_writer() {
    for (limit, homes, step, why) in [
        ("20_000 messages/5min", 1, 1, "a short window, one purse"),
        ("20_000 messages/h", 16, 1, "an hour"),
        ("1_000_000 messages/day", 16, 100, "a day"),
        ("1_000 messages/day", 64, 500, "so small that each is declared by itself"),
    ] {
        let mut fleet = Fleet::new(limit, homes, 4);
        let owner = fleet.start(&(0..homes).collect::<Vec<_>>());
        // The very first waits for its declaration.
        fleet.send(owner, Transactional, 1);
        fleet.wait(ACK);
        let (begin, count, peak) = (fleet.now, i64::from(fleet.limit.count), fleet.window() / 50);
        let mut late = 0;
        while fleet.now < begin + peak {
            fleet.wait(step);
            let wants = count * (fleet.now - begin) / peak - fleet.total() as i64;
            let sent = fleet.send(owner, Transactional, u32::try_from(wants).unwrap_or(0));
            late = late.max((wants - i64::from(sent)) * peak / count);
        }
        let sent = fleet.total();
        println!("`{limit}` over {homes} homes: {sent} in {peak} ms, at most {late} ms late");
        assert!(late <= 0, "{why}: sends of `{limit}` waited {late} ms for their declaration");
        assert!(sent as i64 >= count * 99 / 100, "{why}: {sent} of `{limit}` went out in a peak");
        fleet.drain(owner, Transactional);
        fleet.wait(ACK);
        assert_eq!(fleet.wasted(owner), 0, "{why}: no more is declared than there is");
        fleet.none_over(why);
    }
}
