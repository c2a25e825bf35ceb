//! Whose mailbox an address is: the mailbox provider by the address's domain.
//!
//! Why: complaints are judged by whoever keeps the mailbox, so they are counted by it; a closed set of names, from the
//! configuration, because a domain is written by strangers.
//! Must not know: who counts.

use std::collections::HashMap;

use crate::job::{Channel, field};

/// The name of every mailbox provider that has none.
pub const OTHER: &str = "other";
/// Most names: each is a label of metrics and a part of every stream.
const NAMES_MAX: usize = 32;

/// Mailbox providers by their domains.
#[derive(Clone, Debug, Default)]
pub struct Mailboxes {
    by_domain: HashMap<Box<str>, Box<str>>,
}

impl Mailboxes {
    /// From names and their domains.
    ///
    /// # Errors
    /// A name that cannot be one, or a domain that has two.
    pub fn new<'a>(table: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Result<Self, String> {
        let mut by_domain: HashMap<Box<str>, Box<str>> = HashMap::new();
        let mut names = 0;
        for (name, domains) in table {
            names += 1;
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
            if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) || name == OTHER {
                return Err(format!(
                    "mailboxes: \"{name}\" cannot be a name; hint: a-z, 0-9, `-`, `_`, at most 32, not \"{OTHER}\""
                ));
            }
            for domain in domains {
                let domain = domain.to_lowercase();
                if domain.is_empty() || domain.contains('@') {
                    return Err(format!("mailboxes.{name}: \"{domain}\" is no domain; hint: \"gmail.com\""));
                }
                if let Some(first) = by_domain.insert(domain.clone().into(), name.into()) {
                    return Err(format!("mailboxes: \"{domain}\" belongs to {first} and to {name}"));
                }
            }
        }
        match names {
            0..=NAMES_MAX => Ok(Self { by_domain }),
            _ => Err(format!("mailboxes: {names} names, at most {NAMES_MAX}")),
        }
    }

    /// The mailbox provider of a mail's recipient; empty for other channels.
    #[must_use]
    pub fn of(&self, channel: Channel, to: &str) -> &str {
        if channel != Channel::Email {
            return "";
        }
        let domain = field::address(to.trim()).rsplit_once('@').map_or("", |(_, domain)| domain);
        self.by_domain.get(&*domain.to_lowercase()).map_or(OTHER, |name| name)
    }
}
