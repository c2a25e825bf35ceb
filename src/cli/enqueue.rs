//! `peakpost enqueue FILE --lane L`: jobs from a file, all checked first, resumable.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use ring::digest;

use super::note::Note;
use super::{Stop, load};
use crate::job::{Lane, parse};
use crate::observe::kafka;

/// Faulty lines shown before the rest is only counted.
const SHOWN: usize = 20;
/// Lines between two notes of progress.
const NOTE_EVERY: u64 = 10_000;

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn enqueue(file: &Path, lane: Lane, config: Option<&Path>) -> Result<ExitCode, Stop> {
    let config = load(config)?;
    let (lines, sha256) = check_all(file)?;
    let topic = config.intake.topics.jobs(lane).to_owned();
    let brokers = config.intake.client.iter().find(|(key, _)| key == "bootstrap.servers");
    let note = Note::beside(file, &sha256, &topic, brokers.map_or("", |(_, brokers)| brokers));
    let done = note.read()?;
    if done >= lines {
        println!(
            "all {} jobs of `{}` were enqueued before; hint: remove `{}` to enqueue them again",
            HumanCount(lines),
            file.display(),
            note.path()
        );
        return Ok(ExitCode::SUCCESS);
    }
    if done > 0 {
        println!("going on after line {done}");
    }
    send_all(&config.intake.client, file, &topic, done, lines, &note)?;
    println!("{} jobs enqueued to {topic}", HumanCount(lines - done));
    Ok(ExitCode::SUCCESS)
}

fn open(file: &Path) -> Result<BufReader<File>, Stop> {
    let opened = File::open(file).map_err(|e| Stop::new(65, format!("cannot read `{}`: {e}", file.display())))?;
    Ok(BufReader::with_capacity(1 << 20, opened))
}

fn bar(length: u64, what: &'static str) -> Result<ProgressBar, Stop> {
    let style =
        ProgressStyle::with_template("{msg} {bar:32} {percent:>3}% {human_pos} of {human_len}, {per_sec}, {eta} left");
    let bar = ProgressBar::new(length).with_message(what);
    bar.set_style(style.map_err(|e| Stop::new(1, e))?);
    Ok(bar)
}

/// Reads a line without its line break. `false` at the end.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> Result<bool, Stop> {
    line.clear();
    let read = reader.read_until(b'\n', line).map_err(|e| Stop::new(65, format!("cannot read on: {e}")))?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(read > 0)
}

/// Checks every line; returns how many there are, and the SHA-256 of them.
fn check_all(file: &Path) -> Result<(u64, String), Stop> {
    let (mut reader, mut line) = (open(file)?, Vec::new());
    let size = file.metadata().map_or(0, |m| m.len());
    let bar = bar(size, "checking ")?;
    let (mut lines, mut faults, mut bad) = (0_u64, Vec::new(), 0_u64);
    let mut digest = digest::Context::new(&digest::SHA256);
    while next_line(&mut reader, &mut line)? {
        lines += 1;
        bar.inc(line.len() as u64 + 1);
        digest.update(&line);
        digest.update(b"\n");
        if let Err(invalid) = parse::parse(&line) {
            bad += 1;
            if faults.len() < SHOWN {
                faults.push(format!("line {lines}: {invalid}"));
            }
        }
    }
    bar.finish_and_clear();
    if bad == 0 {
        let sha256 = digest.finish().as_ref().iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
        return Ok((lines, sha256));
    }
    let more = if bad > SHOWN as u64 { format!("\n… and {} more", bad - SHOWN as u64) } else { String::new() };
    let text = format!(
        "{bad} of {lines} lines are no jobs; nothing was enqueued\n{}{more}\nhint: `peakpost schema job`",
        faults.join("\n")
    );
    Err(Stop::new(65, text))
}

/// Which lines are acknowledged.
#[derive(Default)]
struct Acks(Mutex<(Vec<u64>, Option<String>)>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, line: usize) {
        let Ok(mut acks) = self.0.lock() else { return };
        match result {
            Ok(_) => acks.0.push(line as u64),
            Err((error, _)) => acks.1 = Some(error.to_string()),
        }
    }
}

fn send_all(
    client: &[(String, String)],
    file: &Path,
    topic: &str,
    done: u64,
    lines: u64,
    note: &Note,
) -> Result<(), Stop> {
    let mut settings = kafka::client(client);
    settings.set("enable.idempotence", "true").set("linger.ms", "20").set("compression.type", "lz4");
    let unavailable =
        |e: &dyn std::fmt::Display| Stop::new(69, format!("enqueue: {e}; hint: run the same command again to go on"));
    let producer = BaseProducer::from_config_and_context(&settings, Acks::default()).map_err(|e| unavailable(&e))?;
    let (mut reader, mut line, mut at) = (open(file)?, Vec::new(), 0_u64);
    let mut ahead = Ahead { next: done, early: std::collections::BTreeSet::new() };
    let bar = bar(lines, "enqueuing")?;
    while next_line(&mut reader, &mut line)? {
        at += 1;
        if at <= done {
            continue;
        }
        let key = parse::parse(&line).map(|spec| spec.ordering_key.as_deref().unwrap_or(&spec.to).to_owned());
        let key =
            key.map_err(|invalid| Stop::new(65, format!("line {at} has changed since it was checked: {invalid}")))?;
        let number = usize::try_from(at).map_err(|e| Stop::new(65, e))?;
        let mut record = BaseRecord::with_opaque_to(topic, number).key(&key).payload(&line);
        while let Err((error, kept)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(unavailable(&error));
            }
            producer.poll(Duration::from_millis(10));
            record = kept;
        }
        if at % NOTE_EVERY == 0 {
            take_acks(&producer, &mut ahead).map_err(|e| unavailable(&e))?;
            note.write(ahead.next)?;
            bar.set_position(ahead.next);
        }
    }
    let flushed = producer.flush(Duration::from_secs(60));
    let taken = take_acks(&producer, &mut ahead);
    note.write(ahead.next)?;
    bar.finish_and_clear();
    flushed.map_err(|e| unavailable(&e))?;
    taken.map_err(|e| unavailable(&e))
}

/// Lines acknowledged without a gap, and those acknowledged beyond one.
struct Ahead {
    next: u64,
    early: std::collections::BTreeSet<u64>,
}

fn take_acks(producer: &BaseProducer<Acks>, ahead: &mut Ahead) -> Result<(), String> {
    // One poll serves one event, which reports one acknowledged request: go on while there are any.
    loop {
        producer.poll(Duration::ZERO);
        let Ok(mut acks) = producer.context().0.lock() else { return Err("a callback panicked".to_owned()) };
        if acks.0.is_empty() {
            return acks.1.take().map_or(Ok(()), Err);
        }
        ahead.early.extend(acks.0.drain(..));
        while ahead.early.remove(&(ahead.next + 1)) {
            ahead.next += 1;
        }
    }
}
