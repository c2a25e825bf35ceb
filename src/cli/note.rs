//! How far a file has been enqueued, kept beside it.
//!
//! Why: a run that was interrupted goes on where it stopped; but only the same content to the same place is the
//! same run, and going on with another would leave out jobs without a word.

use std::path::{Path, PathBuf};

use super::Stop;

/// The note of one file.
pub(super) struct Note {
    path: PathBuf,
    /// What is enqueued where: a note about anything else is not ours.
    run: String,
}

impl Note {
    /// The note beside `file`, about content of this SHA-256 going to `topic` on `brokers`.
    pub(super) fn beside(file: &Path, sha256: &str, topic: &str, brokers: &str) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".progress");
        Self { path: name.into(), run: format!("sha256 {sha256} to {topic} on {brokers}") }
    }

    pub(super) fn path(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// Lines that are acknowledged without a gap.
    pub(super) fn read(&self) -> Result<u64, Stop> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(Stop::new(1, format!("cannot read `{}`: {e}", self.path()))),
        };
        let (lines, run) = text.split_once('\n').unwrap_or((&text, ""));
        match lines.parse() {
            Ok(lines) if run.trim_end() == self.run => Ok(lines),
            _ => {
                let text = format!(
                    "`{}` is about another run ({}); nothing was enqueued\nhint: remove it to enqueue this file from its start",
                    self.path(),
                    run.trim_end()
                );
                Err(Stop::new(65, text))
            }
        }
    }

    /// Notes progress. Written beside and renamed: a kill in between leaves the old note, never half of one.
    pub(super) fn write(&self, lines: u64) -> Result<(), Stop> {
        let new = self.path.with_extension("progress.new");
        std::fs::write(&new, format!("{lines}\n{}\n", self.run))
            .and_then(|()| std::fs::rename(&new, &self.path))
            .map_err(|e| Stop::new(1, format!("cannot write `{}`: {e}", self.path())))
    }
}
