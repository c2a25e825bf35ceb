//! Rules on one file: its header, purity of machines, size, words, globals, unfinished work.
//!
//! Why: each is a habit that review forgets; each message says what to do instead.

use super::source::{Source, is_word};

/// Rooms that decide and never do: no clock, no I/O, no locks, no randomness of their own.
pub const MACHINES: &[&str] = &["ledger", "lane", "policy", "route", "gate", "retry", "reputation"];

pub const MAX_FILE_LINES: usize = 400;
pub const MAX_FUNCTION_LINES: usize = 70;

/// Files and functions (`path::name`) that are still too long. The list only shrinks.
pub const TOO_LONG: &[&str] = &["src/observe/metrics.rs::new"];

/// Globals that may exist: path, name, why.
pub const GLOBALS: &[(&str, &str, &str)] = &[
    ("src/job/digest.rs", "KEY", "drawn once and told nobody; handed down, every job would have to carry it"),
    ("src/job/receipt.rs", "DROPPED", "a receipt is dropped wherever a bug drops it; no owner could be handed down"),
    ("src/observe/failpoint.rs", "KILLER", "test builds only: a failpoint is passed anywhere, and is one line"),
];

type Faults = Vec<(usize, String)>;

/// Every file says what it is; a room also says why it exists and what it must not know.
pub fn header(source: &Source) -> Faults {
    let header = source.header();
    let missing = |what: &str| vec![(1, format!("the header lacks {what}; hint: see any other file's first lines"))];
    if header.trim_matches(['/', '!', ' ', '\n']).is_empty() {
        return missing("`//!` and what the file is");
    }
    let is_room = source.path != "src/lib.rs" && (source.is_room_root() || source.path.ends_with("/mod.rs"));
    match ["Why", "Must not know"].into_iter().find(|words| is_room && !header.contains(words)) {
        Some(words) => missing(&format!("`{words}`")),
        None => Vec::new(),
    }
}

/// Machines take `now` and data, and answer. They never wait, look at a clock, roll dice, lock or do I/O.
pub fn purity(source: &Source) -> Faults {
    if !source.room().is_some_and(|room| MACHINES.contains(&room)) {
        return Vec::new();
    }
    let word = |word: &str| match word {
        "async" | "await" | "tokio" => Some("waits; hint: return a decision, a door acts on it"),
        "Mutex" | "RwLock" => Some("locks; hint: a machine has one owner and takes `&mut self`"),
        "thread_rng" => Some("rolls its own dice; hint: take a seeded generator as an argument"),
        _ => None,
    };
    let words = source.tokens.iter().filter_map(|t| Some((t.line, format!("a machine {}", word(&t.text)?))));
    let path = |names: &[String]| {
        let has = |a: &str, b: &str| names.windows(2).any(|pair| pair[0] == a && pair[1] == b);
        if has("Instant", "now") || has("SystemTime", "now") {
            Some("reads the clock; hint: take `now` as an argument")
        } else if has("rand", "rng") || has("rand", "random") {
            Some("rolls its own dice; hint: take a seeded generator as an argument")
        } else if has("std", "thread") || has("std", "fs") || has("std", "net") {
            Some("does I/O or spawns; hint: that is a door's work")
        } else {
            None
        }
    };
    let paths = source.paths();
    let paths = paths.iter().filter_map(|p| Some((p.line, format!("a machine {}", path(&p.names)?))));
    words.chain(paths).collect()
}

/// Files and functions one can hold in one's head. What is listed in `exceptions` may be longer, but must be.
pub fn size(source: &Source, exceptions: &[&str]) -> Faults {
    let mut out = Vec::new();
    let mut judge =
        |line: usize, name: &str, lines: usize, max: usize, hint: &str| match (lines > max, exceptions.contains(&name))
        {
            (true, false) => out.push((line, format!("`{name}` has {lines} lines, at most {max}; hint: {hint}"))),
            (false, true) => out.push((line, format!("`{name}` is short now; hint: take it off TOO_LONG"))),
            _ => {}
        };
    judge(1, &source.path, source.raw.lines().count(), MAX_FILE_LINES, "split it by what its parts know");
    for f in source.functions() {
        let name = format!("{}::{}", source.path, f.name);
        judge(f.line, &name, f.lines, MAX_FUNCTION_LINES, "name its steps as functions");
    }
    out
}

