//! A vendor takes messages and does not answer; what it tells of them later is written beside the jobs' outcomes, once, whoever
//! dies meanwhile. What is never told of is counted.
//!
//! Why: a quarantined job is not sent again, so somebody must learn whether it was sent at all.
//! Must not know: where a job is known to be waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::load::{Generated, Mix, Shape};
use peakpost::sim::vendor::Behaviour;
use peakpost::sim::vendor::feedback::{Model, Said, Signer};
use serde_json::Value;

use super::feedback;
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::{PATIENCE, World, kafka, later, reckoning, until};

/// One request in ten has no answer: half of them hang beyond our patience, half are cut off at once.
fn silent() -> Behaviour {
    Behaviour { hang_rate: 0.05, hang_ms: 4_000, lose_answer_rate: 0.05, ..Behaviour::default() }
}

fn settings(signer: &Signer, unresolved_after: &str) -> Settings {
    let sections = format!(
        "[feedback]\nlisten = \"127.0.0.1:0\"\nunresolved_after = \"{unresolved_after}\"\n[retry]\nquarantine = [\"sms\", \
         \"email\"]\n[intake]\nlease = \"5s\""
    );
    let mail = format!("feedback = {{ public_key = \"{}\" }}", signer.public_key());
    Settings {
        kafka: "session_timeout = \"6s\"",
        sections: sections.leak(),
        request_timeout: "2s",
        mail_keys: mail.leak(),
        sms_keys: "feedback = { url = \"https://feedback.example/feedback/sms\" }",
        ..Settings::default()
    }
}

fn jobs(world: &World, each: usize) -> Vec<Generated> {
    let mails = world.jobs(81, Mix::only(Lane::Transactional, Shape::RenderedMail)).take(each);
    let texts = world.jobs(82, Mix::only(Lane::Transactional, Shape::Sms)).skip(each).take(each);
    mails.chain(texts).collect()
}

/// Outcomes of a kind by job, each as often as it says something else.
fn outcomes(world: &World, kind: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in later::records(world).into_iter().filter(|record| record["outcome"] == kind) {
        all.entry(record["id"].as_str().unwrap().to_owned()).or_default().insert(record.to_string());
    }
    all
}

fn count(daemon: &Daemon, name: &str) -> usize {
    format!("{:.0}", daemon.metric(name, &[])).parse().unwrap()
}

