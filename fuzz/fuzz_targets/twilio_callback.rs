//! Anything as the query and the parameters of a signed Twilio callback: at most one event.
#![no_main]

use std::collections::BTreeSet;

use peakpost_fuzz::{TWILIO, genuine, twilio};

libfuzzer_sys::fuzz_target!(|data: (Option<String>, Vec<(String, String)>)| {
    let (query, mut pairs) = data;
    pairs.truncate(256);
    let once: BTreeSet<&(String, String)> = pairs.iter().collect();
    let words: String = once.iter().flat_map(|(name, value)| [name.as_str(), value]).collect();
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
    let signature = twilio(query.as_deref(), &words);
    let heard = genuine(&TWILIO, query.as_deref(), &[("x-twilio-signature", &signature)], form.as_bytes());
    assert!(heard.len() <= 1);
});
