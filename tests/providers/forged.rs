//! Signed requests, changed at random: none of them says anything that its vendor has not said.
//!
//! Why: the listener stands open to the world. Twenty thousand changed requests here; more than a million with
//! `PEAKPOST_FEEDBACK=full cargo test --release --test providers forged -- --nocapture`.
//!
//! Twilio signs names and values run together. A request cut anew from the same letters is signed by Twilio as well; it
//! may say what the original said (a replay, under the same event id) or nothing, and is counted apart. For the other
//! two, whatever differs in one bit is turned away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peakpost::event::Heard;
use peakpost::provider::Ear;
use peakpost::provider::secret::Secret;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::signers::{PUBLIC_URL, Posted, SendGridKey, signed, twilio};
use super::support::{NOW, VECTOR_SECRET};

const DAY: Duration = Duration::from_secs(86_400);
const TOKEN: &str = "12345";
const OTHER_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const ORIGINALS: u32 = 24;

/// One dialect: its ear, what its vendor has signed, and what somebody else has, or the vendor at another time.
struct Dialect {
    name: &'static str,
    ear: Ear,
    good: Vec<(Posted, Vec<Heard>)>,
    bad: Vec<Posted>,
}

impl Dialect {
    fn new(name: &'static str, ear: Ear, good: Vec<Posted>, bad: Vec<Posted>) -> Self {
        let hear = |posted: Posted| {
            let heard = ear.hear(&posted.call(), NOW).expect("an original is heard; mend the test");
            assert!(!heard.is_empty(), "{name}: an original says something: {posted:?}");
            (posted, heard)
        };
        let good = good.into_iter().map(hear).collect();
        Self { name, ear, good, bad }
    }
}

const TIMES: [&str; 4] = ["1799913599", "1800000301", "1600112502", "9999999999"];

fn sendgrid() -> Dialect {
    let (key, other) = (SendGridKey::new(), SendGridKey::new());
    let body = |i: u32| {
        let event = |n: u32| {
            format!(
                "{{\"email\":\"a{n}@example.com\",\"timestamp\":179999{n:04},\"event\":\"spamreport\",\"sg_event_id\":\"e{i}.{n}\",\
                 \"peakpost_id\":\"j{n}\",\"peakpost_tenant\":\"acme\",\"peakpost_lane\":\"marketing\",\"peakpost_sent\":\"1799990000\"}}"
            )
        };
        format!("[{}]\r\n", (0..=i % 3).map(event).collect::<Vec<_>>().join(","))
    };
    let good = (0..ORIGINALS).map(|i| key.sign(&(1_799_999_000 + i).to_string(), body(i).as_bytes())).collect();
    let mut bad: Vec<_> = (0..ORIGINALS).map(|i| other.sign("1800000000", body(i).as_bytes())).collect();
    bad.extend(TIMES.map(|time| key.sign(time, body(0).as_bytes())));
    Dialect::new("sendgrid", Ear::sendgrid(&key.public(), DAY).expect("a key"), good, bad)
}

fn generic() -> Dialect {
    let body = |i: u32| {
        format!(
            "[{{\"id\":\"e.{i}.1800000000.x\",\"event\":\"complained\",\"channel\":\"email\",\"at\":1799999999,\"to\":\"a.b.c@example.com\",\
             \"detail\":\".1800000000.[]\"}}]"
        )
    };
    let time = |i: u32| (1_799_999_000 + i).to_string();
    let good = (0..ORIGINALS).map(|i| signed(VECTOR_SECRET, &format!("m{i}"), &time(i), body(i).as_bytes())).collect();
    let mut bad: Vec<_> =
        (0..ORIGINALS).map(|i| signed(OTHER_SECRET, &format!("m{i}"), &time(i), body(i).as_bytes())).collect();
    bad.extend(TIMES.map(|time| signed(VECTOR_SECRET, "m1", time, body(0).as_bytes())));
    Dialect::new("signed", Ear::signed(&Secret::new(VECTOR_SECRET), DAY).expect("a secret"), good, bad)
}

