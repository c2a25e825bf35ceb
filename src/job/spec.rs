//! The fields of a job, borrowed from the record's bytes wherever JSON escapes allow it.
//!
//! Why: a rendered mail is tens of kilobytes; copying it field by field would double memory and time.
//! Must not know: how the fields are checked (`parse`, `field`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use super::{Channel, Wall};

/// A JSON string: borrowed from the record unless it held escapes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What upstream asked for, after every check of the contract.
#[derive(Debug)]
pub struct Spec<'a> {
    /// Idempotency key within the tenant, at most 128 bytes.
    pub id: Text<'a>,
    /// Whose message it is.
    pub tenant: Text<'a>,
    /// Upstream's name for the campaign, if any.
    pub campaign: Option<Text<'a>>,
    /// How it travels.
    pub channel: Channel,
    /// The recipient: mailbox, E.164 number, device token or URL, by channel.
    pub to: Text<'a>,
    /// The sender: mailbox for email; number, short code, sender id or service id for SMS.
    pub from: Option<Text<'a>>,
    /// Where answers go (email only).
    pub reply_to: Option<Text<'a>>,
    /// What is said.
    pub content: Content<'a>,
    /// The same as upstream wrote it: JSON.
    pub written: &'a str,
    /// How the recipient leaves (email only).
    pub unsubscribe: Option<Unsubscribe<'a>>,
    /// Jobs with the same key share a shard.
    pub ordering_key: Option<Text<'a>>,
    /// Not before this time.
    pub send_at: Option<Wall>,
    /// Worthless from this time on.
    pub expires_at: Option<Wall>,
    /// When and where the recipient agreed.
    pub consent: Option<Consent<'a>>,
    /// Further message headers (email, webhook).
    pub headers: Vec<(Text<'a>, Text<'a>)>,
}

/// What is said, by channel.
#[derive(Debug)]
pub enum Content<'a> {
    /// A rendered mail: at least one of text and html.
    Mail {
        /// The subject line.
        subject: Text<'a>,
        /// The plain-text part.
        text: Option<Text<'a>>,
        /// The HTML part.
        html: Option<Text<'a>>,
    },
    /// A mail that the vendor renders.
    Template {
        /// The vendor's template id.
        id: Text<'a>,
        /// What fills it: a JSON object.
        data: Option<&'a str>,
    },
    /// A text message.
    Sms {
        /// At most 1,600 characters.
        body: Text<'a>,
    },
    /// A push notification.
    Push {
        /// The headline.
        title: Text<'a>,
        /// The text below it.
        body: Text<'a>,
        /// What the app receives: a JSON object.
        data: Option<&'a str>,
    },
    /// Any JSON, delivered as it is.
    Webhook(&'a str),
}

/// How a recipient leaves a list (rendered as RFC 8058 one-click headers).
#[derive(Debug)]
pub struct Unsubscribe<'a> {
    /// The https address that takes the one-click POST.
    pub url: Text<'a>,
    /// The vendor's unsubscribe group, where it has such.
    pub group: Option<u32>,
}

/// The recipient's agreement.
#[derive(Debug)]
pub struct Consent<'a> {
    /// When it was given.
    pub at: Wall,
    /// Where: form, import, call.
    pub source: Text<'a>,
}
