//! Suppressions: whom a record is about, what it forbids to whom, and what is taken back.
//!
//! Why: every row is somebody who must not be written to, or somebody who may be and waits for a parcel.

use std::collections::HashMap;

use peakpost::job::{Channel, Lane, Wall};
use peakpost::outcome::Cause;
use peakpost::recipient::Recipients;
use peakpost::recipient::address::{Hashed, Keyer};
use peakpost::recipient::suppression::{Key, Scope, Suppression, reason};
use peakpost::recipient::table::Table;
use proptest::prelude::*;

use super::{ms, start};

const KEY: &[u8] = b"sixteen bytes or more";

fn keyer() -> Keyer {
    Keyer::new(KEY).unwrap()
}

fn suppression(tenant: Option<&str>, scope: Scope, cause: Cause) -> Suppression {
    Suppression {
        channel: Channel::Email,
        tenant: tenant.map(Into::into),
        recipient: keyer().hash(Channel::Email, "jane@example.com"),
        scope,
        reason: cause,
        by: "mail".into(),
        at: Wall(1_795_770_000_000),
    }
}

#[test]
fn a_record_says_what_it_was_told() {
    for tenant in [None, Some("shop-eu")] {
        for scope in Scope::ALL {
            for cause in Cause::ALL {
                let told = suppression(tenant, scope, cause);
                assert_eq!(Suppression::parse(&told.key(), &told.value()), Ok(told.clone()), "read as written");
                assert_eq!(reason(&told.value()), cause);
            }
        }
    }
    let told = suppression(Some("shop-eu"), Scope::Marketing, Cause::Complaint);
    let key = String::from_utf8(told.key()).unwrap();
    assert_eq!(
        key,
        format!("email/shop-eu/marketing/{}", told.recipient.hex()),
        "the key is a promise to other versions"
    );
    assert_eq!(String::from_utf8(told.value()).unwrap(), r#"{"reason":"complaint","by":"mail","at_ms":1795770000000}"#);
}

/// Whoever cannot read why still does not write to them.
#[test]
fn what_the_value_says_never_sets_anybody_free() {
    let key = suppression(None, Scope::All, Cause::Manual).key();
    for value in
        [&b""[..], b"{}", b"not JSON", br#"{"reason":"of_a_later_version","new":1}"#, br#"{"reason":7}"#, b"\xff"]
    {
        let read = Suppression::parse(&key, value).unwrap();
        assert_eq!((read.reason, reason(value)), (Cause::Manual, Cause::Manual), "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn a_key_that_names_nobody_is_told() {
    let hash = "0123456789abcdef0123456789abcdef";
    let table: &[(&str, String, &str)] = &[
        ("nothing", String::new(), "its key is not"),
        ("a part too few", format!("email/*/{hash}"), "its key is not"),
        ("a part too many", format!("email/*/all/{hash}/x"), "its key is not"),
        ("a channel of a later version", format!("pigeon/*/all/{hash}"), "no channel"),
        ("a scope of a later version", format!("email/*/weekly/{hash}"), "no scope"),
        ("no hash", "email/*/all/jane@example.com".to_owned(), "no hash"),
        ("a tenant that cannot be", format!("email/a b/all/{hash}"), "a tenant has"),
    ];
    for (why, key, says) in table {
        let fault = Key::parse(key.as_bytes()).unwrap_err();
        assert!(fault.contains(says), "{why}: `{fault}` must say `{says}`");
    }
    assert!(Key::parse(b"\xff").is_err(), "no text");
}

/// Why, what is suppressed (`None` as the cause: taken back), who asks in which lane, and what holds them back.
type Row<'a> = (&'a str, &'a [(Option<&'a str>, Scope, Option<Cause>)], (&'a str, Lane), Option<Cause>);

#[test]
fn a_scope_and_a_tenant_bind_whom_they_name() {
    use Lane::{Marketing as M, Transactional as T};
    let (bounce, spam, hand) = (Some(Cause::HardBounce), Some(Cause::Complaint), Some(Cause::Manual));
    let table: &[Row<'_>] = &[
        ("nobody", &[], ("shop", M), None),
        ("all of everybody", &[(None, Scope::All, bounce)], ("shop", T), bounce),
        ("all is marketing as well", &[(None, Scope::All, bounce)], ("shop", M), bounce),
        ("marketing", &[(None, Scope::Marketing, spam)], ("shop", M), spam),
        ("not what a person waits for", &[(None, Scope::Marketing, spam)], ("shop", T), None),
        ("one tenant's", &[(Some("shop"), Scope::All, hand)], ("shop", T), hand),
        ("not another's", &[(Some("shop"), Scope::All, hand)], ("travel", T), None),
        (
            "everybody's beside one's own",
            &[(Some("shop"), Scope::Marketing, spam), (None, Scope::All, bounce)],
            ("shop", T),
            bounce,
        ),
        (
            "a weaker word does not replace a stronger one",
            &[(None, Scope::All, bounce), (None, Scope::Marketing, spam)],
            ("shop", T),
            bounce,
        ),
        ("the last word of a scope counts", &[(None, Scope::All, bounce), (None, Scope::All, hand)], ("shop", T), hand),
        ("taken back", &[(None, Scope::All, bounce), (None, Scope::All, None)], ("shop", M), None),
        (
            "one scope taken back",
            &[(None, Scope::All, bounce), (None, Scope::Marketing, spam), (None, Scope::All, None)],
            ("shop", M),
            spam,
        ),
        (
            "taken back for one tenant, standing for all",
            &[(None, Scope::All, bounce), (Some("shop"), Scope::All, None)],
            ("shop", M),
            bounce,
        ),
    ];
    let recipient = keyer().hash(Channel::Email, "jane@example.com");
    for (why, records, (tenant, lane), expected) in table {
        let table = Table::default();
        for (tenant, scope, cause) in *records {
            table.set(&Key { channel: Channel::Email, tenant: *tenant, scope: *scope, recipient }, *cause);
        }
        assert_eq!(table.find(recipient, tenant, *lane), *expected, "{why}");
        let stands = expected.is_some() || *lane == Lane::Transactional && !records.is_empty() || *tenant == "travel";
        assert!(stands || table.is_empty(), "{why}: what is taken back takes no room");
    }
}

/// As whoever sends marketing of a tenant asks.
fn asked(recipients: &Recipients, channel: Channel, to: &str) -> Option<Cause> {
    recipients.suppressed(recipients.hash(channel, to), "shop", Lane::Marketing)
}

#[test]
fn spellings_of_a_mailbox_are_one_recipient_and_channels_are_not() {
    let recipients = Recipients::new(keyer(), ms(5000), start());
    let told = suppression(None, Scope::All, Cause::Unsubscribe);
    recipients.table().set(&Key::parse(&told.key()).unwrap(), Some(told.reason));
    for to in ["jane@example.com", "Jane Doe <JANE@Example.COM>", " jane@example.com "] {
        assert_eq!(asked(&recipients, Channel::Email, to), Some(Cause::Unsubscribe), "{to}");
    }
    for (channel, to) in [(Channel::Email, "jane@example.org"), (Channel::Push, "jane@example.com")] {
        assert_eq!(asked(&recipients, channel, to), None, "{channel} {to}");
    }
    let others = Recipients::new(Keyer::new(b"another sixteen bytes").unwrap(), ms(5000), start());
    others.table().set(&Key::parse(&told.key()).unwrap(), Some(told.reason));
    assert_eq!(asked(&others, Channel::Email, "jane@example.com"), None, "without the key nobody can be looked up");
}

/// Nothing may be sent before everything is known, nor long after anything was heard.
#[test]
fn it_is_open_while_it_is_whole_and_fresh() {
    let began = start();
    let recipients = Recipients::new(keyer(), ms(5000), began);
    assert!(!recipients.open(began), "nothing is known yet");
    assert!(recipients.fault(began).unwrap().contains("are being read"));
    recipients.fresh(began);
    assert!(recipients.open(began), "known from the first moment on");
    recipients.fresh(began + ms(1000));
    recipients.fresh(began + ms(500));
    let table = [(1000, true), (6000, true), (6001, false), (60_000, false)];
    for (at, open) in table {
        let now = began + ms(at);
        assert_eq!(recipients.open(now), open, "at {at} ms, heard at 1000 ms, for at most 5000 ms");
        assert_eq!(recipients.fault(now).is_none(), open, "readiness says the same at {at} ms");
    }
}

proptest! {
    /// Against a map of whole keys.
    #[test]
    fn the_table_answers_as_a_plain_map(
        steps in prop::collection::vec((0_u8..20, 0_usize..3, prop::bool::ANY, prop::option::of(0_usize..6)), 1..200)
    ) {
        let table = Table::default();
        let mut plain: HashMap<(u8, Option<&str>, Scope), Cause> = HashMap::new();
        let tenants = [None, Some("a"), Some("b")];
        let recipient = |n: u8| Hashed([n.wrapping_mul(37); 16]);
        for (who, tenant, all, cause) in steps {
            let scope = if all { Scope::All } else { Scope::Marketing };
            let (tenant, cause) = (tenants[tenant], cause.map(|n| Cause::ALL[n]));
            table.set(&Key { channel: Channel::Sms, tenant, scope, recipient: recipient(who) }, cause);
            match cause {
                Some(cause) => plain.insert((who, tenant, scope), cause),
                None => plain.remove(&(who, tenant, scope)),
            };
        }
        for who in 0..20 {
            for tenant in ["a", "b"] {
                for lane in Lane::ALL {
                    let mut says = [None, Some(tenant)].into_iter().flat_map(|of| Scope::ALL.map(|scope| (of, scope)));
                    let expected = says.find_map(|(of, scope)| {
                        let binds = scope == Scope::All || lane == Lane::Marketing;
                        binds.then(|| plain.get(&(who, of, scope)).copied()).flatten()
                    });
                    prop_assert_eq!(table.find(recipient(who), tenant, lane), expected);
                }
            }
        }
        let entries: std::collections::HashSet<_> = plain.keys().map(|(who, tenant, _)| (who, tenant)).collect();
        prop_assert_eq!(table.len(), entries.len());
    }
}
