//! Every rule of the configuration: a value that just breaks it, and the nearest one that keeps it.

use peakpost::config::Faults;

use super::{Secrets, load, refused};

/// A whole file with one provider of each kind and a route, to be changed line by line.
const WHOLE: &str = r#"
[kafka]
session_timeout = "10s"
heartbeat = "500ms"
prefix = "peakpost"
group = "peakpost"
first_start = "earliest"
[topics]
partitions = 12
outcomes_retention = "7d"
dead_retention = "30d"
[intake]
lease = "9s"
commit_interval = "1s"
drain = "20s"
memory = "96MiB"
[settle]
linger = "5ms"
[lanes.transactional]
reserve = 0.2
max_age = "24h"
[policy]
require_consent = ["sms/marketing"]
send_at_max = "10s"
[retry]
attempts_max = 8
backoff = "1s"
backoff_max = "60s"
[reputation]
window = "1h"
cool_down = "24h"
ramp_step = "1h"
severe = 0.003
[reputation.complaints]
warn = 0.0008
[reputation.hard_bounces]
block = 0.1
[reputation.unsubscribes]
least = 50
[ops]
listen = "127.0.0.1:9464"
[log]
format = "json"
[[providers]]
name = "mail"
kind = "sendgrid"
key = "KEY"
base_url = "https://mail.test"
batch_max = 1000
limits = ["600 requests/s"]
concurrency = 64
connect_timeout = "3s"
request_timeout = "10s"
jitter = "50ms"
[[providers]]
name = "text"
kind = "twilio"
account_sid = "AC0"
user = "SK0"
password = "KEY"
limits = []
concurrency = 2
[[providers]]
name = "hook"
kind = "webhook"
secret = "SIGNING"
limits = []
concurrency = 2
[[providers]]
name = "gateway"
kind = "webhook"
secret = "SIGNING"
url = "https://gateway.test/send"
limits = []
concurrency = 2
[[routes]]
channel = "email"
provider = "mail"
"#;

/// A line of [`WHOLE`]; what breaks it; what the fault must say; what just keeps it (empty: nothing to show); why.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a str, &'a str);

fn change(line: &str, to: &str) -> String {
    assert!(WHOLE.contains(&format!("\n{line}\n")), "`{line}` is no line of the whole file");
    WHOLE.replacen(&format!("\n{line}\n"), &format!("\n{to}\n"), 1)
}

