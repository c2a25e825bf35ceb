//! Lists of suppressions, in and out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use indicatif::HumanCount;

use super::{bar, csv};
use crate::app::Failure;
use crate::app::suppress::{Desk, Suppression, Wish};
use crate::cli::Stop;

/// Faulty lines shown before the rest is only counted.
const SHOWN: usize = 20;

/// What a file comes to.
#[derive(Default)]
struct Sum {
    wishes: u64,
    /// By channel, scope and reason.
    kinds: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    bad: u64,
    faults: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn import(desk: &Desk, file: &Path, dry_run: bool) -> Result<ExitCode, Stop> {
    let sum = check_all(desk, file)?;
    if sum.bad > 0 {
        let more =
            if sum.bad > SHOWN as u64 { format!("\n… and {} more", sum.bad - SHOWN as u64) } else { String::new() };
        let text = format!(
            "{} lines are no suppressions; nothing was written\n{}{more}\nhint: {}",
            sum.bad,
            sum.faults.join("\n"),
            csv::COLUMNS
        );
        return Err(Stop::new(65, text));
    }
    for ((channel, scope, reason), count) in &sum.kinds {
        println!("{} {channel}, {scope}, {reason}", HumanCount(*count));
    }
    if dry_run {
        println!("{} suppressions would be written to {}", HumanCount(sum.wishes), desk.topic());
        return Ok(ExitCode::SUCCESS);
    }
    let bar = bar(sum.wishes, "importing")?;
    let by = file.file_name().map_or_else(|| super::BY.into(), |name| name.to_string_lossy());
    let wishes = lines(file)?.filter_map(|line| match line.wish {
        Ok(Some(wish)) => Some(desk.suppression(&wish, &by).map(|suppression| (suppression, true))),
        Ok(None) => None,
        Err(fault) => {
            Some(Err(Failure::Broken(format!("line {} has changed since it was checked: {fault}", line.number))))
        }
    });
    let written = desk.write(wishes, |done| bar.set_position(done));
    bar.finish_and_clear();
    let written = written
        .map_err(Stop::from)
        .map_err(|stop| Stop::new(stop.code, format!("{}; run the same command again", stop.text)))?;
    println!("{} suppressions written to {}", HumanCount(written), desk.topic());
    Ok(ExitCode::SUCCESS)
}

/// Checks every line. A missing secret is said before an hour's work, not after it.
fn check_all(desk: &Desk, file: &Path) -> Result<Sum, Stop> {
    let size = file.metadata().map_or(0, |m| m.len());
    let bar = bar(size, "checking ")?;
    let mut sum = Sum::default();
    for Line { number, bytes, wish } in lines(file)? {
        bar.inc(bytes);
        match wish {
            Ok(None) => {}
            Ok(Some(wish)) => {
                if sum.wishes == 0 {
                    desk.suppression(&wish, super::BY)?;
                }
                sum.wishes += 1;
                *sum.kinds.entry((wish.channel.as_str(), wish.scope.as_str(), wish.reason.as_str())).or_default() += 1;
            }
            Err(fault) => {
                sum.bad += 1;
                if sum.faults.len() < SHOWN {
                    sum.faults.push(format!("line {number}: {fault}"));
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(sum)
}

/// One line of a file.
struct Line {
    number: u64,
    bytes: u64,
    wish: Result<Option<Wish>, String>,
}

fn lines(file: &Path) -> Result<impl Iterator<Item = Line>, Stop> {
    let opened = File::open(file).map_err(|e| Stop::new(65, format!("cannot read `{}`: {e}", file.display())))?;
    let lines = BufReader::with_capacity(1 << 20, opened).lines();
    Ok((1..).zip(lines).map(|(number, line)| {
        let bytes = line.as_ref().map_or(0, |line| line.len() as u64 + 1);
        let wish = match line {
            Ok(line) if number == 1 && csv::is_header(&line) => Ok(None),
            Ok(line) => csv::wish(&line),
            Err(e) => Err(format!("cannot be read: {e}")),
        };
        Line { number, bytes, wish }
    }))
}

#[expect(clippy::print_stderr, reason = "standard output is the list")]
pub(super) fn export(desk: &Desk, output: Option<&Path>) -> Result<ExitCode, Stop> {
    let cannot = |e: std::io::Error| Failure::Broken(format!("cannot write the list: {e}"));
    let mut out: Box<dyn Write> = match output {
        Some(path) => Box::new(File::create(path).map_err(cannot)?),
        None => Box::new(std::io::stdout().lock()),
    };
    let mut out = BufWriter::new(&mut out);
    let bar = bar(0, "exporting")?;
    writeln!(out, "hash,channel,tenant,scope,reason,by,at").map_err(cannot)?;
    let each = |s: &Suppression| {
        let tenant = s.tenant.as_deref().unwrap_or("*");
        let (hash, scope, reason, by) = (s.recipient.hex(), s.scope.as_str(), s.reason.as_str(), csv::quoted(&s.by));
        writeln!(out, "{hash},{},{tenant},{scope},{reason},{by},{}", s.channel, s.at).map_err(cannot)
    };
    let written = desk.every(each, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let written = written?;
    out.flush().map_err(cannot)?;
    eprintln!("{} suppressions", HumanCount(written));
    Ok(ExitCode::SUCCESS)
}
