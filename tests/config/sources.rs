//! Where values come from: the defaults, their commented examples, a file, the environment, secrets.

use std::time::Duration;

use peakpost::config::{Config, DEFAULTS};
use peakpost::gate::limit::Limit;
use peakpost::job::{Channel, Lane};

use super::{CANARY, SIGNING, Secrets, load, refused};

#[test]
fn the_file_at_the_top_is_what_is_compiled_in_and_loads() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap();
    assert_eq!(file, DEFAULTS, "the compiled-in defaults are another file");
    let config = load("", &[]).unwrap_or_else(|faults| panic!("the defaults do not load:\n{faults}"));
    assert_eq!(config.intake.lease, Duration::from_secs(9));
    assert_eq!(config.topics.partitions, 12);
    assert_eq!(config.rules.policy.require_consent, [(Channel::Sms, Lane::Marketing)]);
    assert_eq!(config.rules.policy.other_tenants.from, [""; 0], "nobody may send under any name by default");
    assert!(config.providers.is_empty() && config.rules.routes.0.is_empty(), "no provider by default");
    assert!(config.ops.ip().is_loopback(), "the ops listener has no authentication: it stays on loopback");
    let days = |n: u64| Duration::from_secs(n * 86_400);
    assert_eq!(config.rules.policy.max_age, [days(1), days(3)], "a code is void sooner than an offer");
    assert!(config.shards >= 1, "0 shards mean one for two cores");
    assert!(!config.embedded, "a real broker by default");
}

/// The blocks of the defaults that are commented out, as an operator would uncomment them.
fn examples() -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in DEFAULTS.lines() {
        let text = line.strip_prefix("# ").unwrap_or_default();
        if text.starts_with("[[") {
            blocks.push(String::new());
            inside = true;
        }
        inside &= !text.is_empty();
        if let Some(block) = blocks.last_mut().filter(|_| inside) {
            block.push_str(text);
            block.push('\n');
        }
    }
    blocks
}

#[test]
fn every_commented_example_loads() {
    let secrets = Secrets::new();
    let (providers, routes): (Vec<_>, Vec<_>) = examples().into_iter().partition(|b| b.starts_with("[[providers]]"));
    assert_eq!((providers.len(), routes.len()), (3, 1), "the examples were not found: {providers:?} {routes:?}");
    for block in &providers {
        let config =
            secrets.load(block).unwrap_or_else(|faults| panic!("this example does not load:\n{block}\n{faults}"));
        let provider = &config.providers[0];
        assert_eq!(provider.gate.limits.len(), block.matches("/s\"").count(), "every limit of\n{block}");
        assert!(block.contains(&format!("concurrency = {}", provider.gate.concurrency)), "{block}");
    }
    let all = [providers.concat(), routes.concat()].concat();
    let config = secrets.load(&all).unwrap_or_else(|faults| panic!("together they do not load:\n{all}\n{faults}"));
    let names: Vec<&str> = config.providers.iter().map(|p| &*p.name).collect();
    assert_eq!(names, ["sendgrid-main", "twilio-main", "callbacks"]);
    let route = |channel| config.rules.routes.find(channel, "any", Lane::Marketing);
    assert_eq!(route(Channel::Email).map(|route| &*route.providers), Some(&[0][..]), "the example's route");
    assert_eq!(route(Channel::Sms), None, "and no other");
}