#[test]
fn what_is_told_of_quarantined_jobs_is_written_once_each() {
    let world = World::alone("resolved");
    let signer = feedback::signer(&world);
    let settings = settings(&signer, "72h");
    for vendor in [Vendor::SendGrid, Vendor::Twilio] {
        world.vendors.set_behaviour(vendor, silent()).unwrap();
    }
    let audit = world.audit();
    let first = Daemon::ready(&world, "first", &settings);
    // Some of it is told before we give up waiting for the answer, most of it after.
    let model = Model { delivered_after: Duration::from_secs(5), ..Model::default() };
    feedback::tell(&world, &signer, first.feedback(), model);
    let jobs = jobs(&world, world.scale(1_000, 600));
    kafka::enqueue(&world, &jobs, |_| None);
    let mut first = first;
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut first]);
    let quarantined = outcomes(&world, "quarantined");
    assert!(quarantined.len() > jobs.len() / 40, "too few to show anything: {} of {}", quarantined.len(), jobs.len());

    let before = until(
        PATIENCE,
        "some are resolved",
        || Some(outcomes(&world, "resolved")).filter(|r| !r.is_empty()),
        || first.child.last_words(),
    );
    assert!(
        before.len() < quarantined.len(),
        "all was told before the worker could be killed; hint: a larger `delivered_after`"
    );
    first.child.signal("KILL");
    // The worst moment: an outcome is durable, and that it is, is not.
    let mut second = Daemon::start_in(&world, "second", &settings, &[("FAILPOINTS", "between_resolved=return")]);
    world.vendors.feedback_moves(second.feedback());
    let log = second.child.log();
    until(PATIENCE, "the next one dies of a failpoint", || second.child.ended(), || log.display().to_string());
    let third = Daemon::ready(&world, "third", &settings);
    world.vendors.feedback_moves(third.feedback());
    let told = || Some(world.vendors.told()).filter(|told| told.waiting == 0);
    let told = until(PATIENCE * 2, "everything is heard", told, || third.child.last_words());
    // On a busy machine a request runs out of time before the vendor has taken it: nobody will ever tell of its job.
    let spoken_of: BTreeSet<&str> = told.events.iter().map(|said| &*said.job).collect();
    let expected: BTreeSet<&String> = quarantined.keys().filter(|id| spoken_of.contains(id.as_str())).collect();
    let all = || (outcomes(&world, "resolved").len() >= expected.len()).then_some(());
    let state =
        || format!("{} of {}; {}", outcomes(&world, "resolved").len(), expected.len(), third.child.last_words());
    until(PATIENCE, "every quarantined job that was told of is resolved", all, state);
    let silent = quarantined.len() - expected.len();
    let open = || (count(&third, "peakpost_quarantined_open") == silent).then_some(());
    until(PATIENCE, "nobody waits for more", open, || third.child.last_words());
    third.stop();

    let resolved = outcomes(&world, "resolved");
    assert!(resolved.keys().eq(expected), "those that were quarantined and told of, and no others");
    for (id, records) in &resolved {
        assert_eq!(records.len(), 1, "a job is resolved once; twice written it says the same: {records:#?}");
        let read = |records: &BTreeSet<String>| serde_json::from_str::<Value>(records.first().unwrap()).unwrap();
        let (record, was) = (read(records), read(&quarantined[id]));
        for same in ["tenant", "campaign", "source", "origin", "attempts", "lane", "channel"] {
            assert_eq!(record[same], was[same], "`{same}` is the job's own: {record}");
        }
        let of_vendor = |said: &&Said| &*said.job == id.as_str();
        let said: Vec<&str> = told.events.iter().filter(of_vendor).map(|said| said.happened.as_str()).collect();
        assert!(said.contains(&record["happened"].as_str().unwrap()), "the vendor said {said:?}: {record}");
    }
    let again = later::outcomes(&world, "resolved").values().sum::<usize>() - resolved.len();
    assert!(again > 0, "nothing was written twice: the second died where it shows nothing");
    println!(
        "   {} of {} jobs quarantined ({silent} of them never taken), {} of them resolved before a kill -9, all after two; {again} written twice, the same",
        quarantined.len(),
        jobs.len(),
        before.len()
    );
    world.finish();
}

#[test]
fn what_is_never_told_of_is_counted() {
    let world = World::new("unresolved");
    let signer = feedback::signer(&world);
    let audit = world.audit();
    world.vendors.set_behaviour(Vendor::Twilio, silent()).unwrap();
    let mut daemon = Daemon::ready(&world, "daemon", &settings(&signer, "1s"));
    let jobs: Vec<Generated> = jobs(&world, 300).split_off(300);
    kafka::enqueue(&world, &jobs, |_| None);
    reckoning::wait_for(&audit, jobs.len() as u64, &mut [&mut daemon]);
    let quarantined = outcomes(&world, "quarantined").len();
    let shown = |name: &str| count(&daemon, name);
    let counted = || (shown("peakpost_quarantined_unresolved_total") == quarantined).then_some(());
    let state = || format!("{quarantined} are quarantined; {}", daemon.child.last_words());
    until(PATIENCE, "each counts as unresolved", counted, state);
    assert_eq!((shown("peakpost_quarantined_open"), shown("peakpost_quarantined_resolved_total")), (0, 0));
    assert!(quarantined > 0 && outcomes(&world, "resolved").is_empty(), "{quarantined}: nothing was told");
    daemon.stop();
    world.finish();
}
