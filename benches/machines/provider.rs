//! `provider`: jobs into a vendor's request, its reply into verdicts.

use std::hint::black_box;

use bytes::Bytes;
use peakpost::job::Job;
use peakpost::outcome::Verdict;
use peakpost::provider::secret::Secret;
use peakpost::provider::sendgrid::{self, SendGrid};
use peakpost::provider::twilio::{self, Twilio};
use peakpost::provider::webhook::Webhook;
use peakpost::provider::{Decoded, Kind, Reply};
use peakpost::sim::load::Shape;
use reqwest::header::{HeaderMap, HeaderValue};

use crate::inputs::{Jobs, NOW, records};
use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[
    Machine::new("provider: sendgrid, which batch", batch_key),
    Machine::new("provider: sendgrid, encode 1,000", || encode(sendgrid(), one_batch(), 1000)),
    Machine::new("provider: sendgrid, encode one", || {
        encode(sendgrid(), Jobs::of(records(Shape::TemplateMail).take(N)), 1)
    }),
    Machine::new("provider: twilio, encode", || encode(twilio(), Jobs::of(records(Shape::Sms).take(N)), 1)),
    Machine::new("provider: webhook, encode", || encode(webhook(None), Jobs::of(records(Shape::Webhook).take(N)), 1)),
    Machine::new("provider: gateway, encode", || {
        encode(webhook(Some("https://g.example")), Jobs::of(records(Shape::Sms).take(N)), 1)
    }),
    Machine::new("provider: sendgrid, decode", || decode(sendgrid(), 202, "")),
    Machine::new("provider: twilio, decode", || decode(twilio(), 201, MESSAGE)),
    Machine::new("provider: webhook, decode", || decode(webhook(None), 200, r#"{"ok":true}"#)),
];

/// What Twilio answers when it has taken a message.
const MESSAGE: &str = r#"{"account_sid":"AC00000000000000000000000000000001","api_version":"2010-04-01","body":"hi","date_created":"Fri, 15 Jan 2027 08:00:00 +0000","date_sent":null,"direction":"outbound-api","error_code":null,"error_message":null,"from":"+14155550100","messaging_service_sid":null,"num_media":"0","num_segments":"1","price":null,"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","to":"+14155550123"}"#;

fn sendgrid() -> Kind {
    let (base_url, key) = ("https://api.sendgrid.com".to_owned(), Secret::new("SG.not-a-real-key"));
    Kind::SendGrid(SendGrid::new(sendgrid::Config { base_url, key, batch_max: 1000 }).expect("a valid account"))
}

fn twilio() -> Kind {
    let config = twilio::Config {
        base_url: "https://api.twilio.com".to_owned(),
        account_sid: "AC00000000000000000000000000000001".to_owned(),
        user: "SK00000000000000000000000000000002".to_owned(),
        password: Secret::new("not-a-real-token"),
        status_callback: Some("https://feedback.example.com/feedback/sms".to_owned()),
    };
    Kind::Twilio(Twilio::new(config).expect("a valid account"))
}

fn webhook(gateway: Option<&str>) -> Kind {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    Kind::Webhook(Webhook::new(secret, gateway.map(str::to_owned)).expect("a valid account"))
}

/// Jobs of one tenant and one campaign: they may share a request. A thousand of them, each `N / 1000` times in a round.
fn one_batch() -> Jobs {
    let uses = |record: &Vec<u8>| record.windows(TEMPLATE.len()).any(|window| window == TEMPLATE);
    Jobs::of(records(Shape::TemplateMail).filter(uses).take(1000))
}

/// A template that one campaign of one tenant uses.
const TEMPLATE: &[u8] = br#""template_id":"d-1a4dc0ffee"#;

fn batch_key() -> Round {
    let (kind, jobs) = (sendgrid(), Jobs::of(records(Shape::TemplateMail).take(N)));
    Box::new(move || {
        for job in &jobs.0 {
            black_box(kind.batch_key(job));
        }
    })
}

fn encode(kind: Kind, jobs: Jobs, batch: usize) -> Round {
    Box::new(move || {
        let refs: Vec<&Job> = jobs.0.iter().collect();
        for batch in refs.chunks(batch).cycle().take(N / batch) {
            black_box(kind.encode(batch, NOW).expect("a job that this vendor can be told"));
        }
    })
}

fn decode(kind: Kind, status: u16, body: &'static str) -> Round {
    let mut headers = HeaderMap::new();
    headers.insert("x-message-id", HeaderValue::from_static("14c5d75ce93.dfd.64b469"));
    let reply = Reply { status, headers, body: Bytes::from_static(body.as_bytes()) };
    Box::new(move || {
        for _ in 0..N {
            let decoded = black_box(kind.decode(1, &reply, NOW));
            assert!(matches!(decoded, Decoded::All(Verdict::Accepted { .. })), "a yes is read as {decoded:?}");
        }
    })
}
