//! Who is listened to, and what a provider's `feedback` takes.

use super::{Secrets, refused};

/// A verification key as SendGrid shows it.
const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

/// A file with one provider, whose own keys and `feedback` are given.
fn file(of_provider: &str, feedback: &str) -> String {
    let common = "limits = []\nconcurrency = 2\n";
    let ear = if feedback.is_empty() { String::new() } else { format!("feedback = {{ {feedback} }}\n") };
    format!(
        "[feedback]\nlisten = \"127.0.0.1:9465\"\n[suppressions]\nkey = \"SIGNING\"\n[[providers]]\nname = \"one\"\n{of_provider}\n{common}{ear}"
    )
}

const MAIL: &str = "kind = \"sendgrid\"\nkey = \"KEY\"";
const TEXT: &str = "kind = \"twilio\"\naccount_sid = \"AC0\"\npassword = \"KEY\"";
const TEXT_BY_KEY: &str = "kind = \"twilio\"\naccount_sid = \"AC0\"\nuser = \"SK0\"\npassword = \"KEY\"";
const HOOK: &str = "kind = \"webhook\"\nsecret = \"SIGNING\"";
const CALLBACK: &str = "url = \"https://feedback.test/feedback/one\"";

#[test]
fn each_kind_takes_what_its_vendor_signs_with() {
    let secrets = Secrets::new();
    let public = format!("public_key = \"{PUBLIC}\"");
    let taken = [
        (MAIL, public.clone()),
        (MAIL, format!("{public}, max_age = \"2h\"")),
        (TEXT, CALLBACK.to_owned()),
        (TEXT_BY_KEY, format!("{CALLBACK}, key = \"KEY\"")),
        (HOOK, "key = \"SIGNING\"".to_owned()),
    ];
    for (provider, feedback) in taken {
        let config = secrets.load(&file(provider, &feedback));
        let config = config.unwrap_or_else(|faults| panic!("`{feedback}` is refused:\n{faults}"));
        assert!(config.providers[0].ear.is_some() && config.feedback.is_some(), "{feedback}");
    }
    let silent = secrets.load(&file(HOOK, "")).unwrap();
    assert!(silent.providers[0].ear.is_none(), "a provider without `feedback` is not heard");
    let table: [(&str, &str, &[&str], &str); 11] = [
        (MAIL, "max_age = \"2h\"", &["\"one\"", "`public_key` is missing"], "nobody could be verified"),
        (MAIL, "public_key = \"aGVsbG8=\"", &["\"one\"", "hint"], "no key"),
        (MAIL, "key = \"KEY\"", &["`key` means nothing", "public_key"], "SendGrid has no shared secret"),
        (TEXT, "key = \"KEY\"", &["`url` is missing"], "Twilio signs the URL"),
        (TEXT, "url = \"http://feedback.test/x\"", &["must be https"], "nobody calls that"),
        (TEXT, "url = \"https://feedback.test/feedback/two\"", &["/feedback/one"], "another provider's door"),
        (TEXT, "url = \"https://x.test/feedback/one\", max_age = \"1h\"", &["means nothing"], "Twilio signs no time"),
        (HOOK, "key = \"SIGNING\", max_age = \"5s\"", &["max_age must be 1m to 7d"], "clocks differ by more"),
        (TEXT_BY_KEY, CALLBACK, &["`key` is missing"], "an API key's secret signs no callback"),
        (HOOK, "key = \"KEY\"", &["whsec_"], "a secret of another form"),
        (HOOK, "key = \"whsec_plain\"", &["env:NAME"], "secrets are references"),
    ];
    for (provider, feedback, parts, why) in table {
        refused(secrets.load(&file(provider, feedback)), parts, why);
    }
}

