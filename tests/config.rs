//! The configuration: defaults ◁ file ◁ environment, what is refused, and that secrets stay secret.
//!
//! Why: what does not fit together must be said at start, all of it at once, in words that name the key.
//! Must not know: what any room does with its part.

#[path = "config/feedback.rs"]
mod feedback;
#[path = "config/limits.rs"]
mod limits;
#[path = "config/relations.rs"]
mod relations;
#[path = "config/sources.rs"]
mod sources;

use peakpost::config::{Config, Faults};

/// Secret files that live as long as the test that uses them.
struct Secrets(tempfile::TempDir);

/// What is in every secret file, and must be seen nowhere else.
const CANARY: &str = "canary-c0ffee";
/// The same for the webhook secret, which has a form of its own.
const SIGNING: &str = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LTEyMzQ=";

impl Secrets {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), format!("{CANARY}\n")).unwrap();
        std::fs::write(dir.path().join("signing"), format!("{SIGNING}\n")).unwrap();
        std::fs::write(dir.path().join("empty"), "\n").unwrap();
        Self(dir)
    }

    /// A reference to one of the files.
    fn at(&self, name: &str) -> String {
        format!("file:{}", self.0.path().join(name).display())
    }

    /// Makes the references of a text readable: `env:WEBHOOK_SECRET` is the signing secret, any other `env:` and
    /// every `KEY`, `SIGNING`, `EMPTY` in capitals and quotes stand for their files.
    fn put(&self, text: &str) -> String {
        let mut out = text
            .replace("\"KEY\"", &format!("\"{}\"", self.at("key")))
            .replace("\"SIGNING\"", &format!("\"{}\"", self.at("signing")))
            .replace("\"EMPTY\"", &format!("\"{}\"", self.at("empty")))
            .replace("env:WEBHOOK_SECRET", &self.at("signing"));
        for name in ["SENDGRID_API_KEY", "TWILIO_AUTH_TOKEN", "KAFKA_PASSWORD"] {
            out = out.replace(&format!("env:{name}"), &self.at("key"));
        }
        out
    }

    fn load(&self, file: &str) -> Result<Config, Faults> {
        load(&self.put(file), &[])
    }
}

/// Reads a file's text and an environment, and nothing else.
fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, Faults> {
    Config::from_parts(file, env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())))
}

/// Fails unless `loaded` was refused with a fault that holds every part.
fn refused(loaded: Result<Config, Faults>, parts: &[&str], why: &str) {
    match loaded {
        Ok(_) => panic!("{why}: it was taken; expected a fault with {parts:?}"),
        Err(Faults(faults)) => {
            let named = faults.iter().any(|fault| parts.iter().all(|part| fault.contains(part)));
            assert!(named, "{why}: no fault holds {parts:?}, found:\n{}", faults.join("\n"));
        }
    }
}
