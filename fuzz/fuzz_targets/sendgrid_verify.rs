//! Anything as a SendGrid event post: nothing is taken.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let names = ["x-twilio-email-event-webhook-timestamp", "x-twilio-email-event-webhook-signature"];
    peakpost_fuzz::forged(&peakpost_fuzz::SENDGRID, &names, data);
});
