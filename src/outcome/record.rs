//! The outcome record: what became of one job, as it stands in the outcomes topic.
//!
//! Why: upstream reads it, and a restart reads it too; it carries both the record that asked for the send
//! (origin) and the record whose obligation it settles (source). Read by serde, written by hand: one is written for
//! every message.
//! Must not know: how it is produced.

use std::borrow::Cow;

use serde::Deserialize;

use crate::job::json::Json;

/// The version written into every record.
pub const VERSION: u8 = 1;

pub use crate::job::trip::Place;

/// One outcome. Absent fields are left out, never `null`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record<'a> {
    /// Contract version: 1.
    pub v: u8,
    /// The word of its [`Kind`](super::Kind).
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    /// Why, from a closed list.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// The field at fault, for records that are no jobs.
    #[serde(borrow, default)]
    pub field: Cow<'a, str>,
    /// Words for a person.
    #[serde(borrow, default)]
    pub detail: Cow<'a, str>,
    /// The job's id; absent for records that are no jobs.
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    /// The job's tenant.
    #[serde(borrow, default)]
    pub tenant: Cow<'a, str>,
    /// The job's campaign.
    #[serde(borrow, default)]
    pub campaign: Cow<'a, str>,
    /// The job's channel.
    #[serde(borrow, default)]
    pub channel: Cow<'a, str>,
    /// The lane.
    #[serde(borrow)]
    pub lane: Cow<'a, str>,
    /// The provider that had the last word; absent when none was asked.
    #[serde(borrow, default)]
    pub provider: Cow<'a, str>,
    /// The vendor's id for the message or the request.
    #[serde(borrow, default)]
    pub vendor_id: Cow<'a, str>,
    /// What its vendor told of it: a word of the events' `happened`.
    #[serde(borrow, default)]
    pub happened: Cow<'a, str>,
    /// The event that told it.
    #[serde(borrow, default)]
    pub event: Cow<'a, str>,
    /// Requests made on the job's behalf.
    pub attempts: u16,
    /// When it was decided: milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// When the job was enqueued (broker timestamp), in the same unit.
    pub enqueued_ms: i64,
    /// The record that asked for the send.
    #[serde(borrow)]
    pub origin: Place<'a>,
    /// The record whose obligation this settles.
    #[serde(borrow)]
    pub source: Place<'a>,
    /// How often the job was deferred before.
    pub hop: u16,
    /// How often it was redriven.
    pub generation: u16,
    /// It came after the home had gone to another owner: that owner's outcome counts, this one only tells.
    #[serde(default)]
    pub late: bool,
}

impl Record<'_> {
    /// Writes it as one JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut json = Json(out);
        json.raw(r#"{"v":"#).number(self.v);
        json.raw(r#","outcome":"#).text(&self.outcome);
        json.raw(r#","reason":"#).text(&self.reason);
        if_any(&mut json, r#","field":"#, &self.field);
        if_any(&mut json, r#","detail":"#, &self.detail);
        if_any(&mut json, r#","id":"#, &self.id);
        if_any(&mut json, r#","tenant":"#, &self.tenant);
        if_any(&mut json, r#","campaign":"#, &self.campaign);
        if_any(&mut json, r#","channel":"#, &self.channel);
        json.raw(r#","lane":"#).text(&self.lane);
        if_any(&mut json, r#","provider":"#, &self.provider);
        if_any(&mut json, r#","vendor_id":"#, &self.vendor_id);
        if_any(&mut json, r#","happened":"#, &self.happened);
        if_any(&mut json, r#","event":"#, &self.event);
        json.raw(r#","attempts":"#).number(self.attempts);
        json.raw(r#","at_ms":"#).number(self.at_ms);
        json.raw(r#","enqueued_ms":"#).number(self.enqueued_ms);
        json.raw(r#","origin":"#);
        let origin = json.0.len();
        place(&mut json, &self.origin);
        let origin = origin..json.0.len();
        json.raw(r#","source":"#);
        // The same, but for what was deferred or redriven.
        match self.source == self.origin {
            true => json.0.extend_from_within(origin),
            false => place(&mut json, &self.source),
        }
        json.raw(r#","hop":"#).number(self.hop);
        json.raw(r#","generation":"#).number(self.generation);
        json.raw(if self.late { r#","late":true}"# } else { "}" });
    }
}

fn if_any(json: &mut Json<'_>, name: &str, text: &str) {
    if !text.is_empty() {
        json.raw(name).text(text);
    }
}

fn place(json: &mut Json<'_>, place: &Place<'_>) {
    json.raw(r#"{"topic":"#).text(&place.topic);
    json.raw(r#","partition":"#).number(place.partition);
    json.raw(r#","offset":"#).number(place.offset).raw("}");
}
