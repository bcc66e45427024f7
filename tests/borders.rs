//! The borders between rooms, read from the sources: who may import whom, how imports are written, how long files are.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may name. What is not here may not be imported.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("web", &[]),
    ("telemetry", &[]),
    ("lifecycle", &[]),
    ("clock", &["model"]),
    ("store", &["model", "clock", "telemetry"]),
    ("audit", &["model", "clock", "store"]),
    ("account", &["model", "clock", "store"]),
    ("session", &["model", "clock", "store", "audit", "telemetry"]),
    ("net", &["web", "telemetry", "lifecycle"]),
    (
        "portal",
        &["web", "model", "clock", "session", "account", "audit", "telemetry"],
    ),
    (
        "admin",
        &["web", "model", "clock", "session", "account", "audit", "telemetry"],
    ),
    ("proxy", &["web", "model", "clock", "session", "portal", "telemetry"]),
    (
        "config",
        &[
            "model",
            "web",
            "telemetry",
            "lifecycle",
            "clock",
            "store",
            "audit",
            "account",
            "session",
            "net",
            "portal",
            "admin",
            "proxy",
        ],
    ),
    (
        "app",
        &[
            "model",
            "web",
            "telemetry",
            "lifecycle",
            "clock",
            "store",
            "audit",
            "account",
            "session",
            "net",
            "portal",
            "admin",
            "proxy",
            "config",
        ],
    ),
    // What decoders promise, for any bytes; only in tests and fuzz targets.
    ("fuzzing", &["model", "web", "store", "session", "net", "portal"]),
    // Commands that work beside a running gateway use the same doors as the portal.
    (
        "cli",
        &[
            "config",
            "app",
            "account",
            "session",
            "store",
            "model",
            "clock",
            "telemetry",
            "lifecycle",
            "net",
            "web",
        ],
    ),
];

const LONGEST_FILE: usize = 400;
const LONGEST_MAIN: usize = 40;

#[test]
fn a_room_imports_only_rooms_below_it() {
    let mut breaches = String::new();
    for source in sources("src") {
        let Some(room) = room_of(&source.path) else { continue };
        let Some((_, below)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            let _ = writeln!(
                breaches,
                "{}: the room `{room}` is not in the table of tests/borders.rs",
                source.name()
            );
            continue;
        };
        for (line, named) in rooms_named(&source.code) {
            if named != room && !below.contains(&named.as_str()) {
                let _ = writeln!(breaches, "{}:{line}: `{room}` may not import `{named}`", source.name());
            }
        }
    }
    assert!(breaches.is_empty(), "\n{breaches}");
}

#[test]
fn one_import_of_ours_stands_on_a_line_without_groups() {
    let mut breaches = String::new();
    for source in sources("src") {
        for (index, line) in source.code.lines().enumerate() {
            let line = line.trim_start();
            let import = line
                .split_once("use crate::")
                .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
            if import.is_some_and(|(_, path)| path.contains('{') || !path.ends_with(';')) {
                let _ = writeln!(
                    breaches,
                    "{}:{}: write one `use crate::…;` a line",
                    source.name(),
                    index + 1
                );
            }
        }
    }
    assert!(breaches.is_empty(), "\n{breaches}");
}

#[test]
fn every_room_has_a_door_with_a_sign() {
    let mut breaches = String::new();
    for folder in folders("src") {
        let door = folder.join("mod.rs");
        let text = std::fs::read_to_string(&door).unwrap_or_default();
        if !text.starts_with("//! ") {
            let _ = writeln!(
                breaches,
                "{}: needs a `//!` header that tells what the room does",
                door.display()
            );
        }
    }
    assert!(breaches.is_empty(), "\n{breaches}");
}

#[test]
fn files_stay_short() {
    let mut breaches = String::new();
    for source in sources("src") {
        let length = source.code.trim_end().lines().count();
        let longest = if source.path.ends_with("src/main.rs") {
            LONGEST_MAIN
        } else {
            LONGEST_FILE
        };
        if length > longest {
            let _ = writeln!(
                breaches,
                "{}: {length} lines without tests, at most {longest}",
                source.name()
            );
        }
    }
    assert!(breaches.is_empty(), "\n{breaches}");
}

