//! What is written by hand is byte for byte what `serde_json` would write.
//!
//! Why: whoever reads our records and requests has read `serde_json`'s JSON before, and signatures are over bytes; and a
//! quote that is not escaped ends a text early, which is how a job would speak in the line's name.

use peakpost::job::json::Json;
use peakpost::job::trip::Place;
use peakpost::outcome::record::Record;
use proptest::prelude::*;

fn text(text: &str) -> String {
    let mut out = Vec::new();
    Json(&mut out).text(text);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Any text; controls, quotes and backslashes are common in it.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\x00-\\x23\\\\\\x7f-\\xa0a\u{2028}é]{0,40}", "[ -~]{0,40}"]
}

#[test]
fn every_byte_is_escaped_wherever_it_stands() {
    for length in 0..20 {
        for at in 0..length {
            for byte in 0..0x80_u8 {
                let mut odd = "x".repeat(length);
                odd.replace_range(at..=at, &char::from(byte).to_string());
                let expected = serde_json::to_string(&odd).expect("a text");
                assert_eq!(text(&odd), expected, "byte {byte:#04x} at {at} of {length}; mend job/json.rs");
            }
        }
    }
}

#[test]
fn numbers_are_whole_to_their_ends() {
    let mut out = Vec::new();
    Json(&mut out).number(i64::MIN).raw(",").number(0_u8).raw(",").number(u64::MAX);
    assert_eq!(String::from_utf8_lossy(&out), format!("{},0,{}", i64::MIN, u64::MAX), "mend Json::number");
}

/// An outcome as it was written when `serde_json` wrote it: members in this order, the empty ones left out.
#[derive(serde::Serialize)]
struct Plain<'a> {
    v: u8,
    outcome: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tenant: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    campaign: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    channel: &'a str,
    lane: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    provider: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    vendor_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    happened: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'a str,
    attempts: u16,
    at_ms: i64,
    enqueued_ms: i64,
    origin: &'a Place<'a>,
    source: &'a Place<'a>,
    hop: u16,
    generation: u16,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
}

fn plain<'a>(record: &'a Record<'a>) -> Plain<'a> {
    Plain {
        v: record.v,
        outcome: &record.outcome,
        reason: &record.reason,
        field: &record.field,
        detail: &record.detail,
        id: &record.id,
        tenant: &record.tenant,
        campaign: &record.campaign,
        channel: &record.channel,
        lane: &record.lane,
        provider: &record.provider,
        vendor_id: &record.vendor_id,
        happened: &record.happened,
        event: &record.event,
        attempts: record.attempts,
        at_ms: record.at_ms,
        enqueued_ms: record.enqueued_ms,
        origin: &record.origin,
        source: &record.source,
        hop: record.hop,
        generation: record.generation,
        late: record.late,
    }
}

fn place() -> impl Strategy<Value = Place<'static>> {
    (any_text(), any::<u16>(), any::<i64>()).prop_map(|(topic, partition, offset)| Place {
        topic: topic.into(),
        partition,
        offset,
    })
}

fn record() -> impl Strategy<Value = Record<'static>> {
    let texts = prop::array::uniform13(prop_oneof![Just(String::new()), any_text()]);
    let numbers = (any::<[u16; 3]>(), any::<[i64; 2]>(), any::<u8>());
    (texts, numbers, place(), prop::option::of(place()), any::<bool>()).prop_map(
        |(texts, ([attempts, hop, generation], [at_ms, enqueued_ms], v), origin, source, late)| {
            let [
                outcome,
                reason,
                field,
                detail,
                id,
                tenant,
                campaign,
                channel,
                lane,
                provider,
                vendor_id,
                happened,
                event,
            ] = texts.map(Into::into);
            Record {
                v,
                outcome,
                reason,
                field,
                detail,
                id,
                tenant,
                campaign,
                channel,
                lane,
                provider,
                vendor_id,
                happened,
                event,
                attempts,
                at_ms,
                enqueued_ms,
                source: source.unwrap_or_else(|| origin.clone()),
                origin,
                hop,
                generation,
                late,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_text_is_written_as_serde_json_writes_it(a in any_text(), b in any_text()) {
        prop_assert_eq!(text(&a), serde_json::to_string(&a).expect("a text"), "mend Json::text");
        let mut out = Vec::new();
        Json(&mut out).raw("\"").within(&a).within(&b).raw("\"");
        let whole = serde_json::to_vec(&format!("{a}{b}")).expect("a text");
        prop_assert_eq!(out, whole, "a text in parts is the same text; mend Json::within");
    }

    #[test]
    fn an_outcome_is_written_as_serde_json_writes_it(record in record()) {
        let mut out = b"kept".to_vec();
        record.write(&mut out);
        let expected = serde_json::to_string(&plain(&record)).expect("a record");
        prop_assert_eq!(String::from_utf8_lossy(&out), format!("kept{expected}"), "mend Record::write");
    }
}
