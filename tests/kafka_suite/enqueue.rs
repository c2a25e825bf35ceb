//! `peakpost enqueue`: all or nothing for a file with faults, once for a good one, and on where it stopped.
//!
//! Why: a campaign's file is enqueued by a person under pressure, who will run the command again.
//! Must not know: how progress is kept, beyond the file that says it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peakpost::job::Lane;
use peakpost::sim::load::{Generated, Mix, Shape};
use rdkafka::Message;

use crate::support::child::Child;
use crate::support::config::Settings;
use crate::support::{PATIENCE, World, kafka, until};

/// Lines between two notes of progress: a kill costs these and what was on its way.
const NOTED_EVERY: u64 = 10_000;

fn write(world: &World, name: &str, jobs: &[Generated], spoil: &[usize]) -> PathBuf {
    let mut text = Vec::new();
    for (n, job) in jobs.iter().enumerate() {
        let line = if spoil.contains(&(n + 1)) { b"{\"id\":\"x\"}".as_slice() } else { &job.payload };
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let path = world.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn enqueue(world: &World, name: &str, file: &Path) -> Child {
    let config = world.configure("enqueue", &Settings::default());
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    Child::start(world.dir(), name, &["enqueue", file, "--lane", "marketing", "--config", config])
}

fn enqueued(world: &World) -> u64 {
    kafka::count(world, world.topics.jobs(Lane::Marketing))
}

#[test]
fn a_file_with_bad_lines_is_refused_whole() {
    let world = World::new("enqueue-bad");
    let jobs: Vec<Generated> = world.jobs(17, Mix::only(Lane::Marketing, Shape::Webhook)).take(5_000).collect();
    let file = write(&world, "bad.jsonl", &jobs, &[7, 4_321]);
    let mut child = enqueue(&world, "bad", &file);
    assert_eq!(child.wait(PATIENCE), 65, "{}", child.last_words());
    let said = child.output();
    for words in ["2 of 5000 lines", "line 7:", "line 4321:", "nothing was enqueued"] {
        assert!(said.contains(words), "must say `{words}`: {said}");
    }
    assert_eq!(enqueued(&world), 0, "something was enqueued although the file was refused");
    world.finish();
}

#[test]
fn a_good_file_is_enqueued_once_and_in_the_order_of_each_key() {
    let world = World::new("enqueue-good");
    let jobs: Vec<Generated> = world.jobs(18, Mix::only(Lane::Marketing, Shape::Webhook)).take(5_000).collect();
    let file = write(&world, "good.jsonl", &jobs, &[]);
    let mut child = enqueue(&world, "good", &file);
    assert_eq!(child.wait(PATIENCE), 0, "{}", child.last_words());
    drop(child);
    let mut again = enqueue(&world, "again", &file);
    assert_eq!(again.wait(PATIENCE), 0, "{}", again.last_words());
    assert!(again.output().contains("were enqueued before"), "must say so: {}", again.output());
    let found = kafka::read_all(&world, world.topics.jobs(Lane::Marketing));
    let by_key: HashMap<&[u8], &[u8]> = found.iter().map(|m| (m.key().unwrap(), m.payload().unwrap())).collect();
    assert_eq!((found.len(), by_key.len()), (5_000, 5_000), "each line once, under its recipient");
    for job in &jobs {
        assert_eq!(by_key.get(job.key.as_bytes()), Some(&&*job.payload), "the record is the line, byte for byte");
    }
    world.finish();
}

/// Killed midway, then run again: no line is left out; the last stretch may come twice.
#[test]
fn enqueueing_goes_on_where_it_was_killed() {
    let world = World::new("enqueue-kill");
    let count = world.scale(150_000, 60_000);
    let jobs: Vec<Generated> = world.jobs(19, Mix::only(Lane::Marketing, Shape::Webhook)).take(count).collect();
    let file = write(&world, "long.jsonl", &jobs, &[]);
    let noted = || {
        let note = std::fs::read_to_string(world.dir().join("long.jsonl.progress")).unwrap_or_default();
        note.lines().next().and_then(|line| line.parse::<u64>().ok()).unwrap_or(0)
    };
    let mut child = enqueue(&world, "killed", &file);
    until(PATIENCE, "a first note", || (noted() > 0).then_some(()), || child.last_words());
    child.signal("KILL");
    child.wait(Duration::from_secs(5));
    let (kept, before) = (noted(), enqueued(&world));
    assert!(kept > 0 && before < count as u64, "killed at {before} of {count}, noted {kept}: too late, or no note");
    let mut child = enqueue(&world, "resumed", &file);
    assert_eq!(child.wait(PATIENCE), 0, "{}", child.last_words());
    assert!(child.output().contains(&format!("going on after line {kept}")), "{}", child.output());
    let all = enqueued(&world);
    let found = kafka::read_all(&world, world.topics.jobs(Lane::Marketing));
    let mut times: HashMap<&[u8], usize> = HashMap::new();
    for message in &found {
        *times.entry(message.payload().unwrap()).or_default() += 1;
    }
    let came = |job: &Generated| times.get(job.payload.as_slice()).copied().unwrap_or(0);
    let left = jobs.iter().filter(|job| came(job) == 0).count();
    let again = jobs[..usize::try_from(kept).unwrap()].iter().filter(|job| came(job) > 1).count();
    let twice = all - count as u64;
    println!("   killed at {before} of {count}, noted {kept}; {twice} lines came twice");
    assert_eq!(left, 0, "lines were never enqueued");
    assert_eq!(again, 0, "lines before the last note came twice");
    assert!(twice <= 5 * NOTED_EVERY, "the note was far behind: {twice} lines came twice");
    world.finish();
}
