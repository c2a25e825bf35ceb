//! Vendors tell what became of messages: signed, late, again and again, in any order; and strangers try the same door.
//!
//! Why: what was answered with 2xx is never told again, so it must be in Kafka by then; and whoever finds the address must
//! neither change nor learn anything.
//! Must not know: how requests are verified, how events are written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use peakpost::event::{Happened, Record};
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::load::{Generated, Mix};
use peakpost::sim::vendor::feedback::{FeedbackConfig, Model, Said, Signed, Signer, Told};
use rdkafka::Message;

use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::{PATIENCE, World, kafka, until};

/// The accounts' names, by vendor.
const ACCOUNTS: [&str; 3] = ["hook", "mail", "sms"];
/// What Twilio was told to call. Nothing of it but the path is ours.
const CALLBACK: &str = "https://feedback.example/feedback/sms";

pub fn signer(world: &World) -> Arc<Signer> {
    let vendor = &world.vendor_config;
    Arc::new(Signer::new(&vendor.twilio_password, &vendor.webhook_secret).unwrap())
}

/// Every account is heard; webhooks go through one gateway, which tells what became of them.
pub fn settings(world: &World, signer: &Signer) -> Settings {
    let secret = world.dir().join("webhook.secret");
    std::fs::write(&secret, &world.vendor_config.webhook_secret).unwrap();
    let mail = format!("feedback = {{ public_key = \"{}\" }}", signer.public_key());
    let hook =
        format!("url = \"{}/hook/gateway\"\nfeedback = {{ key = \"file:{}\" }}", world.vendor_url(), secret.display());
    Settings {
        sections: "[feedback]\nlisten = \"127.0.0.1:0\"\n[mailboxes]\nexample = [\"example.com\"]",
        mail_keys: mail.leak(),
        sms_keys: "feedback = { url = \"https://feedback.example/feedback/sms\" }",
        hook_keys: hook.leak(),
        ..Settings::default()
    }
}

pub fn tell(world: &World, signer: &Arc<Signer>, listener: SocketAddr, model: Model) {
    let url = |path: &str| Some(format!("https://feedback.example/feedback/{path}"));
    let urls = [url("hook"), url("mail"), Some(CALLBACK.to_owned())];
    let config = FeedbackConfig { listener, urls, signer: Arc::clone(signer), model, seed: 6 };
    world.vendors.feedback(config).unwrap();
}

pub fn jobs(world: &World, seed: u64, count: usize) -> Vec<Generated> {
    let mix = Mix { no_consent: 0.0, no_unsubscribe: 0.0, expired: 0.0, malformed: 0.0, ..Mix::peak() };
    world.jobs(seed, mix).take(count).collect()
}

pub fn sent(world: &World, count: usize) {
    let all = || (world.vendors.arrivals().messages.iter().filter(|a| a.sent).count() >= count).then_some(());
    until(PATIENCE, "every job is sent", all, || format!("{} requests", world.vendors.arrivals().requests.len()));
}

/// An event's key. Of Twilio's ids only the message's part is compared: its vendor has no id of events.
fn key(provider: &str, id: &str) -> String {
    let id = if provider == "sms" { id.split('-').next().unwrap() } else { id };
    format!("{provider}/{id}")
}

fn key_of(said: &Said) -> String {
    key(ACCOUNTS[said.vendor.index()], &said.id)
}

/// The records of each provider and happening.
type Counts = BTreeMap<(String, Happened), u32>;

/// What stands in the topic, by key, and how many records there are: each is whole, names its recipient by a hash alone,
/// and says the same each time.
fn written(world: &World) -> (BTreeMap<String, Record<'static>>, Counts) {
    let (mut all, mut counts) = (BTreeMap::new(), Counts::new());
    let messages = kafka::read_all(world, &world.topics.events());
    for message in &messages {
        let payload = message.payload().unwrap();
        let text = std::str::from_utf8(payload).unwrap();
        assert!(!text.contains('@') && !text.contains("+15550"), "a recipient as itself: {text}");
        let record: Record<'static> = serde_json::from_str(text.to_owned().leak()).unwrap();
        let own = peakpost::event::key(&record.recipient, &record.event).as_bytes();
        assert_eq!(message.key().unwrap(), own, "the key is the recipient: {text}");
        assert_eq!(record.recipient.len(), 32, "a keyed hash: {text}");
        let (provider, id) = record.event.split_once('/').unwrap();
        assert_eq!(provider, record.provider, "{text}");
        *counts.entry((provider.to_owned(), record.happened)).or_default() += 1;
        let earlier = all.insert(key(provider, id), record.clone());
        assert!(earlier.is_none_or(|e| e.happened == record.happened), "told again it is the same: {text}");
    }
    (all, counts)
}

