//! `peakpost explain`: what a daemon says of a provider's gate, worded for a person.
//!
//! Why: it is read by somebody who was woken; each line must say what binds in words the configuration uses.
//! Must not know: a running daemon (`tests/process.rs` asks one).

use serde_json::{Value, json};

use peakpost::app::explain::{read, text};

/// Sends at half of its limit, because another instance owns the other half of the homes.
fn half() -> Value {
    json!({
        "provider": "mail", "at_ms": 1_795_327_200_000_i64, "homes_owned": 6, "homes": 12, "share": 0.5,
        "binding": [{"by": "limit", "limit": "600 requests/s", "part": 0.93}, {"by": "concurrency", "part": 0.04}],
        "factor": 1.0, "ramp": 1.0, "breaker": {"state": "allow"}, "stopped_senders": [],
        "lately_s": 9.8, "granted_per_s": 250.0, "waiting": 3, "in_use": 12, "slots": 32, "slots_of_all": 64,
        "limits": [
            {"limit": "600 requests/s", "of": "account", "unit": "requests", "of_all_per_s": 570.0, "here_per_s": 285.0},
            {"limit": "1000000 messages/day", "of": "account", "unit": "messages", "of_all_per_s": 11.57,
             "here_per_s": 5.79, "spent": 1200, "cap": 500_000},
        ],
        "history": [{"at_ms": 1_795_327_195_000_i64, "by": "share", "from": 1.0, "to": 0.5, "why": "6 of 12 homes"}],
        "backlog": {"marketing": 40_000, "transactional": 0}, "done_in_s": 160.0,
    })
}

