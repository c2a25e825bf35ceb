//! Rule: imports go one way. The table is the architecture; an edge that is not in it is a question to ask.
//!
//! Why: a cycle between rooms is never written on purpose; it arrives one convenient `use` at a time.

use super::source::{Path, Source};

/// The rooms in the order in which `lib.rs` names them, and what each may import.
pub const TABLE: &[(&str, May)] = &[
    // Words.
    ("job", May::Rooms(&[])),
    ("outcome", May::Rooms(&["job"])),
    ("event", May::Rooms(&["job"])),
    ("observe", May::Rooms(&["job", "outcome", "event"])),
    ("control", May::Rooms(&["job"])),
    // Machines.
    ("ledger", May::Rooms(&["job", "outcome"])),
    ("lane", May::Rooms(&["job"])),
    ("policy", May::Rooms(&["job", "outcome"])),
    ("route", May::Rooms(&["job"])),
    ("gate", May::Rooms(&["job", "outcome"])),
    ("retry", May::Rooms(&["job", "outcome"])),
    ("reputation", May::Rooms(&["job", "outcome", "event"])),
    // Doors.
    ("recipient", May::Rooms(&["job", "outcome", "event", "policy", "observe"])),
    ("provider", May::Rooms(&["job", "outcome", "event", "observe"])),
    ("intake", May::Rooms(&["job", "outcome", "ledger", "lane", "control", "observe"])),
    ("settle", May::Rooms(&["job", "outcome", "observe"])),
    // The line.
    (
        "dispatch",
        May::Rooms(&[
            "job",
            "outcome",
            "ledger",
            "lane",
            "policy",
            "route",
            "gate",
            "retry",
            "reputation",
            "recipient",
            "provider",
            "settle",
            "control",
            "observe",
        ]),
    ),
    // Side doors.
    ("feedback", May::Rooms(&["job", "outcome", "event", "reputation", "provider", "recipient", "control", "observe"])),
    (
        "console",
        May::RoomsAnd(
            &["control", "observe"],
            "Snapshot",
            &["dispatch::GateHandle", "gate::report::Report", "intake::Status", "recipient::Recipients"],
        ),
    ),
    // The frame.
    ("config", May::RoomsAnd(WORDS, "Config", PARTS_OF_CONFIG)),
    ("app", May::AllBut(&["sim", "cli", "main"])),
    ("sim", May::AllBut(&["cli", "main"])),
    ("cli", May::Rooms(&["app", "config", "sim", "job", "outcome", "event", "observe", "control"])),
    ("main", May::Rooms(&["cli", "app", "config", "sim", "job", "outcome", "observe", "control"])),
];

const WORDS: &[&str] = &["job", "outcome", "event", "observe", "control"];

/// What the rooms' Configs are made of, where it is not called so. Each is a value that some room takes.
const PARTS_OF_CONFIG: &[&str] = &[
    "dispatch::CONCURRENCY_MAX",
    "dispatch::PROBE_LIFE",
    "dispatch::Rules",
    "gate::Scoped",
    "gate::limit",
    "gate::warmup",
    "intake::FirstStart",
    "intake::topics::Plan",
    "policy::Tenant",
    "provider::Kind",
    "provider::Ear",
    "provider::secret",
    "provider::sendgrid",
    "provider::twilio",
    "provider::webhook",
    "recipient::address",
    "recipient::mailbox",
    "route::Route",
    "route::Routes",
];

/// What a room may import besides itself.
pub enum May {
    /// These rooms.
    Rooms(&'static [&'static str]),
    /// These rooms; from any other what is called `…Suffix` or lies in a module `suffix`; and these by name.
    RoomsAnd(&'static [&'static str], &'static str, &'static [&'static str]),
    /// Every room but these.
    AllBut(&'static [&'static str]),
}

impl May {
    fn allows(&self, path: &[String]) -> bool {
        let room = path[0].as_str();
        match self {
            Self::Rooms(rooms) => rooms.contains(&room),
            Self::RoomsAnd(rooms, suffix, names) => {
                let has_suffix = |name: &String| name.ends_with(suffix) || *name == suffix.to_lowercase();
                let listed = |name: &&str| name.split("::").eq(path.iter().take(name.split("::").count()));
                // A room by itself says nothing yet: what is taken from it is judged where it stands.
                let bare = path.len() == 1 || path[1..] == ["self"];
                rooms.contains(&room) || bare || path[1..].iter().any(has_suffix) || names.iter().any(listed)
            }
            Self::AllBut(rooms) => !rooms.contains(&room),
        }
    }
}

fn is_room(name: &str) -> bool {
    TABLE.iter().any(|(room, _)| *room == name)
}

/// Edges that are not in the table, ways around it, and names at the crate's root that hide a room.
pub fn faults(source: &Source) -> Vec<(usize, String)> {
    let Some(room) = source.room() else { return Vec::new() };
    if room == "lib" {
        return root_faults(source);
    }
    let Some((_, may)) = TABLE.iter().find(|(name, _)| *name == room) else {
        let hint = "add it to TABLE in tests/tidy/imports.rs, with what it may import, and to the docs of lib.rs";
        return vec![(1, format!("`{room}` is no room; hint: {hint}"))];
    };
    let mut paths = source.paths();
    spell_out_rooms(&mut paths);
    paths.iter().filter_map(|path| Some((path.line, fault(source, room, may, path)?))).collect()
}

/// After `use crate::gate;`, a path `gate::X` is `crate::gate::X`.
fn spell_out_rooms(paths: &mut [Path]) {
    let imported = |path: &Path| match &path.names[..] {
        [first, room] if first == "crate" => Some(room.clone()),
        [first, room, own] if first == "crate" && own == "self" => Some(room.clone()),
        _ => None,
    };
    let rooms: Vec<String> = paths.iter().filter_map(imported).collect();
    for path in paths.iter_mut().filter(|path| rooms.contains(&path.names[0])) {
        path.names.insert(0, "crate".to_owned());
    }
}

fn fault(source: &Source, room: &str, may: &May, path: &Path) -> Option<String> {
    let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
    match names[..] {
        ["super", "super", ..] => Some("`super::super`; hint: write the path from `crate::`".to_owned()),
        ["crate" | "peakpost", "*", ..] => Some("a glob of the crate's root; hint: name the room".to_owned()),
        // In a room's first file `super` is the crate's root.
        ["crate" | "peakpost" | "super", other, ..] if other != room && is_room(other) => {
            let leaves_room = names[0] != "super" || source.is_room_root();
            if !leaves_room || may.allows(&path.names[1..]) {
                return None;
            }
            let hint = "pass the value in from the room that may know both, or move the word to `job` or `outcome`";
            Some(format!("`{room}` may not import `{}`; hint: {hint}", names[1..].join("::")))
        }
        _ => None,
    }
}

fn root_faults(source: &Source) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (i, token) in source.tokens.iter().enumerate() {
        match (token.text.as_str(), source.at(i + 1)) {
            ("pub", "use") => {
                out.push((
                    token.line,
                    "`pub use` at the crate's root hides a room; hint: callers write the room".to_owned(),
                ));
            }
            ("mod", name) if !is_room(name) => {
                out.push((token.line, format!("`{name}` is no room; hint: add it to TABLE in tests/tidy/imports.rs")));
            }
            _ => {}
        }
    }
    out
}
