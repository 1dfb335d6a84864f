//! Holds the source to its drawing: which room may name which, and which crate is spoken where.

use std::{
    fs,
    path::{Path, PathBuf},
};

mod simulator_docs;

/// Which rooms a room may name, besides itself. `proto` is the generated messages. A file beside
/// the rooms (`config.rs`) counts as a room of its own.
const ARROWS: [(&str, &[&str]); 18] = [
    ("domain", &[]),
    ("breaking", &[]),
    ("store", &["domain", "telemetry", "breaking"]),
    ("upstream", &["domain", "telemetry"]),
    // It seals what others store, and stores nothing.
    ("vault", &["domain"]),
    ("hub", &["domain", "store", "telemetry"]),
    (
        "lanes",
        &["domain", "store", "upstream", "telemetry", "breaking"],
    ),
    (
        "worker",
        &[
            "domain",
            "store",
            "upstream",
            "lanes",
            "vault",
            "telemetry",
            "breaking",
        ],
    ),
    ("credentials", &["domain", "store", "upstream", "lanes"]),
    // It looks at an account before there is a database.
    ("doctor", &["domain", "upstream"]),
    (
        "service",
        &[
            "domain",
            "store",
            "hub",
            "credentials",
            "vault",
            "proto",
            "telemetry",
        ],
    ),
    // It meets the rest on the wire, so that one wrong rule cannot flatter both sides.
    ("simulator", &[]),
    ("cli", &["proto"]),
    ("admin", &["domain", "store", "hub", "telemetry"]),
    ("dev", &[]),
    ("telemetry", &[]),
    // Rooms define their own settings; this gathers them.
    (
        "config",
        &[
            "breaking",
            "store",
            "upstream",
            "vault",
            "hub",
            "lanes",
            "worker",
            "credentials",
            "doctor",
            "service",
            "admin",
            "cli",
            "telemetry",
            "simulator",
            "dev",
        ],
    ),
    ("proto", &[]),
];

/// The files that join the rooms, and so may name them all.
const JOINERS: [&str; 3] = ["app", "lib", "main"];

