//! `peakpost dead list | show | redrive`: what could not be sent, looked at and given another try.
//!
//! Why: whoever is woken by dead letters wants to know how many and why, see one, and send them again, in this order.
//! Must not know: how letters are read, judged and sent (`app::dead`).

mod list;
mod note;
mod redrive;
mod show;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::{ConfigFile, Stop, load};
use crate::app::dead::Desk;
use crate::job::{Channel, Wall, field};
use crate::outcome::selection::{Selection, moment};

#[derive(Debug, Subcommand)]
pub(super) enum DeadAction {
    /// Count dead letters by reason, tenant, campaign, provider or channel
    #[command(after_help = list::EXAMPLES)]
    List {
        #[command(flatten)]
        filters: Filters,
        /// What to group them by
        #[arg(long, value_enum, default_value_t = By::Reason, value_name = "WHAT")]
        by: By,
        /// For a person, or for a program
        #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
        format: Format,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show one dead letter whole: its headers and its payload. Recipients are in it
    #[command(after_help = show::EXAMPLES)]
    Show {
        /// Where it lies, as `dead list` says it
        #[arg(value_name = "PARTITION/OFFSET", value_parser = show::place, required_unless_present = "id", conflicts_with_all = ["id", "tenant"])]
        place: Option<show::Place>,
        /// The job's id; the newest of its letters is shown
        #[arg(long, value_name = "ID", requires = "tenant")]
        id: Option<String>,
        /// The job's tenant
        #[arg(long, value_name = "TENANT", requires = "id")]
        tenant: Option<String>,
        /// Leave out the payload and the values of upstream's headers
        #[arg(long)]
        redacted: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Send dead letters on their way again, at a pace of their own
    ///
    /// Each selected letter's job goes into the smallest delay tier of its home: its own bytes and headers, one
    /// generation up, its attempts counted anew. Every rule is applied again when it comes due; a job whose
    /// `expires_at` has passed expires. The letter itself stays in the dead topic.
    ///
    /// Progress is kept in a file: run the same command again to go on after an interruption or a --limit, and, once
    /// everything was looked at, to redrive what has died since. Keep the file: without it a redrive begins at the
    /// oldest letter, and what was redriven before is sent again unless the daemons still remember it (their duplicate
    /// window). Ctrl-C stops cleanly.
    #[command(after_help = redrive::EXAMPLES)]
    Redrive {
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// Which letters.
#[derive(Args, Debug)]
pub(super) struct Filters {
    /// Died of this reason; may be given more than once
    #[arg(long = "reason", value_name = "REASON")]
    reasons: Vec<String>,
    /// Of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Of this campaign
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// This provider had the last word
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Of this channel: email, sms, push or webhook
    #[arg(long, value_name = "CHANNEL", value_parser = channel)]
    channel: Option<Channel>,
    /// Died at this time or later: how long ago as in `2h` and `1d12h`, or RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Died before this time, written the same way
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// With this job id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

/// How to redrive.
#[derive(Args, Debug)]
pub(super) struct How {
    /// At most so many: per second, or as in `30/m` per minute. Evenly spread
    #[arg(long, default_value = "100/s", value_name = "N/s", value_parser = redrive::rate)]
    rate: f64,
    /// Leave letters whose job was redriven so often already
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_generation: u16,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Redrive at most so many this time; the same command again goes on after them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Do not ask. Needed where there is no terminal
    #[arg(long)]
    yes: bool,
    /// Where progress is kept
    #[arg(long, default_value = "peakpost-redrive.progress", value_name = "FILE")]
    state: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum By {
    /// Why they died
    Reason,
    /// Whose they are
    Tenant,
    /// Which campaign's
    Campaign,
    /// Which provider had the last word
    Provider,
    /// Which channel's
    Channel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns
    Table,
    /// One JSON object
    Json,
}

pub(super) fn dead(action: DeadAction) -> Result<ExitCode, Stop> {
    match action {
        DeadAction::List { filters, by, format, config } => {
            let desk = Desk::new(&load(config.config.as_deref())?);
            list::list(&desk, &filters, by, format)
        }
        DeadAction::Show { place, id, tenant, redacted, config } => {
            let desk = Desk::new(&load(config.config.as_deref())?);
            let wanted = Selection { tenant, id, ..Selection::default() };
            show::show(&desk, place, &wanted, redacted)
        }
        DeadAction::Redrive { filters, how, config } => {
            let desk = Desk::new(&load(config.config.as_deref())?);
            redrive::redrive(&desk, &filters, &how)
        }
    }
}

fn channel(text: &str) -> Result<Channel, String> {
    let known = || Channel::ALL.map(Channel::as_str).join(", ");
    let found = Channel::ALL.into_iter().find(|channel| channel.as_str() == text);
    found.ok_or_else(|| format!("unknown channel; hint: {}", known()))
}

impl Filters {
    /// Which letters these mean at this moment.
    fn selection(&self, now: Wall) -> Result<Selection, Stop> {
        let time = |name: &str, text: &Option<String>| match text.as_deref() {
            Some(text) => moment(text, now).map(|at| Some(at.0)).map_err(|e| Stop::new(2, format!("--{name}: {e}"))),
            None => Ok(None),
        };
        let (since_ms, until_ms) = (time("since", &self.since)?, time("until", &self.until)?);
        if let (Some(since), Some(until)) = (since_ms, until_ms)
            && since >= until
        {
            let text = format!("--since {} is not before --until {}", Wall(since), Wall(until));
            return Err(Stop::new(2, text));
        }
        Ok(Selection {
            reasons: self.reasons.clone(),
            tenant: self.tenant.clone(),
            campaign: self.campaign.clone(),
            provider: self.provider.clone(),
            channel: self.channel,
            id: self.id.clone(),
            since_ms,
            until_ms,
        })
    }
}

/// A bar over offsets.
fn bar(length: u64, what: &'static str) -> Result<ProgressBar, Stop> {
    let style = ProgressStyle::with_template("{msg} {bar:32} {percent:>3}% {human_pos} of {human_len}, {eta} left");
    let bar = ProgressBar::new(length).with_message(what);
    bar.set_style(style.map_err(|e| Stop::new(1, e))?);
    Ok(bar)
}

/// Text by strangers as it can be shown on a terminal: what would steer it is spelt out.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        // Writing into a String cannot fail.
        let _written = match field::is_unsafe(c) {
            true => write!(out, "\\u{{{:04x}}}", c as u32),
            false => write!(out, "{c}"),
        };
        out
    })
}

/// Columns, the first to the left, those named `right` to the right, each as wide as its widest cell.
fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cell = |(n, text): (usize, &String)| match right.contains(&n) {
            true => format!("{text:>width$}", width = widths[n]),
            false => format!("{text:<width$}", width = widths[n]),
        };
        let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
