//! `peakpost dead list`: how many, since when, grouped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::process::ExitCode;

use indicatif::HumanCount;

use super::{By, Filters, Format, Stop, bar, columns, plain};
use crate::app::dead::Desk;
use crate::job::{Channel, Wall};
use crate::outcome::letter::Letter;
use crate::outcome::selection::Span;

pub(super) const EXAMPLES: &str = "\
Examples:
  peakpost dead list --since 2h                        what died in the last two hours, by reason
  peakpost dead list --by campaign --reason timeout    whose mail a slow vendor cost
  peakpost dead list --format json                     for a program";

/// Groups kept apart; what comes after them is counted together, so that memory stays small.
const GROUPS_MAX: usize = 10_000;
/// Stands for the groups beyond.
const OTHERS: &str = "(others)";
/// Stands for what a letter does not say.
const NONE: &str = "(none)";

/// The letters of one group.
#[derive(Clone, Debug)]
struct Group {
    letters: u64,
    oldest: Wall,
    newest: Wall,
    /// Where the newest lies.
    place: String,
}

impl Group {
    fn new(letter: &Letter<'_>) -> Self {
        let at = letter.at();
        Self { letters: 1, oldest: at, newest: at, place: format!("{}/{}", letter.partition, letter.offset) }
    }

    fn add(&mut self, other: Self) {
        self.letters += other.letters;
        self.oldest = self.oldest.min(other.oldest);
        if other.newest >= self.newest {
            (self.newest, self.place) = (other.newest, other.place);
        }
    }
}

type Groups = BTreeMap<String, Group>;

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn list(desk: &Desk, filters: &Filters, by: By, format: Format) -> Result<ExitCode, Stop> {
    let selection = filters.selection(desk.now())?;
    let spans = desk.spans(&selection)?;
    let offsets = spans.iter().map(Span::left).sum();
    let bar = bar(offsets, "reading")?;
    let (mut groups, mut read) = (Groups::new(), 0_u64);
    let each = |letter: &Letter<'_>| {
        read += 1;
        if selection.takes(letter) {
            put(&mut groups, name(by, letter), Group::new(letter));
        }
    };
    desk.scan(spans, each, |left| bar.set_position(offsets.saturating_sub(left)))?;
    bar.finish_and_clear();
    if format == Format::Json {
        println!("{}", json(&desk.topic(), by, &groups));
        return Ok(ExitCode::SUCCESS);
    }
    if groups.is_empty() {
        let filter = selection.to_string();
        let of = if filter.is_empty() { String::new() } else { format!(" match {}", plain(&filter)) };
        println!("0 of {} letters in {}{of}", HumanCount(read), desk.topic());
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", table(by, &groups));
    Ok(ExitCode::SUCCESS)
}

fn name(by: By, letter: &Letter<'_>) -> String {
    let said = |name| letter.said(name).map(str::to_owned);
    let name = match by {
        By::Reason => said("reason"),
        By::Tenant => said("tenant"),
        By::Campaign => letter.campaign().map(Cow::into_owned),
        By::Provider => said("provider"),
        By::Channel => letter.channel().map(|channel: Channel| channel.as_str().to_owned()),
    };
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| NONE.to_owned())
}

fn put(groups: &mut Groups, name: String, group: Group) {
    let full = groups.len() >= GROUPS_MAX && !groups.contains_key(&name);
    match groups.entry(if full { OTHERS.to_owned() } else { name }) {
        Entry::Occupied(mut there) => there.get_mut().add(group),
        Entry::Vacant(free) => {
            free.insert(group);
        }
    }
}

fn word(by: By) -> &'static str {
    match by {
        By::Reason => "reason",
        By::Tenant => "tenant",
        By::Campaign => "campaign",
        By::Provider => "provider",
        By::Channel => "channel",
    }
}

/// The largest group first.
fn ranked(groups: &Groups) -> Vec<(&String, &Group)> {
    let mut ranked: Vec<_> = groups.iter().collect();
    ranked.sort_by(|a, b| b.1.letters.cmp(&a.1.letters).then(a.0.cmp(b.0)));
    ranked
}

fn table(by: By, groups: &Groups) -> String {
    let ranked = ranked(groups);
    let row = |name: &str, group: &Group| {
        let times = [group.oldest.to_string(), group.newest.to_string()];
        let [oldest, newest] = times;
        vec![plain(name), HumanCount(group.letters).to_string(), oldest, newest, group.place.clone()]
    };
    let mut rows = vec![[word(by), "letters", "oldest", "newest", "the newest lies at"].map(str::to_owned).to_vec()];
    rows.extend(ranked.iter().map(|(name, group)| row(name, group)));
    let mut all = ranked[0].1.clone();
    ranked[1..].iter().for_each(|(_, group)| all.add((*group).clone()));
    if ranked.len() > 1 {
        rows.push(row("all", &all));
    }
    let (first, largest) = ranked[0];
    let chosen = if first.starts_with('(') { String::new() } else { format!(" --{} {}", word(by), quoted(first)) };
    format!(
        "{}\nhint: `peakpost dead show {} --redacted` shows one of them;\n      \
         `peakpost dead redrive{chosen} --dry-run` says what a redrive would do\n",
        columns(&rows, &[1]),
        largest.place
    )
}

/// A value as a shell takes it.
fn quoted(value: &str) -> String {
    let bare = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b));
    if bare { value.to_owned() } else { format!("'{}'", plain(value).replace('\'', r"'\''")) }
}

fn json(topic: &str, by: By, groups: &Groups) -> serde_json::Value {
    let group = |(name, group): (&String, &Group)| {
        serde_json::json!({
            word(by): if name == NONE { serde_json::Value::Null } else { name.as_str().into() },
            "letters": group.letters,
            "oldest": group.oldest.to_string(),
            "newest": group.newest.to_string(),
            "newest_at": group.place,
        })
    };
    let groups: Vec<serde_json::Value> = ranked(groups).into_iter().map(group).collect();
    let letters: u64 = groups.iter().filter_map(|group| group["letters"].as_u64()).sum();
    serde_json::json!({"topic": topic, "by": word(by), "letters": letters, "groups": groups})
}
