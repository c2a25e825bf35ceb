//! Pure: letters, selections, times, trips, the pace.

use std::time::Duration;

use peakpost::app::dead::Pace;
use peakpost::job::topic::Topics;
use peakpost::job::trip::Trip;
use peakpost::job::{Channel, Wall};
use peakpost::observe::Clock;
use peakpost::outcome::letter::{Left, Letter, Terms};
use peakpost::outcome::selection::{Selection, moment};

const JOB: &[u8] =
    br#"{"id":"o-1","tenant":"shop","campaign":"spring","channel":"webhook","to":"https://example.com/","content":1}"#;
/// A day in 2026.
const NOW: Wall = Wall(1_790_000_000_000);

fn letter<'a>(bytes: &'a [u8], headers: &[(&'a str, &'a str)]) -> Letter<'a> {
    let headers = headers.iter().map(|(key, value)| (*key, Some(value.as_bytes()))).collect();
    Letter { partition: 3, offset: 41, stamp: Wall(5_000), key: b"o-1", bytes, headers }
}

const ORIGIN: (&str, &str) = ("peakpost-origin", "line.jobs.marketing/3/99");

fn choose(change: impl FnOnce(&mut Selection)) -> Selection {
    let mut selection = Selection::default();
    change(&mut selection);
    selection
}