/// Fails unless the topic says what the vendors said, no more and no less.
fn same(told: &Told, written: &BTreeMap<String, Record<'_>>) {
    let said: BTreeMap<String, &Said> = told.events.iter().map(|said| (key_of(said), said)).collect();
    let missing: Vec<_> = said.keys().filter(|key| !written.contains_key(*key)).take(5).collect();
    assert!(missing.is_empty(), "said and not written: {missing:?}");
    for (key, record) in written {
        let said = said.get(key).unwrap_or_else(|| panic!("written and never said: {record:?}"));
        assert_eq!(record.happened, said.happened, "{record:?}");
        for (name, echoed, is) in [
            ("tenant", &*said.tenant, &*record.tenant),
            ("campaign", &*said.campaign, &*record.campaign),
            ("job", &*said.job, &*record.id),
            ("lane", &*said.lane, record.lane.map_or("", peakpost::job::Lane::as_str)),
            ("mailbox", if said.domain.is_empty() { "" } else { "example" }, &*record.mailbox),
        ] {
            assert_eq!(echoed, is, "{name} of {record:?}");
        }
    }
}

/// A peak's mix through all three vendors; each event is told up to 46 times, in any order.
#[test]
fn every_event_is_written_as_the_vendors_count_them() {
    let world = World::new("feedback");
    let signer = signer(&world);
    let daemon = Daemon::ready(&world, "daemon", &settings(&world, &signer));
    tell(&world, &signer, daemon.feedback(), Model { unsubscribed: 0.02, ..Model::default() });
    let jobs = jobs(&world, 61, world.size(100_000, 10_000, 2_000));
    kafka::enqueue(&world, &jobs, |_| None);
    sent(&world, jobs.len());
    let told = || Some(world.vendors.told()).filter(|told| told.waiting == 0);
    let told = until(PATIENCE, "everything is heard", told, || daemon.child.last_words());
    assert!(told.events.iter().all(|said| said.heard), "answered 2xx, all of it");
    let kinds: BTreeSet<_> = told.events.iter().map(|said| (said.vendor, said.happened)).collect();
    assert!(kinds.len() >= 10, "too little happened to show anything: {kinds:?}");
    let (written, counts) = written(&world);
    same(&told, &written);
    for ((provider, happened), records) in &counts {
        let labels = [format!("provider=\"{provider}\""), format!("happened=\"{}\"", happened.as_str())];
        let counted = daemon.metric("peakpost_feedback_events_total", &[&labels[0], &labels[1]]);
        assert!((counted - f64::from(*records)).abs() < 0.1, "{labels:?}: {counted} counted, {records} in the topic");
    }
    let repeats = daemon.metric("peakpost_feedback_repeats_total", &[]);
    assert!(repeats > 0.0, "vendors repeat themselves, and that is counted");
    println!(
        "   {} events told {} times, written {} times; {repeats} repeats were not written again; {:?}",
        told.events.len(),
        told.tellings,
        counts.values().sum::<u32>(),
        told.answers
    );
    daemon.stop();
    world.finish();
}

