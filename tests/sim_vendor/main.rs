//! The simulated vendors: what they take, what they refuse and in which words, and their faults.
//!
//! Why: every later test trusts this simulator; it is checked against the vendors' documented answers.
//! Must not know: how the simulator is built.
#![expect(clippy::disallowed_methods, reason = "the test's clock is the world's, not the line's")]

mod faults;
mod feedback;
mod rules;
mod throttles;

use std::time::{Duration, SystemTime};

use peakpost::provider::webhook::Webhook;
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::vendor::{Behaviour, SimConfig, Simulator};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

const MAIL: &str = "/v3/mail/send";

struct Bench {
    sim: Simulator,
    client: Client,
    config: SimConfig,
}

async fn bench(config: SimConfig) -> Bench {
    // Fails when another test of this process was first, which is as good.
    let _made = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().retry(reqwest::retry::never()).timeout(Duration::from_secs(20));
    Bench { sim: Simulator::start(config.clone()).await.unwrap(), client: client.build().unwrap(), config }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A good mail to `n` recipients, `user-0@example.com` and on.
fn mail(n: usize) -> Value {
    let one = |i| {
        json!({"to": [{"email": format!("user-{i}@example.com")}],
               "custom_args": {"peakpost_tenant": "shop", "peakpost_id": format!("m-{i}")}})
    };
    json!({"personalizations": (0..n).map(one).collect::<Vec<_>>(), "from": {"email": "news@shop.example"},
           "subject": "s", "content": [{"type": "text/plain", "value": "t"}, {"type": "text/html", "value": "<p>t"}]})
}

impl Bench {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.sim.addr())
    }

    fn mail(&self, body: &Value) -> RequestBuilder {
        let call = self.client.post(self.url(MAIL)).bearer_auth(&self.config.sendgrid_key);
        call.header("content-type", "application/json").body(body.to_string())
    }

    fn sms(&self, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let sid = &self.config.twilio_sid;
        let call = self.client.post(self.url(&format!("/2010-04-01/Accounts/{sid}/Messages.json")));
        let call = call.basic_auth(sid, Some(&self.config.twilio_password));
        call.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    fn hook(&self, path: &str, id: &str, at: u64, body: &'static str) -> RequestBuilder {
        let signer = Webhook::new(&self.config.webhook_secret, None).unwrap();
        let signature = signer.signature(id, &at.to_string(), body.as_bytes());
        let call = self.client.post(self.url(path)).header("webhook-id", id).header("webhook-timestamp", at);
        call.header("webhook-signature", signature).body(body)
    }

    fn behave(&self, vendor: Vendor, behaviour: Behaviour) {
        self.sim.set_behaviour(vendor, behaviour).unwrap();
    }
}

async fn send(call: RequestBuilder) -> Response {
    call.send().await.expect("an answer; see whether the simulator cut the connection")
}

async fn status(call: RequestBuilder) -> u16 {
    send(call).await.status().as_u16()
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn body(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).expect("a JSON body")
}
