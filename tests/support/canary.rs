//! Canaries: secrets and recipients that may not be seen in anything a process writes or shows.
//!
//! Why: a leak is found by looking for what must not be there, in every form it could take on the way.
//! Must not know: who might have leaked it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use peakpost::sim::vendor::SimConfig;

/// A value of librdkafka's `sasl.password`.
pub const KAFKA_PASSWORD: &str = "kafka-canary/7+q Zr&4=vW";

/// The secret of recipients' hashes.
pub const RECIPIENT_KEY: &str = "recipient-canary/3+f&Hm2=sY";

/// Vendors whose credentials are canaries; every form of escaping would change them.
pub fn secrets() -> SimConfig {
    SimConfig {
        sendgrid_key: "SG.mail-canary/2+h.Lk9=wQ".to_owned(),
        twilio_password: "sms-canary/5+d&Xt8=pB".to_owned(),
        webhook_secret: "whsec_aG9vay1jYW5hcnktMWY4Yi1jODdlLTRkZDEtYTkzMA==".to_owned(),
        ..SimConfig::default()
    }
}

/// What every recipient of the generated load has in common: a part of all addresses, numbers and URLs.
const RECIPIENTS: [&str; 3] = ["@example.com", "+15550", "/hook/"];

/// Fails when a log or a metrics file in `dir` holds a canary, or tells of a panic. Returns the KiB read.
pub fn search(dir: &Path, vendors: &SimConfig) -> usize {
    let signing = vendors.webhook_secret.trim_start_matches("whsec_");
    let secrets =
        [&vendors.sendgrid_key, &vendors.twilio_password, signing, KAFKA_PASSWORD, RECIPIENT_KEY, "hook-canary-1f8b"];
    let needles: Vec<(&str, String)> = (secrets.into_iter().chain(RECIPIENTS))
        .flat_map(|canary| forms(canary).into_iter().map(move |form| (canary, form)))
        .collect();
    let mut read = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|ext| ext == "log" || ext == "metrics") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        read += bytes.len();
        let text = String::from_utf8_lossy(&bytes);
        let name = path.file_name().unwrap().to_string_lossy();
        for (canary, form) in &needles {
            if let Some(at) = text.find(form.as_str()) {
                let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
                let line = text[line..].lines().next().unwrap_or("");
                panic!("{name} shows `{canary}` as `{form}`; hint: hash it or leave it out: {line}");
            }
        }
        assert!(!text.contains("panicked at"), "{name} tells of a panic; hint: {}", around(&text, "panicked at"));
    }
    read / 1024
}

fn around(text: &str, word: &str) -> String {
    text.lines().skip_while(|line| !line.contains(word)).take(5).collect::<Vec<_>>().join("\n")
}

/// The forms in which a text could be written: as it is, escaped, percent-encoded, as hexadecimal digits and in
/// base64 at each of the three alignments.
fn forms(text: &str) -> Vec<String> {
    let percent: String = text.bytes().map(|b| escaped(b, true)).collect();
    let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let mut forms = vec![
        text.to_owned(),
        text.escape_debug().to_string(),
        percent.to_lowercase(),
        percent,
        form,
        text.bytes().map(|b| escaped(b, false)).collect(),
        text.bytes().fold(String::new(), |hex, b| hex + &format!("{b:02x}")),
    ];
    // Shorter pieces of base64 stand anywhere.
    if text.len() >= 12 {
        for before in 0..3 {
            let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(text.bytes()).collect();
            // Digits that hold bits of what stands before or after are not known.
            let (from, cut) = ([0, 2, 3][before], usize::from(!bytes.len().is_multiple_of(3)));
            for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                forms.push(encoded[from..encoded.len() - cut].to_owned());
            }
        }
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// A byte in percent-encoding; `strict` leaves only what RFC 3986 calls unreserved as it is.
fn escaped(b: u8, strict: bool) -> String {
    let plain = b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (!strict && b"/:@&=+$,;".contains(&b));
    if plain { char::from(b).to_string() } else { format!("%{b:02X}") }
}

#[test]
fn a_canary_is_found_in_every_form() {
    use base64::engine::general_purpose::STANDARD;
    let secret = "sms-canary/5+d&Xt8=pB";
    let said = [
        format!("key={secret}"),
        format!("basic {}", STANDARD.encode(format!("AC1:{secret}"))),
        format!("basic {}", STANDARD.encode(format!("AC12:{secret}:more"))),
        format!("basic {}", URL_SAFE_NO_PAD.encode(format!("AC123:{secret}"))),
        format!("to={}", url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>()),
        "sms-canary%2f5%2bd%26xt8%3dpb".to_owned(),
    ];
    let forms = forms(secret);
    for text in said {
        assert!(forms.iter().any(|form| text.contains(form.as_str())), "not found in {text}; forms: {forms:?}");
    }
}
