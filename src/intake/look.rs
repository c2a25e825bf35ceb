//! Asks how far tiers and holds reach, on a thread of its own.
//!
//! Why: what nobody here has written must be found as well: what an earlier owner wrote last, and what other instances hand
//! over. The answer takes as long as a broker takes; the owner must not wait for it.
//! Must not know: what follows from the answer.

use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use rdkafka::consumer::BaseConsumer;
use rdkafka::topic_partition_list::Offset;

use super::after;
use crate::job::topic::Topics;
use crate::job::{Home, Source};
use crate::observe::kafka;

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the answer.
const WAIT: Duration = Duration::from_secs(5);

/// Where a partition ends: the offset after its last record.
pub(super) type End = (Source, Home, i64);

pub(super) struct Look {
    questions: Sender<Vec<(Source, Home)>>,
    answers: Receiver<Vec<End>>,
    /// One question at a time.
    is_out: bool,
    next: Option<Instant>,
}

impl Look {
    /// Starts the thread. It ends when this is dropped and the last answer has come.
    pub(super) fn start(client: Arc<BaseConsumer>, topics: Topics, wake: Thread) -> Result<Self, String> {
        let (questions, asked) = bounded(1);
        let (tell, answers) = bounded(1);
        std::thread::Builder::new()
            .name("look".to_owned())
            .spawn(move || answer_each(&client, &topics, &asked, &tell, &wake))
            .map_err(|e| format!("cannot start the look thread: {e}"))?;
        Ok(Self { questions, answers, is_out: false, next: None })
    }

    /// The next question goes out as soon as the one before it is answered.
    pub(super) fn hurry(&mut self) {
        self.next = None;
    }

    /// Asks, if it is time.
    pub(super) fn ask(&mut self, partitions: impl FnOnce() -> Vec<(Source, Home)>, now: Instant) {
        if self.is_out || self.next.is_some_and(|next| next > now) {
            return;
        }
        self.next = Some(after(now, EVERY));
        let partitions = partitions();
        self.is_out = !partitions.is_empty() && self.questions.try_send(partitions).is_ok();
    }

    /// The answer, empty if none has come.
    ///
    /// # Errors
    /// When none will ever come: what others write would be found by nobody.
    pub(super) fn answer(&mut self) -> Result<Vec<End>, String> {
        match self.answers.try_recv() {
            Ok(answer) => {
                self.is_out = false;
                Ok(answer)
            }
            Err(TryRecvError::Empty) => Ok(Vec::new()),
            Err(TryRecvError::Disconnected) => {
                Err("the look thread has ended; hint: restart, nothing is lost".to_owned())
            }
        }
    }
}

fn answer_each(
    client: &BaseConsumer,
    topics: &Topics,
    asked: &Receiver<Vec<(Source, Home)>>,
    tell: &Sender<Vec<End>>,
    wake: &Thread,
) {
    for question in asked {
        let partitions: Vec<_> =
            question.iter().map(|(source, home)| (topics.source(*source), i32::from(*home))).collect();
        let told = kafka::each_offset(client, &partitions, Offset::End, WAIT).unwrap_or_else(|error| vec![Err(error)]);
        let unknown = told.iter().find_map(|end| end.as_ref().err());
        if let Some(error) = unknown {
            tracing::warn!(target: "peakpost::intake", error, "it is not known how far tiers and holds reach; asking again");
        }
        let end = |((source, home), end): (&(Source, Home), Result<i64, String>)| Some((*source, *home, end.ok()?));
        let ends = question.iter().zip(told).filter_map(end).collect();
        if tell.send(ends).is_err() {
            return;
        }
        wake.unpark();
    }
}
