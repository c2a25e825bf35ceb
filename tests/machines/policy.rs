//! Every rule, on both sides of its edge; which one speaks when several would.

use std::collections::HashMap;
use std::time::Duration;

use peakpost::job::{Channel, Lane, Wall};
use peakpost::outcome::{Kind, Reason};
use peakpost::policy::Decision::{self, Drop, Send, Wait};
use peakpost::policy::{Config, Tenant};

use super::with_job;

/// 2026-11-27T09:00:00Z.
const NOW: Wall = Wall(1_795_770_000_000);
const T: Lane = Lane::Transactional;
const M: Lane = Lane::Marketing;

const HOUR: u64 = 3600;

const TOO_OLD: Decision = Drop(Kind::Expired, Reason::TooOld);
const EXPIRED: Decision = Drop(Kind::Expired, Reason::Expired);
const NO_CONSENT: Decision = Drop(Kind::Refused, Reason::NoConsent);
const NO_UNSUBSCRIBE: Decision = Drop(Kind::Refused, Reason::NoUnsubscribe);
const NOT_ALLOWED: Decision = Drop(Kind::Refused, Reason::SenderNotAllowed);
const TOO_FAR: Decision = Drop(Kind::Dead, Reason::SendAtTooFar);

const CONSENT: &str = r#","consent":{"at":"2025-03-02T18:21:07Z","source":"checkout"}"#;
const LEAVE: &str = r#","unsubscribe":{"url":"https://shop.example/u"}"#;

fn config() -> Config {
    let tenant = |from: &[&str], own| Tenant {
        from: from.iter().map(|text| (*text).to_owned()).collect(),
        marketing_without_unsubscribe: own,
    };
    Config {
        require_consent: vec![(Channel::Sms, M), (Channel::Push, T)],
        tenants: HashMap::from([
            ("shop".to_owned(), tenant(&["*@shop.example", "ceo@corp.example", "+14155550100", "PEAKSHOP"], false)),
            ("own".to_owned(), tenant(&["*"], true)),
        ]),
        other_tenants: tenant(&["any@shared.example"], false),
        send_at_max: Duration::from_secs(10),
        max_age: [Duration::from_secs(24 * HOUR), Duration::from_secs(72 * HOUR)],
    }
}

