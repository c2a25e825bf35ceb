//! Anything as the body of a signed post to the generic endpoint: read within bounds.
#![no_main]

use peakpost_fuzz::{SIGNED, TIME, genuine, signed};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let signature = signed(body);
    let headers = [("webhook-id", "m1"), ("webhook-timestamp", TIME), ("webhook-signature", signature.as_str())];
    genuine(&SIGNED, None, &headers, body);
});
