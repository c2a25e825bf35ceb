//! Topics that are not what they must be, and brokers that do not answer: refused at start, with the way out.
//!
//! Why: what is wrong with a topic loses messages months later; the person at the keyboard can mend it now.
//! Must not know: how topics are verified.

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::{PARTITIONS, World, kafka};

fn make(world: &World, topic: &str, partitions: u16, policy: &str) {
    let admin: AdminClient<DefaultClientContext> = kafka::client(world, &[]).create().unwrap();
    let new = NewTopic::new(topic, i32::from(partitions), TopicReplication::Fixed(1)).set("cleanup.policy", policy);
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    for made in world.block_on(admin.create_topics(&[new], &options)).unwrap() {
        made.unwrap();
    }
}

/// `run` must end with 78 and name what mends it; so must `check --topics`.
fn refused(world: &World, what: &str, names: &[&str]) {
    for (name, arguments) in [("run", &["run"] as &[&str]), ("check", &["check", "--topics"])] {
        let (code, said) = world.run(&format!("{name}-{what}"), arguments);
        assert_eq!(code, 78, "{name} with {what}: {said}");
        for word in names {
            assert!(said.contains(word), "{name} with {what} must name `{word}`: {said}");
        }
    }
}

#[test]
fn missing_topics_are_refused_with_the_command_that_makes_them() {
    let mut world = World::bare("missing");
    // The embedded broker made them under its own prefix; under another there are none.
    world.rename("-elsewhere");
    let homes = format!("{}.homes", world.prefix);
    refused(&world, "missing-topics", &[&homes, "`peakpost topics create`"]);
    world.finish();
}

#[test]
fn topics_of_another_shape_are_refused_with_what_mends_them() {
    let mut world = World::bare("shape");
    if !world.real {
        World::left_out("another partition count, cleanup.policy=compact (it makes no topics and describes none)");
        return world.finish();
    }
    // Made by hand before `topics create`, which changes nothing that is there.
    let wide = world.topics.jobs(Lane::Marketing).to_owned();
    make(&world, &wide, PARTITIONS + 1, "delete");
    let (code, said) = world.run("create", &["topics", "create"]);
    assert_eq!(code, 78, "`topics create` must say that a topic is wrong: {said}");
    refused(&world, "another-count", &[&wide, "13 partitions", "kafka-topics.sh --alter --partitions"]);
    world.rename("-b");
    let compacted = world.topics.jobs(Lane::Transactional).to_owned();
    make(&world, &compacted, PARTITIONS, "compact");
    assert_eq!(world.run("create-b", &["topics", "create"]).0, 78, "a compacted jobs topic is wrong");
    let mend = format!("kafka-configs.sh --alter --topic {compacted} --add-config cleanup.policy=delete");
    refused(&world, "compacted-jobs", &["cleanup.policy=compact", &mend]);
    world.finish();
}

#[test]
fn silent_brokers_end_the_start_within_half_a_minute() {
    let mut world = World::bare("silent");
    // Taken and never listened on: nobody answers there.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.brokers = socket.local_addr().unwrap().to_string();
    for (name, arguments) in [("run", &["run"] as &[&str]), ("create", &["topics", "create"])] {
        let asked = Instant::now();
        let (code, said) = world.run(name, arguments);
        let took = asked.elapsed();
        assert_eq!(code, 69, "{name}: {said}");
        assert!(took < Duration::from_secs(30), "{name} took {took:?}");
        assert!(said.contains("hint"), "{name} must say what to look at: {said}");
        println!("   {name}: 69 after {took:?}");
    }
    world.finish();
}
