//! What vendors say of messages, as a real Prometheus knows it from two instances, against the simulator's own books.
//!
//! Why: a ratio that is nearly right hides the complaint that matters. What is exact and what is not is shown, not believed.
//! Must not know: who counts what.

use std::collections::BTreeMap;

use peakpost::event::Happened;
use peakpost::sim::arrivals::Vendor;
use peakpost::sim::load::Generated;
use peakpost::sim::vendor::feedback::{Complaints, Model, Told};

use super::feedback;
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::prometheus::{Prometheus, Series};
use crate::support::{PATIENCE, World, kafka, until};

/// What a series is told by.
const BY: [&str; 3] = ["provider", "lane", "mailbox"];
/// Ratios are looked at when so many scrapes lie behind: what Prometheus adds at the ends of a window is at most one interval.
const SCRAPES: f64 = 25.0;

/// The recorded ratios: what is counted, and in what.
const RATIOS: [(&str, &[Happened], &[Happened]); 4] = [
    ("complained_ratio_rate1d", &[Happened::Complained], &[Happened::Delivered]),
    ("unsubscribed_ratio_rate1d", &[Happened::Unsubscribed], &[Happened::Delivered]),
    ("bounced_hard_ratio_rate1d", &[Happened::BouncedHard], ENDED),
    ("delivered_ratio_rate1d", &[Happened::Delivered], ENDED),
];
const ENDED: &[Happened] = &[Happened::Delivered, Happened::BouncedHard, Happened::BouncedBlocked];

/// So many complain that everything would be blocked; it is to be counted, not stopped.
const UNMOVED: &str = "[reputation]\nsevere = 0.99\ncomplaints = { warn = 0.9, block = 0.9, least = 1000 }\nhard_bounces = { warn = \
                       0.9, block = 0.9, least = 1000 }\nunsubscribes = { warn = 0.9, block = 0.9, least = 1000 }";

/// Every second mail goes to Gmail.
fn spread(jobs: Vec<Generated>) -> Vec<Generated> {
    let to_gmail = |job: Generated| {
        let payload = String::from_utf8(job.payload).unwrap().replace("@example.com\"", "@gmail.com\"").into_bytes();
        Generated { payload, ..job }
    };
    jobs.into_iter().enumerate().map(|(n, job)| if n % 2 == 0 { to_gmail(job) } else { job }).collect()
}

/// The simulator's books: its events by provider, lane and mailbox provider, and by what happened.
fn books(told: &Told) -> BTreeMap<Vec<String>, BTreeMap<Happened, u32>> {
    let mut books: BTreeMap<Vec<String>, BTreeMap<Happened, u32>> = BTreeMap::new();
    let none = |word: &str| if word.is_empty() { "-".to_owned() } else { word.to_owned() };
    for said in &told.events {
        let provider = match said.vendor {
            Vendor::SendGrid => "mail",
            Vendor::Twilio => "sms",
            Vendor::Webhook => "hook",
        };
        let mailbox = match &*said.domain {
            "example.com" => "example",
            "gmail.com" => "gmail",
            other => other,
        };
        let key = vec![provider.to_owned(), none(&said.lane), none(mailbox)];
        *books.entry(key).or_default().entry(said.happened).or_default() += 1;
    }
    books
}

/// The same from Prometheus: what it has scraped last, added up over both instances.
fn scraped(world: &World, prometheus: &Prometheus) -> BTreeMap<Vec<String>, BTreeMap<Happened, u32>> {
    let by = [BY[0], BY[1], BY[2], "happened"];
    let query = format!("sum by ({}) (peakpost_delivery_total) > 0", by.join(", "));
    let mut books: BTreeMap<Vec<String>, BTreeMap<Happened, u32>> = BTreeMap::new();
    for (mut key, count) in prometheus.ask(world, &query, &by) {
        let word = key.pop().unwrap();
        let happened = Happened::ALL.into_iter().find(|known| known.as_str() == word).unwrap();
        books.entry(key).or_default().insert(happened, format!("{count:.0}").parse().unwrap());
    }
    books
}

fn sum(counts: &BTreeMap<Happened, u32>, of: &[Happened]) -> f64 {
    f64::from(of.iter().filter_map(|happened| counts.get(happened)).sum::<u32>())
}

/// Each instance's own ratio, from a rule's expression and from its counters: the extrapolation is the same above and below, and
/// falls out.
fn exact_by_instance(world: &World, prometheus: &Prometheus) -> usize {
    let by = ["instance", BY[0], BY[1], BY[2]];
    let of = |of: &[Happened], how: &str| {
        let words: Vec<&str> = of.iter().map(|happened| happened.as_str()).collect();
        let series = format!("peakpost_delivery_total{{happened=~\"{}\"}}", words.join("|"));
        let series = if how.is_empty() { series } else { format!("{how}({series}[1d])") };
        format!("sum by ({}) ({series})", by.join(", "))
    };
    let mut looked = 0;
    for (name, above, below) in RATIOS {
        let ratio = |how: &str| format!("{} / ({} > 0)", of(above, how), of(below, how));
        // One question, so that both sides are of one moment.
        let off = format!("abs(({}) - ({}))", ratio("rate"), ratio(""));
        for (key, off) in prometheus.ask(world, &off, &by) {
            assert!(off < 1e-9, "{name} of {key:?}: a rate's quotient is off by {off} from the counters' own");
            looked += 1;
        }
    }
    looked
}

