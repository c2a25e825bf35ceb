//! The names of the line's topics.
//!
//! Why: readers, writers and checks must agree on them to the letter.
//! Must not know: what the topics are for.

use super::Lane;
use super::source::{Layout, Source};

/// Topic names under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
    layout: Layout,
    /// By the sources' numbers.
    sources: Vec<String>,
}

impl Topics {
    /// Names under `prefix` (letters, digits, `.`, `_`, `-`), without tiers and holds.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self::with(prefix, &[], &[])
    }

    /// The same with delay tiers and providers, by their names in the configuration.
    #[must_use]
    pub fn with(prefix: &str, tiers: &[String], providers: &[String]) -> Self {
        let jobs = Lane::ALL.map(|lane| format!("{prefix}.jobs.{lane}"));
        let later = Lane::ALL.into_iter().flat_map(|lane| {
            let delay = tiers.iter().map(move |tier| format!("{prefix}.delay.{lane}.{tier}"));
            delay.chain(providers.iter().map(move |provider| format!("{prefix}.hold.{lane}.{provider}")))
        });
        let layout = Layout {
            tiers: u8::try_from(tiers.len()).unwrap_or(u8::MAX),
            holds: u16::try_from(providers.len()).unwrap_or(u16::MAX),
        };
        Self { prefix: prefix.to_owned(), layout, sources: jobs.into_iter().chain(later).collect() }
    }

    /// How many sources of each kind there are.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The empty topic whose partitions the group divides.
    #[must_use]
    pub fn homes(&self) -> String {
        format!("{}.homes", self.prefix)
    }

    /// The jobs of one lane.
    #[must_use]
    pub fn jobs(&self, lane: Lane) -> &str {
        self.source(Source::Jobs(lane))
    }

    /// The topic of a source.
    #[must_use]
    pub fn source(&self, source: Source) -> &str {
        &self.sources[self.layout.index(source)]
    }

    /// The source that a topic is.
    #[must_use]
    pub fn source_of(&self, topic: &str) -> Option<Source> {
        self.layout.all().zip(&self.sources).find(|(_, name)| *name == topic).map(|(source, _)| source)
    }

    /// The lane of a jobs topic.
    #[must_use]
    pub fn lane_of(&self, topic: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| self.jobs(*lane) == topic)
    }

    /// What the names of all holds begin with, of providers that are configured or no longer are.
    #[must_use]
    pub fn hold_prefix(&self) -> String {
        format!("{}.hold.", self.prefix)
    }

    /// The name of a provider, by its number.
    #[must_use]
    pub fn provider(&self, number: u16) -> &str {
        let lane = Lane::Transactional;
        let before = self.hold_prefix().len() + lane.as_str().len() + 1;
        &self.source(Source::Hold(lane, number))[before..]
    }

    /// The number of a provider, if it is configured.
    #[must_use]
    pub fn provider_of(&self, name: &str) -> Option<u16> {
        (0..self.layout.holds).find(|number| self.provider(*number) == name)
    }

    /// A topic's name without the prefix, for metrics: `delay.marketing.10s`.
    #[must_use]
    pub fn short<'t>(&self, topic: &'t str) -> &'t str {
        topic.strip_prefix(&self.prefix).map_or(topic, |rest| rest.trim_start_matches('.'))
    }

    /// What became of each job.
    #[must_use]
    pub fn outcomes(&self) -> String {
        format!("{}.outcomes", self.prefix)
    }

    /// What could not be sent.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// What of long limits has been spent.
    #[must_use]
    pub fn usage(&self) -> String {
        format!("{}.usage", self.prefix)
    }

    /// What instances tell each other.
    #[must_use]
    pub fn control(&self) -> String {
        format!("{}.control", self.prefix)
    }

    /// What vendors say of messages later.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// Partial counts of what was said, to be added up.
    #[must_use]
    pub fn reputation(&self) -> String {
        format!("{}.reputation", self.prefix)
    }

    /// Who must not be written to.
    #[must_use]
    pub fn suppressions(&self) -> String {
        format!("{}.suppressions", self.prefix)
    }

    /// Every topic of the line.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        let others = [
            self.homes(),
            self.outcomes(),
            self.dead(),
            self.usage(),
            self.control(),
            self.events(),
            self.reputation(),
            self.suppressions(),
        ];
        others.into_iter().chain(self.sources.iter().cloned()).collect()
    }
}
