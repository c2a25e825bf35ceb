//! Limits, faults, the log, and how another process steers them.
//!
//! Why: a fault that is logged wrongly makes a good dispatcher look bad, or a bad one good.
//! Must not know: what the vendors' rules are.

use std::time::{Duration, Instant};

use peakpost::sim::arrivals::{Vendor, from_json_lines, heedless, windows_over};
use peakpost::sim::vendor::{Behaviour, Latency, Lie, Limit, RetryAfter, SimConfig, Simulator, Unit};
use serde_json::json;

use super::{bench, body, header, mail, now_s, send, status};

#[tokio::test]
async fn limits_are_exact_and_told_in_each_vendors_way() {
    let b = bench(SimConfig::default()).await;
    let limit =
        |count, unit| Behaviour { limit: Some(Limit { count, window_ms: 3_600_000, unit }), ..Behaviour::default() };
    b.behave(Vendor::SendGrid, limit(5, Unit::Messages));
    let response = send(b.mail(&mail(3))).await;
    assert_eq!((response.status().as_u16(), header(&response, "x-ratelimit-remaining")), (202, "2"));
    let response = send(b.mail(&mail(3))).await;
    assert_eq!(response.status(), 429, "six are more than five");
    let told = ["x-ratelimit-limit", "x-ratelimit-remaining"].map(|name| header(&response, name).to_owned());
    assert_eq!(told, ["5", "0"]);
    let reset: u64 = header(&response, "x-ratelimit-reset").parse().unwrap();
    assert!((3590..=3601).contains(&reset.saturating_sub(now_s())), "the reset is in unix seconds: {reset}");
    assert_eq!(body(response).await["errors"][0]["message"], json!("too many requests"));
    assert_eq!(status(b.mail(&mail(2))).await, 202, "what was refused spent nothing");

    b.behave(Vendor::Twilio, limit(1, Unit::Requests));
    let fields = [("To", "+15550000015"), ("From", "+15557770005"), ("Body", "hi")];
    assert_eq!(status(b.sms(&fields)).await, 201);
    let response = send(b.sms(&fields)).await;
    assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (429, ""), "Twilio names no time");
    assert_eq!(body(response).await["code"], json!(20429));

    let forms = [
        (RetryAfter::Seconds, "3600"),
        (RetryAfter::HttpDate, " GMT"),
        (RetryAfter::Missing, ""),
        (RetryAfter::Negative, "-1"),
        (RetryAfter::Absurd, "1000000000"),
    ];
    for (retry_after, end) in forms {
        b.behave(Vendor::Webhook, Behaviour { throttle_ms: 3_600_000, retry_after, ..Behaviour::default() });
        let response = send(b.hook("/hook/1", "shop/1", now_s(), "{}")).await;
        let told = header(&response, "retry-after");
        assert!(
            response.status() == 429 && told.ends_with(end) && told.is_empty() == end.is_empty(),
            "{retry_after:?}: {told}"
        );
    }
}

#[tokio::test]
async fn a_sliding_limit_is_never_exceeded_and_uses_all_it_has() {
    let b = bench(SimConfig::default()).await;
    let window = Duration::from_millis(40);
    let limit = Some(Limit { count: 7, window_ms: 40, unit: Unit::Requests });
    b.behave(Vendor::Webhook, Behaviour { limit, ..Behaviour::default() });
    let deadline = Instant::now() + Duration::from_millis(600);
    let worker = async || {
        while Instant::now() < deadline {
            let _ = status(b.hook("/hook/1", "shop/1", now_s(), "{}")).await;
        }
    };
    tokio::join!(worker(), worker(), worker(), worker());
    let seen = b.sim.arrivals();
    let sent: Vec<u64> = seen.messages.iter().filter(|a| a.sent).map(|a| a.at).collect();
    assert!(sent.is_sorted() && seen.requests.is_sorted_by_key(|r| r.at), "the log is in the order of its times");
    assert_eq!(windows_over(&sent, 7, window), 0, "the vendor exceeded its own limit");
    assert!(windows_over(&sent, 6, window) > 0, "the vendor refused although there was room: {sent:?}");
    assert!(heedless(&seen.requests, Duration::ZERO) > 0, "these workers do not wait, and the log shows it");
}

#[tokio::test]
async fn throttling_ends_when_it_was_said_to() {
    let b = bench(SimConfig::default()).await;
    b.sim.throttle_until(Vendor::SendGrid, Instant::now() + Duration::from_secs(3600));
    assert_eq!(status(b.mail(&mail(1))).await, 429);
    assert_eq!(status(b.hook("/hook/1", "shop/1", now_s(), "{}")).await, 200, "another vendor is not concerned");
    b.sim.throttle_until(Vendor::SendGrid, Instant::now());
    assert_eq!(status(b.mail(&mail(1))).await, 202);
    let seen = b.sim.arrivals();
    let told = seen.requests.iter().find(|r| r.answer == 429).map(|r| r.until - r.at).unwrap();
    assert!(
        (3590..=3601).contains(&(told / 1_000_000_000)),
        "the log knows how long the client was told to wait: {told}"
    );
}

