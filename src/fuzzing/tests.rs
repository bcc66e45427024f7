use super::TARGETS;
use super::Target;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Changed inputs for one target: a second or two for each group, on a slow machine.
const INPUTS: usize = 1_500;
/// No changed input is longer: a cookie's value and a head are shorter still.
const MOST: usize = 6_000;
/// What decoders take for signs.
const WORDS: &[&str] = &[
    "\"",
    "%",
    "%00",
    "%2F",
    "%zz",
    "%25",
    ".",
    "--",
    ":",
    "::",
    ";",
    "=",
    "==",
    "s:",
    "\0",
    "\r\n",
    "\n",
    " ",
    "\t",
    "#",
    "\\",
    "//",
    "@",
    "é",
    "\u{2028}",
    "{}",
    "[",
    "]",
    "{\"a\":",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "Content-Length: 1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: a\r\n",
    "0\r\n\r\n",
    "f",
    "u:",
    "h:",
    "2::",
    "\u{81}",
];

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", name].iter().collect()
}

fn names_in(name: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder is there");
    let names = entries.map(|entry| {
        entry
            .unwrap()
            .path()
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    });
    names.collect()
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder("seeds").join(target.name)).expect("every target has seeds");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// `SplitMix64`, seeded by the name, so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn of(name: &str) -> Self {
        Self(
            name.bytes()
                .fold(7, |sum: u64, byte| sum.wrapping_mul(31) ^ u64::from(byte)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// One change of the kind that fuzzers make.
    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let (from, to) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        match self.below(8) {
            0 if from < bytes.len() => bytes[from] ^= 1 << self.below(8),
            1 if from < bytes.len() => bytes[from] = u8::try_from(self.below(256)).unwrap(),
            2 => drop(bytes.drain(from..to.min(from + 8))),
            3 => bytes.truncate(to),
            4 => {
                let piece = bytes[from..to].to_vec();
                drop(bytes.splice(to..to, piece));
            }
            5 => {
                let other = self.pick(seeds);
                let cut = self.below(other.len() + 1);
                bytes.truncate(from);
                bytes.extend_from_slice(&other[cut..]);
            }
            _ => {
                let word = self.pick(WORDS).as_bytes();
                drop(bytes.splice(from..from, word.iter().copied()));
            }
        }
        bytes.truncate(MOST);
    }
}

/// Says what a target was given when it panics.
struct Given<'a>(&'a str, Vec<u8>);

impl Drop for Given<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} was given \"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn try_all(is_of_group: impl Fn(&str) -> bool) {
    let mut tried = 0;
    for target in TARGETS.iter().filter(|target| is_of_group(target.name)) {
        let (seeds, mut chance) = (seeds(target), Chance::of(target.name));
        let give = |bytes: Vec<u8>| {
            let given = Given(target.name, bytes);
            (target.run)(&given.1);
        };
        seeds.iter().cloned().for_each(give);
        for _ in 0..INPUTS {
            let mut bytes = chance.pick(&seeds).clone();
            for _ in 0..=chance.below(4) {
                chance.change(&mut bytes, &seeds);
            }
            give(bytes);
        }
        tried += 1;
    }
    assert!(tried > 0, "no targets");
}

fn is_cookie(name: &str) -> bool {
    name.starts_with("cookie_")
}

fn is_payload(name: &str) -> bool {
    name.starts_with("payload_")
}

#[test]
fn no_cookie_of_an_application_breaks_a_promise() {
    try_all(is_cookie);
}

#[test]
fn no_payload_of_an_application_breaks_a_promise() {
    try_all(is_payload);
}

#[test]
fn no_bytes_from_the_wire_break_a_promise() {
    try_all(|name| !is_cookie(name) && !is_payload(name));
}

#[test]
fn every_target_has_its_file_its_seeds_and_its_line_and_none_is_left_over() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len());
    assert_eq!(names_in("fuzz_targets"), names);
    assert_eq!(names_in("seeds"), names);
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in &names {
        let lines = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&lines), "{lines}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), names.len());
}
