//! Queues and waits: order within a group, turns between groups, nothing lost.

use std::collections::BTreeMap;
use std::time::Duration;

use peakpost::lane::inbox::shard_of;
use peakpost::lane::{Fit, Queue, Waiting};
use proptest::prelude::*;

use super::{ms, start, with_job};

fn queue(jobs: &[(u64, u32)]) -> Queue<u32> {
    let begin = start();
    let mut queue = Queue::default();
    for (i, (key, job)) in (0..).zip(jobs) {
        queue.push(*key, begin + ms(i), *job);
    }
    queue
}

/// Takes at most `most`; skips what `skip` holds.
fn take(queue: &mut Queue<u32>, most: usize, skip: &[u32]) -> Option<(u64, Vec<u32>)> {
    let mut out = Vec::new();
    let fit = |job: &u32| if skip.contains(job) { Fit::Skip } else { Fit::Take };
    let key = queue.take(&mut out, most, fit)?;
    Some((key, out))
}

#[test]
fn groups_take_turns_and_keep_their_order() {
    let mut q = queue(&[(7, 1), (7, 2), (8, 3), (7, 4), (9, 5), (8, 6), (7, 7)]);
    let mut rounds = Vec::new();
    while let Some(batch) = take(&mut q, 2, &[]) {
        rounds.push(batch);
    }
    let expected = [(7, vec![1, 2]), (8, vec![3, 6]), (9, vec![5]), (7, vec![4, 7])];
    assert_eq!(rounds, expected, "one campaign does not starve another");
    assert!(q.is_empty() && q.oldest().is_none() && q.upcoming(9, 9) == (0, 0), "nothing is left");
}

#[test]
fn a_batch_takes_skips_and_fills_as_it_is_told() {
    type Row<'a> = (usize, &'a [u32], &'a [u32], &'a [u32], &'a str);
    let rows: &[Row<'_>] = &[
        (9, &[], &[1, 2, 3, 4], &[], "all of them"),
        (2, &[], &[1, 2], &[3, 4], "full after two; the third stays first"),
        (9, &[2], &[1, 3, 4], &[2], "one is left out"),
        (2, &[1, 3], &[2, 4], &[1, 3], "what is left out keeps its order"),
        (1, &[1, 2], &[3], &[1, 2, 4], "and its place before those not looked at"),
        (9, &[1, 2, 3, 4], &[], &[1, 2, 3, 4], "nobody fits"),
        (0, &[], &[], &[1, 2, 3, 4], "full before it began"),
    ];
    for (most, skip, taken, left, why) in rows {
        let mut q = queue(&[(7, 1), (7, 2), (7, 3), (7, 4), (8, 99)]);
        let batch = take(&mut q, *most, skip);
        assert_eq!(batch, Some((7, taken.to_vec())), "{why}");
        assert_eq!(q.len(), left.len() + 1, "{why}: the count");
        assert_eq!(take(&mut q, 9, &[]), Some((8, vec![99])), "{why}: it is the next group's turn, whatever was taken");
        let rest = take(&mut q, 9, &[]).map(|(_, jobs)| jobs).unwrap_or_default();
        assert_eq!(rest, *left, "{why}: what stays");
    }
}

#[test]
fn the_head_s_age_is_the_oldest_of_all_groups() {
    let begin = start();
    let mut q = Queue::default();
    q.push(1, begin + ms(5), 'a');
    q.push(2, begin + ms(3), 'b');
    q.push(1, begin + ms(9), 'c');
    assert_eq!(q.oldest(), Some(begin + ms(3)));
    assert_eq!(q.remove_if(|job| *job == 'b'), ['b']);
    assert_eq!(q.oldest(), Some(begin + ms(5)));
    assert_eq!((q.len(), q.upcoming(9, 9)), (2, (1, 2)));
    q.push(2, begin + ms(11), 'd');
    let mut out = Vec::new();
    assert_eq!(q.take(&mut out, 9, |_| Fit::Take), Some(1), "a group that was emptied starts at the end of the turns");
}

/// The same queue as a list in order of arrival and a list of turns, searched from the front every time.
#[derive(Default)]
struct Model {
    jobs: Vec<(u64, u32)>,
    turns: Vec<u64>,
}

impl Model {
    fn push(&mut self, key: u64, job: u32) {
        if !self.turns.contains(&key) {
            self.turns.push(key);
        }
        self.jobs.push((key, job));
    }

    fn take(&mut self, most: usize, skip: impl Fn(u32) -> bool) -> Option<(u64, Vec<u32>)> {
        let key = if self.turns.is_empty() { return None } else { self.turns.remove(0) };
        let fits = self.jobs.iter().filter(|(k, job)| *k == key && !skip(*job)).take(most);
        let taken: Vec<u32> = fits.map(|(_, job)| *job).collect();
        self.jobs.retain(|(_, job)| !taken.contains(job));
        if self.jobs.iter().any(|(k, _)| *k == key) {
            self.turns.push(key);
        }
        Some((key, taken))
    }

