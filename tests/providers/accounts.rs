//! Which settings make an account, and that none of its secrets is ever printed.
//!
//! Why: a wrong setting must stop the start with a hint, not the first campaign; a printed key is a lost key.

use peakpost::provider::secret::Secret;
use peakpost::provider::sendgrid::{self, SendGrid};
use peakpost::provider::twilio::{self, Twilio};
use peakpost::provider::webhook::Webhook;

use super::support::{self, SENDGRID_KEY, TWILIO_PASSWORD, VECTOR_SECRET};

#[test]
fn sendgrid_settings_are_checked() {
    let cases = [
        ("the vendor's host", "https://api.sendgrid.com", "SG.k", 1000, true),
        ("a simulator, with a slash at the end", "http://127.0.0.1:9000/", "SG.k", 1, true),
        ("no job per request", "https://api.sendgrid.com", "SG.k", 0, false),
        ("more than the vendor takes", "https://api.sendgrid.com", "SG.k", 1001, false),
        ("no scheme", "api.sendgrid.com", "SG.k", 1, false),
        ("another scheme", "ftp://api.sendgrid.com", "SG.k", 1, false),
        ("a query", "https://api.sendgrid.com/?a=1", "SG.k", 1, false),
        ("credentials in the URL", "https://u:p@api.sendgrid.com", "SG.k", 1, false),
        ("a key with a line break", "https://api.sendgrid.com", "SG.secret\nX: y", 1, false),
    ];
    for (why, base_url, key, batch_max, good) in cases {
        let config = sendgrid::Config { base_url: base_url.to_owned(), key: Secret::new(key), batch_max };
        let made = SendGrid::new(config);
        assert_eq!(made.is_ok(), good, "{why}: {made:?}; mend SendGrid::new");
        if let Err(e) = made {
            assert!(e.contains("hint:") && !e.contains("SG."), "{why}: say what to do and no secret, got `{e}`");
        }
    }
}

#[test]
fn twilio_settings_are_checked() {
    let cases = [
        ("the account's own sid", "https://api.twilio.com", "AC01", "AC01", true),
        ("an API key", "https://api.twilio.com", "AC01", "SK01", true),
        ("no account", "https://api.twilio.com", "", "AC01", false),
        ("a sid that leaves its place in the path", "https://api.twilio.com", "AC01/../x", "AC01", false),
        ("a user that runs into the password", "https://api.twilio.com", "AC01", "SK:01", false),
        ("no user", "https://api.twilio.com", "AC01", "", false),
        ("no URL", "", "AC01", "AC01", false),
    ];
    for (why, base_url, account_sid, user, good) in cases {
        let made = Twilio::new(twilio::Config {
            base_url: base_url.to_owned(),
            account_sid: account_sid.to_owned(),
            user: user.to_owned(),
            password: Secret::new("hunter2"),
            status_callback: None,
        });
        assert_eq!(made.is_ok(), good, "{why}: {made:?}; mend Twilio::new");
        if let Err(e) = made {
            assert!(e.contains("hint:") && !e.contains("hunter2"), "{why}: say what to do and no secret, got `{e}`");
        }
    }
}

#[test]
fn webhook_secrets_are_checked() {
    let cases = [
        ("24 bytes, the least", VECTOR_SECRET.to_owned(), true),
        ("64 bytes, the most", format!("whsec_{}==", "A".repeat(86)), true),
        ("23 bytes", format!("whsec_{}=", "A".repeat(31)), false),
        ("65 bytes", format!("whsec_{}=", "A".repeat(87)), false),
        ("no prefix", VECTOR_SECRET.replace("whsec_", ""), false),
        ("no base64", "whsec_????????????????????????????????".to_owned(), false),
        ("nothing", String::new(), false),
    ];
    for (why, secret, good) in cases {
        let made = Webhook::new(&secret, None);
        assert_eq!(made.is_ok(), good, "{why}; mend Webhook::new");
        if let Err(e) = made {
            assert!(e.contains("hint:") && (secret.is_empty() || !e.contains(&secret)), "{why}: no secret in `{e}`");
        }
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let (sms, mail) = (vec![support::SMS.to_owned()], vec![support::mail("a@example.com", support::RENDERED)]);
    let [sendgrid, twilio, webhook] = ["sendgrid", "twilio", "webhook"].map(support::account);
    let printed = [
        format!("{sendgrid:?} {:?}", support::encode(&sendgrid, &mail).expect("encodable")),
        format!("{twilio:?} {:?}", support::encode(&twilio, &sms).expect("encodable")),
        format!("{webhook:?}"),
    ];
    let basic = support::encode(&twilio, &sms).expect("encodable").headers["authorization"].clone();
    let basic = basic.to_str().expect("text").trim_start_matches("Basic ").to_owned();
    for text in &printed {
        for secret in [SENDGRID_KEY, TWILIO_PASSWORD, &basic, VECTOR_SECRET.trim_start_matches("whsec_")] {
            assert!(!text.contains(secret), "a secret is printed in `{text}`; mark its header sensitive");
        }
    }
}
