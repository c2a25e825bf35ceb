//! SIGKILL again and again: at each named point, and at random.
//!
//! Why: a power cut asks nobody. Whatever was in flight may be sent again, nothing else, and nothing is lost.
//! Must not know: what is done at a point.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peakpost::sim::load::Mix;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::plan::{self, IN_FLIGHT, RATE};
use crate::support::checker::history::History;
use crate::support::checker::permits::grants;
use crate::support::checker::watch::Watch;
use crate::support::checker::{Blow, Figures, Weather, judge};
use crate::support::config::Settings;
use crate::support::daemon::Daemon;
use crate::support::{PATIENCE, World, kafka, reckoning};

/// How often a daemon is looked at: the resolution of kills from outside.
const LOOK: Duration = Duration::from_millis(5);
/// What a killed process had written may reach the vendor this much later; no successor sends that early.
const ON_ITS_WAY: u64 = 500_000_000;

/// What passes at a point.
#[derive(Clone, Copy)]
enum Passes {
    /// About so many per job.
    PerJob(f64),
    /// At most so many, soon after the start.
    AtStart(u32),
    /// So many per second.
    PerSecond(f64),
    /// One per home, once SIGTERM has come.
    AtStop,
}

/// The points, in the order in which they take turns; the last is a kill from outside.
const WEAPONS: [(&str, Passes); 11] = [
    ("after_permit", Passes::PerJob(0.6)),
    ("after_first_byte", Passes::PerJob(0.6)),
    ("after_reply", Passes::PerJob(0.6)),
    ("before_outcome", Passes::PerJob(1.0)),
    ("after_outcome", Passes::PerJob(1.0)),
    ("between_deferral", Passes::PerJob(0.1)),
    ("before_commit", Passes::PerSecond(5.0)),
    ("after_commit", Passes::PerSecond(5.0)),
    ("inside_restore", Passes::AtStart(40)),
    ("inside_revoke", Passes::AtStop),
    (OUTSIDE, Passes::PerJob(1.0)),
];
const OUTSIDE: &str = "kill -9";

/// How much one world has to go through.
#[derive(Clone, Copy)]
struct Size {
    worlds: usize,
    beside: usize,
    jobs: usize,
    kills: usize,
    /// Over all worlds: now and then the jobs are through before the last kill.
    least: u64,
}

impl Size {
    fn of(real: bool) -> Self {
        match (plan::is_full(), real) {
            // The embedded broker keeps 5 MiB per partition: many small worlds instead of a few large ones.
            (true, false) => Self { worlds: 56, beside: 8, jobs: 18_500, kills: 10, least: 500 },
            (true, true) => Self { worlds: 8, beside: 4, jobs: 126_000, kills: 65, least: 500 },
            (false, _) => Self { worlds: 4, beside: 2, jobs: 10_000, kills: 5, least: 18 },
        }
    }
}

/// What one world has gone through.
#[derive(Default)]
struct Report {
    figures: Figures,
    by_weapon: BTreeMap<&'static str, u64>,
    restarts: Vec<Duration>,
    most_at_a_door: usize,
}

