//! Records, jobs and times that machines are fed with. The same in every run.

use std::time::{Duration, Instant};

use peakpost::job::receipt::Why;
use peakpost::job::{Coordinates, Headers, Incoming, Job, Lane, Receipt, Source, Wall, Way};
use peakpost::sim::load::{Generator, Mix, Shape, Targets};

/// 2027-01-15T08:00:00Z.
pub const NOW: Wall = Wall(1_800_000_000_000);

/// A time from which others are reckoned: no machine can tell one from another.
pub fn start() -> Instant {
    Instant::now() + Duration::from_secs(1)
}

/// An endless stream of records of one shape, in the marketing lane.
pub fn records(shape: Shape) -> impl Iterator<Item = Vec<u8>> {
    let targets = Targets { webhook_base_url: "https://shop.example".to_owned(), prefix: "bench".to_owned() };
    let generator = Generator::new(1, Mix::only(Lane::Marketing, shape), targets).expect("a mix that can be used");
    generator.map(|job| job.payload)
}

/// Reads a record as intake does: its bytes are copied once.
pub fn read(record: &[u8], offset: i64) -> Job {
    let (from, lane, way) = (Source::Jobs(Lane::Marketing), Lane::Marketing, Way::default());
    let receipt = Receipt::new(Coordinates { from, home: 0, offset }, 1, 0, u32::try_from(record.len()).unwrap_or(0));
    Job::parse(Incoming { bytes: record.into(), headers: Headers::new(), enqueued: NOW, lane, way, receipt })
        .unwrap_or_else(|malformed| panic!("the generator's record is no job: {}", malformed.invalid))
}

/// Drops a job without a debt.
pub fn give_back(job: Job) {
    let _given_back = job.into_receipt().abandon(Why::Shutdown);
}

/// Jobs that are given back in the end.
pub struct Jobs(pub Vec<Job>);

impl Jobs {
    pub fn of(records: impl Iterator<Item = Vec<u8>>) -> Self {
        Self(records.zip(0..).map(|(record, offset)| read(&record, offset)).collect())
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.0.drain(..).for_each(give_back);
    }
}
