//! How far a redrive has come, kept in a file.
//!
//! Why: a redrive that was interrupted goes on where it stopped, over the letters that were there when it began; but
//! only the same letters to the same place are the same redrive, and going on with others would leave some out
//! without a word.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::Stop;
use crate::outcome::selection::{Selection, Span};

/// The version written into every note.
const VERSION: u8 = 1;

/// What is redriven to where: a note about anything else is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    pub(super) brokers: String,
    pub(super) from: String,
    pub(super) to: String,
    /// Without its times: `2h` is another time at every start.
    pub(super) selection: Selection,
    /// The times as they were typed.
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) max_generation: u16,
}

/// A redrive's round: the letters that were there when it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Round {
    v: u8,
    about: About,
    /// What `since` and `until` meant when it began.
    pub(super) since_ms: Option<i64>,
    pub(super) until_ms: Option<i64>,
    pub(super) partitions: Vec<Span>,
}

impl Round {
    pub(super) fn new(about: About, selection: &Selection, partitions: Vec<Span>) -> Self {
        Self { v: VERSION, about, since_ms: selection.since_ms, until_ms: selection.until_ms, partitions }
    }

    /// Whether all of its letters were looked at.
    pub(super) fn is_over(&self) -> bool {
        self.partitions.iter().all(|span| span.left() == 0)
    }
}

/// The note's file.
pub(super) struct Note(PathBuf);

impl Note {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> std::path::Display<'_> {
        self.0.display()
    }

    /// The round that was begun, if one was.
    pub(super) fn read(&self, about: &About) -> Result<Option<Round>, Stop> {
        let text = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Stop::new(1, format!("cannot read `{}`: {e}", self.path()))),
        };
        let hint = "hint: use another --state, or remove the file to begin at the oldest letter";
        let round: Round = serde_json::from_str(&text).map_err(|e| {
            Stop::new(65, format!("`{}` is no progress of a redrive ({e}); nothing was redriven\n{hint}", self.path()))
        })?;
        if round.v == VERSION && round.about == *about {
            return Ok(Some(round));
        }
        let was = &round.about;
        let times = [("since", &was.since), ("until", &was.until)];
        let times = times.iter().filter_map(|(name, text)| Some(format!(" --{name} {}", text.as_deref()?)));
        let text = format!(
            "`{}` is about another redrive (of {} on {} to {}: {}{} --max-generation {}); nothing was redriven\n{hint}",
            self.path(),
            was.from,
            was.brokers,
            was.to,
            was.selection,
            times.collect::<String>(),
            was.max_generation,
        );
        Err(Stop::new(65, text))
    }

    /// Notes progress. Written beside and renamed: a kill in between leaves the old note, never half of one.
    pub(super) fn write(&self, round: &Round) -> Result<(), String> {
        let mut new = self.0.clone().into_os_string();
        new.push(".new");
        let new = PathBuf::from(new);
        let mut text = serde_json::to_vec_pretty(round).map_err(|e| e.to_string())?;
        text.push(b'\n');
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &self.0))
            .map_err(|e| format!("cannot write `{}`: {e}", self.path()))
    }
}
