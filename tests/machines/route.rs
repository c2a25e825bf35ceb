//! The first line of the table that fits, with all of its providers.

use peakpost::job::{Channel, Lane};
use peakpost::route::{Route, Routes};

fn route(channel: Channel, tenant: Option<&str>, lane: Option<Lane>, provider: usize) -> Route {
    Route { channel, tenant: tenant.map(str::to_owned), lane, providers: vec![provider, 9] }
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
        let expected = expected.map_or(vec![], |provider| vec![provider, 9]);
        assert_eq!(table.find(channel, tenant, lane), expected, "{why}: {channel} of `{tenant}` in {lane}");
    }
}

#[test]
fn without_a_table_nobody_carries() {
    for channel in Channel::ALL {
        for lane in Lane::ALL {
            assert!(Routes::default().find(channel, "shop", lane).is_empty(), "{channel} in {lane}");
        }
    }
}
