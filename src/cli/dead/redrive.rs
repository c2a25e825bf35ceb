//! `peakpost dead redrive`: says what it would do, asks, does it evenly, and can be interrupted.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use tokio::signal::unix::{SignalKind, signal};

use super::note::{About, Note, Round};
use super::{Filters, How, Stop, bar, plain};
use crate::app::dead::{Desk, Ended, Order, Progress};
use crate::cli::runtime;
use crate::job::Wall;
use crate::outcome::letter::{Left, Letter};
use crate::outcome::selection::{Selection, Span};

pub(super) const EXAMPLES: &str = "\
Examples:
  peakpost dead redrive --reason timeout --since 2h --dry-run     what it would do
  peakpost dead redrive --reason timeout --limit 10               a few first; it asks
  peakpost dead redrive --reason timeout                          the others
  peakpost dead redrive --tenant shop-eu --rate 20/s --yes        without asking, as in a script";

/// Reasons told apart; what comes after them is counted together.
const REASONS_MAX: usize = 40;

/// Reads a rate, per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err("hint: `100/s`, or `30/m` for thirty in a minute".to_owned()),
    };
    match number.replace('_', "").parse::<u32>() {
        Ok(n @ 1..=100_000) => Ok(f64::from(n) / seconds),
        _ => Err("hint: a whole number from 1 to 100000, as in `100/s`".to_owned()),
    }
}

/// What a redrive is about to do.
#[derive(Default)]
struct Preview {
    letters: u64,
    selected: u64,
    would: u64,
    /// Of these, jobs that may have been sent already.
    doubtful: u64,
    left: BTreeMap<Left, u64>,
    reasons: BTreeMap<String, u64>,
    times: Option<(Wall, Wall)>,
}

impl Preview {
    fn take(&mut self, desk: &Desk, order: &Order, letter: &Letter<'_>) {
        self.letters += 1;
        if !order.selection.takes(letter) {
            return;
        }
        self.selected += 1;
        let full = self.reasons.len() >= REASONS_MAX && !self.reasons.contains_key(letter.reason());
        *self.reasons.entry(if full { "others" } else { letter.reason() }.to_owned()).or_default() += 1;
        let (at, (oldest, newest)) = (letter.at(), self.times.unwrap_or((letter.at(), letter.at())));
        self.times = Some((oldest.min(at), newest.max(at)));
        match letter.revive(desk.terms(order.generation_max), desk.now()) {
            Ok(_) => {
                self.would += 1;
                self.doubtful += u64::from(letter.is_doubtful());
            }
            Err(why) => *self.left.entry(why).or_default() += 1,
        }
    }

    fn text(&self, desk: &Desk, order: &Order) -> String {
        let filter = order.selection.to_string();
        let filter = if filter.is_empty() { "all of them".to_owned() } else { plain(&filter) };
        let mut lines =
            vec![format!("{} of {} letters: {filter}", HumanCount(self.selected), HumanCount(self.letters))];
        if let Some((oldest, newest)) = self.times {
            let count = |(reason, count): (&String, &u64)| format!("{} {}", plain(reason), HumanCount(*count));
            let mut reasons: Vec<_> = self.reasons.iter().collect();
            reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let reasons: Vec<String> = reasons.into_iter().map(count).collect();
            lines.push(format!("  died of: {}", reasons.join(", ")));
            lines.push(format!("  died between {oldest} and {newest}"));
        }
        let would = self.would.min(order.limit);
        let takes = Duration::try_from_secs_f64(would as f64 / order.per_second).unwrap_or_default();
        let only = if self.would > would { format!(" (--limit) of {}", HumanCount(self.would)) } else { String::new() };
        lines.push(format!(
            "  {}{only} would be redriven to {}, in {} at this rate",
            HumanCount(would),
            desk.tiers(),
            HumanDuration(takes.max(Duration::from_secs(1)))
        ));
        lines.extend(self.left.iter().map(stays));
        if self.doubtful > 0 {
            lines.push(format!(
                "  {} may have been sent before they died (a time-out, a lost answer): they could arrive twice",
                HumanCount(self.doubtful)
            ));
        }
        lines.join("\n")
    }
}

