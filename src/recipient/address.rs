//! Who a recipient is, as a keyed hash of the normalised address.
//!
//! Why: suppressions and events outlive the message by years. Who reads the topic but has no key can neither list the
//! addresses nor test one; spellings of one mailbox are one recipient.
//! Must not know: where hashes are kept.

use ring::hmac;

use crate::job::{Channel, field};

/// The keyed hash of a normalised address: HMAC-SHA256 cut to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hashed(pub [u8; 16]);

impl Hashed {
    /// 32 hex digits in lower case.
    #[must_use]
    pub fn hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// Reads what [`Hashed::hex`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(|n| Self(n.to_be_bytes()))
    }
}

/// Turns addresses into hashes. Prints no key.
#[derive(Clone)]
pub struct Keyer(hmac::Key);

impl std::fmt::Debug for Keyer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyer(***)")
    }
}

impl Keyer {
    /// With a key of at least 16 bytes. Another key makes every suppression unknown.
    ///
    /// # Errors
    /// When the key is too short to protect anybody.
    pub fn new(key: &[u8]) -> Result<Self, String> {
        match key.len() {
            0..16 => Err("the recipients' key is shorter than 16 bytes".to_owned()),
            _ => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key))),
        }
    }

    /// The hash of a recipient. Mail: the bare address in lower case (the part before `@` is case-sensitive by RFC 5321, and
    /// by no mailbox provider of weight); everything else as it is, without spaces around it.
    #[must_use]
    pub fn hash(&self, channel: Channel, to: &str) -> Hashed {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(channel.as_str().as_bytes());
        context.update(b"\0");
        match channel {
            Channel::Email => context.update(field::address(to.trim()).to_lowercase().as_bytes()),
            Channel::Sms | Channel::Push | Channel::Webhook => context.update(to.trim().as_bytes()),
        }
        let tag = context.sign();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&tag.as_ref()[..16]);
        Hashed(bytes)
    }
}