fn check(rows: &[Row<'_>]) {
    let secrets = Secrets::new();
    for (line, breaks, parts, keeps, why) in rows {
        refused(secrets.load(&change(line, breaks)), parts, &format!("{why}: `{breaks}`"));
        if !keeps.is_empty() {
            let kept = secrets.load(&change(line, keeps));
            assert!(kept.is_ok(), "{why}: `{keeps}` is refused:\n{}", kept.map(|_| ()).unwrap_err());
        }
    }
}

#[test]
fn the_whole_file_loads() {
    let loaded = Secrets::new().load(WHOLE);
    assert!(loaded.is_ok(), "{}", loaded.map(|_| ()).unwrap_err());
}

#[test]
fn thresholds_can_be_reached_and_are_no_hair_triggers() {
    let cool_down = "cool_down = \"24h\"";
    check(&[
        (
            "window = \"1h\"",
            "window = \"1500ms\"",
            &["reputation.window", "whole"],
            "window = \"2s\"",
            "a key in seconds",
        ),
        (
            cool_down,
            "cool_down = \"59m\"",
            &["reputation.cool_down"],
            "cool_down = \"1h\"",
            "not within its own window",
        ),
        (cool_down, "cool_down = \"8d\"", &["reputation.cool_down"], "cool_down = \"7d\"", "counts are kept 40 days"),
        ("ramp_step = \"1h\"", "ramp_step = \"0s\"", &["reputation.ramp_step"], "ramp_step = \"1s\"", "no ramp at all"),
        ("severe = 0.003", "severe = 0.0009", &["reputation.severe"], "severe = 0.001", "codes stop before campaigns"),
        ("severe = 0.003", "severe = 1.0", &["reputation.severe"], "", "percent for parts of one"),
        ("warn = 0.0008", "warn = 0.0011", &["reputation.complaints"], "warn = 0.001", "a warning after the block"),
        ("warn = 0.0008", "warn = 0.0", &["reputation.complaints"], "", "nobody can be better than that"),
        ("block = 0.1", "block = 10.0", &["reputation.hard_bounces"], "", "percent for parts of one"),
        ("block = 0.1", "block = nan", &["reputation.hard_bounces"], "", "not a number"),
        ("least = 50", "least = 0", &["reputation.unsubscribes"], "least = 1", "nothing is no sign"),
    ]);
}

#[test]
fn sections_keep_their_rules() {
    let lease = "lease = \"9s\"";
    let beat = "heartbeat = \"500ms\"";
    let prefix = "prefix = \"peakpost\"";
    let consent = "require_consent = [\"sms/marketing\"]";
    let age = "max_age = \"24h\"";
    let longest = format!("prefix = \"{}\"", "p".repeat(200));
    let too_long = format!("prefix = \"{}\"", "p".repeat(201));
    check(&[
        (lease, "lease = \"9501ms\"", &["intake.lease", "9.5s"], "lease = \"9500ms\"", "a lease within the session"),
        (beat, "heartbeat = \"3334ms\"", &["kafka.heartbeat", "third"], "", "three heartbeats a session"),
        (
            beat,
            "heartbeat = \"1001ms\"",
            &["intake.lease"],
            "heartbeat = \"1s\"",
            "what heartbeats leave for the lease",
        ),
        ("commit_interval = \"1s\"", "commit_interval = \"49ms\"", &["50ms"], "commit_interval = \"50ms\"", "commits"),
        ("memory = \"96MiB\"", "memory = \"8191KiB\"", &["intake.memory", "8MiB"], "memory = \"8MiB\"", "memory"),
        ("memory = \"96MiB\"", "memory = \"96MB\"", &["intake.memory", "`96MiB`"], "", "sizes name powers of two"),
        ("reserve = 0.2", "reserve = 0.901", &["reserve"], "reserve = 0.9", "marketing must be left something"),
        ("reserve = 0.2", "reserve = -0.001", &["reserve"], "reserve = 0.0", "less than nothing"),
        ("reserve = 0.2", "reserve = nan", &["reserve"], "", "not a number"),
        ("attempts_max = 8", "attempts_max = 0", &["retry.attempts_max"], "attempts_max = 1", "the first is one"),
        ("partitions = 12", "partitions = 0", &["topics.partitions"], "partitions = 1", "no home at all"),
        ("partitions = 12", "partitions = 10001", &["topics.partitions"], "partitions = 10000", "too many homes"),
        (prefix, "prefix = \"\"", &["kafka.prefix"], "prefix = \"p\"", "an empty name"),
        (prefix, "prefix = \"peak post\"", &["kafka.prefix"], "prefix = \"Peak.post_1-a\"", "what Kafka allows"),
        (prefix, &too_long, &["kafka.prefix", "200"], &longest, "room for the rest of the name"),
        ("group = \"peakpost\"", "group = \"\"", &["kafka.group"], "group = \"g\"", "an empty group"),
        (
            "first_start = \"earliest\"",
            "first_start = \"first\"",
            &["first_start"],
            "first_start = \"latest\"",
            "a word",
        ),
        ("format = \"json\"", "format = \"text\"", &["log.format"], "format = \"pretty\"", "a word"),
        (
            age,
            "max_age = \"59999ms\"",
            &["lanes.transactional.max_age", "1m"],
            "max_age = \"1m\"",
            "nobody is that quick",
        ),
        ("listen = \"127.0.0.1:9464\"", "listen = \"9464\"", &["ops.listen"], "listen = \"[::1]:0\"", "an address"),
        (consent, "require_consent = [\"sms\"]", &["require_consent", "\"sms\""], "require_consent = []", "no pair"),
        (consent, "require_consent = [\"fax/marketing\"]", &["fax/marketing"], "", "no channel"),
        (consent, "require_consent = [\"sms/urgent\"]", &["sms/urgent"], "", "no lane"),
    ]);
}

#[test]
fn providers_keep_their_rules() {
    let slots = "concurrency = 64";
    let request = "request_timeout = \"10s\"";
    let connect = "connect_timeout = \"3s\"";
    let limits = "limits = [\"600 requests/s\"]";
    let name = "name = \"text\"";
    let base = "base_url = \"https://mail.test\"";
    let longest = format!("name = \"{}\"", "n".repeat(64));
    let too_long = format!("name = \"{}\"", "n".repeat(65));
    check(&[
        (slots, "concurrency = 1", &["\"mail\"", "concurrency"], "concurrency = 2", "one slot is transactional's"),
        (slots, "concurrency = 10001", &["\"mail\"", "concurrency"], "concurrency = 10000", "more than sockets"),
        (request, "request_timeout = \"15s\"", &["intake.drain", "15s"], "request_timeout = \"14999ms\"", "a drain"),
        ("drain = \"20s\"", "drain = \"15s\"", &["intake.drain 15s"], "drain = \"15001ms\"", "the same from its side"),
        (
            connect,
            "connect_timeout = \"10001ms\"",
            &["connect_timeout"],
            "connect_timeout = \"10s\"",
            "part of a request",
        ),
        (limits, "limits = [\"600/s\"]", &["\"mail\"", "600/s", "hint"], "limits = []", "a limit without a unit"),
        (limits, "limits = [\"6 requests/32d\"]", &["6 requests/32d"], "limits = [\"6 requests/day\"]", "a month"),
        (name, "name = \"\"", &["the name"], "name = \"t\"", "a provider without a name"),
        (name, "name = \"te xt\"", &["the name"], "name = \"T.e_x-t1\"", "names are labels of metrics"),
        (name, &too_long, &["64"], &longest, "names stay short"),
        (name, "name = \"hook\"", &["\"hook\"", "used twice"], "", "two of one name"),
        ("kind = \"twilio\"", "kind = \"nexmo\"", &["\"text\"", "nexmo", "webhook, sendgrid or twilio"], "", "kinds"),
        ("key = \"KEY\"", "", &["\"mail\"", "`key` is missing"], "", "a key that must be there"),
        ("password = \"KEY\"", "", &["\"text\"", "`password` is missing"], "", "a key that must be there"),
        ("account_sid = \"AC0\"", "", &["\"text\"", "`account_sid` is missing"], "", "a key that must be there"),
        ("user = \"SK0\"", "user = \"a:b\"", &["\"text\"", "user"], "\n", "the user is the account if not named"),
        ("secret = \"SIGNING\"", "secret = \"KEY\"", &["\"hook\"", "whsec_"], "", "another form of secret"),
        ("account_sid = \"AC0\"", "account_sid = \"A/../C\"", &["account_sid"], "", "it stands in a path"),
        ("batch_max = 1000", "batch_max = 1001", &["\"mail\"", "1001"], "batch_max = 1", "what the vendor takes"),
        ("batch_max = 1000", "batch_max = 0", &["\"mail\"", "batch_max"], "", "empty requests"),
        (
            "batch_max = 1000",
            "url = \"https://x.test\"",
            &["`url` means nothing", "batch_max"],
            "",
            "another kind's key",
        ),
        ("user = \"SK0\"", "key = \"KEY\"", &["`key` means nothing", "twilio"], "", "another kind's key"),
        (base, "base_url = \"http://mail.test\"", &["https"], "base_url = \"http://127.0.0.1:1\"", "not in the clear"),
        (base, "base_url = \"http://localhost.evil.test\"", &["https"], "base_url = \"http://[::1]:1\"", "no loopback"),
        (base, "base_url = \"mail.test\"", &["mail.test"], "base_url = \"http://localhost/\"", "no URL"),
        (base, "base_url = \"https://mail.test?a=b\"", &["query"], "", "a path is put behind it"),
        ("url = \"https://gateway.test/send\"", "url = \"ftp://g.test\"", &["https"], "", "a gateway in the clear"),
    ]);
}

#[test]
fn routes_lead_to_providers_that_can_carry() {
    for (channel, provider, carries, why) in [
        ("email", "mail", true, "mail by SendGrid"),
        ("sms", "text", true, "text messages by Twilio"),
        ("webhook", "hook", true, "callbacks"),
        ("email", "gateway", true, "a gateway carries everything"),
        ("sms", "gateway", true, "a gateway carries everything"),
        ("push", "gateway", true, "a gateway carries everything"),
        ("webhook", "gateway", true, "a gateway carries everything"),
        ("sms", "mail", false, "SendGrid sends mail only"),
        ("push", "mail", false, "SendGrid sends mail only"),
        ("webhook", "mail", false, "SendGrid sends mail only"),
        ("email", "text", false, "Twilio sends text messages only"),
        ("email", "hook", false, "without a gateway there is nowhere to post a mail"),
        ("push", "hook", false, "without a gateway there is nowhere to post a notification"),
    ] {
        let loaded =
            Secrets::new().load(&format!("{WHOLE}[[routes]]\nchannel = \"{channel}\"\nprovider = \"{provider}\"\n"));
        match carries {
            true => assert!(loaded.is_ok(), "{why}: {}", loaded.map(|_| ()).unwrap_err()),
            false => refused(loaded, &[&format!("\"{provider}\""), &format!("cannot carry {channel}")], why),
        }
    }
    let nowhere = change("provider = \"mail\"", "provider = \"male\"");
    refused(Secrets::new().load(&nowhere), &["\"male\" is not configured"], "a route to nowhere");
}

#[test]
fn durations_name_their_unit() {
    for line in WHOLE.lines().filter(|line| line.ends_with("s\"") || line.ends_with("d\"")) {
        let Some((key, token)) = line.split_once(" = ") else { continue };
        if !token.trim_matches('"').starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        for (bad, why) in [
            ("10", "no unit"),
            ("1.5s", "fractions"),
            ("-1s", "negative"),
            ("10 s", "a space"),
            ("", "nothing"),
            ("1w", "a unit that is none"),
            ("99999999999999999999s", "too large to count"),
            ("9999999999999999d", "in ms too large"),
        ] {
            let text = change(line, &format!("{key} = \"{bad}\""));
            refused(Secrets::new().load(&text), &[key, "is not a duration", "hint"], &format!("{key}: {why}"));
        }
    }
    let config = load("[policy]\nsend_at_max = \"1_500ms\"", &[]).unwrap();
    assert_eq!(config.rules.policy.send_at_max.as_millis(), 1500, "digits in groups");
}

#[test]
fn kafka_properties_that_keep_our_promises_cannot_be_changed() {
    for key in [
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "client.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "heartbeat.interval.ms",
        "max.poll.interval.ms",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "session.timeout.ms",
        "transactional.id",
    ] {
        let text = format!("[kafka.client]\n\"{key}\" = \"1\"");
        refused(load(&text, &[]), &[key, "set by peakpost itself"], "it would break what the rooms promise");
    }
}

#[test]
fn every_fault_is_said_at_once() {
    let bad = WHOLE
        .replace("lease = \"9s\"", "lease = \"10s\"")
        .replace("memory = \"96MiB\"", "memory = \"1MiB\"")
        .replace("prefix = \"peakpost\"", "prefix = \"\"")
        .replace("attempts_max = 8", "attempts_max = 0")
        .replace("format = \"json\"", "format = \"xml\"")
        .replace("linger = \"5ms\"", "linger = \"5\"")
        .replace("concurrency = 64", "concurrency = 1")
        .replace("limits = [\"600 requests/s\"]", "limits = [\"600\", \"5 mails/s\"]")
        .replace("kind = \"twilio\"", "kind = \"nexmo\"")
        .replace("secret = \"SIGNING\"", "secret = \"inline\"")
        .replace("provider = \"mail\"", "provider = \"male\"");
    let Faults(faults) = Secrets::new().load(&bad).map(|_| ()).unwrap_err();
    for part in [
        "intake.lease",
        "intake.memory",
        "kafka.prefix",
        "retry.attempts_max",
        "log.format",
        "settle.linger",
        "concurrency must be",
        "`600` is not",
        "`5 mails/s`",
        "nexmo",
        "\"hook\": `secret`",
        "\"gateway\": `secret`",
        "male",
    ] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "`{part}` is missing in:\n{}", faults.join("\n"));
    }
    assert_eq!(faults.len(), 13, "each once:\n{}", faults.join("\n"));
    assert_eq!(Faults(faults.clone()).to_string().lines().count(), 13, "one line each");
}