#[test]
fn ratios_are_those_of_the_simulators_own_books() {
    let world = World::alone("ratios");
    let signer = feedback::signer(&world);
    let settings = feedback::settings(&world, &signer);
    let settings = Settings { sections: format!("{}\n{UNMOVED}", settings.sections).leak(), ..settings };
    let first = Daemon::ready(&world, "first", &settings);
    let second = Daemon::ready(&world, "second", &settings);
    // Before anything is told: a counter that is first seen at 40 has not risen.
    let Some(prometheus) = Prometheus::start(&world, &[&first, &second]) else { return world.finish() };
    let complaints = vec![
        Complaints { domain: Some("gmail.com".to_owned()), rate: 0.02, ..Complaints::default() },
        Complaints { rate: 0.06, ..Complaints::default() },
    ];
    let model = Model { hard: 0.03, unsubscribed: 0.03, complaints, ..Model::default() };
    feedback::tell(&world, &signer, first.feedback(), model);
    let jobs = spread(feedback::jobs(&world, 63, world.scale(8_000, 2_000)));
    kafka::enqueue(&world, &jobs, |_| None);
    feedback::sent(&world, jobs.len());
    let told = || Some(world.vendors.told()).filter(|told| told.waiting == 0);
    let told = until(PATIENCE, "everything is heard", told, || first.child.last_words());

    let books = books(&told);
    let agrees = || (scraped(&world, &prometheus) == books).then_some(());
    let state =
        || format!("{:#?} scraped, {books:#?} in the books; {}", scraped(&world, &prometheus), prometheus.last_words());
    until(PATIENCE, "the counters of both instances add up to the books", agrees, state);
    let counted = [&first, &second].map(|daemon| daemon.metric("peakpost_delivery_total", &[]));
    assert!(counted.iter().all(|count| *count > 0.0), "both instances count a part: {counted:?}");

    // A busy machine misses scrapes: what counts is how many there were of each instance.
    let scrapes = || prometheus.ask(&world, "min(count_over_time(peakpost_build_info[1h]))", &[]).into_values().next();
    let enough = || scrapes().filter(|scrapes| *scrapes >= SCRAPES);
    until(PATIENCE * 2, "there are enough scrapes", enough, || prometheus.last_words());
    // An instance that was not scraped in time is left out of sums until it is.
    until(PATIENCE, "no repeat is counted later", agrees, state);
    let exact = || Some(exact_by_instance(&world, &prometheus)).filter(|looked| *looked > 20);
    let exact = until(PATIENCE, "both instances' ratios can be looked at", exact, || prometheus.last_words());
    // Two instances are scraped at two times: each one's part is extrapolated by up to an interval more than the other's.
    let bound = 1.1 / (SCRAPES - 1.0);
    let worst = recorded(&world, &prometheus, &books, bound);
    println!(
        "   {} events of {} jobs, {counted:?} counted by each: counters and {exact} ratios by instance exact; the fleet's recorded \
         ratios off by {:.3} % at most, {:.1} % is the bound after {SCRAPES} scrapes",
        told.events.len(),
        jobs.len(),
        worst * 100.0,
        bound * 100.0
    );
    drop(prometheus);
    first.stop();
    second.stop();
    world.finish();
}

/// How far the recorded ratios of the fleet are off, at worst, as a part of the ratio itself.
fn recorded(
    world: &World,
    prometheus: &Prometheus,
    books: &BTreeMap<Vec<String>, BTreeMap<Happened, u32>>,
    bound: f64,
) -> f64 {
    let (mut worst, mut looked): (f64, usize) = (0.0, 0);
    for (name, above, below) in RATIOS {
        let series = format!("job_provider_lane_mailbox:peakpost_delivery:{name}");
        let recorded: Series = prometheus.ask(world, &series, &BY);
        let expected = books.iter().filter(|(key, counts)| key[1] != "-" && sum(counts, below) > 0.0);
        for (key, counts) in expected {
            let is = sum(counts, above) / sum(counts, below);
            let said = *recorded.get(key).unwrap_or_else(|| panic!("`{series}` has nothing of {key:?}: {recorded:?}"));
            let off = if is > 0.0 { (said / is - 1.0).abs() } else { said };
            assert!(off <= bound, "`{series}` of {key:?}: {said}, by the books {is}; off by {off}, at most {bound}");
            (worst, looked) = (worst.max(off), looked + usize::from(is > 0.0));
        }
    }
    assert!(looked > 10, "{looked} ratios are too few to show anything");
    worst
}