    /// Takes requests one after the other, as the turns go.
    fn upcoming(&self, requests_max: usize, per_request: usize) -> (usize, usize) {
        let mut rest = Self { jobs: self.jobs.clone(), turns: self.turns.clone() };
        let batches = std::iter::from_fn(|| rest.take(per_request, |_| false)).take(requests_max);
        batches.fold((0, 0), |(requests, jobs), (_, batch)| (requests + 1, jobs + batch.len()))
    }

    fn remove_if(&mut self, leaves: impl Fn(u32) -> bool) -> Vec<u32> {
        let gone = self.jobs.iter().filter(|(_, job)| leaves(*job)).map(|(_, job)| *job).collect();
        self.jobs.retain(|(_, job)| !leaves(*job));
        self.turns.retain(|key| self.jobs.iter().any(|(k, _)| k == key));
        gone
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64),
    Take { most: usize, skip: u32 },
    Remove { modulus: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..5_u64).prop_map(Step::Push),
        3 => (0..6_usize, 1..6_u32).prop_map(|(most, skip)| Step::Take { most, skip }),
        1 => (1..7_u32).prop_map(|modulus| Step::Remove { modulus }),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_queue_agrees_with_a_list(steps in steps()) {
        let begin = start();
        let (mut queue, mut model) = (Queue::default(), Model::default());
        let mut came = BTreeMap::new();
        for (job, step) in (0..).zip(&steps) {
            match step {
                Step::Push(key) => {
                    let at = begin + ms(u64::from(job));
                    queue.push(*key, at, job);
                    model.push(*key, job);
                    came.insert(job, at);
                }
                Step::Take { most, skip } => {
                    let skipped: Vec<u32> = (0..120).filter(|job| job % skip == 1).collect();
                    let expected = model.take(*most, |job| skipped.contains(&job));
                    prop_assert_eq!(take(&mut queue, *most, &skipped), expected);
                }
                Step::Remove { modulus } => {
                    let mut gone = queue.remove_if(|job| job % modulus == 0);
                    gone.sort_unstable();
                    prop_assert_eq!(gone, model.remove_if(|job| job % modulus == 0));
                }
            }
            prop_assert_eq!(queue.len(), model.jobs.len());
            prop_assert_eq!(queue.is_empty(), model.jobs.is_empty());
            prop_assert_eq!(queue.oldest(), model.jobs.first().map(|(_, job)| came[job]));
            for (requests, per_request) in [(1, 1), (1, 3), (2, 2), (3, 1), (64, 1), (64, 1000)] {
                prop_assert_eq!(queue.upcoming(requests, per_request), model.upcoming(requests, per_request));
            }
        }
    }

    #[test]
    fn waiting_jobs_come_out_by_time_and_then_by_arrival(
        times in prop::collection::vec(0..50_u64, 0..80), now in 0..60_u64, modulus in 2..5_usize,
    ) {
        let begin = start();
        let mut waiting = Waiting::default();
        for (i, at) in times.iter().enumerate() {
            waiting.push(begin + ms(*at), i);
        }
        let mut gone = waiting.remove_if(|i| i % modulus == 0);
        gone.sort_unstable();
        prop_assert_eq!(gone, (0..times.len()).filter(|i| i % modulus == 0).collect::<Vec<_>>());
        let mut expected: Vec<usize> = (0..times.len()).filter(|i| i % modulus != 0).collect();
        expected.sort_by_key(|i| (times[*i], *i));
        prop_assert_eq!(waiting.len(), expected.len());
        prop_assert_eq!(waiting.next_due(), expected.first().map(|i| begin + ms(times[*i])));
        let due: Vec<usize> = expected.iter().copied().filter(|i| times[*i] <= now).collect();
        let came: Vec<usize> = std::iter::from_fn(|| waiting.pop_due(begin + ms(now))).collect();
        prop_assert_eq!(&came, &due, "not before their time");
        let rest: Vec<usize> = std::iter::from_fn(|| waiting.pop_due(begin + Duration::from_secs(60))).collect();
        prop_assert_eq!(rest, &expected[due.len()..]);
        prop_assert!(waiting.is_empty());
    }
}

fn sms(to: u32, ordering_key: Option<&str>) -> String {
    let key = ordering_key.map_or(String::new(), |key| format!(r#","ordering_key":"{key}""#));
    format!(
        r#"{{"id":"i","tenant":"t","channel":"sms","to":"+4930{to:07}","from":"+4930000","content":{{"body":"b"}}{key}}}"#
    )
}

#[test]
fn one_recipient_or_ordering_key_has_one_shard() {
    let shard = |to, key, shards| with_job(&sms(to, key), |job| shard_of(job.spec(), shards));
    for shards in [1, 2, 7, 256] {
        let mut seen = vec![0; shards];
        for to in 0..1000 {
            let own = shard(to, None, shards);
            assert_eq!(own, shard(to, None, shards), "one recipient, one shard");
            seen[own] += 1;
            assert_eq!(shard(to, Some("order-1"), shards), shard(0, Some("order-1"), shards), "the key decides alone");
        }
        let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
        assert!(*most <= 3 * 1000 / shards + 20, "{shards} shards: one has {most} of 1000, another {least}");
    }
    assert_eq!(shard(1, None, 0), 0, "no shards are taken for one");
}
