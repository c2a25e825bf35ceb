//! Topics that are not what they must be, and brokers that do not answer: refused at start, with the way out.
//!
//! Why: what is wrong with a topic loses messages months later; the person at the keyboard can mend it now.
//! Must not know: how topics are verified.

use std::time::{Duration, Instant};

use peakpost::job::Lane;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::{PARTITIONS, World, kafka};

fn admin(world: &World) -> (AdminClient<DefaultClientContext>, AdminOptions) {
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    (kafka::client(world, &[]).create().unwrap(), options)
}

fn make(world: &World, topic: &str, partitions: u16, policy: &str) {
    make_with(world, topic, partitions, &[("cleanup.policy", policy)]);
}

/// A topic's setting and its value.
type Setting = (&'static str, &'static str);

fn make_with(world: &World, topic: &str, partitions: u16, settings: &[(&str, &str)]) {
    let (admin, options) = admin(world);
    let new = NewTopic::new(topic, i32::from(partitions), TopicReplication::Fixed(1));
    let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
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

/// What was spent, or ordered, is found by its key for as long as the longest window lasts, and takes no more room than
/// that.
#[test]
fn what_was_spent_is_compacted_and_kept_for_forty_days() {
    let mut world = World::bare("usage");
    if !world.real {
        World::left_out("the settings of the usage and control topics (it makes no topics and describes none)");
        return world.finish();
    }
    let (code, said) = world.run("create", &["topics", "create"]);
    assert_eq!(code, 0, "`topics create`: {said}");
    let (admin, options) = admin(&world);
    let topics = [world.topics.usage(), world.topics.control()];
    let resources = topics.each_ref().map(|topic| ResourceSpecifier::Topic(topic));
    let described = world.block_on(admin.describe_configs(&resources, &options)).unwrap();
    let settings = [
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "3456000000"),
        ("segment.ms", "3600000"),
        ("max.message.bytes", "1048576"),
    ];
    for (topic, config) in topics.iter().zip(described) {
        let config = config.unwrap();
        for (key, value) in settings {
            let found = config.get(key).and_then(|entry| entry.value.as_deref());
            assert_eq!(found, Some(value), "{key} of `{topic}`");
        }
    }

    // Made by hand before `topics create`, which changes nothing that is there.
    let long = ("retention.ms", "-1");
    let rows: [(&str, &[Setting], &str, &str); 4] = [
        ("a", &[("cleanup.policy", "delete"), long], "cleanup.policy=delete", "'cleanup.policy=[compact,delete]'"),
        ("b", &[("cleanup.policy", "compact"), long], "cleanup.policy=compact", "'cleanup.policy=[compact,delete]'"),
        (
            "c",
            &[("cleanup.policy", "compact,delete"), ("retention.ms", "86400000")],
            "retention.ms=86400000",
            "retention.ms=3456000000",
        ),
        ("d", &[("cleanup.policy", "delete,compact"), long], "", ""),
    ];
    for (name, settings, fault, mend) in rows {
        world.rename(&format!("-{name}"));
        let usage = world.topics.usage();
        make_with(&world, &usage, PARTITIONS, settings);
        let (code, said) = world.run(&format!("create-{name}"), &["topics", "create"]);
        if fault.is_empty() {
            assert_eq!(code, 0, "the words of the policy may stand in any order: {said}");
            continue;
        }
        assert_eq!(code, 78, "{settings:?} is wrong: {said}");
        let mend = format!("kafka-configs.sh --alter --topic {usage} --add-config {mend}");
        refused(&world, &format!("usage-{name}"), &[&usage, fault, &mend]);
    }
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
