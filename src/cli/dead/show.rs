//! `peakpost dead show`: one letter whole.

use std::process::ExitCode;

use super::{Stop, bar, columns, plain};
use crate::app::dead::Desk;
use crate::job::trip::OURS;
use crate::job::{Home, Wall};
use crate::outcome::letter::Letter;
use crate::outcome::selection::{Selection, Span};

pub(super) const EXAMPLES: &str = "\
Examples:
  peakpost dead show 3/1204 --redacted                      without whom it was for
  peakpost dead show --id order-1842 --tenant shop-eu       the newest letter of a job";

/// Other letters of the same job that are named.
const OTHERS: usize = 5;

/// Where a letter lies.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Place {
    partition: Home,
    offset: i64,
}

pub(super) fn place(text: &str) -> Result<Place, String> {
    let read = || {
        let (partition, offset) = text.split_once('/')?;
        let place = Place { partition: partition.parse().ok()?, offset: offset.parse().ok()? };
        (place.offset >= 0).then_some(place)
    };
    read()
        .ok_or_else(|| "not a place; hint: PARTITION/OFFSET as in `3/1204`; `peakpost dead list` names some".to_owned())
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn show(desk: &Desk, place: Option<Place>, wanted: &Selection, redacted: bool) -> Result<ExitCode, Stop> {
    let text = match place {
        Some(place) => at(desk, place, redacted)?,
        None => newest(desk, wanted, redacted)?,
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// The letter at a place.
fn at(desk: &Desk, place: Place, redacted: bool) -> Result<String, Stop> {
    let Place { partition, offset } = place;
    let whole = desk.whole()?;
    let Some(span) = whole.iter().find(|span| span.partition == partition) else {
        return Err(Stop::new(1, format!("{} has partitions 0 to {}", desk.topic(), whole.len().saturating_sub(1))));
    };
    if !(span.next..span.end).contains(&offset) {
        let there = match span.left() {
            0 => "none".to_owned(),
            _ => format!("{partition}/{} to {partition}/{}", span.next, span.end - 1),
        };
        let text = format!("there is no letter at {partition}/{offset}; in this partition: {there}");
        return Err(Stop::new(1, text));
    }
    let mut shown = None;
    let one = vec![Span { partition, next: offset, end: offset + 1 }];
    desk.scan(one, |letter| shown = Some(describe(letter, redacted)), |_| {})?;
    shown.ok_or_else(|| Stop::new(1, format!("there is no letter at {partition}/{offset} any more")))
}

/// The newest letter of a job.
fn newest(desk: &Desk, wanted: &Selection, redacted: bool) -> Result<String, Stop> {
    let spans = desk.spans(wanted)?;
    let offsets = spans.iter().map(Span::left).sum();
    let bar = bar(offsets, "looking")?;
    let mut newest: Option<(Wall, String)> = None;
    let mut places = Vec::new();
    let mut found = 0_usize;
    let each = |letter: &Letter<'_>| {
        if !wanted.takes(letter) {
            return;
        }
        found += 1;
        if places.len() < OTHERS {
            places.push(format!("{}/{}", letter.partition, letter.offset));
        }
        if newest.as_ref().is_none_or(|(at, _)| *at <= letter.at()) {
            newest = Some((letter.at(), describe(letter, redacted)));
        }
    };
    desk.scan(spans, each, |left| bar.set_position(offsets.saturating_sub(left)))?;
    bar.finish_and_clear();
    let Some((_, text)) = newest else {
        let text = format!("no letter in {} matches {}", desk.topic(), plain(&wanted.to_string()));
        return Err(Stop::new(1, text));
    };
    let more = if found > places.len() { " and more" } else { "" };
    let note = if found > 1 {
        format!("\nthis job died {found} times, this is the newest letter; they lie at {}{more}\n", places.join(", "))
    } else {
        String::new()
    };
    Ok(text + &note)
}

/// One letter for a person.
fn describe(letter: &Letter<'_>, redacted: bool) -> String {
    let value = |key: &str, value: Option<&[u8]>| match value {
        None => "(null)".to_owned(),
        Some(value) if redacted && !key.starts_with(OURS) => format!("({} bytes)", value.len()),
        Some(value) => plain(&String::from_utf8_lossy(value)),
    };
    let own = |name: &str, text: String| vec![name.to_owned(), text];
    let mut rows = vec![
        own("header", "value".to_owned()),
        own("(place)", format!("{}/{}", letter.partition, letter.offset)),
        own("(key)", plain(&String::from_utf8_lossy(letter.key))),
        own("(died)", letter.at().to_string()),
    ];
    rows.extend(letter.headers.iter().map(|(key, text)| vec![plain(key), value(key, *text)]));
    let head = columns(&rows, &[]);
    let size = letter.bytes.len();
    if redacted {
        return format!("{head}\npayload: {size} bytes, left out\n");
    }
    let whole = letter.cut_from().map_or(String::new(), |from| format!(", the beginning of {} bytes", plain(from)));
    let text = String::from_utf8_lossy(letter.bytes);
    let odd =
        if std::str::from_utf8(letter.bytes).is_ok() { "" } else { "; not UTF-8, what cannot be shown is `\u{fffd}`" };
    // Line breaks are the payload's own and harmless.
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    format!(
        "{head}\nthe recipient is in what follows: mind where you paste it\npayload: {size} bytes{whole}{odd}\n{}\n",
        lines.join("\n")
    )
}