#[test]
fn a_selection_means_what_it_says() {
    let some = |text: &str| Some(text.to_owned());
    let said = letter(
        JOB,
        &[
            ("peakpost-reason", "forged by upstream"),
            ("peakpost-reason", "timeout"),
            ("peakpost-tenant", "shop"),
            ("peakpost-id", "o-1"),
            ("peakpost-provider", "mail"),
            ("peakpost-at-ms", "7000"),
            ("peakpost-campaign", "summer"),
        ],
    );
    let old = letter(JOB, &[("peakpost-reason", "timeout")]);
    let bare = letter(b"{", &[]);
    let table: [(&str, &Letter<'_>, Selection, bool); 19] = [
        ("nothing asked", &bare, Selection::default(), true),
        ("its reason", &said, choose(|s| s.reasons = vec!["no_route".into(), "timeout".into()]), true),
        ("the last header is ours", &said, choose(|s| s.reasons = vec!["forged by upstream".into()]), false),
        ("a reason, and the letter has none", &bare, choose(|s| s.reasons = vec!["timeout".into()]), false),
        ("its tenant", &said, choose(|s| s.tenant = some("shop")), true),
        ("another tenant", &said, choose(|s| s.tenant = some("shop-eu")), false),
        ("its id", &said, choose(|s| s.id = some("o-1")), true),
        ("another id", &said, choose(|s| s.id = some("o-2")), false),
        ("its provider", &said, choose(|s| s.provider = some("mail")), true),
        ("a provider, and none was asked", &old, choose(|s| s.provider = some("mail")), false),
        ("the campaign of its header", &said, choose(|s| s.campaign = some("summer")), true),
        ("an old letter: the campaign of its bytes", &old, choose(|s| s.campaign = some("spring")), true),
        ("no job: no campaign", &bare, choose(|s| s.campaign = some("spring")), false),
        ("the channel of its bytes", &old, choose(|s| s.channel = Some(Channel::Webhook)), true),
        ("another channel", &old, choose(|s| s.channel = Some(Channel::Email)), false),
        ("since is within", &said, choose(|s| s.since_ms = Some(7_000)), true),
        ("until is without", &said, choose(|s| s.until_ms = Some(7_000)), false),
        ("without its own time the broker's counts", &old, choose(|s| s.since_ms = Some(5_001)), false),
        ("all must hold", &said, choose(|s| (s.tenant, s.id) = (some("shop"), some("o-2"))), false),
    ];
    for (why, letter, selection, taken) in table {
        assert_eq!(selection.takes(letter), taken, "{why}: {selection:?}");
    }
}

#[test]
fn a_selection_says_what_it_means() {
    assert_eq!(Selection::default().to_string(), "", "every letter");
    let chosen = choose(|s| {
        s.reasons = vec!["timeout".into(), "no_route".into()];
        s.channel = Some(Channel::Sms);
        s.since_ms = Some(0);
    });
    assert_eq!(chosen.to_string(), "--reason timeout --reason no_route --channel sms --since 1970-01-01T00:00:00.000Z");
}

#[test]
fn a_time_is_how_long_ago_or_rfc_3339() {
    let ago = |seconds: i64| Some(NOW.0 - seconds * 1_000);
    let table: [(&str, Option<i64>); 17] = [
        ("90s", ago(90)),
        ("2h", ago(7_200)),
        ("2h ago", ago(7_200)),
        (" 30m ", ago(1_800)),
        ("1d12h", ago(129_600)),
        ("1d 12h ago", ago(129_600)),
        ("1w", ago(604_800)),
        ("1970-01-01T00:00:01Z", Some(1_000)),
        ("1970-01-01T01:00:00.5+01:00", Some(500)),
        ("2026-02-30T00:00:00Z", None),
        ("2026-11-27", None),
        ("", None),
        ("ago", None),
        ("2", None),
        ("2 fortnights", None),
        ("-2h", None),
        ("99999999999999999999h", None),
    ];
    for (text, expected) in table {
        let read = moment(text, NOW);
        assert_eq!(read.as_ref().ok().map(|at| at.0), expected, "`{text}` was read as {read:?}");
    }
}

#[test]
fn what_cannot_come_to_anything_stays() {
    let topics = Topics::with("line", &["10s".to_owned()], &[]);
    let terms = Terms { topics: &topics, generation_max: 3, wait: Duration::from_secs(10) };
    let generation = |n| [ORIGIN, ("peakpost-generation", n)];
    let other = |origin| [("peakpost-origin", origin)];
    let table: [(&str, Letter<'_>, Result<u16, Left>); 14] = [
        ("a job", letter(JOB, &[ORIGIN]), Ok(1)),
        (
            "a reason of the contract, and a job by today's",
            letter(JOB, &[ORIGIN, ("peakpost-reason", "bad_url")]),
            Ok(1),
        ),
        ("an origin in another home", letter(JOB, &other("line.jobs.marketing/7/99")), Ok(1)),
        ("the last but one generation", letter(JOB, &generation("2")), Ok(3)),
        ("the last generation", letter(JOB, &generation("3")), Err(Left::Generation)),
        ("beyond it", letter(JOB, &generation("65535")), Err(Left::Generation)),
        ("cut", letter(JOB, &[ORIGIN, ("peakpost-size", "600000")]), Err(Left::Cut)),
        ("no job", letter(b"{\"id\":\"o-1\"}", &[ORIGIN]), Err(Left::NoJob)),
        ("no bytes", letter(b"", &[ORIGIN]), Err(Left::NoJob)),
        ("no origin", letter(JOB, &[]), Err(Left::NoOrigin)),
        ("another line's origin", letter(JOB, &other("old.jobs.marketing/3/99")), Err(Left::NoOrigin)),
        ("an origin that is no jobs topic", letter(JOB, &other("line.delay.10s/3/99")), Err(Left::NoOrigin)),
        ("half an origin", letter(JOB, &other("line.jobs.marketing/3")), Err(Left::NoOrigin)),
        ("no number", letter(JOB, &other("line.jobs.marketing/3/x")), Err(Left::NoOrigin)),
    ];
    for (why, letter, expected) in table {
        assert_eq!(letter.revive(terms, NOW).map(|trip| trip.generation), expected, "{why}");
    }
}

#[test]
fn a_redriven_job_sets_out_anew() {
    let topics = Topics::with("line", &["10s".to_owned()], &[]);
    let terms = Terms { topics: &topics, generation_max: 3, wait: Duration::from_secs(10) };
    let headers = [
        ("trace", "abc"),
        ("peakpost-trip", "the old one"),
        ("peakpost-reason", "timeout"),
        ("peakpost-attempts", "10"),
        ("peakpost-hop", "7"),
        ("peakpost-generation", "1"),
        ORIGIN,
    ];
    let dead = letter(JOB, &headers);
    let trip = serde_json::to_string(&dead.revive(terms, NOW).unwrap()).unwrap();
    let expected = serde_json::json!({
        "tenant": "shop", "id": "o-1",
        "origin": {"topic": "line.jobs.marketing", "partition": 3, "offset": 99},
        "hop": 1, "generation": 2, "attempts": 0, "failures": 0, "unsure": false,
        "first_seen_ms": NOW.0, "due_ms": NOW.0 + 10_000, "last_error": "timeout",
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&trip).unwrap(), expected);
    assert!(serde_json::from_str::<Trip<'_>>(&trip).is_ok(), "whoever reads the tier can read it: {trip}");
    let carried: Vec<&str> = dead.carried().map(|(key, _)| key).collect();
    assert_eq!(carried, ["trace"], "upstream's headers go along, ours do not");
}

/// Ten a second for two seconds, looked at every millisecond, then idle, then again.
#[test]
fn a_pace_is_even_and_does_not_catch_up() {
    let began = Clock::default().mono();
    let at = |ms: u64| began + Duration::from_millis(ms);
    let mut pace = Pace::new(10.0, began);
    let mut went = Vec::new();
    let busy = (0..2_000).chain(10_000..11_000);
    for ms in busy.filter(|ms| !(500..700).contains(ms)) {
        if pace.wait(at(ms)).is_zero() {
            pace.spend(at(ms));
            went.push(ms);
        }
    }
    let gaps: Vec<u64> = went.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= 80), "one went too soon: {went:?}");
    assert_eq!(went.iter().filter(|ms| **ms < 500).count(), 5, "{went:?}");
    let after_idle = went.iter().filter(|ms| (10_000..11_000).contains(*ms)).count();
    assert!((10..=11).contains(&after_idle), "what was missed is made up for: {went:?}");
}
