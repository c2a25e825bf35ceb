//! How far a topic has been read, measured by where it ended when that was asked: until when what was in it is known.
//!
//! Why: a reader that hears nothing cannot tell a quiet topic from a broken one. So it asks where the partitions end, and
//! counts as fresh from the moment of a question whose every end it has reached. The last record's offset is no such
//! proof: what lies behind it may have been compacted away, or be a marker that no reader is shown.
//! Must not know: clocks, Kafka clients, what the records say.

use std::time::Instant;

/// One reader's progress over some partitions.
#[derive(Clone, Debug)]
pub struct Feed {
    parts: Vec<Part>,
    /// When the oldest question was asked whose ends are not all reached.
    asked: Option<Instant>,
    /// Partitions in which its end is not reached.
    behind: usize,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// Everything before this has been read, or is not there.
    next: i64,
    /// The end by the question in hand.
    wanted: i64,
    /// The end by the last answer, which may be a later one.
    end: i64,
    /// The reader was told that there is no more, and nothing has come since.
    over: bool,
    /// Nothing has come since the last answer.
    quiet: bool,
}

impl Feed {
    /// Nothing is read; partitions begin at these offsets.
    #[must_use]
    pub fn new(starts: &[i64]) -> Self {
        let part = |next: &i64| Part { next: *next, wanted: *next, end: -1, over: false, quiet: false };
        Self { parts: starts.iter().map(part).collect(), asked: None, behind: 0 }
    }

    /// A record was read, and what it says is known.
    pub fn read(&mut self, partition: usize, offset: i64) {
        if let Some(part) = self.parts.get_mut(partition) {
            (part.over, part.quiet) = (false, false);
            Self::reach(part, &mut self.behind, offset.saturating_add(1));
        }
    }

    /// The reader was told that a partition has no more now.
    pub fn over(&mut self, partition: usize) {
        if let Some(part) = self.parts.get_mut(partition) {
            (part.over, part.quiet) = (true, false);
        }
    }

    /// The answer to a question asked at `asked`: where each partition ends, which is behind its last record.
    ///
    /// A partition whose end stayed where it was, of which the reader was told before that there is no more, and of which
    /// nothing has come since, has nothing between its last record and its end.
    pub fn told(&mut self, asked: Instant, ends: &[i64]) {
        for (part, end) in self.parts.iter_mut().zip(ends) {
            if part.over && part.quiet && part.end == *end {
                Self::reach(part, &mut self.behind, *end);
            }
            // What the reader was told before the end before this one says nothing of what came since.
            if part.end != *end {
                part.over &= !part.quiet;
            }
            (part.end, part.quiet) = (*end, true);
        }
        if self.asked.is_none() {
            self.asked = Some(asked);
            for part in &mut self.parts {
                part.wanted = part.end;
            }
            self.behind = self.parts.iter().filter(|part| part.next < part.wanted).count();
        }
    }

    /// The moment of a question whose every end is reached by now, once: everything that was in the topic then has been
    /// read.
    pub fn fresh(&mut self) -> Option<Instant> {
        if self.behind == 0 { self.asked.take() } else { None }
    }

    /// How many records may be left, at most.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.parts.iter().map(|part| u64::try_from(part.wanted - part.next).unwrap_or(0)).sum()
    }

    fn reach(part: &mut Part, behind: &mut usize, next: i64) {
        let was_behind = part.next < part.wanted;
        part.next = part.next.max(next);
        if was_behind && part.next >= part.wanted {
            *behind = behind.saturating_sub(1);
        }
    }
}