/// Power cuts while vendors tell: what had its 2xx stands in the topic, what had none is told again.
#[test]
fn kill_9_loses_nothing_that_was_answered() {
    let world = World::new("feedback-kill");
    let signer = signer(&world);
    let settings = settings(&world, &signer);
    let mut daemon = Daemon::ready(&world, "daemon-0", &settings);
    let second = Duration::from_secs(1);
    let model = Model { delivered_after: 4 * second, read_after: 4 * second, again_after: second, ..Model::default() };
    tell(&world, &signer, daemon.feedback(), model);
    let jobs = jobs(&world, 62, world.size(20_000, 3_000, 2_000));
    kafka::enqueue(&world, &jobs, |_| None);
    sent(&world, jobs.len());
    let kills = world.size(12, 2, 2);
    for kill in 1..=kills {
        let heard = || world.vendors.told().events.iter().filter(|said| said.heard).count();
        let before = heard();
        let more = || (heard() >= before + jobs.len() / 10).then_some(());
        until(PATIENCE, "vendors are heard", more, || daemon.child.last_words());
        daemon.child.signal("KILL");
        daemon.child.wait(PATIENCE);
        // Whatever has its answer by now was answered before the kill.
        let told = world.vendors.told();
        let (written, _) = written(&world);
        let lost: Vec<_> = told.events.iter().filter(|s| s.heard && !written.contains_key(&key_of(s))).collect();
        assert!(lost.is_empty(), "kill {kill}: {} answered 2xx and lost: {:?}", lost.len(), lost.first());
        daemon = Daemon::start(&world, &format!("daemon-{kill}"), &settings);
        world.vendors.feedback_moves(daemon.feedback());
    }
    let told = || Some(world.vendors.told()).filter(|told| told.waiting == 0);
    let told = until(PATIENCE * 2, "everything is heard", told, || daemon.child.last_words());
    let (written, counts) = written(&world);
    same(&told, &written);
    let records: u32 = counts.values().sum();
    let silent = told.answers.get(&0).copied().unwrap_or(0);
    assert!(silent > 0, "no request was cut off: the kills have shown nothing");
    println!("   {kills} kills: {} events in {records} records; {silent} requests without an answer", written.len());
    world.finish();
}

/// One request by hand. The answer's status line and headers without the date, and its body; and how often it was posted: who
/// posts more than is read may find the connection closed before the answer is heard (RFC 9112, section 9.6).
fn ask(world: &World, at: SocketAddr, method: &str, path: &str, signed: &Signed) -> (String, u8) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{at}{path}");
    let mut request = client.request(method.parse().unwrap(), url).body(signed.body.clone());
    for (name, value) in &signed.headers {
        request = request.header(*name, value);
    }
    let once = async || {
        let answer = request.try_clone().unwrap().send().await?;
        let status = answer.status();
        let headers: Vec<_> = answer.headers().iter().filter(|(name, _)| *name != "date").collect();
        let head = format!("{status} {headers:?}");
        Ok::<_, reqwest::Error>(format!("{head} {}", answer.text().await?))
    };
    world.block_on(async {
        let mut times = 1;
        loop {
            match once().await {
                Ok(answer) => return (answer, times),
                Err(e) => assert!(times < 10, "{path} gives no answer: {e:?}"),
            }
            times += 1;
        }
    })
}

pub fn now_s() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// Deliveries of these ids, as the vendor tells them of what we send.
pub fn mails(ids: std::ops::Range<usize>) -> Vec<u8> {
    let now = now_s();
    let event = |id| {
        format!(
            r#"{{"email":"user-{id}@example.com","timestamp":{now},"smtp-id":"<m-{id}@ismtpd-1.example>","event":"delivered","category":["season"],"sg_event_id":"event-{id}","sg_message_id":"m-{id}","response":"250 2.0.0 OK","tls":1,"peakpost_id":"{id}","peakpost_tenant":"acme","peakpost_campaign":"friday","peakpost_lane":"marketing","peakpost_sent":"{now}"}}"#
        )
    };
    format!("[{}]", ids.map(event).collect::<Vec<_>>().join(",")).into_bytes()
}

