//! `peakpost suppress add | remove | check | import | export`: who must not be written to.
//!
//! Why: somebody calls and wants to be left alone, or back; and lists come from the system before this one.
//! Must not know: how suppressions are kept (`app::suppress`).

mod csv;
mod files;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{ConfigFile, Stop, load};
use crate::app::suppress::{Desk, Scope, Suppression, Wish, tenant_of};
use crate::job::Channel;
use crate::outcome::Cause;

/// Who says what is said here.
const BY: &str = "cli";

#[derive(Debug, Subcommand)]
pub(super) enum SuppressAction {
    /// Never write to this recipient again
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        #[command(flatten)]
        whom: Whom,
        /// What must not be sent: all, or marketing
        #[arg(long, default_value = "all", value_name = "SCOPE")]
        scope: Scope,
        /// Why: `hard_bounce`, `complaint`, `unsubscribe`, `vendor`, `soft_bounces` or `manual`
        #[arg(long, default_value = "manual", value_name = "REASON")]
        reason: Cause,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Take it back: both scopes, or the one that is named. A vendor's own list is not changed
    Remove {
        #[command(flatten)]
        whom: Whom,
        /// Only this: all, or marketing
        #[arg(long, value_name = "SCOPE")]
        scope: Option<Scope>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say whether a recipient is suppressed, for whom, and why
    Check {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Suppress everybody in a CSV file: address,channel,tenant,scope,reason
    ///
    /// Every line is checked before the first is written. Running it again changes nothing, so after an interruption run
    /// the same command again. `channel` is email where it is empty; `tenant` everybody; `scope` all; `reason` manual. A
    /// first line with these names is passed over.
    Import {
        /// The file
        file: PathBuf,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Write every suppression as CSV: hash,channel,tenant,scope,reason,by,at
    ///
    /// Addresses are not known, only their keyed hashes.
    Export {
        /// Where to; standard output by default
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
}

const ADD_EXAMPLES: &str = "\
Examples:
  peakpost suppress add jane@example.com
  peakpost suppress add +14155550123 --channel sms --tenant shop-eu --scope marketing --reason unsubscribe";

/// Whom it is about.
#[derive(Args, Debug)]
pub(super) struct Whom {
    /// Mailbox, number, device token or URL
    #[arg(value_name = "ADDRESS")]
    to: String,
    /// How the messages travel: email, sms, push or webhook
    #[arg(long, default_value = "email", value_name = "CHANNEL", value_parser = channel)]
    channel: Channel,
    /// Only messages of this tenant; of everybody by default
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    tenant: Option<String>,
}

impl Whom {
    fn wish(self, scope: Scope, reason: Cause) -> Result<Wish, Stop> {
        let wish = Wish { to: self.to, channel: self.channel, tenant: self.tenant, scope, reason };
        wish.check().map_err(|fault| Stop::new(2, fault))?;
        Ok(wish)
    }
}

pub(super) fn suppress(action: SuppressAction) -> Result<ExitCode, Stop> {
    match action {
        SuppressAction::Add { whom, scope, reason, config } => {
            let desk = Desk::new(&load(config.config.as_deref())?);
            change(&desk, &[whom.wish(scope, reason)?], true)
        }
        SuppressAction::Remove { whom, scope, config } => {
            let desk = Desk::new(&load(config.config.as_deref())?);
            let wish = whom.wish(Scope::All, Cause::Manual)?;
            let scopes = scope.map_or(Scope::ALL.to_vec(), |scope| vec![scope]);
            let wishes: Vec<Wish> = scopes.into_iter().map(|scope| Wish { scope, ..wish.clone() }).collect();
            change(&desk, &wishes, false)
        }
        SuppressAction::Check { whom, config } => check(&Desk::new(&load(config.config.as_deref())?), whom),
        SuppressAction::Import { file, dry_run, config } => {
            files::import(&Desk::new(&load(config.config.as_deref())?), &file, dry_run)
        }
        SuppressAction::Export { output, config } => {
            files::export(&Desk::new(&load(config.config.as_deref())?), output.as_deref())
        }
    }
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn change(desk: &Desk, wishes: &[Wish], stands: bool) -> Result<ExitCode, Stop> {
    let all = wishes.iter().map(|wish| Ok((desk.suppression(wish, BY)?, stands)));
    desk.write(all, |_| {})?;
    match stands {
        true => println!("suppressed; every running instance knows within about a second"),
        false => println!("taken back; other scopes and tenants may still stand: `peakpost suppress check` says"),
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn check(desk: &Desk, whom: Whom) -> Result<ExitCode, Stop> {
    let tenant = whom.tenant.clone();
    let wish = whom.wish(Scope::All, Cause::Manual)?;
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} reading {msg} records").map_err(|e| Stop::new(1, e))?;
    bar.set_style(style);
    let found = desk.find(wish.channel, &wish.to, |left| {
        bar.set_message(HumanCount(left).to_string());
        bar.tick();
    });
    bar.finish_and_clear();
    let applies = |s: &&Suppression| tenant.is_none() || s.tenant.is_none() || s.tenant.as_deref() == tenant.as_deref();
    let found = found?;
    let found: Vec<&Suppression> = found.iter().filter(applies).collect();
    if found.is_empty() {
        println!("not suppressed");
    }
    for Suppression { tenant, scope, reason, by, at, .. } in found {
        let (tenant, scope, reason) = (tenant.as_deref().unwrap_or("everybody"), scope.as_str(), reason.as_str());
        println!("suppressed: {scope} of {tenant}, {reason}, by {by} at {at}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar over so many.
fn bar(length: u64, what: &'static str) -> Result<ProgressBar, Stop> {
    let style = ProgressStyle::with_template("{msg} {bar:32} {percent:>3}% {human_pos} of {human_len}, {eta} left");
    let bar = ProgressBar::new(length).with_message(what);
    bar.set_style(style.map_err(|e| Stop::new(1, e))?);
    Ok(bar)
}

fn channel(text: &str) -> Result<Channel, String> {
    let known = || Channel::ALL.map(Channel::as_str).join(", ");
    let found = Channel::ALL.into_iter().find(|channel| channel.as_str() == text);
    found.ok_or_else(|| format!("unknown channel; hint: {}", known()))
}

fn tenant(text: &str) -> Result<String, String> {
    tenant_of(text)?.map(str::to_owned).ok_or_else(|| "hint: leave it out for everybody".to_owned())
}
