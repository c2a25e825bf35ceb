//! The line's topics: what they must be, how they are made, and how that is verified at start.
//!
//! Why: a wrong cleanup policy or partition count loses messages months later; it is refused at start, with
//! the command that mends it.
//! Must not know: who reads or writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use crate::job::topic::Topics;
use crate::job::{Home, Source};
use crate::observe::kafka;

/// Longest wait for one answer of the broker.
const WAIT: Duration = Duration::from_secs(10);

/// Most partitions asked for in one request: a controller refuses more than 10,000 at once, and the holds of a hundred
/// providers come to 9,600 where there are 48 homes.
const PARTITIONS_AT_ONCE: usize = 5_000;
/// So often the brokers are asked whether they know a new topic, and so far apart: for half a minute.
const LOOKS: u32 = 120;
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Records of the line are at most this large: a job of 256 KiB with its dead letter's headers fits.
const MESSAGE_BYTES_MIN: i64 = 1024 * 1024;

/// How long it is kept what was spent: the longest window there is, thirty days, and a margin for clocks and late starts.
const USAGE_RETENTION: Duration = Duration::from_secs(40 * 86_400);
/// How long orders are kept: each says itself how long it holds, and none holds for so long.
const CONTROL_RETENTION: Duration = Duration::from_secs(40 * 86_400);
/// How long events are kept: vendors tell of a message for up to three days, and who reads them may be away for some.
const EVENTS_RETENTION: Duration = Duration::from_secs(14 * 86_400);
/// How long counts are kept: a block outlives the cohort that caused it by a day and its ramp.
const REPUTATION_RETENTION: Duration = Duration::from_secs(40 * 86_400);
/// What is compacted is compacted up to the segment that is being written: a new one begins this often.
const COMPACTED_SEGMENT: Duration = Duration::from_secs(3600);

/// How topics are made.
#[derive(Clone)]
pub struct Plan {
    /// librdkafka properties common to every client (brokers, TLS, SASL). Never printed: passwords are in them.
    pub client: Vec<(String, String)>,
    /// Names.
    pub topics: Topics,
    /// P: partitions of every topic.
    pub partitions: Home,
    /// Copies of each partition.
    pub replication: i32,
    /// How long outcomes are kept, at least: the depth of the duplicate window.
    pub outcomes_retention: Duration,
    /// How long dead letters are kept, at least.
    pub dead_retention: Duration,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("topics", &self.topics)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("outcomes_retention", &self.outcomes_retention)
            .field("dead_retention", &self.dead_retention)
            .finish_non_exhaustive()
    }
}

/// One topic as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    cleanup: Cleanup,
    keep: Keep,
}

/// What the broker may take away of a topic (`cleanup.policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cleanup {
    /// Whole segments, by age.
    Delete,
    /// That, and every record that has a later one of the same key.
    CompactAndDelete,
    /// Only records that have a later one of the same key: what stands there counts for ever.
    Compact,
}

impl Cleanup {
    /// The policy with which the topic is made.
    const fn policy(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::CompactAndDelete => "compact,delete",
            Self::Compact => "compact",
        }
    }

    /// Whether a topic's policy is this one. Its words may stand in any order.
    fn holds(self, policy: &str) -> bool {
        let words = |policy: &str| policy.split(',').map(|word| word.trim().to_owned()).collect::<BTreeSet<_>>();
        words(policy) == words(self.policy())
    }
}

/// How long a topic's records must be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// That is upstream's to say, or of no interest.
    Any,
    /// At least so long.
    AtLeast(Duration),
    /// Until peakpost deletes them itself: a job may wait there for any time.
    Forever,
}

impl Keep {
    /// The setting `retention.ms` with which the topic is made.
    fn setting(self) -> Option<String> {
        match self {
            Self::Any => None,
            Self::AtLeast(time) => Some(time.as_millis().to_string()),
            Self::Forever => Some("-1".to_owned()),
        }
    }

    /// Whether a topic's `retention.ms` is long enough. What cannot be read is let pass.
    fn holds(self, setting: &str) -> bool {
        let Ok(ms) = setting.parse::<i128>() else { return true };
        match self {
            Self::Any => true,
            Self::AtLeast(time) => ms < 0 || u128::try_from(ms).is_ok_and(|ms| ms >= time.as_millis()),
            Self::Forever => ms < 0,
        }
    }
}