#[test]
fn the_commented_kafka_properties_load() {
    let lines: Vec<&str> = DEFAULTS.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    assert_eq!(lines.len(), 4, "the examples were not found: {lines:?}");
    let config = Secrets::new().load(&format!("[kafka.client]\n{}", lines.join("\n"))).unwrap();
    let expected = [
        ("bootstrap.servers", "127.0.0.1:9092"),
        ("client.id", "peakpost"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.password", CANARY),
        ("sasl.username", "peakpost"),
        ("security.protocol", "SASL_SSL"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    for (room, client) in
        [("intake", &config.intake.client), ("settle", &config.settle.client), ("topics", &config.topics.client)]
    {
        assert_eq!(client[..], expected, "{room} must reach the same brokers in the same way");
    }
}

/// The paragraph below the examples names further keys with their defaults.
#[test]
fn further_keys_have_the_defaults_that_the_comment_names() {
    for named in ["batch_max = 1000", "connect_timeout = \"3s\"", "request_timeout = \"10s\"", "jitter = \"50ms\""] {
        assert!(DEFAULTS.contains(named), "the comment no longer says `{named}`");
    }
    let config = Secrets::new().load(&examples()[0]).unwrap();
    let provider = &config.providers[0];
    assert_eq!(provider.kind.batch_max(), 1000);
    assert_eq!(provider.wire.connect_timeout, Duration::from_secs(3));
    assert_eq!(provider.wire.request_timeout, Duration::from_secs(10));
    assert_eq!(provider.gate.jitter, Duration::from_millis(50));
    assert!(provider.wire.allow_hosts.is_empty(), "no private host may be reached by default");
}

#[test]
fn a_file_lies_over_the_defaults_key_by_key() {
    let text =
        "[kafka]\ngroup = \"other\"\n[tenants.shop]\nfrom = [\"*@shop.test\"]\n[tenants.\"*\"]\nfrom = [\"*\"]\n";
    let config = load(text, &[]).unwrap();
    assert_eq!(config.intake.group, "other");
    assert_eq!(config.intake.session_timeout, Duration::from_secs(10), "the section's other keys stay");
    assert_eq!(config.rules.policy.tenants["shop"].from, ["*@shop.test"]);
    assert_eq!(config.rules.policy.other_tenants.from, ["*"]);
    assert!(!config.rules.policy.tenants.contains_key("*"), "the star is not a tenant");
}

#[test]
fn the_environment_lies_over_the_file() {
    let file = "[kafka]\nprefix = \"file\"\ngroup = \"file\"\n";
    let env = [
        ("PEAKPOST_KAFKA__GROUP", "env"),
        ("PEAKPOST_KAFKA__BROKERS", "kafka-1:9092,kafka-2:9092"),
        ("PEAKPOST_TOPICS__PARTITIONS", "24"),
        ("PEAKPOST_LANES__TRANSACTIONAL__RESERVE", "0.5"),
        ("PEAKPOST_POLICY__REQUIRE_CONSENT", "[\"email/marketing\"]"),
        ("PEAKPOST_OPS__LISTEN", "[::1]:9000"),
        ("PEAKPOST_LOG__FILTER", "info,peakpost::attempt=warn"),
        ("PEAKPOST_CONFIG", "/etc/peakpost.toml"),
    ];
    let config = load(file, &env).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.intake.group, "env");
    assert_eq!(config.topics.topics.homes(), "file.homes", "what the environment does not name stays");
    assert_eq!(config.intake.client[0].1, "kafka-1:9092,kafka-2:9092", "text that is no TOML is taken as it is");
    assert_eq!(config.topics.partitions, 24, "a number");
    assert_eq!(config.rules.policy.require_consent, [(Channel::Email, Lane::Marketing)], "a list");
    assert_eq!(config.ops.to_string(), "[::1]:9000", "what looks like a list and is none");
    assert_eq!(config.log.filter, "info,peakpost::attempt=warn");
}

#[test]
fn what_nobody_knows_is_refused_by_name() {
    for (file, env, parts, why) in [
        (
            "[kafka]\nbroker = \"b\"",
            ("PEAKPOST_CONFIG", ""),
            &["`broker`", "brokers"][..],
            "a typo shows what there is",
        ),
        ("[kafak]\nbrokers = \"b\"", ("PEAKPOST_CONFIG", ""), &["`kafak`"], "a section that is none"),
        ("colour = 1", ("PEAKPOST_CONFIG", ""), &["`colour`"], "a key outside every section"),
        ("[lanes.marketing]\nreserve = 0.1", ("PEAKPOST_CONFIG", ""), &["`reserve`"], "marketing reserves nothing"),
        ("[[providers]]\nnam = \"x\"", ("PEAKPOST_CONFIG", ""), &["`nam`"], "a key of a provider"),
        ("[[routes]]\nchanel = \"sms\"", ("PEAKPOST_CONFIG", ""), &["`chanel`"], "a key of a route"),
        (
            "[[routes]]\nchannel = \"fax\"\nprovider = \"x\"",
            ("PEAKPOST_CONFIG", ""),
            &["`fax`"],
            "a channel that is none",
        ),
        ("[tenants.shop]\nfrm = []", ("PEAKPOST_CONFIG", ""), &["`frm`"], "a key of a tenant"),
        ("", ("PEAKPOST_KAFKA__BROKER", "b"), &["`broker`"], "a variable with a typo"),
        ("", ("PEAKPOST_KAFKA_BROKERS", "b"), &["`kafka_brokers`"], "one underscore too few"),
        ("", ("PEAKPOST_KAFKA__GROUP__NAME", "b"), &["PEAKPOST_KAFKA__GROUP__NAME", "`group`"], "too deep"),
        ("", ("PEAKPOST_TOPICS__PARTITIONS", "many"), &["partitions", "u16"], "text where a number must be"),
        ("[kafka]\nbrokers = 9092", ("PEAKPOST_CONFIG", ""), &["brokers", "string"], "a number where text must be"),
        ("[kafka", ("PEAKPOST_CONFIG", ""), &["not TOML"], "a file that is cut off"),
    ] {
        refused(load(file, &[env]), parts, why);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let path = std::path::Path::new("/no/such/peakpost.toml");
    refused(Config::load(Some(path)), &["/no/such/peakpost.toml"], "a path with a typo");
}

const ALL_SECRETS: &str = r#"
[kafka.client]
"sasl.password" = "KEY"
"ssl.key.password" = "KEY"
"ssl.key.pem" = "KEY"
"ssl.keystore.password" = "KEY"
"sasl.oauthbearer.client.secret" = "KEY"
"sasl.oauthbearer.config" = "KEY"
"sasl.oauthbearer.assertion.private.key.passphrase" = "KEY"
[[providers]]
name = "mail"
kind = "sendgrid"
key = "KEY"
limits = ["1 messages/s"]
concurrency = 2
[[providers]]
name = "text"
kind = "twilio"
account_sid = "AC0"
password = "KEY"
limits = []
concurrency = 2
[[providers]]
name = "hook"
kind = "webhook"
secret = "SIGNING"
limits = []
concurrency = 2
"#;

#[test]
fn no_secret_is_ever_printed() {
    let config = Secrets::new().load(ALL_SECRETS).unwrap_or_else(|faults| panic!("{faults}"));
    let kept = config.intake.client.iter().filter(|(_, value)| value == CANARY).count();
    assert_eq!(kept, 7, "each secret property is read, or the search below would find nothing by accident");
    let printed = [format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.intake.clone())].concat();
    // As it is, as base64 (Twilio's `AC0:…`) and as bytes.
    let base64 = "QUMwOmNhbmFyeS1jMGZmZWU";
    let bytes = |text: &str| text.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ");
    for canary in [CANARY, SIGNING, base64, "canary", &bytes(CANARY), &bytes("canary-canary")] {
        assert!(!printed.contains(canary), "a secret shows as `{canary}` in:\n{printed}");
    }
    for name in ["mail", "text", "hook", "peakpost"] {
        assert!(printed.contains(name), "`{name}` is no secret and helps whoever reads the log:\n{printed}");
    }
}

#[test]
fn an_inline_secret_is_refused_and_not_repeated() {
    let secrets = Secrets::new();
    for (key, value) in [
        ("sasl.password", "\"sasl.password\" = \"KEY\""),
        ("ssl.key.pem", "\"ssl.key.pem\" = \"KEY\""),
        ("`key`", "key = \"KEY\""),
        ("`password`", "\npassword = \"KEY\""),
        ("`secret`", "secret = \"SIGNING\""),
    ] {
        assert!(ALL_SECRETS.contains(value), "`{value}` is not in the text");
        for (wrong, hint) in [
            ("hunter2-inline", "never as itself"),
            ("EMPTY", "is empty"),
            ("file:/no/such", "check its path"),
            ("env:PEAKPOST_NO_SUCH_VARIABLE", "is not set"),
        ] {
            let (before, _) = value.rsplit_once(" = ").unwrap();
            let text = ALL_SECRETS.replacen(value, &format!("{before} = \"{wrong}\""), 1);
            let loaded = secrets.load(&text);
            if let Err(faults) = &loaded {
                assert!(!faults.to_string().contains("hunter2"), "the secret is repeated: {faults}");
            }
            refused(loaded, &[key, hint], &format!("{key} as `{wrong}`"));
        }
    }
}

#[test]
fn limits_reach_the_gate_as_written() {
    let config = Secrets::new().load(&examples()[0]).unwrap();
    let expected: Vec<Limit> = ["600 requests/s", "50_000 messages/s"].map(|text| text.parse().unwrap()).to_vec();
    assert_eq!(config.providers[0].gate.limits, expected);
    assert!((config.providers[0].gate.reserve - 0.2).abs() < f64::EPSILON, "the lane's reserve is every gate's");
    assert_eq!(config.providers[0].gate.weight, 9);
}