/// Words that say nothing, or say the opposite to half of the readers.
pub fn words(source: &Source) -> Faults {
    let file = source.path.rsplit(['/']).next().unwrap_or("").trim_end_matches(".rs");
    let folders = source.path.split('/');
    let mut out: Faults = folders.chain([file]).filter_map(|name| Some((1, banned(name)?))).collect();
    out.dedup();
    out.extend(source.tokens.iter().filter(|t| is_word(&t.text)).filter_map(|t| Some((t.line, banned(&t.text)?))));
    out
}

fn banned(name: &str) -> Option<String> {
    let words = split_words(name);
    let vague =
        words.iter().find(|w| matches!(w.as_str(), "manager" | "managers" | "helper" | "helpers" | "util" | "utils"));
    if let Some(word) = vague {
        return Some(format!("`{name}`: `{word}` says nothing; hint: name it for what it owns or answers"));
    }
    if words.last().is_some_and(|w| w == "data2") {
        return Some(format!("`{name}` is a number for a name; hint: say how it differs"));
    }
    let circuit = words.windows(2).any(|w| matches!(w[0].as_str(), "open" | "opened") && w[1] == "circuit");
    circuit.then(|| format!("`{name}` reads both ways; hint: a breaker says Allow, Block or Probe"))
}

/// `snake_case` and `CamelCase` names as lower-case words.
fn split_words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before_is_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && before_is_lower {
            spaced.push('_');
        }
        before_is_lower = c.is_lowercase() || c.is_numeric();
        spaced.extend(c.to_lowercase());
    }
    spaced.split(['_', '-']).map(str::to_owned).collect()
}

/// Globals outlive their owner and join rooms that do not know each other. Channels without a bound hide a
/// slow reader until memory ends. `found` collects the permitted globals that are there.
pub fn globals(source: &Source, permitted: &[(&str, &str, &str)], found: &mut Vec<String>) -> Faults {
    let mut out = Vec::new();
    for (i, token) in source.tokens.iter().enumerate() {
        let name = match (token.text.as_str(), source.at(i + 1)) {
            ("static", "mut") => source.at(i + 2),
            ("static", name) => name,
            ("LazyLock" | "OnceLock" | "thread_local", _) => &token.text,
            ("unbounded_channel" | "unbounded", _) => {
                out.push((
                    token.line,
                    "a channel without a bound; hint: use `channel(n)` with n from the configuration".to_owned(),
                ));
                continue;
            }
            _ => continue,
        };
        let on_line = |word: &str| source.tokens.iter().any(|t| t.line == token.line && t.text == word);
        if let Some((_, word, _)) = permitted.iter().find(|(path, word, _)| *path == source.path && on_line(word)) {
            found.push((*word).to_owned());
        } else {
            let hint = "give it an owner in `app` and hand it down, or list it in GLOBALS with the reason";
            out.push((token.line, format!("`{name}` is a global; hint: {hint}")));
        }
    }
    out
}

/// Nothing is left for later without an issue of its own, and no test is switched off.
pub fn unfinished(source: &Source) -> Faults {
    let marks = ["TODO", "FIXME", "XXX"];
    let marked = |line: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').find_map(|w| marks.iter().find(|m| **m == w))
    };
    let lines = source.raw.lines().enumerate();
    let mut out: Faults = lines
        .filter_map(|(n, line)| Some((n + 1, format!("`{}`; hint: do it, or open an issue", marked(line)?))))
        .collect();
    for (i, token) in source.tokens.iter().enumerate() {
        match (token.text.as_str(), source.at(i + 1), source.at(i + 2)) {
            ("todo" | "unimplemented", "!", _) => {
                out.push((token.line, format!("`{}!`; hint: write it, or return an error", token.text)));
            }
            ("#", "[", "ignore") => {
                out.push((token.line, "a test that does not run; hint: mend it or remove it".to_owned()));
            }
            _ => {}
        }
    }
    out
}
