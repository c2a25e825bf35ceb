//! Limits of accounts, senders and tenants; weights, warm-ups, several providers in a route; what waits for a restart.

use peakpost::config::Fixed;
use peakpost::job::{Channel, Lane, Wall};

use super::{Secrets, refused};

/// A provider, with `{}` where further keys of it go.
const MAIL: &str = r#"
[[providers]]
name = "mail"
kind = "sendgrid"
key = "KEY"
concurrency = 64
limits = ["600 requests/s", "1_000_000 messages/day"]
{}
[[providers]]
name = "spare"
kind = "sendgrid"
key = "KEY"
limits = []
concurrency = 64
"#;

fn mail(keys: &str) -> String {
    MAIL.replace("{}", keys)
}

#[test]
fn limits_of_senders_and_tenants_and_a_warm_up_are_read() {
    let keys = "warm_up = { start = \"2026-11-01\", days = [50, 100] }\n[providers.senders]\n\
        \"News@Shop.Example\" = [\"2 messages/s\", \"500 messages/day\"]\n\"*\" = [\"1 messages/s\"]\n\
        [providers.tenants]\nacme = [\"100 messages/min\"]\nfree = []\n";
    let weights = "[tenants.acme]\nfrom = []\nweight = 4\n[tenants.free]\nfrom = []\n";
    let config = Secrets::new().load(&[weights, &mail(keys)].concat()).unwrap();
    let gate = &config.providers[0].gate;
    assert!(gate.limits[1].is_budget() && !gate.limits[0].is_budget(), "{:?}", gate.limits);
    let said = |limits: &[peakpost::gate::limit::Limit]| limits.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(said(gate.senders.of("news@shop.example")), ["2 messages/s", "500 messages/day"], "in small letters");
    assert_eq!(said(gate.senders.of("any@shop.example")), ["1 messages/s"], "each other one");
    assert_eq!(said(gate.tenants.of("acme")), ["100 messages/min"]);
    assert!(gate.tenants.of("free").is_empty() && gate.tenants.of("any").is_empty(), "nobody else is limited");
    assert!(gate.limits_senders() && !config.providers[1].gate.limits_senders(), "one provider limits senders");
    let weights: Vec<_> = gate.tenant_weights.iter().map(|(name, weight)| (&**name, *weight)).collect();
    assert_eq!(weights, [("acme", 4)], "who says no weight has none here");
    let second_day = Wall("2026-11-02T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
    assert_eq!(gate.warm_up.as_ref().and_then(|warm_up| warm_up.cap(second_day)), Some(100));
}

#[test]
fn what_a_provider_may_say_of_its_limits() {
    let rows: &[(&str, &[&str], &str)] = &[
        ("", &[], "nothing more than limits"),
        (
            "[providers.senders]\n\"a@b.c\" = [\"1/s\"]",
            &["\"mail\"", "senders", "a@b.c", "1/s"],
            "a limit without a unit",
        ),
        (
            "[providers.senders]\n\"*\" = [\"9 messages/day\"]",
            &["senders", "\"*\"", "9 messages/day", "hint"],
            "a budget of all",
        ),
        ("[providers.senders]\n\"*\" = [\"9 messages/min\"]", &[], "a minute is none"),
        ("[providers.tenants]\n\"*\" = [\"9 messages/h\"]", &["tenants", "\"*\"", "hint"], "the same of tenants"),
        ("[providers.tenants]\nacme = [\"9 messages/h\"]", &[], "but by name"),
        (
            "[providers.senders]\n\"a@b.c\" = []\n\"A <A@b.c>\" = []",
            &["senders", "twice"],
            "one address, written twice",
        ),
        ("warm_up = { start = \"2026-11-01\" }", &["\"mail\"", "warm_up", "`days`", "`factor`"], "no days"),
        ("warm_up = { start = \"2026-11-01\", days = [1], first = 1 }", &["warm_up", "either"], "both ways at once"),
        (
            "warm_up = { start = \"2026-11-01\", first = 50, factor = 1.5 }",
            &["warm_up", "`until`"],
            "growth without an end",
        ),
        ("warm_up = { start = \"2026-11-01\", first = 50, factor = 1.5, until = 9000 }", &[], "growth"),
        ("warm_up = { start = \"1st of May\", days = [1] }", &["warm_up", "1st of May", "hint"], "no day"),
        ("warm_up = { start = \"2026-11-01\", days = [] }", &["warm_up", "hint"], "an empty schedule"),
        ("warm_up = { start = \"2026-11-01\", day = 1 }", &["day"], "a key that is none"),
    ];
    for (keys, parts, why) in rows {
        let loaded = Secrets::new().load(&mail(keys));
        match parts {
            [] => assert!(loaded.is_ok(), "{why}: {}", loaded.map(|_| ()).unwrap_err()),
            parts => refused(loaded, parts, why),
        }
    }
    for (weight, parts) in [("0", &["acme", "1 to 1000"][..]), ("1001", &["acme", "1 to 1000"]), ("1000", &[])] {
        let loaded = Secrets::new().load(&format!("[tenants.acme]\nfrom = []\nweight = {weight}\n"));
        match parts {
            [] => assert!(loaded.is_ok(), "a weight of {weight}"),
            parts => refused(loaded, parts, "a weight out of range"),
        }
    }
    let all = Secrets::new().load("[tenants.\"*\"]\nfrom = []\nweight = 2\n");
    refused(all, &["tenants.\"*\".weight", "hint"], "nobody would see what it is heavier than");
}

/// Keys of a route; its providers, or what the fault must say; why.
type Row<'a> = (&'a str, Result<&'a [usize], &'a [&'a str]>, &'a str);

#[test]
fn a_route_has_one_provider_or_several() {
    let rows: &[Row<'_>] = &[
        ("provider = \"mail\"", Ok(&[0]), "one"),
        ("providers = [\"spare\", \"mail\"]", Ok(&[1, 0]), "the preferred one first"),
        ("providers = [\"mail\"]", Ok(&[0]), "a list of one"),
        ("provider = \"mail\"\nproviders = [\"spare\"]", Err(&["email", "one of them", "hint"]), "both keys"),
        ("", Err(&["email", "`provider`", "hint"]), "neither"),
        ("providers = []", Err(&["email", "hint"]), "an empty list"),
        ("providers = [\"mail\", \"mail\"]", Err(&["\"mail\"", "twice"]), "one of them twice"),
        ("providers = [\"spare\", \"mail\"]\nweights = [70, 30]", Ok(&[1, 0]), "by weight"),
        ("providers = [\"spare\", \"mail\"]\nweights = [0, 1]", Ok(&[1, 0]), "one that only takes over"),
        ("providers = [\"spare\", \"mail\"]\nweights = [70]", Err(&["`weights`", "hint"]), "a weight is missing"),
        ("providers = [\"spare\", \"mail\"]\nweights = [0, 0]", Err(&["not all 0"]), "nobody would be chosen"),
        ("providers = [\"spare\", \"mail\"]\nweights = [1, 1001]", Err(&["0 to 1000"]), "too heavy"),
        ("provider = \"mail\"\nweights = [1, 2]", Err(&["one for each"]), "more weights than providers"),
        ("providers = [\"mail\", \"nobody\"]", Err(&["\"nobody\" is not configured"]), "a name that is none"),
    ];
    for (keys, expected, why) in rows {
        let loaded = Secrets::new().load(&format!("{}[[routes]]\nchannel = \"email\"\n{keys}\n", mail("")));
        match expected {
            Ok(expected) => {
                let config = loaded.unwrap_or_else(|faults| panic!("{why}: {faults}"));
                let route = config.rules.routes.find(Channel::Email, "any", Lane::Marketing).unwrap();
                assert_eq!(route.providers, *expected, "{why}");
            }
            Err(parts) => refused(loaded, parts, why),
        }
    }
    let sms = format!("{}[[routes]]\nchannel = \"sms\"\nproviders = [\"mail\", \"spare\"]\n", mail(""));
    refused(Secrets::new().load(&sms), &["\"spare\"", "cannot carry sms"], "each of them must be able to");
}

/// What a reload takes over is not told of; everything else is, by section.
#[test]
fn what_waits_for_a_restart_is_told_by_section() {
    let secrets = Secrets::new();
    let fixed = |text: &str| -> Fixed { secrets.load(text).unwrap_or_else(|faults| panic!("{faults}\n{text}")).fixed };
    let before = fixed(&mail(""));
    let changed = |from: &str, to: &str| mail("").replacen(from, to, 1);
    let rows: &[(String, &[&str], &str)] = &[
        (mail(""), &[], "nothing"),
        (changed("600 requests/s", "700 requests/s"), &[], "a limit"),
        (changed("concurrency = 64", "concurrency = 32"), &[], "slots"),
        (mail("jitter = \"20ms\"\nwarm_up = { start = \"2026-11-01\", days = [1] }"), &[], "jitter and warm-up"),
        (mail("[providers.senders]\n\"a@b.c\" = []\n[providers.tenants]\nt = []\n"), &[], "senders and tenants"),
        (["[lanes.transactional]\nreserve = 0.5\nweight = 3\n", &mail("")].concat(), &[], "reserve and weight"),
        (["[lanes.transactional]\nmax_age = \"1h\"\n", &mail("")].concat(), &["lanes"], "but not a lane's age"),
        (changed("\"spare\"", "\"other\""), &["providers"], "another provider"),
        (mail("batch_max = 10"), &["providers"], "a key of one"),
        ([&*mail(""), "[[routes]]\nchannel = \"email\"\nprovider = \"mail\"\n"].concat(), &["routes"], "a route"),
        (["[tenants.a]\nfrom = []\nweight = 2\n", &mail("")].concat(), &["tenants"], "a tenant that was not there"),
        (["[kafka]\ngroup = \"g\"\n[log]\nfilter = \"warn\"\n", &mail("")].concat(), &["kafka", "log"], "two sections"),
    ];
    for (text, expected, why) in rows {
        assert_eq!(fixed(text).differs_in(&before), *expected, "{why}");
        assert_eq!(before.differs_in(&fixed(text)).len(), expected.len(), "{why}, the other way round");
    }
}