#[test]
fn killed_at_every_point_nothing_is_lost() {
    let _turn = plan::turn();
    let size = Size::of(World::real_is_wanted());
    let began = Instant::now();
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..size.beside {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= size.worlds {
                        return;
                    }
                    let report = Ruin::new(number, size).run();
                    reports.lock().unwrap().push(report);
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap();
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let mut by_weapon: BTreeMap<&str, u64> = BTreeMap::new();
    for (weapon, count) in reports.iter().flat_map(|report| &report.by_weapon) {
        *by_weapon.entry(weapon).or_default() += count;
    }
    let mut restarts: Vec<Duration> = reports.iter().flat_map(|report| report.restarts.clone()).collect();
    restarts.sort_unstable();
    let kills: u64 = by_weapon.values().sum();
    println!("== kills: {kills} over {} jobs in {:.0} s", sum(|r| r.figures.jobs), began.elapsed().as_secs_f64());
    println!(
        "   lost {}; sent twice {}, worst {} after one kill (at most {IN_FLIGHT}); commits seen {}",
        sum(|r| r.figures.lost),
        sum(|r| r.figures.duplicates),
        reports.iter().map(|r| r.figures.worst).max().unwrap_or(0),
        sum(|r| r.figures.commits),
    );
    println!("   {by_weapon:?}");
    let most = reports.iter().map(|r| r.most_at_a_door).max().unwrap_or(0) as f64 / 10.0;
    println!(
        "   permits within every limit; most at a vendor's door in a window {most:.1} % of its limit (not judged)"
    );
    let (median, worst) = (restarts[restarts.len() / 2], restarts[restarts.len() - 1]);
    println!("   from start to ready: median {median:.1?}, worst {worst:.1?}, of {}", restarts.len());
    let wanted = size.least;
    assert!(
        kills >= wanted,
        "only {kills} of {wanted} kills before the jobs were through; hint: more jobs, lower RATE"
    );
    let points = by_weapon.len() - usize::from(by_weapon.contains_key(OUTSIDE));
    assert!(points + 1 >= WEAPONS.len(), "not every point was reached: {by_weapon:?}; hint: is its failpoint there?");
}

/// One world and the daemon in it.
struct Ruin {
    number: usize,
    size: Size,
    world: World,
    settings: Settings,
    watch: Watch,
    dice: SmallRng,
    starts: usize,
    blows: Vec<Blow>,
    report: Report,
}

/// What the next daemon will die of, and when.
struct Doom {
    weapon: &'static str,
    environment: String,
    /// Killed from outside once so many jobs have ended, whatever the weapon.
    latest: u64,
    /// SIGTERM once so many jobs have ended.
    term: Option<u64>,
}

impl Ruin {
    fn new(number: usize, size: Size) -> Self {
        let world = World::new(&format!("kills-{number}"));
        plan::slow_vendors(&world, 40.0);
        let (mut settings, watch) = (plan::settings(&world), world.audit());
        if !plan::is_full() {
            // Half the pace: what is accepted and not durable yet when a process dies grows with it, and with how busy the
            // machine is.
            (settings.mail, settings.sms, settings.hook) = ("375 messages/s", "65 messages/s", "60 requests/s");
        }
        let dice = plan::dice(number as u64);
        let (starts, blows, report) = (0, Vec::new(), Report::default());
        Self { number, size, world, settings, watch, dice, starts, blows, report }
    }

    fn run(mut self) -> Report {
        let expected = plan::enqueue(&self.world, 100 + self.number as u64, Mix::peak(), self.size.jobs);
        while self.blows.len() < self.size.kills && self.ended() < self.size.jobs as u64 {
            let doom = self.doom();
            self.live_and_die(&doom);
        }
        let mut last = self.start(&[]);
        reckoning::wait_for_commits(&self.world, &self.watch, self.size.jobs as u64, &mut last);
        last.stop();
        let logs = self.logs();
        let (dump, seen) = reckoning::close(&self.world, self.watch);
        let history = History { expected, dump, seen };
        let weather = Weather { blows: self.blows, in_flight: IN_FLIGHT, zombies: 0 };
        self.report.figures = judge(&history, &weather);
        kafka::all_committed(&self.world);
        // At the door nothing is judged here: with so many worlds beside each other a permit and its arrival are
        // further apart than any limit allows for. That is for the calmer scenarios.
        plan::gates_keep_limits(&grants(logs.iter().map(String::as_str)));
        self.report.most_at_a_door = plan::most_at_a_door(&history.seen);
        println!("   {:?} {:?}", self.report.figures, self.report.by_weapon);
        self.world.finish();
        self.report
    }

    /// What its daemons have written.
    fn logs(&self) -> Vec<String> {
        let path = |n: usize| self.world.dir().join(format!("daemon-{n}.log"));
        (1..=self.starts).map(|n| String::from_utf8_lossy(&std::fs::read(path(n)).unwrap()).into_owned()).collect()
    }

    fn ended(&self) -> u64 {
        self.watch.ended.load(Ordering::Relaxed)
    }

    fn start(&mut self, environment: &[(&str, &str)]) -> Daemon {
        self.starts += 1;
        Daemon::start_in(&self.world, &format!("daemon-{}", self.starts), &self.settings, environment)
    }

    /// Kills are spread over the jobs that are left: a point is set to the pass at which, on average, a fair share of
    /// them is through.
    fn doom(&mut self) -> Doom {
        let kills_left = (self.size.kills - self.blows.len()) as u64;
        let share = (self.size.jobs as u64).saturating_sub(self.ended()) / (kills_left + 1);
        let (weapon, passes) = WEAPONS[(self.blows.len() + self.number * self.size.kills) % WEAPONS.len()];
        let jobs = self.dice.random_range(0..=share * 2);
        let pass = match passes {
            Passes::PerJob(rate) => jobs as f64 * rate,
            Passes::PerSecond(rate) => jobs as f64 / RATE as f64 * rate,
            Passes::AtStart(most) => f64::from(self.dice.random_range(0..most)),
            Passes::AtStop => f64::from(self.dice.random_range(0..12_u32)),
        };
        let term = matches!(passes, Passes::AtStop).then_some(self.ended() + jobs);
        let latest = self.ended() + if weapon == OUTSIDE { jobs } else { share * 5 / 2 };
        let environment = match weapon {
            OUTSIDE => String::new(),
            point if pass < 1.0 => format!("{point}=return"),
            point => format!("{point}={pass:.0}*off->return"),
        };
        Doom { weapon, environment, latest, term }
    }

    fn live_and_die(&mut self, doom: &Doom) {
        let environment = [("FAILPOINTS", doom.environment.as_str())];
        let mut daemon = self.start(&environment);
        let (mut ready, mut from_outside, mut asked) = (None, doom.weapon == OUTSIDE, false);
        let mut moved = (self.ended(), Instant::now());
        let born = Instant::now();
        let code = loop {
            if let Some(code) = daemon.child.ended() {
                break code;
            }
            let ended = self.ended();
            if ready.is_none() && daemon.get("/readyz").is_ok() {
                ready = Some(born.elapsed());
            }
            if ended > moved.0 {
                moved = (ended, Instant::now());
            }
            if ready.is_some() && ended >= doom.latest {
                from_outside = true;
                daemon.child.signal("KILL");
            } else if !asked && ready.is_some() && doom.term.is_some_and(|term| ended >= term) {
                asked = true;
                daemon.child.signal("TERM");
            }
            if ended >= self.size.jobs as u64 && !asked {
                // Through before its time: whatever it was to die of, it may still die of that.
                asked = true;
                daemon.child.signal("TERM");
            }
            assert!(moved.1.elapsed() < PATIENCE, "no outcome for {PATIENCE:?}; {}", daemon.child.last_words());
            std::thread::sleep(LOOK);
        };
        self.report.restarts.extend(ready);
        match code {
            // Its point was not passed on the way out.
            0 if asked => return,
            -1 => {}
            code => panic!("it ended by itself with {code}, not by {}; {}", doom.weapon, daemon.child.last_words()),
        }
        let at = self.world.vendor_now();
        self.blows.push(Blow { from: at, until: at + ON_ITS_WAY });
        *self.report.by_weapon.entry(if from_outside { OUTSIDE } else { doom.weapon }).or_default() += 1;
    }
}