#[test]
fn no_test_is_switched_off() {
    let mark = concat!("#[", "ignore");
    let marked = |source: &Source| source.text.contains(mark);
    let off: Vec<String> = sources("src")
        .iter()
        .chain(&sources("tests"))
        .filter(|one| marked(one))
        .map(Source::name)
        .collect();
    assert!(off.is_empty(), "ignored tests in {off:?}");
}

#[test]
fn the_table_has_no_circle() {
    let mut known = BTreeSet::new();
    while known.len() < ROOMS.len() {
        let next = ROOMS
            .iter()
            .find(|(room, below)| !known.contains(room) && below.iter().all(|name| known.contains(name)));
        let (room, _) = next.unwrap_or_else(|| panic!("a circle among rooms other than {known:?}"));
        known.insert(room);
    }
}

#[test]
fn imports_are_found_wherever_they_are_written() {
    let code =
        "use crate::net;\nfn f() -> crate::proxy::X { $crate::web::y(pub(crate)) }\nuse crate::{store, session::S};\n";
    let found = rooms_named(code);
    let expected = [(1, "net"), (2, "proxy"), (2, "web"), (3, "store"), (3, "session")];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
    let hidden = "/// [`crate::net`]\n// crate::web\n#[cfg(test)]\nmod tests {\n    use crate::store;\n}\nuse crate::model::A;\n";
    assert_eq!(
        rooms_named(&without_tests_and_comments(hidden)),
        [(7, "model".to_owned())]
    );
}

/// A source file.
struct Source {
    path: PathBuf,
    text: String,
    /// Without comments and without test modules; the numbers of lines stay.
    code: String,
}

impl Source {
    fn name(&self) -> String {
        self.path
            .strip_prefix(root())
            .unwrap_or(&self.path)
            .display()
            .to_string()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folders(under: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root().join(under)];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources can be read") {
            let path = entry.expect("the sources can be read").path();
            if path.is_dir()
                && std::fs::read_dir(&path).is_ok_and(|mut inside| inside.any(|entry| is_source(entry.as_ref().ok())))
            {
                found.push(path.clone());
            }
            if path.is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_source(entry: Option<&std::fs::DirEntry>) -> bool {
    entry.is_some_and(|entry| entry.path().extension().is_some_and(|end| end == "rs"))
}

fn sources(under: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders(under).into_iter().chain([root().join(under)]) {
        for entry in std::fs::read_dir(&folder).expect("the sources can be read").flatten() {
            if is_source(Some(&entry)) {
                let path = entry.path();
                let text = std::fs::read_to_string(&path).expect("the sources can be read");
                let tests_only = path
                    .file_stem()
                    .is_some_and(|stem| stem == "tests" || stem == "testing");
                let code = if tests_only {
                    String::new()
                } else {
                    without_tests_and_comments(&text)
                };
                found.push(Source { path, text, code });
            }
        }
    }
    assert!(!found.is_empty(), "no sources under {under}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// `proxy` for `src/proxy/gate.rs` and `clock` for `src/clock.rs`; nothing for the map and `main.rs`.
fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root().join("src")).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (room != "lib" && room != "main").then(|| room.to_owned())
}

/// Every `crate::name` with its line, groups after `crate::` included.
fn rooms_named(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
                continue;
            }
            let path = &line[at + "crate::".len()..];
            let names: Vec<&str> = match path.strip_prefix('{') {
                Some(group) => group.split(',').collect(),
                None => vec![path],
            };
            for name in names {
                let name: String = name
                    .trim()
                    .chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect();
                if !name.is_empty() {
                    found.push((index + 1, name));
                }
            }
        }
    }
    found
}

/// Empties comment lines and everything within a `#[cfg(test)]` item.
fn without_tests_and_comments(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            code.push('\n');
            skip_item(&mut lines, &mut code, indentation(line));
            continue;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line.split(" // ").next().unwrap_or(line));
        }
        code.push('\n');
    }
    code
}

/// Skips one item: to a line that ends it at `indentation`, as rustfmt writes it.
fn skip_item(lines: &mut std::str::Lines<'_>, code: &mut String, depth: usize) {
    for line in lines {
        code.push('\n');
        let at_depth = indentation(line) == depth;
        let attribute = line.trim_start().starts_with("#[");
        if at_depth && !attribute && (line.ends_with('}') || line.ends_with(';')) {
            return;
        }
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