/// Where each of these crates is spoken, and nowhere else.
const CRATES: [(&str, &[&str]); 14] = [
    ("sqlx", &["store", "dev"]),
    ("reqwest", &["upstream"]),
    ("aho_corasick", &["upstream"]),
    ("tonic", &["service", "cli", "app", "proto", "lib"]),
    ("axum", &["simulator", "admin"]),
    // Upstream and service name it as the provider of TLS.
    ("ring", &["vault", "upstream", "service"]),
    ("tokio_rustls", &["service"]),
    ("x509_parser", &["service"]),
    ("toml", &["service"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("prometheus", &["telemetry"]),
];

/// A file longer than this says more than one thing.
const LONGEST: usize = 400;

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let mut broken = Vec::new();
    for file in sources() {
        let room = file.room();
        if JOINERS.contains(&room) {
            continue;
        }
        let Some((_, may)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("{}: {room} is in no row of ARROWS", file.path));
            continue;
        };
        for (line, named) in file.rooms_named() {
            if named != room && !may.contains(&named.as_str()) {
                broken.push(format!("{}:{line}: {room} may not name {named}", file.path));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "arrows of the design are broken:\n{}",
        broken.join("\n")
    );
}

#[test]
fn crates_are_spoken_only_in_their_rooms() {
    let mut broken = Vec::new();
    for file in sources() {
        for (name, rooms) in CRATES {
            // The tests of a room may speak to it from outside.
            if rooms.contains(&file.room()) || file.path.contains("/tests/") {
                continue;
            }
            for (line, _) in words(&file.code, name).filter(|(_, rest)| rest.starts_with("::")) {
                let (path, rooms) = (&file.path, rooms.join(", "));
                broken.push(format!("{path}:{line}: {name} is spoken only in {rooms}"));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "crates are spoken in the wrong rooms:\n{}",
        broken.join("\n")
    );
}

#[test]
fn no_file_is_too_long_to_read_in_one_go() {
    let long: Vec<String> = sources()
        .iter()
        .map(|file| (&file.path, file.code.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(
        long.is_empty(),
        "more than {LONGEST} lines, so split by what is said:\n{long:#?}"
    );
}

#[test]
fn every_room_has_a_comment_at_its_door() {
    let bare: Vec<String> = sources()
        .into_iter()
        .filter(|file| file.path.ends_with("/mod.rs") && !file.text.starts_with("//!"))
        .map(|file| file.path)
        .collect();
    assert!(
        bare.is_empty(),
        "begin with //! and what the room is for: {bare:?}"
    );
}

#[test]
fn every_way_of_naming_a_room_is_seen() {
    let text = "use crate::{domain::{self, Lane}, store as rows};\n\
                // crate::simulator\n\
                fn f() { crate::worker::run(\"crate::cli\") }\n\
                use super::super::hub::Hub;\n\
                pub(crate) use super::inner;\n\
                mod tests { use super::super::super::admin; use super::super::events; }\n\
                use crate::{\n    upstream,\n    Version,\n};\n";
    let file = Source::new("src/service/watch/mod.rs".into(), text.into());
    let named = file.rooms_named();
    let expected = [
        (1, "domain"),
        (1, "store"),
        (3, "worker"),
        (4, "hub"),
        (6, "admin"),
        (8, "upstream"),
    ];
    let named: Vec<(usize, &str)> = named.iter().map(|(l, n)| (*l, n.as_str())).collect();
    assert_eq!(named, expected);
}

/// A file of `src`.
struct Source {
    /// From the root: `src/store/claim.rs`.
    path: String,
    text: String,
    /// The text with comments and strings blanked, line by line.
    code: String,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let code = blank(&text);
        Self { path, text, code }
    }

    /// The first name below `src`: a folder, or a file beside the folders.
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").expect("a file of src");
        below
            .split('/')
            .next()
            .map_or(below, |name| name.trim_end_matches(".rs"))
    }

    /// How many modules this file is below the crate: 1 for `src/store/mod.rs`.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count() - 1;
        if self.path.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    /// The rooms that paths from `crate` or through `super` lead to, with their lines.
    fn rooms_named(&self) -> Vec<(usize, String)> {
        let mut named = Vec::new();
        for (line, rest) in words(&self.code, "crate") {
            if let Some(rest) = rest.strip_prefix("::") {
                named.extend(first_names(rest, line));
            }
        }
        for (line, rest) in words(&self.code, "super") {
            let mut ups = 1;
            let mut rest = rest;
            while let Some(further) = rest.strip_prefix("::super") {
                (ups, rest) = (ups + 1, further);
            }
            // As many steps up as the file is deep lead to the crate. A `mod tests` within it is
            // one deeper, so one step more does too; any other name there is no room's.
            if let Some(rest) = rest.strip_prefix("::").filter(|_| ups >= self.depth()) {
                named.extend(
                    first_names(rest, line)
                        .into_iter()
                        .filter(|(_, it)| is_room(it)),
                );
            }
        }
        // Types and macros at the root of the crate are no rooms.
        named.retain(|(_, name)| name.starts_with(|c: char| c.is_ascii_lowercase()));
        named.sort();
        named.dedup();
        named
    }
}

fn is_room(name: &str) -> bool {
    JOINERS.contains(&name) || ARROWS.iter().any(|(room, _)| *room == name)
}

/// Every place where a word stands, with its line and what follows it. Of a chain of the same
/// word (`super::super`) only the first counts.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).filter_map(move |(at, _)| {
        let (before, rest) = (&code[..at], &code[at + word.len()..]);
        let alone = !before.ends_with(is_name) && !rest.starts_with(is_name);
        let first = !before.ends_with(&format!("{word}::"));
        (alone && first).then(|| (before.matches('\n').count() + 1, rest))
    })
}

/// The first name of a path, or of each path in a `{…}`.
fn first_names(rest: &str, line: usize) -> Vec<(usize, String)> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![(line, name(rest))];
    };
    let (mut names, mut depth, mut line, mut expects_name) = (Vec::new(), 0, line, true);
    for (at, c) in group.char_indices() {
        match c {
            '\n' => line += 1,
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => expects_name = true,
            c if c.is_whitespace() => {}
            _ if expects_name && depth == 0 => {
                names.push((line, name(&group[at..])));
                expects_name = false;
            }
            _ => {}
        }
    }
    names
}

/// Blanks comments and strings and keeps the lines. A quote in a character (`'"'`) is seen; raw
/// strings are taken as they are written here, with as many `#` as they need.
fn blank(text: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        let after_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let hashes = rest.chars().skip(1).take_while(|c| *c == '#').count();
        let raw = c == 'r' && !after_name && rest[1 + hashes..].starts_with('"');
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if raw {
            let close = format!("\"{}", "#".repeat(hashes));
            let from = 2 + hashes;
            rest[from..]
                .find(&close)
                .map_or(rest.len(), |at| from + at + close.len())
        } else if c == '"' {
            end_of_string(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find("'").map_or(rest.len(), |at| at + 2)
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(
            rest[..end]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[end..];
    }
    code
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn sources() -> Vec<Source> {
    let root = std::env::var_os("REGISTRAR_TEST_ROOT")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let mut files = Vec::new();
    collect(&root, &root.join("src"), &mut files);
    assert!(!files.is_empty(), "no source in {}", root.display());
    files
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<Source>) {
    let entries = fs::read_dir(dir).expect("src can be listed");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("src can be listed").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let name = path
                .strip_prefix(root)
                .expect("a file of src")
                .display()
                .to_string();
            files.push(Source::new(
                name,
                fs::read_to_string(&path).expect("source is UTF-8"),
            ));
        }
    }
}
