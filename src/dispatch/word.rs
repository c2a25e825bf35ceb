//! What a reply means for everyone who wants to send through a provider.
//!
//! Why: one job's verdict is its own; that a provider is in trouble, or too slow for us, is everybody's. Said in the
//! gate's words, once, where the reply is read.
//! Must not know: what the gate makes of it.

use super::line;
use crate::gate::Word;
use crate::job::Job;
use crate::outcome::{Code, Scope, Verdict};

/// The word for a verdict about these jobs. `alone`: each of them names its own endpoint, which speaks for nobody
/// else.
pub(super) fn of(verdict: &Verdict, jobs: &[Job], alone: bool) -> Word {
    match verdict {
        Verdict::Throttled { wait, scope: Scope::Provider, .. } => Word::Throttled { wait: *wait, sender: None },
        Verdict::Throttled { wait, scope: Scope::Sender, .. } => {
            // Who throttles senders takes one job at a time.
            let sender = jobs.first().map(|job| line::sender(job).into());
            Word::Throttled { wait: *wait, sender }
        }
        Verdict::Throttled { scope: Scope::Recipient, .. } => Word::Nothing,
        _ if alone => Word::Nothing,
        Verdict::Accepted { .. } | Verdict::Refused(_) => Word::Well,
        Verdict::Ambiguous(said) if said.code == Code::Panicked => Word::Nothing,
        Verdict::ProviderDown(said) if said.code != Code::Connection => Word::Down(said.code),
        Verdict::Ambiguous(_) | Verdict::FailedBeforeWrite(_) | Verdict::ProviderDown(_) => Word::Failed,
    }
}