#[tokio::test]
async fn faults_show_in_the_log() {
    let b = bench(SimConfig::default()).await;
    let call = || b.mail(&mail(2));
    let last = || {
        let seen = b.sim.take_arrivals();
        let entry = seen.messages.last().unwrap();
        (entry.answer, entry.sent)
    };
    b.behave(Vendor::SendGrid, Behaviour { error_rate: 1.0, ..Behaviour::default() });
    let failed = status(call()).await;
    assert!(matches!(failed, 500 | 503), "{failed}");
    assert_eq!(last(), (failed, false), "a server error sends nothing");

    let lost = [
        Behaviour { lose_answer_rate: 1.0, ..Behaviour::default() },
        Behaviour { hang_rate: 1.0, hang_ms: 30, ..Behaviour::default() },
    ];
    for behaviour in lost {
        b.behave(Vendor::SendGrid, behaviour);
        let error = call().send().await.expect_err("no answer was to come");
        assert!(!error.is_connect() && !error.is_timeout(), "the connection was to break, not: {error:?}");
        assert_eq!(last(), (0, true), "taken, but nobody said so");
    }
    for (lie, expected) in [(Lie::Html, 200), (Lie::HalfJson, 202), (Lie::Huge, 202)] {
        b.behave(Vendor::SendGrid, Behaviour { lie: Some(lie), ..Behaviour::default() });
        assert_eq!(status(call()).await, expected, "{lie:?}");
        assert_eq!(last(), (expected, true), "{lie:?}");
    }
    let latency = Latency { median_ms: 40.0, sigma: 0.0 };
    b.behave(Vendor::SendGrid, Behaviour { latency, ..Behaviour::default() });
    let start = Instant::now();
    assert_eq!(status(call()).await, 202);
    assert!(start.elapsed() >= Duration::from_millis(40), "answered after {:?}", start.elapsed());
    assert!(b.sim.set_behaviour(Vendor::SendGrid, Behaviour { error_rate: 1.5, ..Behaviour::default() }).is_err());
}

#[tokio::test]
async fn a_full_log_takes_nothing() {
    let b = bench(SimConfig { max_messages: 5, ..SimConfig::default() }).await;
    assert_eq!(status(b.mail(&mail(4))).await, 202);
    assert_eq!(status(b.mail(&mail(2))).await, 503, "what cannot be logged is not taken");
    assert_eq!(b.sim.take_arrivals().messages.len(), 4);
    assert_eq!(status(b.mail(&mail(2))).await, 202, "taking the log makes room");
}

#[tokio::test]
async fn another_process_can_steer_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("arrivals.jsonl");
    let b = bench(SimConfig { journal: Some(journal.clone()), ..SimConfig::default() }).await;
    let steer = |path: &str, body: &str| b.client.put(b.url(path)).body(body.to_owned());
    assert_eq!(
        status(steer("/behaviour/sendgrid", r#"{"error_rate":1,"latency":{"median_ms":1,"sigma":0.5}}"#)).await,
        200
    );
    assert!(matches!(status(b.mail(&mail(1))).await, 500 | 503), "the knob was turned");
    assert_eq!(status(steer("/behaviour/sendgrid", "{}")).await, 200, "an empty object turns all off");
    for (path, body) in [
        ("/behaviour/sendgrid", r#"{"eror_rate":1}"#),
        ("/behaviour/sendgrid", r#"{"error_rate":2}"#),
        ("/behaviour/mailgun", "{}"),
        ("/behaviour/sendgrid", "not JSON"),
    ] {
        assert_eq!(status(steer(path, body)).await, 400, "{path} {body}");
    }
    assert_eq!(status(b.mail(&mail(3))).await, 202);

    let all = send(b.client.get(b.url("/arrivals"))).await.text().await.unwrap();
    let seen = b.sim.arrivals();
    assert_eq!(from_json_lines(&all).unwrap(), seen.messages);
    let part = send(b.client.get(b.url("/arrivals?from=1&max=2"))).await.text().await.unwrap();
    assert_eq!(from_json_lines(&part).unwrap(), seen.messages[1..3]);
    let requests = send(b.client.get(b.url("/requests"))).await.text().await.unwrap();
    assert_eq!(requests.lines().count(), 2);
    assert_eq!(status(b.client.get(b.url("/elsewhere"))).await, 404);
    b.sim.shutdown().await.unwrap();
    let written = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(from_json_lines(&written).unwrap(), seen.messages, "the journal is whole after shutdown");
}

#[tokio::test]
async fn shutdown_releases_what_hangs() {
    let b = bench(SimConfig::default()).await;
    b.behave(Vendor::Webhook, Behaviour { hang_rate: 1.0, hang_ms: 3_600_000, ..Behaviour::default() });
    let hanging = tokio::spawn(b.hook("/hook/1", "shop/1", now_s(), "{}").send());
    while b.sim.arrivals().messages.is_empty() {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    b.sim.shutdown().await.unwrap();
    assert!(hanging.await.unwrap().is_err(), "a hanging request gets no answer");
    assert!(start.elapsed() < Duration::from_secs(4), "it was released, not waited for: {:?}", start.elapsed());
}

#[tokio::test]
async fn the_simulator_stays_at_home() {
    let public = SimConfig { addr: "0.0.0.0:0".parse().unwrap(), ..SimConfig::default() };
    assert!(Simulator::start(public).await.is_err(), "it listens on loopback only");
    let weak = SimConfig { webhook_secret: "eHh4".to_owned(), ..SimConfig::default() };
    assert!(Simulator::start(weak).await.is_err(), "the webhook secret has a form");
}
