//! What the fuzz targets share: ears with known keys, and requests from raw bytes.
//!
//! Why: a verifier is fed anything and must take nothing; a parser stands behind a signature, so its targets sign what
//! they feed it.
//! Must not know: how `provider` verifies.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use peakpost::event::Heard;
use peakpost::job::Wall;
use peakpost::provider::secret::Secret;
use peakpost::provider::{Call, Ear, MAX_EVENTS, Turned};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

/// When it is.
pub const NOW: Wall = Wall(1_800_000_000_000);
/// The same, as it is signed.
pub const TIME: &str = "1800000000";

const TOKEN: &str = "12345";
const URL: &str = "https://feedback.example.com/feedback/sms";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const MAX_AGE: Duration = Duration::from_secs(86_400);
const SPKI_P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=";

static SENDGRID_KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("the same key")
});

/// SendGrid's.
pub static SENDGRID: LazyLock<Ear> = LazyLock::new(|| {
    let prefix = STANDARD.decode(SPKI_P256).expect("base64");
    let key = STANDARD.encode([&prefix, SENDGRID_KEY.public_key().as_ref()].concat());
    Ear::sendgrid(&key, MAX_AGE).expect("a key")
});

/// Twilio's.
pub static TWILIO: LazyLock<Ear> = LazyLock::new(|| Ear::twilio(&Secret::new(TOKEN), URL).expect("settings"));

/// The generic one.
pub static SIGNED: LazyLock<Ear> = LazyLock::new(|| Ear::signed(&Secret::new(SECRET), MAX_AGE).expect("a secret"));

/// A request of these lines: one for each of `names`, one for the query, the rest is the body. It must be turned away.
pub fn forged(ear: &Ear, names: &[&'static str], data: &[u8]) {
    let mut parts = data.splitn(names.len() + 2, |b| *b == b'\n');
    let mut headers = HeaderMap::new();
    for name in names {
        if let Ok(value) = HeaderValue::from_bytes(parts.next().unwrap_or_default()) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let query = parts.next().and_then(|query| std::str::from_utf8(query).ok()).filter(|query| !query.is_empty());
    let answer = ear.hear(&Call { query, headers: &headers, body: parts.next().unwrap_or_default() }, NOW);
    assert_eq!(answer, Err(Turned::Forged), "nobody has signed this");
}

/// A request that is signed. It may be malformed, and says no more than it may.
pub fn genuine(ear: &Ear, query: Option<&str>, headers: &[(&'static str, &str)], body: &[u8]) -> Vec<Heard> {
    let value = |text: &str| HeaderValue::from_str(text).expect("a header's value");
    let headers = headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect();
    match ear.hear(&Call { query, headers: &headers, body }, NOW) {
        Ok(heard) => {
            assert!(heard.len() <= MAX_EVENTS);
            assert!(heard.iter().all(|event| !event.id.is_empty() && event.detail.chars().count() <= 200));
            heard
        }
        Err(turned) => {
            assert!(matches!(turned, Turned::Malformed(_)), "it is signed and fresh: {turned:?}");
            Vec::new()
        }
    }
}

/// SendGrid's signature of a body at [`TIME`].
pub fn sendgrid(body: &[u8]) -> String {
    let signed = [TIME.as_bytes(), body].concat();
    STANDARD.encode(SENDGRID_KEY.sign(&SystemRandom::new(), &signed).expect("a signature"))
}

/// Twilio's of a query and parameters as they are run together.
pub fn twilio(query: Option<&str>, words: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TOKEN.as_bytes());
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    STANDARD.encode(hmac::sign(&key, format!("{URL}{query}{words}").as_bytes()))
}

/// The generic one of a body at [`TIME`], with the id `m1`.
pub fn signed(body: &[u8]) -> String {
    let secret = STANDARD.decode(&SECRET["whsec_".len()..]).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let tag = hmac::sign(&key, &[format!("m1.{TIME}.").as_bytes(), body].concat());
    format!("v1,{}", STANDARD.encode(tag))
}