/// What a verification found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// P, read from the homes topic.
    pub partitions: Home,
    /// What is wrong, one sentence each, with the command that mends it.
    pub faults: Vec<String>,
    /// What could not be checked with this broker, by name.
    pub left_out: Vec<String>,
    /// Holds of providers that are not configured: what waits in them goes nowhere.
    pub orphans: Vec<String>,
}

impl Plan {
    fn wanted(&self) -> Vec<Wanted> {
        let topics = &self.topics;
        let deleted = |name, keep| Wanted { name, cleanup: Cleanup::Delete, keep };
        let mut wanted = vec![deleted(topics.homes(), Keep::Any)];
        wanted.extend(topics.layout().all().map(|source| {
            let keep = if matches!(source, Source::Jobs(_)) { Keep::Any } else { Keep::Forever };
            deleted(topics.source(source).to_owned(), keep)
        }));
        wanted.push(deleted(topics.outcomes(), Keep::AtLeast(self.outcomes_retention)));
        wanted.push(deleted(topics.dead(), Keep::AtLeast(self.dead_retention)));
        wanted.push(deleted(topics.events(), Keep::AtLeast(EVENTS_RETENTION)));
        wanted.push(Wanted { name: topics.suppressions(), cleanup: Cleanup::Compact, keep: Keep::Any });
        let compacted = [
            (topics.usage(), USAGE_RETENTION),
            (topics.control(), CONTROL_RETENTION),
            (topics.reputation(), REPUTATION_RETENTION),
        ];
        wanted.extend(compacted.map(|(name, retention)| {
            let keep = Keep::AtLeast(retention);
            Wanted { name, cleanup: Cleanup::CompactAndDelete, keep }
        }));
        wanted
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, String> {
        let client = kafka::client(&self.client);
        client.create().map_err(|e| format!("cannot make the admin client: {e}"))
    }

    /// Makes every topic that is not there and waits until a broker tells of it. Returns the names of those it made.
    ///
    /// # Errors
    /// The broker's first refusal.
    pub async fn create(&self) -> Result<Vec<String>, String> {
        let admin = self.admin()?;
        let wanted = self.wanted();
        let retention: Vec<Option<String>> = wanted.iter().map(|w| w.keep.setting()).collect();
        let (bytes, segment) = (MESSAGE_BYTES_MIN.to_string(), COMPACTED_SEGMENT.as_millis().to_string());
        let topics: Vec<NewTopic<'_>> = wanted
            .iter()
            .zip(&retention)
            .map(|(wanted, retention)| {
                let partitions = i32::from(self.partitions);
                let topic = NewTopic::new(&wanted.name, partitions, TopicReplication::Fixed(self.replication))
                    .set("cleanup.policy", wanted.cleanup.policy())
                    .set("max.message.bytes", &bytes);
                let topic = match retention {
                    Some(ms) => topic.set("retention.ms", ms),
                    None => topic,
                };
                match wanted.cleanup {
                    Cleanup::Delete => topic,
                    Cleanup::CompactAndDelete | Cleanup::Compact => topic.set("segment.ms", &segment),
                }
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
        let mut made = Vec::new();
        for topics in topics.chunks((PARTITIONS_AT_ONCE / usize::from(self.partitions.max(1))).max(1)) {
            let results = admin.create_topics(topics, &options).await.map_err(|e| {
                format!("cannot create topics: {e}; hint: check `kafka.brokers`, the network and the TLS settings")
            })?;
            for result in results {
                match result {
                    Ok(name) => made.push(name),
                    Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                    Err((name, code)) => return Err(format!("cannot create topic `{name}`: {code}")),
                }
            }
        }
        self.appear(&admin, &made).await?;
        Ok(made)
    }

    /// Waits until a broker's metadata have all of `made`. The controller answers before the brokers have heard of a new
    /// topic: on a busy cluster that takes seconds. What has not appeared in time is for the verification to report.
    async fn appear(&self, admin: &AdminClient<DefaultClientContext>, made: &[String]) -> Result<(), String> {
        for _ in 0..LOOKS {
            let counts = partition_counts(admin)?;
            let whole = |name: &String| counts.get(name) == Some(&usize::from(self.partitions));
            if made.iter().all(whole) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Compares every topic with what it must be.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn verify(&self, embedded: bool) -> Result<Report, String> {
        let admin = self.admin()?;
        let counts = partition_counts(&admin)?;
        let mend = "hint: `peakpost topics create`";
        let mut report = Report::default();
        match counts.get(&self.topics.homes()).map(|count| Home::try_from(*count)) {
            Some(Ok(partitions)) if partitions > 0 => report.partitions = partitions,
            _ => report.faults.push(format!("topic `{}` is not there; {mend}", self.topics.homes())),
        }
        let wanted = self.wanted();
        for topic in &wanted[1..] {
            match counts.get(&topic.name) {
                None => report.faults.push(format!("topic `{}` is not there; {mend}", topic.name)),
                Some(count) if *count != usize::from(report.partitions) => report.faults.push(format!(
                    "topic `{}` has {count} partitions and `{}` has {}; all topics of the line have the same number; \
                     hint: raise the smaller with `kafka-topics.sh --alter --partitions N`, the jobs topics last; but \
                     make suppressions anew (`peakpost suppress export`, then `import`): they lie by their keys' hashes",
                    topic.name,
                    self.topics.homes(),
                    report.partitions
                )),
                Some(_) => {}
            }
        }
        let known = |name: &str| wanted.iter().any(|topic| topic.name == name);
        let orphans = counts.keys().filter(|name| name.starts_with(&self.topics.hold_prefix()) && !known(name));
        report.orphans = orphans.cloned().collect();
        if embedded {
            report.left_out.push(
                "cleanup policy, retention and max.message.bytes (the embedded broker has no DescribeConfigs)"
                    .to_owned(),
            );
        } else if report.faults.is_empty() {
            verify_settings(&admin, &wanted, &mut report.faults).await?;
        }
        Ok(report)
    }
}

fn partition_counts(admin: &AdminClient<DefaultClientContext>) -> Result<BTreeMap<String, usize>, String> {
    let metadata = admin.inner().fetch_metadata(None, WAIT).map_err(|e| {
        format!("the brokers do not answer: {e}; hint: check `kafka.brokers`, the network and the TLS settings")
    })?;
    let found = metadata.topics().iter().filter(|t| t.error().is_none());
    Ok(found.map(|t| (t.name().to_owned(), t.partitions().len())).collect())
}

async fn verify_settings(
    admin: &AdminClient<DefaultClientContext>,
    wanted: &[Wanted],
    faults: &mut Vec<String>,
) -> Result<(), String> {
    let resources: Vec<ResourceSpecifier<'_>> = wanted.iter().map(|w| ResourceSpecifier::Topic(&w.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(WAIT));
    let described = admin.describe_configs(&resources, &options).await.map_err(|e| format!("describe topics: {e}"))?;
    for (wanted, described) in wanted.iter().zip(described) {
        let name = &wanted.name;
        let config = described.map_err(|code| format!("describe topic `{name}`: {code}"))?;
        let setting = |key: &str| config.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let mut fault = |key: &str, value: &str, should: String| {
            // A comma stands between settings unless it stands in brackets.
            let quoted = if should.contains(',') { format!("'{key}=[{should}]'") } else { format!("{key}={should}") };
            faults.push(format!(
                "topic `{name}` has {key}={value}, must be {should}; hint: \
                 `kafka-configs.sh --alter --topic {name} --add-config {quoted}`"
            ));
        };
        let policy = setting("cleanup.policy");
        if !wanted.cleanup.holds(&policy) {
            fault("cleanup.policy", &policy, wanted.cleanup.policy().to_owned());
        }
        let bytes = setting("max.message.bytes");
        if bytes.parse::<i64>().is_ok_and(|b| b < MESSAGE_BYTES_MIN) {
            fault("max.message.bytes", &bytes, MESSAGE_BYTES_MIN.to_string());
        }
        let kept = setting("retention.ms");
        if !wanted.keep.holds(&kept) {
            fault("retention.ms", &kept, wanted.keep.setting().unwrap_or_default());
        }
    }
    Ok(())
}