/// The same with other values for some keys.
fn with(changes: &Value) -> Value {
    let mut all = half();
    for (key, value) in changes.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

fn said(answer: &Value) -> String {
    text(&read(&answer.to_string()).unwrap_or_else(|e| panic!("{e}: {answer}")))
}

#[test]
fn the_whole_text_reads_like_this() {
    let expected = "\
mail at 2026-11-22T06:00:00.000Z: 250 messages/s let through in the last 10 s
bound by `600 requests/s` (account) for 93 % of the last 10 s
bound by `concurrency`: all slots are in use for 4 % of the last 10 s

share: 50.0 % of the account's limits, 6 of 12 homes are owned here; without it: what each limit is over all instances
limits:
  600 requests/s (account): 285 requests/s here; over all instances 570
  1000000 messages/day (account): 1200 of 500000 messages spent here in this window
slots: 12 of 32 in use here; 64 over all instances
backlog: 40000 marketing jobs queued here, done in 2 min 40 s at this pace
changes, the latest last:
  2026-11-22T05:59:55.000Z share: 1.0 -> 0.500, 6 of 12 homes
";
    assert_eq!(said(&half()), expected);
}

#[test]
fn each_factor_has_its_words() {
    let carried = json!([{"limit": "1 messages/s", "of": "sender a@b.example", "unit": "messages",
        "of_all_per_s": 0.95, "here_per_s": 0.0, "carried_by": 7}]);
    let warm_up = json!([{"limit": "50 messages/day", "of": "warm-up", "unit": "messages", "of_all_per_s": 0.0006,
        "here_per_s": 0.0003, "spent": 25, "cap": 25}]);
    let bound = |by: &str| json!({"binding": [{"by": by, "limit": "9 messages/h", "part": 1.0}]});
    // Why, what differs, what the text must hold.
    let table = [
        ("alone", json!({"share": 1.0, "homes_owned": 12}), "12 of 12 homes are owned here\n"),
        ("a stop names its end", json!({"stopped_s": 90.0}), "until 2026-11-22T06:01:30.000Z (1 min 30 s more)"),
        (
            "a breaker names its cause and its end",
            json!({"breaker": {"state": "block", "until_s": 7.2, "why": "20 of 20 replies in 10 s failed"}}),
            "breaker: blocks for 8 s more; 20 of 20 replies in 10 s failed\n  without it: the limits below",
        ),
        (
            "a breaker that probes",
            json!({"breaker": {"state": "probe", "why": "credentials"}}),
            "breaker: probe, single messages try whether it is well; credentials",
        ),
        ("a breaker binds", bound("breaker"), "bound by the breaker: the provider fails for 100 %"),
        (
            "a factor that was learned",
            json!({"factor": 0.1}),
            "throttle: 10.0 % of the limits is used, learned from throttled replies\n  without it: 10.0 times",
        ),
        ("a factor binds", bound("throttle"), "bound by `9 messages/h` (account), of which a part is used: the vendor"),
        (
            "a ramp",
            json!({"ramp": 0.05}),
            "ramp: 5.0 % after a silence, all of it within 5 s\n  without it: 20.0 times",
        ),
        (
            "senders that were told to wait",
            json!({"stopped_senders": [["+15550100", 61.0], ["+15550101", 2.5]]}),
            "stops of senders: +15550100 (1 min 1 s), +15550101 (3 s)",
        ),
        ("a stop binds", bound("stop"), "bound by a stop of the provider for 100 %"),
        ("a spent budget", bound("budget"), "bound by `9 messages/h` (account): the budget is spent"),
        ("a write", bound("usage"), "`9 messages/h` (account): the next block is not written"),
        ("no homes", bound("share"), "bound by the share: other instances own the homes"),
        ("idle", json!({"binding": [], "waiting": 0}), "bound by nothing: what there was to send was sent"),
        ("only senders wait", json!({"binding": [], "waiting": 3}), "3 asks wait for the limits of their own senders"),
        ("too short to tell", json!({"binding": [{"by": "stop", "part": 0.001}], "waiting": 0}), "bound by nothing"),
        ("carried elsewhere", json!({"limits": carried}), "home 7 has all of it, which is not owned here"),
        ("a warm-up", json!({"limits": warm_up}), "50 messages/day (warm-up): 25 of 25 messages spent here"),
        ("without the warm-up", json!({"limits": warm_up}), "without it: the other limits"),
        ("no limit at all", json!({"limits": []}), "limits: none"),
        ("nothing goes", json!({"done_in_s": null}), "backlog: 40000 marketing jobs queued here, and nothing goes"),
        ("nothing waits", json!({"backlog": {}, "done_in_s": 0.0}), "backlog: nothing is queued here"),
        ("hours", json!({"done_in_s": 7_320.0}), "done in 2 h 2 min"),
        ("nothing changed", json!({"history": []}), "changes: none"),
        (
            "a limit that came, as JSON knows no infinity",
            json!({"history": [{"at_ms": 0, "by": "limit", "from": null, "to": 5.0, "why": "reload: 5 requests/s"}]}),
            "limit: no limit -> 5.0, reload: 5 requests/s",
        ),
    ];
    for (why, changes, holds) in table {
        let said = said(&with(&changes));
        assert!(said.contains(holds), "{why}: `{holds}` is missing; see src/app/explain.rs:\n{said}");
    }
}

/// Ten changes are enough for a person; JSON has them all.
#[test]
fn the_latest_ten_changes_are_shown() {
    let change = |n: i64| json!({"at_ms": n, "by": "share", "from": 0.0, "to": 1.0, "why": format!("change {n}.")});
    let history: Vec<Value> = (1..=12).map(change).collect();
    let said = said(&with(&json!({"history": history})));
    assert!(!said.contains("change 2.") && said.contains("change 3.") && said.contains("change 12."), "{said}");
}

/// What is written is what is read, infinite sides of a change too.
#[test]
fn an_answer_survives_its_own_json() {
    let mut explained = read(&half().to_string()).unwrap();
    explained.report.history[0].from = f64::INFINITY;
    let again = read(&serde_json::to_string(&explained).unwrap()).unwrap();
    assert_eq!(again, explained);
    let failure = read("<html>").unwrap_err().to_string();
    assert!(failure.contains("of another version"), "{failure}");
}
