//! Anything as a post to the generic endpoint: nothing is taken.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    peakpost_fuzz::forged(&peakpost_fuzz::SIGNED, &names, data);
});
