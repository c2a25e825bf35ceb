//! Keeps the house: reads `src/` and `tests/` and fails, with file and line and what to do, on what the
//! architecture forbids. The rules are in `tidy/`; each has a table of good and bad snippets below, so that a
//! rule that finds nothing is noticed.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::Source;

/// Every `.rs` file under a folder of the package, in order.
fn tree(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut out = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                out.push(Source::new(&name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!out.is_empty(), "no source under {folder}; hint: the test runs from the package's root");
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// Fails with every fault at once.
fn none(sources: &[Source], rule: impl FnMut(&Source) -> Vec<(usize, String)>) {
    let faults = found(sources, rule);
    assert!(faults.is_empty(), "{} to mend:\n{}", faults.len(), faults.join("\n"));
}

fn found(sources: &[Source], mut rule: impl FnMut(&Source) -> Vec<(usize, String)>) -> Vec<String> {
    let at = |source: &Source, (line, what): &(usize, String)| format!("{}:{line}: {what}", source.path);
    sources.iter().flat_map(|s| rule(s).iter().map(|fault| at(s, fault)).collect::<Vec<_>>()).collect()
}

/// Folders under `src/` that the docs of `lib.rs` do not name.
fn unnamed_folders(sources: &[Source]) -> Vec<String> {
    let docs = sources.iter().find(|s| s.path == "src/lib.rs").map_or(String::new(), Source::header);
    let words: BTreeSet<&str> = docs.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let folders = sources.iter().filter_map(|s| s.path.strip_prefix("src/")?.rsplit_once('/'));
    let folders: BTreeSet<&str> = folders.flat_map(|(folder, _)| folder.split('/')).collect();
    folders
        .difference(&words)
        .map(|name| format!("src/lib.rs:1: the docs do not name `{name}/`; hint: add its line to the rooms"))
        .collect()
}

#[test]
fn imports_go_one_way() {
    none(&tree("src"), imports::faults);
}

#[test]
fn every_file_says_what_it_is() {
    none(&tree("src"), rules::header);
}

#[test]
fn machines_are_pure() {
    none(&tree("src"), rules::purity);
}

#[test]
fn files_and_functions_stay_small() {
    let sources = tree("src");
    none(&sources, |s| rules::size(s, rules::TOO_LONG));
    let there: BTreeSet<String> = sources
        .iter()
        .flat_map(|s| s.functions().into_iter().map(|f| format!("{}::{}", s.path, f.name)).chain([s.path.clone()]))
        .collect();
    let gone: Vec<&&str> = rules::TOO_LONG.iter().filter(|name| !there.contains(**name)).collect();
    assert!(gone.is_empty(), "no longer there; hint: take them off TOO_LONG: {gone:?}");
}

#[test]
fn names_say_something() {
    none(&tree("src"), rules::words);
}

#[test]
fn globals_are_listed_and_channels_bounded() {
    let mut seen = Vec::new();
    none(&tree("src"), |s| rules::globals(s, rules::GLOBALS, &mut seen));
    let stale: Vec<_> = rules::GLOBALS.iter().filter(|(_, name, _)| !seen.iter().any(|s| s == name)).collect();
    assert!(stale.is_empty(), "no longer there; hint: take them off GLOBALS: {stale:?}");
}

#[test]
fn every_folder_is_in_the_docs() {
    let unnamed = unnamed_folders(&tree("src"));
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    none(&tree("src"), rules::unfinished);
    // This test's own files hold the words it looks for.
    let tests: Vec<Source> = tree("tests").into_iter().filter(|s| !s.path.starts_with("tests/tidy")).collect();
    none(&tests, rules::unfinished);
}

/// One snippet as a file at `path`: the fault the rule must find (part of its text, and its line), or none.
type Row<'a> = (&'a str, &'a str, Option<(usize, &'a str)>, &'a str);

fn check(rule: fn(&Source) -> Vec<(usize, String)>, rows: &[Row<'_>]) {
    for (path, snippet, expected, why) in rows {
        let found = rule(&Source::new(path, snippet));
        let right = match expected {
            None => found.is_empty(),
            Some((line, part)) => found.len() == 1 && found[0].0 == *line && found[0].1.contains(part),
        };
        assert!(right, "{why}: expected {expected:?}, found {found:?} in {path}:\n{snippet}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_import_rule_finds_what_it_must() {
    check(
        imports::faults,
        &[
            ("src/outcome/mod.rs", "use crate::job::Lane;", None, "an edge of the table"),
            (
                "src/job/mod.rs",
                "\nuse crate::outcome::Kind;",
                Some((2, "`job` may not import `outcome::Kind`")),
                "words lean on nothing",
            ),
            ("src/lane/mod.rs", "use crate::{job::{Job, Lane}, gate::Gate};", Some((1, "gate::Gate")), "nested braces"),
            (
                "src/lane/mod.rs",
                "use crate::{\n    job::Job,\n    lane::queue,\n    outcome,\n};",
                Some((4, "`outcome`")),
                "the line of the name",
            ),
            (
                "src/retry.rs",
                "fn f() -> u8 { crate::provider::COUNT }",
                Some((1, "provider::COUNT")),
                "a path in the code",
            ),
            (
                "src/retry.rs",
                "fn f() -> Vec<crate::gate::Gate> { Vec::new() }",
                Some((1, "gate::Gate")),
                "a path inside a type",
            ),
            (
                "src/retry.rs",
                "/* crate::gate::Gate */ // crate::gate\nconst S: &str = r#\"crate::gate::\"#;",
                None,
                "comments and texts",
            ),
            (
                "src/retry.rs",
                "#[cfg(test)]\nmod tests { use crate::gate::Gate; }\n",
                None,
                "test modules may look around",
            ),
            (
                "src/retry.rs",
                "#[cfg(test)]\nuse crate::lane::X;\nuse crate::gate::Gate;",
                Some((3, "gate")),
                "only the item is left out",
            ),
            (
                "src/retry.rs",
                "use super::gate::Gate;",
                Some((1, "gate::Gate")),
                "in a room's first file `super` is the root",
            ),
            ("src/gate/bucket.rs", "use super::retry;", None, "deeper down `super` is the room"),
            ("src/gate/a/b.rs", "use super::super::Gate;", Some((1, "super::super")), "hides where it goes"),
            ("src/gate/a/b.rs", "use super::{C, super::Gate};", Some((1, "super::super")), "the same in braces"),
            ("src/gate/mod.rs", "use crate::*;", Some((1, "glob")), "a glob names no room"),
            (
                "src/config/mod.rs",
                "use crate::gate::{GateConfig, config::Limit};",
                None,
                "the rooms' Config, or their config module",
            ),
            ("src/config/mod.rs", "use crate::gate::Gate;", Some((1, "gate::Gate")), "but nothing else of them"),
            (
                "src/config/mod.rs",
                "use crate::{gate, intake::{self, FirstStart}};\nfn f(c: gate::Config) {}",
                None,
                "by room",
            ),
            (
                "src/config/mod.rs",
                "use crate::gate;\nfn f(g: gate::Gate) {}",
                Some((2, "gate::Gate")),
                "but nothing else of it",
            ),
            ("src/app.rs", "use crate::dispatch::run; use crate::console::serve;", None, "the app builds every room"),
            ("src/app.rs", "use crate::sim::Broker;", Some((1, "sim::Broker")), "no room imports sim"),
            ("src/main.rs", "use peakpost::{cli, app};", None, "the binary sees the library by its name"),
            ("src/main.rs", "use peakpost::gate::Gate;", Some((1, "gate::Gate")), "main knows the frame only"),
            ("src/misc.rs", "", Some((1, "`misc` is no room")), "a room without a place in the table"),
            ("src/lib.rs", "pub mod job;", None, "a room"),
            ("src/lib.rs", "pub mod misc;", Some((1, "`misc` is no room")), "not a room"),
            (
                "src/lib.rs",
                "pub mod job;\npub use job::Job;",
                Some((2, "pub use")),
                "a name at the root hides its room",
            ),
        ],
    );
}

#[test]
fn the_header_rule_finds_what_it_must() {
    check(
        rules::header,
        &[
            ("src/job/mod.rs", "//! What.\n//!\n//! Why: so.\n//! Must not know: that.\n", None, "all three"),
            (
                "src/job/mod.rs",
                "//! What.\n//! Why: so.\n",
                Some((1, "Must not know")),
                "a room says what it must not know",
            ),
            ("src/retry.rs", "//! What.\n//! Must not know: that.\n", Some((1, "Why")), "a room in one file"),
            ("src/provider/wire/mod.rs", "//! What.\n", Some((1, "Why")), "a room inside a room"),
            ("src/job/spec.rs", "//! What.\n", None, "a file inside a room says what it is"),
            ("src/job/spec.rs", "// What.\n", Some((1, "//!")), "a comment is no header"),
            ("src/job/spec.rs", "//!\n//!  \nfn f() {}", Some((1, "//!")), "an empty header"),
        ],
    );
}

#[test]
fn the_purity_rule_finds_what_it_must() {
    check(
        rules::purity,
        &[
            ("src/gate/mod.rs", "fn f(now: Instant) -> Answer { Answer::At(now) }", None, "time is an argument"),
            ("src/gate/mod.rs", "async fn f() {}", Some((1, "waits")), "no async"),
            ("src/gate/mod.rs", "use tokio::sync;", Some((1, "waits")), "no runtime"),
            ("src/gate/mod.rs", "\nfn f() { Instant::now(); }", Some((2, "clock")), "no clock"),
            ("src/gate/mod.rs", "fn f() { std::time::SystemTime::now(); }", Some((1, "clock")), "no wall clock"),
            ("src/lane/mod.rs", "fn f() { rand::rng(); }", Some((1, "dice")), "no dice"),
            ("src/lane/mod.rs", "fn f(r: &mut rand::rngs::SmallRng) {}", None, "a seeded generator is an argument"),
            ("src/route.rs", "use std::{fmt, thread};", Some((1, "spawns")), "no threads, in braces either"),
            ("src/retry.rs", "use std::fs::File;", Some((1, "I/O")), "no files"),
            ("src/policy/mod.rs", "struct S(std::sync::Mutex<u8>);", Some((1, "locks")), "no locks"),
            ("src/intake/mod.rs", "async fn f() { tokio::spawn(g()); }", None, "doors may"),
        ],
    );
}

#[test]
fn the_size_rule_finds_what_it_must() {
    let long_fn = |lines: usize| format!("fn f(x: [u8; 2]) {{\n{}}}\n", "    // \"{\"\n".repeat(lines - 2));
    check(
        |s| rules::size(s, &["src/old.rs", "src/a.rs::old"]),
        &[
            ("src/a.rs", &"\n".repeat(400), None, "the most lines a file may have"),
            ("src/a.rs", &"\n".repeat(401), Some((1, "401 lines")), "one more"),
            ("src/a.rs", &long_fn(70), None, "the most lines a function may have"),
            ("src/a.rs", &long_fn(71), Some((1, "`src/a.rs::f` has 71 lines")), "one more"),
            ("src/a.rs", "trait T { fn f(&self); }\n", None, "a function without a body"),
            ("src/old.rs", &"\n".repeat(500), None, "listed, and still long"),
            ("src/old.rs", "", Some((1, "is short now")), "listed, and short now: the list shrinks"),
            ("src/a.rs", "fn old() {}", Some((1, "is short now")), "the same for functions"),
        ],
    );
}

#[test]
fn the_word_rule_finds_what_it_must() {
    check(
        rules::words,
        &[
            ("src/gate/mod.rs", "struct Gate; fn utilisation() {} // helper", None, "words inside words, and comments"),
            ("src/gate/mod.rs", "struct GateManager;", Some((1, "manager")), "camel case"),
            ("src/gate/mod.rs", "\nfn parse_helper() {}", Some((2, "helper")), "snake case"),
            ("src/gate/mod.rs", "fn f(data2: u8) {}", Some((1, "data2")), "a number for a name"),
            ("src/gate/mod.rs", "fn open_circuit() {}", Some((1, "both ways")), "breaker words"),
            ("src/gate/utils.rs", "", Some((1, "utils")), "file names"),
            ("src/helpers/a.rs", "", Some((1, "helpers")), "folder names"),
        ],
    );
}

#[test]
fn the_globals_rule_finds_what_it_must() {
    check(
        |s| rules::globals(s, &[("src/a.rs", "KNOWN", "why")], &mut Vec::new()),
        &[
            ("src/a.rs", "fn f(s: &'static str) { let (tx, rx) = channel(8); }", None, "a lifetime, a bounded channel"),
            ("src/a.rs", "static KNOWN: LazyLock<u8> = LazyLock::new(f);", None, "listed"),
            ("src/b.rs", "static KNOWN: u8 = 0;", Some((1, "`KNOWN` is a global")), "listed for another file"),
            ("src/a.rs", "\nstatic mut OTHER: u8 = 0;", Some((2, "`OTHER`")), "not listed"),
            ("src/a.rs", "use std::sync::OnceLock;", Some((1, "OnceLock")), "a global in disguise"),
            ("src/a.rs", "thread_local! { }", Some((1, "thread_local")), "another disguise"),
            ("src/a.rs", "let c = mpsc::unbounded_channel();", Some((1, "bound")), "everything has a limit"),
        ],
    );
}

#[test]
fn the_unfinished_rule_finds_what_it_must() {
    check(
        rules::unfinished,
        &[
            ("tests/a.rs", "#[test]\nfn f() {} // nothing left", None, "finished"),
            ("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", Some((2, "does not run")), "switched off"),
            ("src/a.rs", "// TODO: later", Some((1, "TODO")), "later is never"),
            ("src/a.rs", "const SID: &str = \"ACXXXX\";", None, "a word inside a word"),
            ("src/a.rs", "fn f() { todo!() }", Some((1, "todo!")), "not written"),
            ("src/a.rs", "fn f() { unimplemented!(\"x\") }", Some((1, "unimplemented!")), "not written either"),
        ],
    );
}

#[test]
fn the_folder_rule_finds_what_it_must() {
    let sources = |docs: &str| [Source::new("src/lib.rs", docs), Source::new("src/gate/share/mod.rs", "")];
    assert!(unnamed_folders(&sources("//! `gate/` holds `share/`.")).is_empty(), "both are named");
    let unnamed = unnamed_folders(&sources("//! `gate/` shares.\n// share"));
    assert_eq!(unnamed.len(), 1, "a word inside a word and a comment do not count: {unnamed:?}");
    assert!(unnamed[0].contains("`share/`"), "{unnamed:?}");
}
