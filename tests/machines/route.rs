//! The first line of the table that fits, and the order in which its providers are tried.

use peakpost::job::{Channel, Lane};
use peakpost::route::{Route, Routes};

fn route(channel: Channel, tenant: Option<&str>, lane: Option<Lane>, provider: usize) -> Route {
    Route { channel, tenant: tenant.map(str::to_owned), lane, providers: vec![provider, 9], weights: Vec::new() }
}

#[test]
fn the_first_line_that_fits_carries() {
    const T: Lane = Lane::Transactional;
    const M: Lane = Lane::Marketing;
    let table = Routes(vec![
        route(Channel::Email, Some("vip"), Some(T), 0),
        route(Channel::Email, Some("vip"), None, 1),
        route(Channel::Email, None, Some(M), 2),
        route(Channel::Email, None, None, 3),
        route(Channel::Email, Some("late"), None, 4),
        route(Channel::Sms, None, Some(T), 5),
        route(Channel::Webhook, Some("vip"), None, 6),
        route(Channel::Webhook, None, None, 0),
    ]);
    for (channel, tenant, lane, expected, why) in [
        (Channel::Email, "vip", T, Some(0), "all three fit"),
        (Channel::Email, "vip", M, Some(1), "another lane: the next line of this tenant"),
        (Channel::Email, "shop", M, Some(2), "any tenant, this lane"),
        (Channel::Email, "shop", T, Some(3), "the line for all the rest"),
        (Channel::Email, "late", T, Some(3), "a line behind one that fits is never reached"),
        (Channel::Email, "late", M, Some(2), "nor in the other lane"),
        (Channel::Email, "VIP", T, Some(3), "names are taken to the letter"),
        (Channel::Email, "vip ", T, Some(3), "to the last one"),
        (Channel::Email, "", T, Some(3), "a tenant without a name is no wildcard"),
        (Channel::Sms, "vip", T, Some(5), "a channel with one line"),
        (Channel::Sms, "vip", M, None, "and nothing for the other lane"),
        (Channel::Push, "vip", T, None, "a channel without a line"),
        (Channel::Webhook, "vip", M, Some(6), "a tenant of its own"),
        (Channel::Webhook, "shop", M, Some(0), "two channels may share a provider"),
    ] {
        let found = table.find(channel, tenant, lane).map(|route| route.providers[0]);
        assert_eq!(found, expected, "{why}: {channel} of `{tenant}` in {lane}");
    }
}

#[test]
fn without_a_table_nobody_carries() {
    for channel in Channel::ALL {
        for lane in Lane::ALL {
            assert_eq!(Routes::default().find(channel, "shop", lane), None, "{channel} in {lane}");
        }
    }
}

fn plan(providers: &[usize], weights: &[u32], key: u64) -> Vec<usize> {
    let all =
        Route { providers: providers.to_vec(), weights: weights.to_vec(), ..route(Channel::Email, None, None, 0) };
    all.plan(key).all().collect()
}

#[test]
fn the_plan_names_everybody_once_the_chosen_one_first() {
    for (providers, weights, key, expected, why) in [
        (&[4, 5, 6][..], &[][..], 7, &[4, 5, 6][..], "in order, whatever the job"),
        (&[4], &[], 7, &[4], "one alone"),
        (&[4, 5, 6], &[70, 20, 10], 0, &[4, 5, 6], "the first of the first part"),
        (&[4, 5, 6], &[70, 20, 10], 69, &[4, 5, 6], "the last of it"),
        (&[4, 5, 6], &[70, 20, 10], 70, &[5, 4, 6], "the first of the second part; the others as written"),
        (&[4, 5, 6], &[70, 20, 10], 99, &[6, 4, 5], "the last of all"),
        (&[4, 5, 6], &[70, 20, 10], 100, &[4, 5, 6], "and around"),
        (&[4, 5, 6], &[0, 0, 1], u64::MAX, &[6, 4, 5], "who weighs nothing only takes over"),
    ] {
        assert_eq!(plan(providers, weights, key), expected, "{why}: {providers:?} by {weights:?}, key {key}");
    }
}

#[test]
fn weights_are_kept_over_many_jobs() {
    let mut firsts = [0_u32; 3];
    for job in 0..100_000_u64 {
        // Any keys that are spread over all numbers will do.
        firsts[plan(&[0, 1, 2], &[70, 25, 5], job.wrapping_mul(0x9E37_79B9_7F4A_7C15))[0]] += 1;
    }
    for (found, wanted) in firsts.into_iter().zip([70_000, 25_000, 5_000]) {
        assert!(u32::abs_diff(found, wanted) < 700, "{firsts:?} of 100,000 by 70 : 25 : 5");
    }
}

#[test]
fn who_can_hand_over_to_another() {
    let line = |providers: &[usize], weights: &[u32]| Route {
        providers: providers.to_vec(),
        weights: weights.to_vec(),
        ..route(Channel::Email, None, None, 0)
    };
    let table = Routes(vec![line(&[0, 1], &[]), line(&[2], &[]), line(&[3, 4], &[50, 50])]);
    for (provider, expected, why) in [
        (0, true, "the next of its line"),
        (1, true, "the first, when the last fails in its turn"),
        (2, false, "it is alone"),
        (3, true, "by weights everybody takes over from everybody"),
        (4, true, "also the last"),
        (5, false, "it is in no line"),
    ] {
        assert_eq!(table.has_another(provider), expected, "{why}: provider {provider}");
    }
}
