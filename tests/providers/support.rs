//! Jobs, accounts and the fixed time of the vendor tests.
//!
//! Why: a job owes an outcome; `with_jobs` builds jobs and gives every receipt back by name.

use std::path::PathBuf;

use peakpost::job::receipt::Why;
use peakpost::job::{Coordinates, Headers, Incoming, Job, Lane, Malformed, Receipt, Source, Wall, Way};
use peakpost::provider::secret::Secret;
use peakpost::provider::sendgrid::{self, SendGrid};
use peakpost::provider::twilio::{self, Twilio};
use peakpost::provider::webhook::Webhook;
use peakpost::provider::{Kind, Request};

/// 2027-01-15T08:00:00Z, a Friday.
pub const NOW: Wall = Wall(1_800_000_000_000);

/// The secret of the Standard Webhooks project's own test vector.
pub const VECTOR_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub const SENDGRID_KEY: &str = "SG.not-a-real-key";
pub const TWILIO_PASSWORD: &str = "not-a-real-token";
pub const CALLBACK: &str = "https://feedback.example.com/feedback/sms";
pub const GATEWAY: &str = "https://push.example.com/in";

pub fn sendgrid() -> SendGrid {
    let config = sendgrid::Config {
        base_url: "https://api.sendgrid.com".to_owned(),
        key: Secret::new(SENDGRID_KEY),
        batch_max: 1000,
    };
    SendGrid::new(config).expect("a valid account")
}

pub fn twilio(status_callback: Option<&str>) -> Twilio {
    let config = twilio::Config {
        base_url: "https://api.twilio.com/".to_owned(),
        account_sid: "AC00000000000000000000000000000001".to_owned(),
        user: "SK00000000000000000000000000000002".to_owned(),
        password: Secret::new(TWILIO_PASSWORD),
        status_callback: status_callback.map(str::to_owned),
    };
    Twilio::new(config).expect("a valid account")
}

pub fn webhook(gateway: Option<&str>) -> Webhook {
    Webhook::new(VECTOR_SECRET, gateway.map(str::to_owned)).expect("a valid account")
}

/// An account by the name it has in the data files.
pub fn account(name: &str) -> Kind {
    match name {
        "sendgrid" => Kind::SendGrid(sendgrid()),
        "twilio" => Kind::Twilio(twilio(None)),
        "callback" => Kind::Twilio(twilio(Some(CALLBACK))),
        "webhook" => Kind::Webhook(webhook(None)),
        "gateway" => Kind::Webhook(webhook(Some(GATEWAY))),
        other => panic!("no account is called `{other}`; use sendgrid, twilio, callback, webhook or gateway"),
    }
}

/// Runs `f` on jobs made from these records, and gives their receipts back.
pub fn with_jobs<T>(lane: Lane, records: &[String], f: impl FnOnce(&[&Job]) -> T) -> T {
    let jobs: Vec<Job> = records
        .iter()
        .zip(0..)
        .map(|(record, offset)| {
            let bytes = u32::try_from(record.len()).expect("a short record");
            let receipt = Receipt::new(Coordinates { from: Source::Jobs(lane), home: 0, offset }, 1, 0, bytes);
            let bytes = record.clone().into_bytes().into_boxed_slice();
            match Job::parse(Incoming {
                bytes,
                headers: Headers::new(),
                enqueued: NOW,
                lane,
                way: Way::default(),
                receipt,
            }) {
                Ok(job) => job,
                Err(malformed) => {
                    let Malformed { incoming: Incoming { receipt, .. }, invalid } = *malformed;
                    let _given_back = receipt.abandon(Why::Shutdown);
                    panic!("the test's record is no job: {invalid}\n{record}\nmend the record");
                }
            }
        })
        .collect();
    let answer = f(&jobs.iter().collect::<Vec<_>>());
    for job in jobs {
        let _given_back = job.into_receipt().abandon(Why::Shutdown);
    }
    answer
}

/// Encodes these records in the marketing lane; what cannot be said comes back as text.
pub fn encode(account: &Kind, records: &[String]) -> Result<Request, String> {
    with_jobs(Lane::Marketing, records, |jobs| {
        account.encode(jobs, NOW).map_err(|e| format!("{} {} {}", e.index, e.said.code.as_str(), e.said.text))
    })
}

/// A mail to `to` with this content.
pub fn mail(to: &str, content: &str) -> String {
    format!(r#"{{"id":"1","tenant":"t","channel":"email","to":"{to}","from":"f@example.com","content":{content}}}"#)
}

/// The content of a rendered mail.
pub const RENDERED: &str = r#"{"subject":"s","text":"t"}"#;

/// A text message.
pub const SMS: &str =
    r#"{"id":"1","tenant":"t","channel":"sms","to":"+14155550123","from":"Acme","content":{"body":"b"}}"#;

/// A file or folder of golden data.
pub fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/providers").join(path)
}
