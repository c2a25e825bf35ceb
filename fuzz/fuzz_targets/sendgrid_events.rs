//! Anything as the body of a signed SendGrid event post: read within bounds.
#![no_main]

use peakpost_fuzz::{SENDGRID, TIME, genuine, sendgrid};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let time = ("x-twilio-email-event-webhook-timestamp", TIME);
    let signature = sendgrid(body);
    genuine(&SENDGRID, None, &[time, ("x-twilio-email-event-webhook-signature", &signature)], body);
});
