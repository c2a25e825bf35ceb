//! Where a deferred job waits: which tier for which wait, and the trip it carries.

use std::borrow::Cow;
use std::time::Duration;

use peakpost::config::Config;
use peakpost::job::source::{Layout, SHIPPED_TIERS, Tiers};
use peakpost::job::topic::Topics;
use peakpost::job::trip::{Place, Trip};
use peakpost::job::{Lane, Source};

fn tiers() -> Tiers {
    Tiers([10, 60, 300, 1200, 3600].map(Duration::from_secs).to_vec())
}

#[test]
fn a_wait_has_its_tier() {
    // Seconds to wait; the tier that ends before it, and the one nearest to it (seconds, 0: in memory).
    let rows = [
        (0, 0, 0, "at once"),
        (9, 0, 0, "seconds wait in memory"),
        (10, 10, 10, "just the smallest"),
        (24, 10, 10, "nearer to 10 s by ratio"),
        (25, 10, 60, "nearer to a minute"),
        (59, 10, 60, "never early: a minute would be late, ten seconds are looked at again"),
        (600, 300, 300, "ten minutes: twice five, half of twenty"),
        (601, 300, 1200, "a little more"),
        (90_000, 3600, 3600, "beyond the largest: it hops"),
    ];
    let tiers = tiers();
    let seconds = |tier: Option<u8>| tier.map_or(0, |tier| tiers.wait(tier).as_secs());
    for (wait, within, nearest, why) in rows {
        let wait = Duration::from_secs(wait);
        assert_eq!(seconds(tiers.within(wait)), within, "{why}: {wait:?}, ending before it");
        assert_eq!(seconds(tiers.nearest(wait)), nearest, "{why}: {wait:?}, nearest");
        let beyond = tiers.beyond(wait).map(|tier| tiers.wait(tier));
        let long_enough = beyond.is_none_or(|tier| tier >= wait || tier.as_secs() == 3600);
        assert!(long_enough, "{why}: {wait:?} must not be shortened to {beyond:?}");
    }
    assert_eq!(tiers.horizon().as_secs(), 10, "what is nearer waits in memory");
}

/// Every wait up to a day comes to its end in a few hops, never late by the tiers alone.
#[test]
fn hops_are_few() {
    let tiers = Tiers([10, 60, 300, 1200, 3600, 14_400, 43_200].map(Duration::from_secs).to_vec());
    let mut most = 0;
    for seconds in 0..86_400 {
        let (mut left, mut hops) = (Duration::from_secs(seconds), 0);
        while let Some(tier) = tiers.within(left) {
            left -= tiers.wait(tier);
            hops += 1;
        }
        assert!(left < tiers.horizon(), "{seconds} s: {left:?} are left for memory");
        most = most.max(hops);
    }
    assert_eq!(most, 20, "the most hops of any wait up to a day; hint: other tiers, other number");
}

#[test]
fn the_shipped_configuration_has_the_shipped_tiers() {
    let config = Config::from_parts("", std::iter::empty()).unwrap();
    let topics = &config.topics.topics;
    let shipped = Topics::with("peakpost", &SHIPPED_TIERS.map(str::to_owned), &[]);
    assert_eq!(topics, &shipped, "config.toml and SHIPPED_TIERS must say the same");
    assert_eq!(config.rules.tiers.0.len(), SHIPPED_TIERS.len());
}

#[test]
fn every_source_has_a_number_and_a_topic() {
    let topics = Topics::with("p", &["10s".to_owned(), "1m".to_owned()], &["mail".to_owned(), "sms".to_owned()]);
    assert_eq!((topics.provider(0), topics.provider(1)), ("mail", "sms"), "a provider's number is its hold's");
    assert_eq!(["sms", "mail", "", "fax"].map(|name| topics.provider_of(name)), [Some(1), Some(0), None, None]);
    let layout = topics.layout();
    assert_eq!(layout, Layout { tiers: 2, holds: 2 });
    let names: Vec<&str> = layout.all().map(|source| topics.source(source)).collect();
    let expected = [
        "p.jobs.transactional",
        "p.jobs.marketing",
        "p.delay.transactional.10s",
        "p.delay.transactional.1m",
        "p.hold.transactional.mail",
        "p.hold.transactional.sms",
        "p.delay.marketing.10s",
        "p.delay.marketing.1m",
        "p.hold.marketing.mail",
        "p.hold.marketing.sms",
    ];
    assert_eq!(names, expected);
    for (n, source) in layout.all().enumerate() {
        assert_eq!(layout.index(source), n, "{source:?}");
        assert_eq!(topics.source_of(expected[n]), Some(source), "{source:?}");
    }
    assert_eq!(topics.source_of("p.outcomes"), None, "nothing is read from there");
    assert_eq!(topics.source(Source::Jobs(Lane::Marketing)), topics.jobs(Lane::Marketing));
    assert_eq!(topics.short("p.hold.marketing.sms"), "hold.marketing.sms");
}

/// A later version may say more, an earlier one less: the job goes on.
#[test]
fn a_trip_is_read_across_versions() {
    let trip = Trip {
        tenant: Cow::Borrowed("shop"),
        id: Cow::Borrowed("a\"b"),
        origin: Place { topic: Cow::Borrowed("p.jobs.marketing"), partition: 3, offset: 17 },
        hop: 2,
        generation: 1,
        attempts: 4,
        failures: 3,
        unsure: true,
        first_seen_ms: 1_795_770_000_000,
        due_ms: 1_795_770_060_000,
        last_error: Cow::Borrowed("timeout"),
        provider: Cow::Borrowed("mail"),
    };
    let text = serde_json::to_string(&trip).unwrap();
    assert_eq!(serde_json::from_str::<Trip<'_>>(&text).unwrap(), trip, "as it was written");
    let later = text.replacen('{', "{\"new\":{\"x\":1},", 1);
    assert_eq!(serde_json::from_str::<Trip<'_>>(&later).unwrap(), trip, "what is not known is passed over");
    let least =
        r#"{"tenant":"shop","id":"a","origin":{"topic":"t","partition":0,"offset":0},"hop":1,"first_seen_ms":5}"#;
    let least: Trip<'_> = serde_json::from_str(least).unwrap();
    assert_eq!((least.generation, least.unsure, least.due_ms, &*least.last_error), (0, false, 0, ""), "what is absent");
}
