//! Whether a job may be sent, as far as ownership goes.

use std::time::Duration;

use peakpost::job::{Coordinates, Lane, Receipt, Source};
use peakpost::ledger::ownership::Ownership;
use peakpost::ledger::ownership::Standing::{self, Gone, LeaseOut, Ours};

use super::{give_back, ms, start};

/// What intake did, before a shard asks.
#[derive(Clone, Copy, Debug)]
enum Did {
    Open(u32),
    Close,
    /// The lease now runs until so many milliseconds after the beginning.
    Renew(u64),
}
use Did::{Close, Open, Renew};

fn standing(table: &Ownership, home: u16, epoch: u32, at: std::time::Instant) -> Standing {
    let receipt = Receipt::new(Coordinates { from: Source::Jobs(Lane::Transactional), home, offset: 9 }, epoch, 0, 0);
    let found = table.standing(&receipt, at);
    give_back(receipt);
    found
}

/// What is drained still counts; what went to another owner is late, also when the home is ours again.
#[test]
fn an_outcome_counts_until_the_home_is_let_go() {
    let table = Ownership::new(3, start());
    let held = |epoch: u32| {
        let at = Coordinates { from: Source::Jobs(Lane::Transactional), home: 1, offset: 9 };
        let receipt = Receipt::new(at, epoch, 0, 0);
        let held = table.is_held(&receipt);
        give_back(receipt);
        held
    };
    assert!(!held(1), "nothing is ours at the start");
    table.open(1, 1);
    assert!(held(1), "ours");
    table.close(1);
    assert!(held(1), "nothing more is sent, but what is out comes back and counts");
    table.let_go(1);
    assert!(!held(1), "another decides anew");
    table.open(1, 2);
    assert!(held(2) && !held(1), "what was read before is late, whoever owns the home now");
}

#[test]
fn a_job_may_be_sent_while_its_home_is_ours_and_the_lease_runs() {
    let rows: &[(&[Did], u32, u64, Standing, &str)] = &[
        (&[], 1, 0, Gone, "nothing is ours at the start"),
        (&[Renew(100)], 1, 0, Gone, "a lease alone owns nothing"),
        (&[Open(1)], 1, 0, LeaseOut, "ours, but never fenced by a commit"),
        (&[Open(1), Renew(100)], 1, 0, Ours, "ours and leased"),
        (&[Open(1), Renew(100)], 1, 99, Ours, "the last moment of the lease"),
        (&[Open(1), Renew(100)], 1, 100, LeaseOut, "its end is not in it"),
        (&[Open(1), Renew(100)], 1, 5000, LeaseOut, "long after it"),
        (&[Open(1), Renew(100), Renew(200)], 1, 150, Ours, "renewed"),
        (
            &[Open(1), Renew(200), Renew(100)],
            1,
            150,
            Ours,
            "an older commit's answer that comes late takes nothing away",
        ),
        (&[Open(1), Renew(100), Close], 1, 0, Gone, "given away"),
        (&[Open(1), Renew(100), Close, Open(2)], 1, 0, Gone, "lost and won again: another may have sent it meanwhile"),
        (&[Open(1), Renew(100), Close, Open(2)], 2, 0, Ours, "what was read since is ours"),
        (&[Open(2), Renew(100)], 1, 0, Gone, "an old receipt, though nobody said that the home was lost"),
        (&[Open(1), Renew(100)], 2, 0, Gone, "a receipt from the future is nobody's"),
        (&[Open(1), Close], 1, 0, Gone, "gone weighs more than a lease that is out"),
    ];
    for (did, epoch, at, expected, why) in rows {
        let begin = start();
        let table = Ownership::new(3, begin);
        for step in *did {
            match *step {
                Open(epoch) => table.open(1, epoch),
                Close => table.close(1),
                Renew(until) => table.renew(begin + ms(until)),
            }
        }
        assert_eq!(standing(&table, 1, *epoch, begin + ms(*at)), *expected, "{why}: {did:?}, epoch {epoch}, {at} ms");
        assert_eq!(standing(&table, 0, *epoch, begin), Gone, "{why}: another home is not touched by it");
    }
}

#[test]
fn a_home_beyond_the_table_is_not_ours() {
    let begin = start();
    let table = Ownership::new(2, begin);
    table.open(1, 4);
    table.renew(begin + ms(10));
    assert_eq!(table.homes(), 2);
    assert_eq!(standing(&table, 1, 4, begin), Ours);
    for home in [2, 3, u16::MAX] {
        assert_eq!(standing(&table, home, 4, begin), Gone, "home {home} does not exist");
    }
}

#[test]
fn the_lease_is_shown_as_what_is_left_of_it() {
    let begin = start();
    let table = Ownership::new(1, begin);
    assert_eq!(table.lease_left(begin), Duration::ZERO, "none at the start");
    table.renew(begin + ms(100));
    for (at, left) in [(0, 100), (40, 60), (100, 0), (101, 0)] {
        assert_eq!(table.lease_left(begin + ms(at)), ms(left), "{at} ms after the beginning");
    }
    let before = begin.checked_sub(ms(5)).unwrap();
    assert_eq!(table.lease_left(before), ms(100), "a clock read before the beginning does not add to it");
}

/// Who shares limits out by the homes that are open looks again when the version is another.
#[test]
fn every_change_of_what_is_open_shows_as_another_version() {
    let table = Ownership::new(3, start());
    assert_eq!(table.owned(), [], "nothing is ours at the start");
    let mut seen = vec![table.version()];
    let mut changed = |change: &dyn Fn(&Ownership), owned: &[(u16, u32)], why: &str| {
        change(&table);
        assert_eq!(table.owned(), owned, "{why}");
        assert!(!seen.contains(&table.version()), "{why}: version {} was seen before: {seen:?}", table.version());
        seen.push(table.version());
    };
    changed(&|t| t.open(2, 1), &[(2, 1)], "opened");
    changed(&|t| t.open(0, 2), &[(0, 2), (2, 1)], "another one, in the order of the homes");
    changed(&|t| t.close(2), &[(0, 2)], "closed: what is out comes back, nothing more is sent");
    changed(&|t| t.let_go(2), &[(0, 2)], "let go");
    changed(&|t| t.open(2, 3), &[(0, 2), (2, 3)], "won again: a new period");
    changed(&|t| t.let_go(0), &[(2, 3)], "lost without being closed");
    let version = table.version();
    table.renew(start() + ms(100));
    assert_eq!(table.version(), version, "the lease is not part of it");
}