fn job(tenant: &str, channel: Channel, more: &str) -> String {
    let (to, content) = match channel {
        Channel::Email => ("ana@example.com", r#"{"subject":"s","text":"t"}"#),
        Channel::Sms => ("+14155550123", r#"{"body":"b"}"#),
        Channel::Push => ("fcm:APA91bHun4", r#"{"title":"t","body":"b"}"#),
        Channel::Webhook => ("https://partner.example/hook", "{}"),
    };
    format!(r#"{{"id":"i","tenant":"{tenant}","channel":"{channel}","to":"{to}","content":{content}{more}}}"#)
}

fn check(tenant: &str, channel: Channel, lane: Lane, more: &str, expected: Decision, why: &str) {
    let record = job(tenant, channel, more);
    let found = with_job(&record, |job| config().decide(job.spec(), lane, NOW, NOW));
    assert_eq!(found, expected, "{why}: {channel} of `{tenant}` in {lane}: {record}");
}

#[test]
fn consent_is_required_where_it_is_configured() {
    for channel in Channel::ALL {
        for lane in Lane::ALL {
            let must =
                matches!((channel, lane), (Channel::Sms, Lane::Marketing) | (Channel::Push, Lane::Transactional));
            let leave = if channel == Channel::Email { LEAVE } else { "" };
            let expected = if must { NO_CONSENT } else { Send };
            check("shop", channel, lane, leave, expected, "no consent: absent means no, but only where it is required");
            check("shop", channel, lane, &format!("{leave}{CONSENT}"), Send, "consent is enough everywhere");
        }
    }
}

#[test]
fn marketing_mail_offers_a_way_to_leave() {
    for (tenant, channel, lane, more, expected, why) in [
        ("shop", Channel::Email, M, "", NO_UNSUBSCRIBE, "without it the mail costs the inbox"),
        ("shop", Channel::Email, M, LEAVE, Send, "it has one"),
        ("shop", Channel::Email, T, "", Send, "nobody unsubscribes from a password reset"),
        ("own", Channel::Email, M, "", Send, "this tenant's templates carry their own"),
        ("stranger", Channel::Email, M, "", NO_UNSUBSCRIBE, "a tenant without an entry"),
        ("shop", Channel::Push, M, "", Send, "mail only"),
        ("shop", Channel::Webhook, M, "", Send, "mail only"),
    ] {
        check(tenant, channel, lane, more, expected, why);
    }
}

#[test]
fn a_tenant_writes_in_its_own_name() {
    for (tenant, channel, from, expected, why) in [
        ("shop", Channel::Email, "news@shop.example", Send, "an address of its domain"),
        ("shop", Channel::Email, "Shop <news@shop.example>", Send, "with a display name"),
        ("shop", Channel::Email, "News@SHOP.Example", Send, "case says nothing in a domain"),
        ("shop", Channel::Email, "ceo@corp.example", Send, "one address of another domain"),
        ("shop", Channel::Email, "cfo@corp.example", NOT_ALLOWED, "and no second one"),
        ("shop", Channel::Email, "a@sub.shop.example", NOT_ALLOWED, "a subdomain is another domain"),
        ("shop", Channel::Email, "a@notshop.example", NOT_ALLOWED, "a domain that ends alike"),
        ("shop", Channel::Email, "a@shop.example.evil.test", NOT_ALLOWED, "a domain that begins alike"),
        ("shop", Channel::Email, "shop.example <a@evil.test>", NOT_ALLOWED, "a display name is no sender"),
        ("shop", Channel::Sms, "PEAKSHOP", Send, "a sender id"),
        ("shop", Channel::Sms, "peakshop", Send, "in any case"),
        ("shop", Channel::Sms, "PEAKSHOP1", NOT_ALLOWED, "another sender id"),
        ("shop", Channel::Sms, "+14155550100", Send, "a number"),
        ("shop", Channel::Sms, "+14155550101", NOT_ALLOWED, "another number"),
        ("own", Channel::Email, "who@ever.example", Send, "`*` is anybody"),
        ("own", Channel::Sms, "ANY", Send, "`*` is anybody"),
        ("stranger", Channel::Email, "any@shared.example", Send, "the list for all others"),
        ("stranger", Channel::Email, "news@shop.example", NOT_ALLOWED, "another tenant's name"),
    ] {
        let more = format!(r#","from":"{from}""#);
        check(tenant, channel, T, &more, expected, why);
    }
    check("shop", Channel::Email, T, "", Send, "no sender named: there is nothing to forge");
    let nobody = Config { other_tenants: Tenant::default(), ..config() };
    let record = job("stranger", Channel::Email, r#","from":"a@b.example""#);
    let found = with_job(&record, |job| nobody.decide(job.spec(), T, NOW, NOW));
    assert_eq!(found, NOT_ALLOWED, "an empty list allows nobody");
}

#[test]
fn times_are_kept_to_the_millisecond() {
    for (more, expected, why) in [
        (r#","expires_at":"2026-11-27T09:00:00.001Z""#, Send, "a millisecond left"),
        (r#","expires_at":"2026-11-27T09:00:00Z""#, EXPIRED, "from this time on it is worthless"),
        (r#","expires_at":"2026-11-27T10:00:00+01:00""#, EXPIRED, "the same moment elsewhere"),
        (r#","expires_at":"2020-01-01T00:00:00Z""#, EXPIRED, "long ago"),
        (r#","send_at":"2026-11-27T08:59:59.999Z""#, Send, "it has been due"),
        (r#","send_at":"2026-11-27T09:00:00Z""#, Send, "it is due"),
        (r#","send_at":"2026-11-27T09:00:00.001Z""#, Wait(Wall(NOW.0 + 1)), "in a millisecond"),
        (r#","send_at":"2026-11-27T09:00:10Z""#, Wait(Wall(NOW.0 + 10_000)), "as far off as memory holds"),
        (r#","send_at":"2026-11-27T09:00:10.001Z""#, TOO_FAR, "a millisecond further"),
        (
            r#","send_at":"2026-11-27T09:00:05Z","expires_at":"2026-11-27T09:00:00Z""#,
            EXPIRED,
            "due later, void already",
        ),
        (
            r#","send_at":"2026-11-27T09:00:05Z","expires_at":"2026-11-27T09:00:06Z""#,
            Wait(Wall(NOW.0 + 5000)),
            "predictions never drop one",
        ),
    ] {
        check("shop", Channel::Push, M, more, expected, why);
    }
}

#[test]
fn the_weightiest_rule_speaks() {
    let strange = r#","from":"a@evil.test""#;
    let late = r#","expires_at":"2020-01-01T00:00:00Z""#;
    let far = r#","send_at":"2030-01-01T00:00:00Z""#;
    let all = format!("{strange}{late}{far}");
    check("shop", Channel::Email, M, &all, EXPIRED, "expired before anything else");
    let all = format!("{strange}{far}");
    check("shop", Channel::Email, M, &all, NO_UNSUBSCRIBE, "then what the recipient is owed");
    check("shop", Channel::Email, T, &all, NOT_ALLOWED, "then whose name it is");
    check("shop", Channel::Email, T, far, TOO_FAR, "and only then when");
    let sms = r#","from":"EVIL","send_at":"2030-01-01T00:00:00Z""#;
    check("shop", Channel::Sms, M, sms, NO_CONSENT, "consent before the sender");
}

/// When a permit is redeemed only what time can change is asked again.
#[test]
fn the_last_look_is_at_the_clock_alone() {
    let now = |more: &str, at: i64| {
        let record = job("shop", Channel::Email, &format!(r#","from":"a@evil.test"{more}"#));
        with_job(&record, |job| config().recheck(job.spec(), T, Wall(NOW.0 + at), Wall(NOW.0 + at)))
    };
    let until = r#","expires_at":"2026-11-27T09:00:00.500Z""#;
    assert_eq!(now(until, 499), Send, "in time; the other rules were asked before it queued");
    assert_eq!(now(until, 500), EXPIRED, "it expired while it waited for its permit");
    assert_eq!(now("", 500), Send, "it has no end of its own, and is young");
}

/// A job that names no end is dropped at its lane's longest age, to the millisecond, in both looks at it.
#[test]
fn nobody_waits_for_ever() {
    const DAY: i64 = 86_400_000;
    const NEVER: Option<i64> = None;
    let soon = r#","send_at":"2026-11-27T09:00:00Z""#;
    let long_ago = r#","send_at":"2026-11-20T09:00:00Z""#;
    let ends = r#","expires_at":"2026-12-24T09:00:00Z""#;
    // Enqueued this long before `NOW`; from when on, counted from `NOW`, it is worthless.
    for (lane, more, ago, end, reason, why) in [
        (T, "", 0, Some(DAY), TOO_OLD, "a day from when it came"),
        (M, "", 0, Some(3 * DAY), TOO_OLD, "each lane has its own age"),
        (T, "", DAY, Some(0), TOO_OLD, "a day has passed"),
        (T, "", DAY - 1, Some(1), TOO_OLD, "a millisecond is left"),
        (T, soon, 5 * DAY, Some(DAY), TOO_OLD, "enqueued long before it was due: it ages from when it is due"),
        (T, long_ago, 0, Some(DAY), TOO_OLD, "due before it was enqueued: it ages from when it came"),
        (T, long_ago, 8 * DAY, Some(-6 * DAY), TOO_OLD, "the later of the two, though both are past"),
        (T, ends, 9 * DAY, Some(27 * DAY), EXPIRED, "upstream says longer"),
        (M, r#","expires_at":"2026-11-27T09:00:00.001Z""#, 0, Some(1), EXPIRED, "upstream says shorter"),
        (T, "", NOW.0, NEVER, TOO_OLD, "a record without a timestamp is not from 1970"),
        (T, "", NOW.0 + 1, NEVER, TOO_OLD, "nor from before"),
        (T, soon, NOW.0, Some(DAY), TOO_OLD, "but a time to send tells its age"),
    ] {
        let enqueued = Wall(NOW.0 - ago);
        with_job(&job("shop", Channel::Push, &format!("{more}{CONSENT}")), |job| {
            let case = format!("{why}: {lane}, {more}, enqueued {ago} ms ago");
            let config = config();
            assert_eq!(config.expires(job.spec(), lane, enqueued), end.map(|end| Wall(NOW.0 + end)), "{case}");
            let looks = |at: i64| {
                let now = Wall(NOW.0 + at);
                (config.decide(job.spec(), lane, enqueued, now), config.recheck(job.spec(), lane, enqueued, now))
            };
            let Some(end) = end else {
                assert_eq!(looks(1_000_000 * DAY), (Send, Send), "{case}: it has no age to be dropped for");
                return;
            };
            assert_eq!(looks(end), (reason, reason), "{case}: at its end");
            assert_eq!(looks(end - 1).1, Send, "{case}: a millisecond before");
            assert!(!matches!(looks(end - 1).0, Drop(Kind::Expired, _)), "{case}: a millisecond before it queues");
        });
    }
    let ages = Config { max_age: [Duration::MAX; 2], ..config() };
    let end = with_job(&job("shop", Channel::Push, ""), |job| ages.expires(job.spec(), T, NOW));
    assert_eq!(end, None, "an age beyond all clocks is no age");
}
