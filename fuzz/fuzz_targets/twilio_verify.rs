//! Anything as a Twilio callback: nothing is taken.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    peakpost_fuzz::forged(&peakpost_fuzz::TWILIO, &["x-twilio-signature"], data);
});