fn twilios() -> Dialect {
    let status = |i: u32| {
        let sid = format!("{}{:032x}", ["SM", "MM"][i as usize % 2], u128::from(i) << 64 | 0xabc_def0_1234);
        let (status, error) =
            [("delivered", ""), ("undelivered", "&ErrorCode=30005"), ("failed", "&ErrorCode=21610")][i as usize % 3];
        let form = format!(
            "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01{error}&From=%2B15017250604&MessageSid={sid}\
             &MessageStatus={status}&SmsSid={sid}&SmsStatus={status}&To=%2B155586{:05}&RawDlrDoneDate=2607171206",
            75_310 + i
        );
        let query =
            format!("peakpost_id=j{i}&peakpost_tenant=acme&peakpost_lane=marketing&peakpost_sent=1799990{i:03}");
        (Some(query), form)
    };
    let stop = |i: u32| {
        let (body, word) = [("STOP", ""), ("ARRET", "&OptOutType=STOP"), ("Stop", "&OptOutType=STOP")][i as usize % 3];
        let form = format!(
            "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01&Body={body}&From=%2B155586{:05}&FromCity=TOLEDO\
             &FromCountry=US&MessageSid=SM{i:032x}&NumMedia=0&NumSegments=1{word}&SmsMessageSid=SM{i:032x}&SmsSid=SM{i:032x}\
             &SmsStatus=received&To=%2B15017250604&ToCity=X&ToCountry=US",
            75_310 + i
        );
        (None, form)
    };
    let all: Vec<_> = (0..ORIGINALS).map(|i| if i % 4 == 3 { stop(i) } else { status(i) }).collect();
    let sign = |token: &str, url: &str| -> Vec<Posted> {
        all.iter().map(|(query, form)| twilio(token, url, query.as_deref(), form)).collect()
    };
    // No time is signed, so there is nothing stale; but signed for another door there is.
    let bad = [sign("12346", PUBLIC_URL), sign(TOKEN, "https://other.example.com/feedback/sms")].concat();
    Dialect::new(
        "twilio",
        Ear::twilio(&Secret::new(TOKEN), PUBLIC_URL).expect("settings"),
        sign(TOKEN, PUBLIC_URL),
        bad,
    )
}

/// Replaces one value of a header, if it may stand in one.
fn put(headers: &mut HeaderMap, name: &HeaderName, value: &[u8]) -> Option<()> {
    headers.insert(name, HeaderValue::from_bytes(value).ok()?);
    Some(())
}

fn flip(bytes: &mut [u8], rng: &mut StdRng) -> Option<()> {
    let at = rng.random_range(..bytes.len().max(1));
    *bytes.get_mut(at)? ^= 1 << rng.random_range(0..8);
    Some(())
}

fn any_header(posted: &Posted, rng: &mut StdRng) -> Option<(HeaderName, Vec<u8>)> {
    let all: Vec<_> = posted.headers.iter().collect();
    all.choose(rng).map(|(name, value)| ((*name).clone(), value.as_bytes().to_vec()))
}

/// Moves the border between two texts by some bytes.
fn shift(first: &mut Vec<u8>, second: &mut Vec<u8>, rng: &mut StdRng) {
    let all = [first.as_slice(), second.as_slice()].concat();
    let near = if rng.random() {
        rng.random_range(0..=all.len())
    } else {
        (first.len() + rng.random_range(0..8)).saturating_sub(4)
    };
    (*first, *second) = (all[..near.min(all.len())].to_vec(), all[near.min(all.len())..].to_vec());
}

/// Cuts what is signed anew: the letters stay, what they belong to changes.
fn recut(name: &str, posted: &mut Posted, rng: &mut StdRng) -> Option<()> {
    if name == "twilio" {
        return recut_form(posted, rng);
    }
    let time: HeaderName = if name == "sendgrid" { SendGridKey::TIME } else { "webhook-timestamp" }.parse().ok()?;
    let mut head = posted.headers[&time].as_bytes().to_vec();
    if name == "signed" && rng.random() {
        // id.time.body: other dots divide it.
        let id = posted.headers["webhook-id"].as_bytes();
        let all = [id, b".", &head, b".", &posted.body].concat();
        let dots: Vec<usize> = (0..all.len()).filter(|i| all[*i] == b'.').collect();
        let (a, b) = (*dots.choose(rng)?, *dots.choose(rng)?);
        let (a, b) = (a.min(b), a.max(b));
        put(&mut posted.headers, &"webhook-id".parse().ok()?, &all[..a])?;
        put(&mut posted.headers, &time, all.get(a + 1..b)?)?;
        posted.body = all[b + 1..].to_vec();
        return Some(());
    }
    shift(&mut head, &mut posted.body, rng);
    put(&mut posted.headers, &time, &head)
}

