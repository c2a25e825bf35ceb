//! What vendors will say later: how much of what, of whom, and that each says it as its documentation does.
//!
//! Why: complaint breakers and counts are judged by these figures.
//! Must not know: who listens.

use std::collections::BTreeMap;
use std::sync::Arc;

use peakpost::event::Happened;
use peakpost::sim::vendor::SimConfig;
use peakpost::sim::vendor::feedback::{Complaints, FeedbackConfig, Model, Signer, Told};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::json;

use super::{Bench, bench, mail, status};

/// Mails to two domains, and what is made up of them. Nobody listens: it is made up all the same.
async fn told(b: &Bench, model: Model, seed: u64) -> Told {
    let signer = Arc::new(Signer::new("token", &b.config.webhook_secret).unwrap());
    let urls = [None, Some("https://any.example/feedback/mail".to_owned()), None];
    let listener = "127.0.0.1:9".parse().unwrap();
    b.sim.feedback(FeedbackConfig { listener, urls, signer, model, seed }).unwrap();
    let mut body = mail(1000);
    for (n, p) in body["personalizations"].as_array_mut().unwrap().iter_mut().enumerate() {
        let domain = if n % 2 == 0 { "gmail.com" } else { "example.com" };
        p["to"][0]["email"] = json!(format!("user-{n}@{domain}"));
        p["custom_args"]["peakpost_campaign"] = json!("friday");
    }
    assert_eq!(status(b.mail(&body)).await, 202);
    assert_eq!(status(b.mail(&mail(0))).await, 400, "of what is refused nothing is said");
    loop {
        let told = b.sim.told();
        // Everything of one request is made up at once.
        if !told.events.is_empty() {
            return told;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_complains_is_told_by_tenant_campaign_and_domain() {
    let rule = |tenant: &str, domain: Option<&str>, rate| Complaints {
        tenant: Some(tenant.to_owned()),
        campaign: Some("friday".to_owned()),
        domain: domain.map(str::to_owned),
        rate,
    };
    let complaints = vec![rule("other", None, 1.0), rule("shop", Some("gmail.com"), 1.0), rule("shop", None, 0.0)];
    let model = Model { complaints, hard: 0.1, soft: 0.0, blocked: 0.0, dropped: 0.0, ..Model::default() };
    let told = told(&bench(SimConfig::default()).await, model, 1).await;
    let mut of: BTreeMap<(&str, Happened), u32> = BTreeMap::new();
    for said in &told.events {
        assert_eq!((&*said.tenant, &*said.campaign), ("shop", "friday"), "each says whose message it was");
        *of.entry((&*said.domain, said.happened)).or_default() += 1;
    }
    let count = |domain, happened| of.get(&(domain, happened)).copied().unwrap_or(0);
    assert_eq!(count("gmail.com", Happened::Complained), count("gmail.com", Happened::Delivered), "all who got it");
    assert_eq!(count("example.com", Happened::Complained), 0, "the first rule that fits counts");
    let hard = count("gmail.com", Happened::BouncedHard) + count("example.com", Happened::BouncedHard);
    assert!((60..=140).contains(&hard), "a tenth bounces: {hard} of 1000");
    let ends = hard + count("gmail.com", Happened::Delivered) + count("example.com", Happened::Delivered);
    assert_eq!(ends, 1000, "each message has one end");
}

#[tokio::test]
async fn each_seed_is_one_world_and_repeats_are_3_to_46() {
    let again = Model { again: 1.0, ..Model::default() };
    let (one, other) = (bench(SimConfig::default()).await, bench(SimConfig::default()).await);
    let first = told(&one, again.clone(), 7).await;
    let same = told(&other, again, 7).await;
    let ids = |told: &Told| told.events.iter().map(|said| (said.id.to_string(), said.happened)).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&same), "a seed says what happens");
    let each = first.waiting as f64 / (first.events.len() + 1000) as f64;
    assert!((20.0..29.0).contains(&each), "told 3 to 46 times, 24 in the mean: {each}");
    let once = told(&bench(SimConfig::default()).await, Model { again: 0.0, ..Model::default() }, 7).await;
    assert_eq!(once.waiting, once.events.len() + 1000, "else once, with `processed` of each, that nobody needs");
}

/// The key that `SendGrid` shows opens what it signs, by code that is not ours.
#[test]
fn signatures_verify_by_the_vendors_own_rules() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use ring::hmac;
    let signer = Signer::new("12345", "whsec_b25lLXNlY3JldC1mb3ItYWxsLW9mLXRoZXNlLXRlc3Rz").unwrap();
    let header = |signed: &peakpost::sim::vendor::feedback::Signed, name: &str| {
        signed.headers.iter().find(|(header, _)| *header == name).unwrap().1.clone()
    };
    let signed = signer.sendgrid(1_600_112_502, b"[]".to_vec());
    let der = STANDARD.decode(signer.public_key()).unwrap();
    assert_eq!(der.len(), 91, "a P-256 key in DER");
    let tag = STANDARD.decode(header(&signed, "x-twilio-email-event-webhook-signature")).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &der[26..]);
    key.verify(b"1600112502[]", &tag).expect("timestamp and body, nothing between them");
    // The vector of Twilio's own libraries.
    let form = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
    let signed = signer.twilio("https://mycompany.com/myapp.php?foo=1&bar=2", form.to_vec());
    assert_eq!(header(&signed, "x-twilio-signature"), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    let signed = signer.webhook(1_600_112_502, b"[]".to_vec());
    let text = format!("{}.1600112502.[]", header(&signed, "webhook-id"));
    let tag = STANDARD.decode(header(&signed, "webhook-signature").trim_start_matches("v1,")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"one-secret-for-all-of-these-tests");
    hmac::verify(&key, text.as_bytes(), &tag).expect("id, timestamp and body, with dots between them");
}
