//! A secret: read from the environment or a file, never printed.
//!
//! Why: a key in a configuration file ends up in a ticket; a key in a log ends up everywhere.
//! Must not know: what the secret opens.

use std::fmt;

/// A secret's value. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Reads `env:NAME` or `file:PATH` (trailing line breaks are cut).
    ///
    /// # Errors
    /// Says what is missing, never what was found.
    pub fn resolve(reference: &str) -> Result<Self, String> {
        let value = match reference.split_once(':') {
            Some(("env", name)) => std::env::var(name)
                .map_err(|_| format!("environment variable `{name}` is not set; hint: export it or use `file:PATH`"))?,
            Some(("file", path)) => std::fs::read_to_string(path)
                .map_err(|e| format!("cannot read the secret file `{path}`: {e}; hint: check its path and owner"))?,
            _ => return Err("a secret is written `env:NAME` or `file:PATH`, never as itself".to_owned()),
        };
        match value.trim_end_matches(['\r', '\n']) {
            "" => Err(format!("the secret behind `{reference}` is empty")),
            value => Ok(Self(value.into())),
        }
    }

    /// Wraps a value that is already in memory (tests, the demo).
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
