//! The feedback listener by itself, on the embedded broker: what it writes, its limits, its end, TLS, and Kafka gone.
//!
//! Why: anybody can reach it. What is slow, large or many must cost it little, and an answer must mean what it says.
//! Must not know: vendors beyond one that signs by a shared secret.
#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's, not the line's; polling sleeps")]

#[path = "feedback/counting.rs"]
mod counting;
#[path = "feedback/limits.rs"]
mod limits;
#[path = "feedback/tls.rs"]
mod tls;
#[path = "feedback/world.rs"]
mod world;

use std::time::Instant;

use peakpost::event::{Happened, SCHEMA};
use peakpost::feedback::recent::{Recent, print};
use peakpost::job::Channel;
use peakpost::recipient::address::Keyer;
use peakpost::recipient::mailbox::Mailboxes;

use world::{LONG, World, event, mailboxes};

/// The record holds what was said, hides the recipient, and is what `peakpost schema event` promises.
#[test]
fn an_event_becomes_a_record_of_the_schema() {
    let mut world = World::new(8);
    let two = format!("[{},{}]", event("a", "Jane <Jane@GMail.com>"), event("b", "jane@elsewhere.example"));
    assert_eq!(world.post(&two), 204);
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let mut events = world.events(2);
    events.sort_by_key(|event| event["event"].to_string());
    for event in &events {
        let faults: Vec<String> = schema.iter_errors(event).map(|e| e.to_string()).collect();
        assert!(faults.is_empty(), "{event} is not of the schema: {faults:?}");
        assert!(!event.to_string().contains('@'), "a recipient as itself: {event}");
        let (lane, sent) = (event["lane"].as_str(), event["sent_ms"].as_i64());
        assert_eq!((lane, sent), (Some("marketing"), Some(1_699_990_000_000)), "the echo: {event}");
    }
    assert_eq!(events[0]["event"], "gate/a");
    assert_eq!((&events[0]["mailbox"], &events[1]["mailbox"]), (&"gmail".into(), &"other".into()));
    let keyer = Keyer::new(b"a key of sixteen bytes or more").unwrap();
    assert_eq!(events[0]["recipient"], keyer.hash(Channel::Email, "jane@gmail.com").hex(), "spellings are one");
    assert!(world.stop());
}

/// Five soft bounces of one recipient add up only where one worker counts them all, and repeats of an event must meet as well.
#[test]
fn what_is_said_of_one_recipient_lies_in_one_partition() {
    let world = World::new(8);
    let twelve: Vec<String> = (0..12).map(|n| event(&n.to_string(), "Jane <jane@gmail.com>")).collect();
    let nobody = event("of-nobody", "");
    assert_eq!(world.post(&format!("[{},{nobody}]", twelve.join(","))), 204);
    let jane = Keyer::new(b"a key of sixteen bytes or more").unwrap().hash(Channel::Email, "jane@gmail.com").hex();
    for (key, event) in world.records(13) {
        let expected = if event["event"] == "gate/of-nobody" { "gate/of-nobody" } else { &*jane };
        assert_eq!(key, expected, "the key of {event}");
    }
}

/// No events are fine; the same event twice in a request or later is written once.
#[test]
fn what_is_written_is_not_written_again() {
    let world = World::new(8);
    let twice = format!("[{0},{0}]", event("a", "x@y.example"));
    let table = [("[]", 0), (&*twice, 1), (&*event("a", "x@y.example"), 1), (&*event("b", "x@y.example"), 2)];
    for (body, count) in table {
        assert_eq!(world.post(body), 204, "{body}");
        assert_eq!(world.events(count).len(), count, "{body}");
    }
    assert_eq!((world.counted("taken"), world.counted("repeated")), (3, 1));
    assert_eq!(world.metrics.feedback_repeats.with_label_values(&["gate"]).get(), 2);
    let made = world.metrics.feedback_events.with_label_values(&["gate", Happened::Complained.as_str()]).get();
    assert_eq!(made, 2);
}

/// Without Kafka there is no 2xx; when it is back, the same request is heard.
#[test]
fn without_kafka_it_says_503() {
    let world = World::new(8);
    assert_eq!(world.post(&event("a", "x@y.example")), 204);
    world.broker.obey("down 1").unwrap();
    assert_eq!(world.post(&event("b", "x@y.example")), 503);
    assert_eq!(world.counted("not_durable"), 1);
    world.broker.obey("up 1").unwrap();
    let began = Instant::now();
    while world.post(&event("b", "x@y.example")) != 204 {
        assert!(began.elapsed() < LONG, "Kafka is back, and nothing is heard");
    }
}

#[test]
fn the_last_events_are_known_and_memory_ends() {
    let mut recent = Recent::new(100);
    for n in 0..1_000 {
        recent.remember([print(&format!("mail/{n}"))]);
    }
    for n in 900..1_000 {
        assert!(recent.knows(&print(&format!("mail/{n}"))), "the last hundred are known: {n}");
    }
    let known = (0..1_000).filter(|n| recent.knows(&print(&format!("mail/{n}")))).count();
    assert!(known <= 200, "memory must end: {known} of 100 to 200 are known");
}

#[test]
fn mailboxes_are_named_by_domain() {
    let mailboxes = mailboxes();
    let table = [
        (Channel::Email, "jane@gmail.com", "gmail"),
        (Channel::Email, "Jane Doe <jane@GMAIL.com>", "gmail"),
        (Channel::Email, "jane@googlemail.com", "gmail"),
        (Channel::Email, "jane@sub.gmail.com", "other"),
        (Channel::Email, "gmail.com", "other"),
        (Channel::Email, "", "other"),
        (Channel::Sms, "+14155550123", ""),
    ];
    for (channel, to, name) in table {
        assert_eq!(mailboxes.of(channel, to), name, "{channel} to `{to}`");
    }
    let domains = ["a.example".to_owned()];
    let refused = [
        (vec![("other", &domains[..])], "cannot be a name"),
        (vec![("G Mail", &domains[..])], "cannot be a name"),
        (vec![("a", &domains[..]), ("b", &domains[..])], "belongs to a and to b"),
    ];
    for (table, fault) in refused {
        let said = Mailboxes::new(table.clone()).expect_err("must be refused");
        assert!(said.contains(fault), "{table:?}: {said}");
    }
}