fn recut_form(posted: &mut Posted, rng: &mut StdRng) -> Option<()> {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for (name, value) in pairs(&posted.body) {
        texts.extend([name.into_bytes(), value.into_bytes()]);
    }
    match rng.random_range(0..5) {
        // The border between two of them, somewhere.
        0..3 => {
            let at = rng.random_range(..texts.len() - 1);
            let (left, right) = texts.split_at_mut(at + 1);
            shift(&mut left[at], &mut right[0], rng);
        }
        // A whole parameter disappears in the one before it.
        3 => {
            let at = 2 * rng.random_range(1..texts.len() / 2);
            let (name, value) = (texts.remove(at), texts.remove(at));
            texts[at - 1].extend([name, value].concat());
        }
        // The border between the query and the first name.
        _ => {
            let mut query = posted.query.take().unwrap_or_default().into_bytes();
            let mut rest = texts.concat();
            shift(&mut query, &mut rest, rng);
            posted.query = Some(String::from_utf8(query).ok()?);
            texts = vec![rest.clone(), Vec::new()];
            // Cut the rest where known names begin, as an attacker would.
            let text = String::from_utf8(rest).ok()?;
            let begins =
                ["AccountSid", "ApiVersion", "ErrorCode", "MessageSid", "MessageStatus", "RawDlr", "SmsSid", "To"];
            let mut cuts: Vec<usize> =
                begins.iter().filter_map(|name| text.find(name)).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            if rng.random() {
                texts = Vec::new();
                for span in cuts.windows(2) {
                    let part = &text[span[0]..span[1]];
                    let name = begins.iter().find(|name| part.starts_with(**name)).map_or(part, |name| *name);
                    texts.extend([name.as_bytes().to_vec(), part.as_bytes()[name.len()..].to_vec()]);
                }
            }
        }
    }
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for pair in texts.chunks(2) {
        form.append_pair(std::str::from_utf8(&pair[0]).ok()?, std::str::from_utf8(&pair[1]).ok()?);
    }
    posted.body = form.finish().into_bytes();
    Some(())
}

/// Moves a parameter between the query and the body, or a piece of the body to another place of it.
fn moved(name: &str, posted: &mut Posted, rng: &mut StdRng) -> Option<()> {
    if name != "twilio" {
        let n = posted.body.len();
        let mut cuts = [rng.random_range(0..n), rng.random_range(0..n), rng.random_range(0..n)];
        cuts.sort_unstable();
        posted.body[cuts[0]..cuts[2]].rotate_left(cuts[1] - cuts[0]);
        return Some(());
    }
    let body = String::from_utf8(posted.body.clone()).ok()?;
    let query = posted.query.clone().unwrap_or_default();
    let (mut inside, mut outside): (Vec<&str>, Vec<&str>) =
        (body.split('&').collect(), query.split('&').filter(|part| !part.is_empty()).collect());
    let (from, to) = if rng.random() { (&mut inside, &mut outside) } else { (&mut outside, &mut inside) };
    let taken = (!from.is_empty()).then(|| from.remove(rng.random_range(..from.len())))?;
    to.insert(rng.random_range(..=to.len()), taken);
    posted.query = (!outside.is_empty()).then(|| outside.join("&"));
    posted.body = inside.join("&").into_bytes();
    Some(())
}