#[test]
fn who_listens_needs_limits_and_a_key() {
    let secrets = Secrets::new();
    let whole = file(HOOK, "key = \"SIGNING\"");
    let listen = "listen = \"127.0.0.1:9465\"\n";
    let table: [(&str, &str, &[&str], &str); 6] = [
        (listen, "", &["\"one\"", "feedback.listen"], "nobody would hear it"),
        (listen, "listen = \"here\"\n", &["feedback.listen", "127.0.0.1:9465"], "no address"),
        (listen, "listen = \"127.0.0.1:9465\"\nbody_max = \"1KiB\"\n", &["feedback.body_max"], "less than one event"),
        (listen, "listen = \"127.0.0.1:9465\"\nconcurrency = 0\n", &["feedback.concurrency"], "nobody at all"),
        (listen, "listen = \"127.0.0.1:9465\"\nread_timeout = \"1h\"\n", &["feedback.read_timeout"], "slow for ever"),
        (
            listen,
            "listen = \"127.0.0.1:9465\"\nunresolved_after = \"60d\"\n",
            &["feedback.unresolved_after"],
            "longer than what waits is kept",
        ),
    ];
    for (line, to, parts, why) in table {
        assert!(whole.contains(line), "`{line}` is not in the file");
        refused(secrets.load(&whole.replacen(line, to, 1)), parts, why);
    }
    let keys: [(&str, &[&str], &str); 3] = [
        ("[[", &["suppressions.key", "PEAKPOST_RECIPIENT_KEY", "openssl rand"], "no key where it is by default"),
        ("key = \"EMPTY\"\n[[", &["suppressions.key", "empty"], "no key"),
        ("key = \"KEY\"\n[[", &["suppressions.key", "16 bytes"], "a key that can be guessed"),
    ];
    for (to, parts, why) in keys {
        let config = secrets.load(&whole.replacen("key = \"SIGNING\"\n[[", to, 1)).unwrap();
        let fault = config.suppressions.keyer.err().unwrap_or_else(|| panic!("accepted: {why}"));
        assert!(parts.iter().all(|part| fault.contains(part)), "{why}: {fault}");
    }
    assert!(secrets.load("").unwrap().feedback.is_none(), "nobody listens by default");
}

/// What a listener with TLS is told at start. `one` and `two` are pairs of a certificate and its key.
#[test]
fn a_certificate_and_its_key_belong_together() {
    let secrets = Secrets::new();
    let whole = file(HOOK, "key = \"SIGNING\"");
    let listen = "listen = \"127.0.0.1:9465\"\n";
    let load = |tls: &str| {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
        let line = format!("{listen}tls = {{ {} }}\n", tls.replace("DIR", dir));
        secrets.load(&whole.replacen(listen, &line, 1))
    };
    let good = load("cert = \"DIR/one.pem\", key = \"DIR/one.key\"").unwrap_or_else(|faults| panic!("{faults}"));
    assert!(good.feedback.unwrap().tls.is_some());
    assert!(secrets.load(&whole).unwrap().feedback.unwrap().tls.is_none(), "plain HTTP by default");
    let table: [(&str, &[&str], &str); 6] = [
        ("cert = \"DIR/three.pem\", key = \"DIR/one.key\"", &["three.pem", "cannot be read", "hint"], "no file"),
        ("cert = \"DIR/one.pem\", key = \"DIR/three.key\"", &["three.key", "cannot be read", "hint"], "no file"),
        ("cert = \"DIR/one.key\", key = \"DIR/one.key\"", &["no certificate", "hint"], "files mixed up"),
        ("cert = \"DIR/one.pem\", key = \"DIR/one.pem\"", &["no private key", "hint"], "files mixed up"),
        ("cert = \"DIR/one.pem\", key = \"DIR/two.key\"", &["two.key", "is not that of", "hint"], "another's key"),
        ("cert = \"DIR/one.pem\"", &["key"], "half of it"),
    ];
    for (tls, parts, why) in table {
        refused(load(tls), parts, why);
    }
}

#[test]
fn mailbox_providers_have_names_and_domains() {
    let secrets = Secrets::new();
    let of = |config: peakpost::config::Config, to| config.mailboxes.of(peakpost::job::Channel::Email, to).to_owned();
    for (to, name) in
        [("a@gmail.com", "gmail"), ("a@HOTMAIL.com", "microsoft"), ("a@me.com", "icloud"), ("a@b.c", "other")]
    {
        assert_eq!(of(secrets.load("").unwrap(), to), name, "{to} by default");
    }
    let mine = "[mailboxes]\ngmx = [\"gmx.de\", \"gmx.net\"]";
    assert_eq!(of(secrets.load(mine).unwrap(), "a@gmx.net"), "gmx", "names are added");
    refused(
        secrets.load("[mailboxes]\nother = [\"a.b\"]"),
        &["mailboxes", "\"other\""],
        "the name of all that have none",
    );
    refused(secrets.load("[mailboxes]\nmine = [\"gmail.com\"]"), &["gmail.com", "belongs to"], "a domain has one name");
}
