//! What vendors post to the feedback listener, signed as they sign it.
//!
//! Why: signatures are made here by code that shares no line with the code that checks them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use peakpost::provider::Call;
use reqwest::header::{HeaderMap, HeaderValue};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use ring::{hmac, signature};

/// The URL that is configured at the vendor, and where a callback really goes.
pub const PUBLIC_URL: &str = "https://feedback.example.com/feedback/sms";

/// A request that can be changed and heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Posted {
    pub fn new(headers: &[(&'static str, &str)], body: &[u8]) -> Self {
        let value = |text: &str| HeaderValue::from_str(text).expect("a header's value");
        let headers = headers.iter().map(|(name, text)| (name.parse().expect("a header's name"), value(text)));
        Self { query: None, headers: headers.collect(), body: body.to_vec() }
    }

    pub fn call(&self) -> Call<'_> {
        Call { query: self.query.as_deref(), headers: &self.headers, body: &self.body }
    }
}

/// SendGrid's key, made anew for each run.
pub struct SendGridKey(EcdsaKeyPair, SystemRandom);

impl SendGridKey {
    pub const TIME: &'static str = "x-twilio-email-event-webhook-timestamp";
    pub const SIGNATURE: &'static str = "x-twilio-email-event-webhook-signature";

    pub fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("the same key");
        Self(pair, random)
    }

    /// As SendGrid's settings show it.
    pub fn public(&self) -> String {
        let prefix = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").expect("base64");
        STANDARD.encode([&prefix, self.0.public_key().as_ref()].concat())
    }

    pub fn sign(&self, time: &str, body: &[u8]) -> Posted {
        let signed: signature::Signature =
            self.0.sign(&self.1, &[time.as_bytes(), body].concat()).expect("a signature");
        Posted::new(&[(Self::TIME, time), (Self::SIGNATURE, &STANDARD.encode(signed))], body)
    }
}

/// Twilio's: name and value of each parameter, each pair once, in order.
pub fn twilio(token: &str, url: &str, query: Option<&str>, form: &str) -> Posted {
    let pairs: BTreeSet<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let mut signed = match query {
        Some(query) => format!("{url}?{query}"),
        None => url.to_owned(),
    };
    for (name, value) in pairs {
        signed += &name;
        signed += &value;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let tag = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let posted = Posted::new(&[("x-twilio-signature", &tag)], form.as_bytes());
    Posted { query: query.map(str::to_owned), ..posted }
}

/// Standard Webhooks 1.0.
pub fn signed(secret: &str, id: &str, time: &str, body: &[u8]) -> Posted {
    let bytes = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("a secret");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let tag = hmac::sign(&key, &[format!("{id}.{time}.").as_bytes(), body].concat());
    let signature = format!("v1,{}", STANDARD.encode(tag));
    Posted::new(&[("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", &signature)], body)
}