/// One changed request and what was done to it. `None`: the dice made nothing that can travel.
fn change(dialect: &Dialect, original: &Posted, rng: &mut StdRng) -> Option<(&'static str, Posted)> {
    let mut posted = original.clone();
    let what = match rng.random_range(0..12) {
        0 | 1 => flip(&mut posted.body, rng).map(|()| "a bit of the body")?,
        2 | 3 => {
            let (name, mut value) = any_header(&posted, rng)?;
            flip(&mut value, rng)?;
            put(&mut posted.headers, &name, &value).map(|()| "a bit of a header")?
        }
        4 => {
            let mut query = posted.query.take()?.into_bytes();
            flip(&mut query, rng)?;
            posted.query = Some(String::from_utf8(query).ok()?);
            "a bit of the query"
        }
        5 | 6 => recut(dialect.name, &mut posted, rng).map(|()| "another cut")?,
        7 => {
            posted = dialect.bad.choose(rng)?.clone();
            "another key, place or time"
        }
        8 => {
            let other = &dialect.good.choose(rng)?.0;
            let (name, value) = any_header(other, rng)?;
            let to = any_header(&posted, rng)?.0;
            let target = if rng.random() { name } else { to };
            put(&mut posted.headers, &target, &value).map(|()| "a header of another, or in another's place")?
        }
        9 => {
            let (name, value) = any_header(&posted, rng)?;
            match rng.random() {
                true => _ = posted.headers.append(name, HeaderValue::from_bytes(&value).ok()?),
                false => _ = posted.headers.remove(name),
            }
            "a header twice, or missing"
        }
        10 => moved(dialect.name, &mut posted, rng).map(|()| "a part in another place")?,
        _ => {
            let at = rng.random_range(0..=posted.body.len());
            match rng.random() {
                true => posted.body.truncate(at),
                false => posted.body.insert(at, rng.random()),
            }
            "shorter or longer"
        }
    };
    Some((what, posted))
}

fn pairs(form: &[u8]) -> BTreeSet<(String, String)> {
    url::form_urlencoded::parse(form).into_owned().collect()
}

/// Whether two requests are one, spelled in two ways (`%2B` and `%2b`, another order of parameters).
fn same(name: &str, a: &Posted, b: &Posted) -> bool {
    a == b || (name == "twilio" && a.headers == b.headers && a.query == b.query && pairs(&a.body) == pairs(&b.body))
}

#[test]
fn no_changed_request_says_what_its_vendor_has_not_said() {
    let full = std::env::var("PEAKPOST_FEEDBACK").is_ok_and(|word| word == "full");
    let wanted = if full { 1_000_000 } else { 20_000 };
    let mut rng = StdRng::seed_from_u64(6);
    let (mut seen, mut replays, mut turned_away) = (BTreeMap::<(&str, &str, &str), u64>::new(), 0_u64, 0_usize);
    let dialects = [sendgrid(), generic(), twilios()];
    while turned_away < wanted {
        let dialect = &dialects[turned_away % dialects.len()];
        let Some((original, heard)) = dialect.good.choose(&mut rng) else { continue };
        let Some((what, posted)) = change(dialect, original, &mut rng) else { continue };
        if dialect.good.iter().any(|(good, _)| same(dialect.name, good, &posted)) {
            continue;
        }
        let answer = match dialect.ear.hear(&posted.call(), NOW) {
            Err(turned) => {
                turned_away += 1;
                turned.as_str()
            }
            Ok(again) => {
                let harmless = dialect.name == "twilio" && (again.is_empty() || again == *heard);
                assert!(harmless, "{}: {what} was heard as {again:?}\nof {posted:#?}", dialect.name);
                replays += 1;
                if again.is_empty() { "said nothing" } else { "said the same" }
            }
        };
        *seen.entry((dialect.name, what, answer)).or_default() += 1;
    }
    for ((dialect, what, answer), n) in &seen {
        println!("{n:>8}  {dialect:<9} {what:<44} {answer}");
    }
    println!("{turned_away} changed requests turned away; {replays} more, Twilio's cut anew, said nothing or the same");
    // A kind of change that the dice no longer make would be noticed nowhere else.
    let kinds = |dialect: &str| {
        seen.keys().filter(|(d, ..)| *d == dialect).map(|(_, what, _)| *what).collect::<BTreeSet<_>>().len()
    };
    assert_eq!([kinds("sendgrid"), kinds("signed"), kinds("twilio")], [8, 8, 9], "mend `change`: {seen:#?}");
    let stale: u64 = seen.iter().filter(|((.., answer), _)| *answer == "stale").map(|(_, n)| n).sum();
    assert!(
        stale > 0 && replays > 0,
        "old times and cuts that Twilio's signature cannot see are among them: {seen:#?}"
    );
}