fn hooks(id: &str) -> Vec<u8> {
    format!(r#"[{{"id":"{id}","event":"delivered","to":"token","channel":"push","at":{}}}]"#, now_s()).into_bytes()
}

/// Why each is wrong, how and where it is posted, as what it is counted, and the request.
fn strange(signer: &Signer) -> Vec<(&'static str, &'static str, &'static str, &'static str, Signed)> {
    let other = Signer::new("other", "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI=").unwrap();
    let day = 86_400;
    let altered = |signed: Signed, from: &str, to: &str| {
        let body = String::from_utf8(signed.body).unwrap().replace(from, to).into_bytes();
        Signed { body, ..signed }
    };
    let without = |mut signed: Signed, name: &str| {
        signed.headers.retain(|(header, _)| *header != name);
        signed
    };
    let form = b"MessageSid=SM1&MessageStatus=delivered&To=%2B15550100".to_vec();
    let old = now_s() - 2 * day;
    vec![
        ("another key", "POST", "mail", "forged", other.sendgrid(now_s(), mails(0..3))),
        ("another key", "POST", "hook", "forged", other.webhook(now_s(), hooks("x"))),
        ("another token", "POST", "sms", "forged", other.twilio(CALLBACK, form.clone())),
        (
            "another URL",
            "POST",
            "sms",
            "forged",
            signer.twilio("https://feedback.example/feedback/other", form.clone()),
        ),
        ("a query that was not signed", "POST", "sms?peakpost_tenant=acme", "forged", signer.twilio(CALLBACK, form)),
        (
            "a word changed",
            "POST",
            "mail",
            "forged",
            altered(signer.sendgrid(now_s(), mails(0..3)), "delivered", "spamreport"),
        ),
        ("a space more", "POST", "hook", "forged", altered(signer.webhook(now_s(), hooks("x")), "[{", "[ {")),
        (
            "no signature",
            "POST",
            "mail",
            "forged",
            without(signer.sendgrid(now_s(), mails(0..3)), "x-twilio-email-event-webhook-signature"),
        ),
        ("one vendor's at another's", "POST", "hook", "forged", signer.sendgrid(now_s(), mails(0..3))),
        ("two days old", "POST", "mail", "stale", signer.sendgrid(old, mails(0..3))),
        ("two days old", "POST", "hook", "stale", signer.webhook(old, hooks("x"))),
        ("of tomorrow", "POST", "hook", "stale", signer.webhook(now_s() + day, hooks("x"))),
        ("no JSON", "POST", "mail", "malformed", signer.sendgrid(now_s(), b"<xml>".to_vec())),
        ("too large", "POST", "mail", "too_large", signer.sendgrid(now_s(), vec![b' '; (1 << 20) + 1])),
        ("nobody of that name", "POST", "mails", "unknown", signer.sendgrid(now_s(), mails(0..3))),
        ("not posted", "PUT", "mail", "unknown", signer.sendgrid(now_s(), mails(0..3))),
    ]
}

/// Everything that a stranger may send has the same answer, changes nothing, and is counted.
#[test]
fn strangers_change_nothing_and_learn_nothing() {
    let world = World::new("feedback-forged");
    let signer = signer(&world);
    let daemon = Daemon::ready(&world, "daemon", &settings(&world, &signer));
    let at = daemon.feedback();
    let answers: BTreeSet<String> = strange(&signer)
        .iter()
        .map(|(why, method, path, result, signed)| {
            let (provider, label) = (path.split('?').next().unwrap(), format!("result=\"{result}\""));
            let provider = format!("provider=\"{}\"", if *result == "unknown" { "?" } else { provider });
            let counted = || daemon.metric("peakpost_feedback_requests_total", &[&provider, &label]);
            let before = counted();
            let (answer, times) = ask(&world, at, method, &format!("/feedback/{path}"), signed);
            assert!(
                (counted() - before - f64::from(times)).abs() < 0.1 && (times == 1 || *result == "too_large"),
                "{why}: must be counted as {result} of {provider}: {answer}"
            );
            answer
        })
        .collect();
    assert_eq!(answers.len(), 1, "all that is wrong is answered alike: {answers:#?}");
    assert!(answers.iter().all(|answer| answer.starts_with("404") && answer.ends_with(' ')), "{answers:?}");
    assert_eq!(kafka::count(&world, &world.topics.events()), 0, "nothing was written");
    // The vendor's own, and the same request over and over.
    let good = signer.sendgrid(now_s(), mails(0..3));
    for n in 0..5 {
        let (answer, times) = ask(&world, at, "POST", "/feedback/mail", &good);
        assert!(answer.starts_with("204") && times == 1, "time {n}: {answer}");
        assert_eq!(kafka::count(&world, &world.topics.events()), 3, "a replay changes nothing");
    }
    let repeated = daemon.metric("peakpost_feedback_requests_total", &["provider=\"mail\"", "result=\"repeated\""]);
    assert!((repeated - 4.0).abs() < 0.1, "replays are counted: {repeated}");
    daemon.stop();
    world.finish();
}

/// The accounts stand where their vendors' numbers say.
#[test]
fn accounts_are_named_by_vendor() {
    for (vendor, name) in [(Vendor::SendGrid, "mail"), (Vendor::Twilio, "sms"), (Vendor::Webhook, "hook")] {
        assert_eq!(ACCOUNTS[vendor.index()], name);
    }
}
