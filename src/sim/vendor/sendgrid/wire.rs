//! A mail/send body, borrowed from the request's bytes. Field names as in the vendor's `OpenAPI` description
//! (`twilio/sendgrid-oai`, `tsg_mail_v3.yaml`); a field it does not have is refused.
//!
//! Why: a thousand personalizations are read in one pass and, as a rule, without one allocation for each.
//! Must not know: which values the vendor takes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A string, borrowed unless it holds escapes.
#[derive(Clone)]
pub(super) struct Str<'a>(pub(super) Cow<'a, str>);

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct StrVisitor<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for StrVisitor<'a> {
            type Value = Str<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, s: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(s)))
            }

            fn visit_str<E: Error>(self, s: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(s.to_owned())))
            }
        }

        d.deserialize_str(StrVisitor(PhantomData))
    }
}

/// The whole body. Fields with a leading underscore are known and not looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail<'a> {
    #[serde(borrow, default)]
    pub(super) personalizations: Vec<Personalization<'a>>,
    #[serde(borrow)]
    pub(super) from: Option<Address<'a>>,
    #[serde(borrow)]
    pub(super) reply_to: Option<Address<'a>>,
    #[serde(borrow, default)]
    pub(super) reply_to_list: Addresses<'a>,
    #[serde(borrow)]
    pub(super) subject: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) content: Vec<Part<'a>>,
    #[serde(borrow)]
    pub(super) template_id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Headers<'a>,
    #[serde(borrow, default)]
    pub(super) categories: Vec<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) custom_args: Args<'a>,
    #[serde(rename = "mail_settings")]
    pub(super) settings: Option<MailSettings>,
    pub(super) asm: Option<Asm>,
    #[serde(rename = "attachments")]
    _attachments: Option<IgnoredAny>,
    #[serde(rename = "send_at")]
    _send_at: Option<i64>,
    #[serde(rename = "batch_id")]
    _batch_id: Option<IgnoredAny>,
    #[serde(rename = "ip_pool_name")]
    _ip_pool_name: Option<IgnoredAny>,
    #[serde(rename = "tracking_settings")]
    _tracking_settings: Option<IgnoredAny>,
}

/// One message of the request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Personalization<'a> {
    #[serde(borrow, default)]
    pub(super) to: Addresses<'a>,
    #[serde(borrow, default)]
    pub(super) cc: Addresses<'a>,
    #[serde(borrow, default)]
    pub(super) bcc: Addresses<'a>,
    #[serde(borrow)]
    pub(super) from: Option<Address<'a>>,
    #[serde(borrow)]
    pub(super) subject: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Headers<'a>,
    #[serde(borrow, default)]
    pub(super) custom_args: Args<'a>,
    #[serde(rename = "substitutions")]
    _substitutions: Option<IgnoredAny>,
    #[serde(rename = "dynamic_template_data")]
    _dynamic_template_data: Option<IgnoredAny>,
    #[serde(rename = "send_at")]
    _send_at: Option<i64>,
}

/// A mailbox.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address<'a> {
    #[serde(borrow)]
    pub(super) email: Option<Str<'a>>,
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
}

/// One content block.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) value: Option<Str<'a>>,
}

/// The unsubscribe group.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asm {
    pub(super) group_id: Option<i64>,
    #[serde(default)]
    pub(super) groups_to_display: Vec<i64>,
}

/// Of the mail settings only the sandbox changes the answer.
#[derive(Deserialize)]
pub(super) struct MailSettings {
    pub(super) sandbox_mode: Option<Switch>,
}

/// A setting that is on or off.
#[derive(Deserialize)]
pub(super) struct Switch {
    #[serde(default)]
    pub(super) enable: bool,
}

/// A list of mailboxes whose first stands in place: almost every list has one entry.
#[derive(Default)]
pub(super) struct Addresses<'a> {
    first: Option<Address<'a>>,
    rest: Vec<Address<'a>>,
}

impl<'a> Addresses<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Address<'a>> {
        self.first.iter().chain(&self.rest)
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Addresses<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ListVisitor<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for ListVisitor<'a> {
            type Value = Addresses<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of mailboxes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Addresses { first: seq.next_element()?, rest: Vec::new() };
                while let Some(address) = seq.next_element()? {
                    list.rest.push(address);
                }
                Ok(list)
            }
        }

        d.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Members of an object of strings, seen one by one and not kept.
trait Collect<'a>: Default {
    fn see(&mut self, name: Str<'a>, value: Str<'a>);
}

struct StringsVisitor<T>(T);

impl<'de: 'a, 'a, T: Collect<'a>> Visitor<'de> for StringsVisitor<(T, PhantomData<&'a ()>)> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut all = self.0.0;
        while let Some((name, value)) = map.next_entry()? {
            all.see(name, value);
        }
        Ok(all)
    }
}

/// Extra headers: what is wrong with them, if anything.
#[derive(Default)]
pub(super) struct Headers<'a> {
    pub(super) reserved: Option<Str<'a>>,
    pub(super) broken: Option<Str<'a>>,
}

/// Headers that the vendor writes itself (`OpenAPI` description of `headers`).
const RESERVED: [&str; 12] = [
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
    "bcc",
];

impl<'a> Collect<'a> for Headers<'a> {
    fn see(&mut self, name: Str<'a>, value: Str<'a>) {
        if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            self.reserved = Some(name);
        } else if name.is_empty() || value.contains(['\r', '\n']) || !name.bytes().all(|b| b.is_ascii_graphic()) {
            self.broken = Some(name);
        }
    }
}

/// Custom arguments: their size as JSON, and the two that say whose message this is.
#[derive(Default)]
pub(super) struct Args<'a> {
    pub(super) bytes: usize,
    pub(super) tenant: Option<Str<'a>>,
    pub(super) id: Option<Str<'a>>,
}

impl<'a> Collect<'a> for Args<'a> {
    fn see(&mut self, name: Str<'a>, value: Str<'a>) {
        // `"name":"value",`
        self.bytes += name.len() + value.len() + 6;
        match &*name {
            "peakpost_tenant" => self.tenant = Some(value),
            "peakpost_id" => self.id = Some(value),
            _ => {}
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(StringsVisitor((Self::default(), PhantomData)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Args<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(StringsVisitor((Self::default(), PhantomData)))
    }
}
