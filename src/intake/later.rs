//! Reads one partition of a delay tier or a hold: its head is taken when its time has come, not before.
//!
//! Why: every record of a tier waits equally long, so while the head is not due nothing behind it is; one record
//! in memory stands for all of them.
//! Must not know: other partitions; what is sent.

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use super::data::Queue;
use super::home::{Read, headers, judged, poll, size};
use crate::job::invalid::{Invalid, Reason};
use crate::job::topic::Topics;
use crate::job::trip::{self, Trip};
use crate::job::{Headers, Incoming, Job, JobKey, Lane, Malformed, Source, Wall, Way};
use crate::lane::inbox::Turned;
use crate::ledger::Ledger;
use crate::ledger::known::Judgement;

pub(super) struct Later {
    pub(super) source: Source,
    /// `None`: it is asleep, for nothing is in it.
    queue: Option<Queue>,
    head: Option<Head>,
}

/// The next record, read but not delivered.
struct Head {
    bytes: Box<[u8]>,
    headers: Headers,
    offset: i64,
    /// What its trip says; `None`: it has none that can be read.
    told: Option<Told>,
    timestamp: Wall,
}

struct Told {
    job: JobKey,
    lane: Lane,
    first_seen: Wall,
    due: Wall,
    way: Way,
}

impl Later {
    /// One that is not read yet.
    pub(super) fn asleep(source: Source) -> Self {
        Self { source, queue: None, head: None }
    }

    /// It is read from now on.
    pub(super) fn wake(&mut self, queue: Queue) {
        self.queue = Some(queue);
    }

    /// It is not read any more.
    pub(super) fn sleep(&mut self) {
        self.queue = None;
    }

    /// Whether it is read.
    pub(super) fn is_awake(&self) -> bool {
        self.queue.is_some()
    }

    /// Whether a record of it has been read and not been taken.
    pub(super) fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// When the head is due, if one is known.
    pub(super) fn due(&self) -> Option<Wall> {
        self.head.as_ref().map(|head| head.told.as_ref().map_or(Wall(0), |told| told.due))
    }

    /// Looks who is next, without taking it. `false`: nobody is there.
    pub(super) fn peek(&mut self, topics: &Topics) -> Result<bool, String> {
        if let (None, Some(queue)) = (&self.head, &self.queue) {
            self.head = poll(queue)?.map(|message| Head::of(&message, topics));
        }
        Ok(self.head.is_some())
    }

    /// Takes the head if its time has come.
    pub(super) fn read(&mut self, topics: &Topics, ledger: &mut Ledger, now: Wall) -> Read {
        match self.peek(topics) {
            Ok(true) => {}
            Ok(false) => return Read::Empty,
            Err(error) => return Read::Failed(error),
        }
        let source = self.source;
        let ready =
            |head: &mut Head| head.told.as_ref().is_none_or(|told| told.is_ready(ledger, source, head.offset, now));
        let Some(head) = self.head.take_if(ready) else { return Read::Empty };
        let Some(receipt) = ledger.deliver(source, head.offset, size(&head.bytes, &head.headers)) else {
            return Read::DoneBefore;
        };
        let Head { bytes, headers, told, timestamp, .. } = head;
        let Some(Told { lane, first_seen, way, .. }) = told else {
            // Nobody but peakpost writes here, so somebody else did; whose lane it was nobody knows.
            let incoming =
                Incoming { bytes, headers, enqueued: timestamp, lane: Lane::Marketing, way: Way::default(), receipt };
            let invalid = Invalid::new(Reason::BadTrip, "", "no readable peakpost-trip header");
            return Read::Turned(Turned::Malformed(Box::new(Malformed { incoming, invalid })));
        };
        match Job::parse(Incoming { bytes, headers, enqueued: first_seen, lane, way, receipt }) {
            Ok(job) => judged(ledger, job),
            Err(malformed) => Read::Turned(Turned::Malformed(malformed)),
        }
    }
}

impl Head {
    fn of(message: &BorrowedMessage<'_>, topics: &Topics) -> Self {
        let mut headers = headers(message);
        let told = headers
            .iter()
            .rposition(|(key, _)| key == trip::HEADER)
            .and_then(|at| headers.remove(at).1)
            .and_then(|value| told(&value, topics));
        Self {
            bytes: message.payload().unwrap_or_default().into(),
            headers,
            offset: message.offset(),
            told,
            timestamp: Wall(message.timestamp().to_millis().unwrap_or(0)),
        }
    }
}

impl Told {
    /// Whether it may be taken now. A hold's head waits for the acknowledgement of its own deferral, which is on its
    /// way; in a tier that would hold up everybody behind it, and there it has had time.
    fn is_ready(&self, ledger: &mut Ledger, source: Source, offset: i64, now: Wall) -> bool {
        if ledger.is_done(source, offset) {
            return true;
        }
        let mut waits = || ledger.known().judge(self.job, self.way.hop, source, offset) == Judgement::NotYet;
        match source {
            Source::Hold(..) => !waits(),
            _ => self.due <= now,
        }
    }
}

fn told(value: &[u8], topics: &Topics) -> Option<Told> {
    let trip: Trip<'_> = serde_json::from_slice(value).ok()?;
    let lane = topics.lane_of(&trip.origin.topic)?;
    Some(Told {
        job: JobKey::new(&trip.tenant, &trip.id, trip.generation),
        lane,
        first_seen: Wall(trip.first_seen_ms),
        due: Wall(trip.due_ms),
        way: Way {
            origin: Some((trip.origin.partition, trip.origin.offset)),
            hop: trip.hop,
            generation: trip.generation,
            attempts: trip.attempts,
            failures: trip.failures,
            unsure: trip.unsure,
            last_error: (!trip.last_error.is_empty()).then(|| trip.last_error.as_ref().into()),
            provider: topics.provider_of(&trip.provider),
        },
    })
}
