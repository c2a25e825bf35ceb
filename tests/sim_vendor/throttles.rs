//! How each simulated vendor says "too fast", byte for byte; the cap on requests at a time; the vendor that flaps.
//!
//! Why: the decoders are tried on these answers, so each must be the vendor's own, and be read as it was meant.
//! Must not know: what the dispatcher does about a wait.

use std::time::{Duration, Instant, SystemTime};

use peakpost::job::Wall;
use peakpost::outcome::{Scope, Verdict};
use peakpost::provider::webhook::Webhook;
use peakpost::provider::{Decoded, Kind, MAX_VENDOR_WAIT, Reply};
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::vendor::{Behaviour, Flap, Latency, Limit, RetryAfter, SimConfig, Unit};
use reqwest::Response;

use super::{Bench, bench, header, mail, now_s, send, status};

const SMS: [(&str, &str); 3] = [("To", "+15550000015"), ("From", "+15557770005"), ("Body", "hi")];

/// What our own decoder makes of an answer that a gateway passed on.
async fn decoded(response: Response) -> Verdict {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let reply = Reply { status, headers, body: response.bytes().await.unwrap() };
    let secret = SimConfig::default().webhook_secret;
    let gateway = Kind::Webhook(Webhook::new(&secret, Some("https://gateway.example".to_owned())).unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    match gateway.decode(1, &reply, Wall(i64::try_from(now).unwrap())) {
        Decoded::All(verdict) => verdict,
        other => panic!("a gateway's word is for its one job, not {other:?}"),
    }
}

/// What a form must be read as.
#[derive(Clone, Copy)]
enum Wait {
    None,
    /// The ten minutes that the vendor throttles for, rounded up to the second.
    Told,
    /// This, whatever the vendor has in mind.
    Fixed(Duration),
}

#[tokio::test]
async fn every_form_is_read_as_it_was_meant() {
    use RetryAfter as F;
    const CUT: Wait = Wait::Fixed(MAX_VENDOR_WAIT);
    let minute = Wait::Fixed(Duration::from_secs(60));
    let (account, sender, recipient) = (Scope::Provider, Scope::Sender, Scope::Recipient);
    // The form, its status, what stands in its headers or body, whom it binds, for how long.
    let table = [
        (F::Seconds, 429, "retry-after: 600\n", account, Wait::Told),
        (F::HttpDate, 429, " GMT\n", account, Wait::Told),
        (F::Rfc850, 429, "day, ", account, Wait::Told),
        (F::Asctime, 429, "retry-after: ", account, Wait::Told),
        (F::Missing, 429, "too many requests", account, Wait::None),
        (F::Negative, 429, "retry-after: -1\n", account, Wait::None),
        (F::Past, 429, " GMT\n", account, Wait::None),
        (F::Absurd, 429, "retry-after: 1000000000\n", account, CUT),
        (F::Overflow, 429, "retry-after: 99999999999999999999\n", account, CUT),
        (F::NotText, 429, "retry-after: zwölf\n", account, Wait::None),
        (F::Twice, 429, "retry-after: 0\nretry-after: 600\n", account, Wait::Told),
        (F::ResetUnix, 429, "x-ratelimit-reset: 1", account, Wait::Told),
        (F::ResetMs, 429, "000\n", account, Wait::Told),
        (F::ResetDelta, 429, "\nratelimit-reset: 600\n", account, Wait::Told),
        (F::Mailgun, 429, "not allowed to send: request limit exceeded, try again after ", account, Wait::Told),
        (
            F::SesRate,
            429,
            "x-amzn-errortype: TooManyRequestsException\n|{\"message\":\"Maximum sending rate exceeded.\"}",
            account,
            Wait::None,
        ),
        (F::SesQuota, 429, "{\"message\":\"Daily message quota exceeded.\"}", account, CUT),
        (F::SesThrottling, 400, "x-amzn-errortype: ThrottlingException\n", account, Wait::None),
        (F::Fcm, 429, "\"errorCode\":\"QUOTA_EXCEEDED\"}", account, minute),
        (F::Apns, 429, "|{\"reason\":\"TooManyRequests\"}", recipient, Wait::None),
        (F::TwilioQueue, 400, "|{\"code\":21611,\"message\":\"This 'From' number", sender, Wait::None),
    ];
    let b = bench(SimConfig::default()).await;
    for (form, status, part, scope, wait) in table {
        b.behave(Vendor::Webhook, Behaviour { throttle_ms: 600_000, retry_after: form, ..Behaviour::default() });
        let spoken = text(send(b.hook("/hook/1", "shop/1", now_s(), "{}")).await).await;
        assert!(spoken.contains(part), "{form:?}: no `{part}` in\n{spoken}");
        let response = send(b.hook("/hook/1", "shop/1", now_s(), "{}")).await;
        assert_eq!(response.status(), status, "{form:?}");
        let verdict = decoded(response).await;
        let Verdict::Throttled { wait: read, scope: whom, .. } = verdict else {
            panic!("{form:?} is read as {verdict:?}; mend provider/throttle.rs");
        };
        assert_eq!(whom, scope, "{form:?} binds another");
        let entry = b.sim.take_arrivals().requests.pop().unwrap();
        let logged = Duration::from_nanos(entry.until.saturating_sub(entry.at));
        let good = match wait {
            Wait::None => read.is_none(),
            Wait::Told => {
                // A slow machine may read the answer a few seconds after it was written.
                let near = |time: Duration| (590..=601).contains(&time.as_secs());
                read.is_some_and(near) && near(logged)
            }
            Wait::Fixed(time) => read == Some(time),
        };
        assert!(good, "{form:?} is read as {read:?}, the log says {logged:?}");
    }
}

/// Headers, one a line, `|`, body.
async fn text(response: Response) -> String {
    let line = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        format!("\n{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    // The names that every HTTP server writes would come between; those of the vendor stand together.
    let common = ["content-type", "content-length", "date"];
    let all = response.headers().iter().filter(|(name, _)| !common.contains(&name.as_str()));
    let mut out: String = all.map(line).collect();
    out.push_str("\n|");
    out + &response.text().await.unwrap()
}

#[tokio::test]
async fn sendgrid_and_twilio_speak_as_documented() {
    let b = bench(SimConfig::default()).await;
    for vendor in [Vendor::SendGrid, Vendor::Twilio] {
        b.behave(vendor, Behaviour { throttle_ms: 600_000, retry_after: RetryAfter::Mailgun, ..Behaviour::default() });
    }
    let response = send(b.mail(&mail(1))).await;
    let headers = ["x-ratelimit-limit", "x-ratelimit-remaining", "retry-after"].map(|name| header(&response, name));
    assert_eq!((response.status().as_u16(), headers), (429, ["10000", "0", ""]), "no Retry-After is documented");
    assert_eq!(response.text().await.unwrap(), r#"{"errors":[{"field":null,"message":"too many requests"}]}"#);

    let response = send(b.sms(&SMS)).await;
    let names = ["retry-after", "x-ratelimit-reset", "twilio-concurrent-requests"];
    assert_eq!(names.map(|name| header(&response, name)), ["", "", "1"], "Twilio names no time");
    assert_eq!(response.status(), 429);
    assert_eq!(
        response.text().await.unwrap(),
        r#"{"code":20429,"message":"Too Many Requests","more_info":"https://www.twilio.com/docs/errors/20429","status":429}"#
    );
}

/// Asks until `good`, at most ten seconds.
async fn until_good(what: &str, mut good: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !good().await {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn twilio_takes_so_many_at_a_time_and_no_more() {
    let b = bench(SimConfig::default()).await;
    let slow = Latency { median_ms: 60_000.0, sigma: 0.0 };
    b.behave(Vendor::Twilio, Behaviour { latency: slow, ..Behaviour::default() });
    let held = [tokio::spawn(b.sms(&SMS).send()), tokio::spawn(b.sms(&SMS).send())];
    until_good("both requests are at work", async || b.sim.arrivals().messages.len() == 2).await;

    let limit = Some(Limit { count: 1, window_ms: 3_600_000, unit: Unit::Requests });
    b.behave(Vendor::Twilio, Behaviour { concurrency: Some(2), limit, ..Behaviour::default() });
    for _ in 0..2 {
        let response = send(b.sms(&SMS)).await;
        let told = header(&response, "twilio-concurrent-requests").to_owned();
        assert_eq!((response.status().as_u16(), &*told), (429, "3"), "two are at work; the third is turned away");
        let body = response.text().await.unwrap();
        assert!(body.starts_with(r#"{"code":20429,"#), "{body}");
    }
    assert_eq!(b.sim.arrivals().messages.iter().filter(|a| a.sent).count(), 2, "what is turned away is not sent");
    for call in held {
        call.abort();
    }
    until_good("the places of clients that have gone are free", async || status(b.sms(&SMS)).await == 201).await;
    assert_eq!(status(b.sms(&SMS)).await, 429, "the limit of one: what the cap turned away spent nothing of it");
    b.behave(Vendor::Twilio, Behaviour { concurrency: Some(1), ..Behaviour::default() });
    for _ in 0..5 {
        assert_eq!(status(b.sms(&SMS)).await, 201, "one after the other is one at a time");
    }
}

/// Sends until the log holds `n` requests more, then gives their times and answers.
async fn hammer(b: &Bench, n: usize) -> Vec<(u64, u16)> {
    for _ in 0..n {
        let _ = status(b.hook("/hook/1", "shop/1", now_s(), "{}")).await;
    }
    b.sim.take_arrivals().requests.iter().map(|r| (r.at, r.answer)).collect()
}

#[tokio::test]
async fn a_flapping_vendor_is_down_by_the_clock() {
    let b = bench(SimConfig::default()).await;
    let flap = Flap { on_ms: 60, off_ms: 40 };
    let throttle_ms = 3_600_000;
    let (on, period) = (60_000_000, 100_000_000_u64);
    let before = hammer(&b, 1).await[0].0;
    b.behave(Vendor::Webhook, Behaviour { flap: Some(flap), throttle_ms, ..Behaviour::default() });
    let first = hammer(&b, 1).await[0].0;
    // It was set somewhere in between, so of each later request it is known within that much where in a period it came.
    let (mut up, mut down) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while up < 40 || down < 40 {
        assert!(Instant::now() < deadline, "{up} requests came while it was up, {down} while it was down");
        for (at, answer) in hammer(&b, 20).await {
            let (least, most) = ((at - first) % period, (at - first) % period + (first - before));
            match answer {
                429 => up += 1,
                500 | 503 => down += 1,
                other => panic!("neither up (and throttling) nor down: {other}"),
            }
            assert!(most >= on || answer == 429, "{least} to {most} ns after it came up it is down: {answer}");
            assert!(least < on || most >= period || answer >= 500, "{least} to {most} ns after it came up: {answer}");
        }
    }
    b.behave(Vendor::Webhook, Behaviour::default());
    assert!(hammer(&b, 20).await.iter().all(|&(_, answer)| answer == 200), "turned off, it stays up");
}

#[tokio::test]
async fn the_knobs_are_checked() {
    let b = bench(SimConfig::default()).await;
    let cases = [
        ("twilio", r#"{"concurrency":100}"#, 200, "Twilio's cap"),
        ("twilio", r#"{"concurrency":0}"#, 400, "a vendor that never takes anything is no cap"),
        ("sendgrid", r#"{"concurrency":100}"#, 400, "SendGrid documents no cap"),
        ("webhook", r#"{"concurrency":100}"#, 400, "nor has a webhook one"),
        ("webhook", r#"{"flap":{"on_ms":30000,"off_ms":30000}}"#, 200, "half a minute each"),
        ("webhook", r#"{"flap":{"on_ms":0,"off_ms":30000}}"#, 400, "never up"),
        ("webhook", r#"{"flap":{"on_ms":30000,"off_ms":0}}"#, 400, "never down"),
        ("webhook", r#"{"flap":{"on_ms":30000,"off_ms":18446744073709551615}}"#, 400, "for ever"),
        ("webhook", r#"{"flap":{"on_ms":30000}}"#, 400, "half a flap"),
        ("webhook", r#"{"throttle_ms":5,"retry_after":"http_date","flap":null}"#, 200, "as it was before"),
        ("webhook", r#"{"retry_after":"ses_throttling"}"#, 200, "another vendor's words"),
        ("webhook", r#"{"retry_after":"soon"}"#, 400, "nobody's words"),
    ];
    for (vendor, body, expected, why) in cases {
        let call = b.client.put(b.url(&format!("/behaviour/{vendor}"))).body(body);
        assert_eq!(status(call).await, expected, "{why}: {vendor} {body}");
    }
}