fn letters(count: u64) -> String {
    format!("{} letter{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

fn stays((why, count): (&Left, &u64)) -> String {
    format!("  {} would stay: {}", HumanCount(*count), why.as_str())
}

/// What is to be done: the round, and whether it was begun before.
struct Plan {
    round: Round,
    order: Order,
    /// Words for a person about where it begins.
    begins: Option<String>,
}

fn plan(desk: &Desk, filters: &Filters, how: &How, note: &Note) -> Result<Plan, Stop> {
    let mut selection = filters.selection(desk.now())?;
    let about = About {
        brokers: desk.brokers().to_owned(),
        from: desk.topic(),
        to: desk.tiers(),
        selection: Selection { since_ms: None, until_ms: None, ..selection.clone() },
        since: filters.since.clone(),
        until: filters.until.clone(),
        max_generation: how.max_generation,
    };
    let before = note.read(&about)?;
    if let Some(round) = before.as_ref().filter(|round| !round.is_over()) {
        (selection.since_ms, selection.until_ms) = (round.since_ms, round.until_ms);
    }
    let (mut spans, mut begins) = (desk.spans(&selection)?, None);
    if let Some(round) = &before {
        begins = Some(go_on(round, &mut spans, note)?);
    }
    let limit = how.limit.unwrap_or(u64::MAX);
    let round = Round::new(about, &selection, spans);
    let order = Order { selection, generation_max: how.max_generation, per_second: how.rate, limit };
    Ok(Plan { round, order, begins })
}

/// Leaves out of `spans` what was done before; of a round that is not over, also what was written since it began.
fn go_on(round: &Round, spans: &mut [Span], note: &Note) -> Result<String, Stop> {
    let mut gone = 0;
    for span in spans {
        let Some(noted) = round.partitions.iter().find(|noted| noted.partition == span.partition) else {
            span.end = if round.is_over() { span.end } else { span.next };
            continue;
        };
        if noted.next > span.end {
            let text = format!(
                "`{}` has come further than the dead topic goes: it was made anew; hint: remove the file",
                note.path()
            );
            return Err(Stop::new(65, text));
        }
        // With a time to begin at, a later offset is no loss.
        gone += if round.since_ms.is_none() { (span.next.min(noted.end) - noted.next).max(0) } else { 0 };
        span.end = if round.is_over() { span.end } else { noted.end.max(span.next) };
        span.next = span.next.max(noted.next).min(span.end);
    }
    let begins = match round.is_over() {
        true => format!("`{}` has come to its end before; this is about the letters since", note.path()),
        false => format!("going on where `{}` stopped", note.path()),
    };
    Ok(match gone {
        0 => begins,
        _ => format!("{begins}; {gone} letters were deleted by retention before they were looked at"),
    })
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn redrive(desk: &Desk, filters: &Filters, how: &How) -> Result<ExitCode, Stop> {
    let may_ask = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !how.yes && !how.dry_run && !may_ask {
        return Err(Stop::new(2, "there is no terminal to ask at; hint: look with --dry-run, then say --yes"));
    }
    let note = Note::at(&how.state);
    let plan = plan(desk, filters, how, &note)?;
    if let Some(begins) = &plan.begins {
        println!("{begins}");
    }
    if how.dry_run || !how.yes {
        let preview = preview(desk, &plan)?;
        println!("{}", preview.text(desk, &plan.order));
        if how.dry_run {
            println!("nothing was redriven (--dry-run)");
            return Ok(ExitCode::SUCCESS);
        }
        if preview.would == 0 {
            println!("nothing to redrive");
            return Ok(ExitCode::SUCCESS);
        }
    }
    desk.check_tier()?;
    if !how.yes && !asked(&format!("Redrive to {}? [y/N] ", desk.tiers()))? {
        return Err(Stop::new(1, "nothing was redriven"));
    }
    carry_out(desk, plan, &note)
}

fn preview(desk: &Desk, plan: &Plan) -> Result<Preview, Stop> {
    let offsets = plan.round.partitions.iter().map(Span::left).sum();
    let bar = bar(offsets, "reading  ")?;
    let mut preview = Preview::default();
    let each = |letter: &Letter<'_>| preview.take(desk, &plan.order, letter);
    desk.scan(plan.round.partitions.clone(), each, |left| bar.set_position(offsets.saturating_sub(left)))?;
    bar.finish_and_clear();
    Ok(preview)
}

fn asked(question: &str) -> Result<bool, Stop> {
    let mut answer = String::new();
    let mut out = std::io::stdout();
    let asked = out.write_all(question.as_bytes()).and_then(|()| out.flush());
    asked
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|e| Stop::new(1, format!("cannot ask: {e}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn carry_out(desk: &Desk, plan: Plan, note: &Note) -> Result<ExitCode, Stop> {
    let Plan { mut round, order, .. } = plan;
    // Before the first is sent: what was there at the first start is fixed from now on.
    note.write(&round).map_err(|e| Stop::new(1, e))?;
    let offsets = round.partitions.iter().map(Span::left).sum();
    let bar = bar(offsets, "redriving")?;
    let runtime = runtime()?;
    let stop = Arc::new(AtomicUsize::new(0));
    listen(&runtime, &stop)?;
    let spans = round.partitions.clone();
    let mut redriven = 0;
    let tell = |progress: &Progress| {
        let left: u64 = progress.spans.iter().map(Span::left).sum();
        bar.set_position(offsets.saturating_sub(left));
        redriven = progress.redriven;
        if round.partitions == progress.spans {
            return Ok(());
        }
        round.partitions.clone_from(&progress.spans);
        note.write(&round)
    };
    let ended = desk.redrive(&order, spans, &stop, tell);
    bar.finish_and_clear();
    let again = format!("run the same command again to go on (progress is in `{}`)", note.path());
    let (ended, progress) = ended.map_err(|failure| {
        let Stop { code, text } = failure.into();
        Stop::new(code, format!("{text}\n{} redriven before that; {again}", letters(redriven)))
    })?;
    if ended == Ended::Stopped {
        return Err(Stop::new(1, format!("stopped after {}; {again}", letters(redriven))));
    }
    let wait = HumanDuration(desk.wait());
    println!("{} redriven to {}, due {wait} later", letters(progress.redriven), desk.tiers());
    for (why, count) in &progress.left {
        println!("{} left: {}", HumanCount(*count), why.as_str());
    }
    match ended {
        Ended::Limit => println!("the limit is reached; {again}"),
        _ => println!("to redrive what dies from now on, run the same command again; keep `{}` for that", note.path()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts the wishes to stop.
fn listen(runtime: &tokio::runtime::Runtime, stop: &Arc<AtomicUsize>) -> Result<(), Stop> {
    let _inside = runtime.enter();
    let fail = |e: std::io::Error| Stop::new(1, format!("cannot listen for signals: {e}"));
    let mut term = signal(SignalKind::terminate()).map_err(fail)?;
    let mut int = signal(SignalKind::interrupt()).map_err(fail)?;
    let stop = Arc::clone(stop);
    runtime.spawn(async move {
        loop {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            stop.fetch_add(1, Ordering::AcqRel);
        }
    });
    Ok(())
}
