//! The one table of keys: it decides what is known, what is a default, which environment variables exist, what the
//! reference file, the schema and `config show` say.

mod edge;
mod rooms;
mod routes;
mod session;
mod sources;
mod throttle;

use super::shape::Shape;
use std::time::Duration;

const DAY: Duration = days(1);

const fn days(count: u64) -> Duration {
    Duration::from_hours(24 * count)
}

const UNLIMITED: Words = Words {
    now: &["unlimited"],
    later: &[],
};

/// A table of the file.
pub(super) struct Table {
    /// What it is for, above its header in the reference.
    pub says: &'static str,
    pub keys: &'static [Key],
}

/// One key.
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// What it does and why its default is what it is.
    pub says: &'static str,
    /// The default as TOML.
    pub default: Option<&'static str>,
    /// A value for the reference as TOML, where there is no default.
    pub example: Option<&'static str>,
    /// Whether the reference gives the example for real instead of as a comment.
    pub shown: bool,
    pub presence: Presence,
}

/// Whether a key may and must be given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Optional,
    Required,
    /// Its feature is not built yet.
    Later,
}

/// What a key takes.
pub(super) enum Kind {
    /// A text of some shape.
    One(&'static Shape),
    /// A list of texts.
    List(&'static Shape),
    /// A table of free keys: names and texts.
    Pairs(&'static Shape, &'static Shape),
    /// A table of places with what stands there: a text, a number or true and false.
    Conditions(&'static Shape),
    Flag,
    Number {
        least: i64,
        most: i64,
    },
    /// A duration.
    Span {
        least: Duration,
        most: Duration,
    },
    /// A number of bytes.
    Size {
        least: u64,
        most: u64,
    },
    Words(&'static Words),
    /// One of these words, or what the other kind takes.
    Either(&'static Words, &'static Kind),
    Table(&'static Table),
    Tables(&'static Table),
    /// Keys of later features: whatever it is, it is refused.
    Anything {
        secret: bool,
    },
}

/// A closed set of words.
pub(super) struct Words {
    pub now: &'static [&'static str],
    /// Known, and not available yet.
    pub later: &'static [&'static str],
}

impl Key {
    const fn new(name: &'static str, kind: Kind, says: &'static str) -> Self {
        Self {
            name,
            kind,
            says,
            default: None,
            example: None,
            shown: false,
            presence: Presence::Optional,
        }
    }

    const fn later(name: &'static str) -> Self {
        Self {
            presence: Presence::Later,
            ..Self::new(name, Kind::Anything { secret: false }, "")
        }
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    const fn shown(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self.shown = true;
        self
    }

    const fn required(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self.shown = true;
        self.presence = Presence::Required;
        self
    }

    /// The table that it holds, singly or in a list, or may hold instead of a word.
    pub fn below(&self) -> Option<&'static Table> {
        match self.kind {
            Kind::Table(below) | Kind::Tables(below) => Some(below),
            Kind::Either(_, Kind::Table(below) | Kind::Tables(below)) => Some(below),
            _ => None,
        }
    }

    /// Whether its value is a secret.
    pub fn is_secret(&self) -> bool {
        match self.kind {
            Kind::One(shape) | Kind::List(shape) | Kind::Pairs(_, shape) => shape.secret,
            Kind::Anything { secret } => secret,
            _ => false,
        }
    }
}

impl Table {
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The whole file.
pub(super) fn root() -> &'static Table {
    &rooms::ROOT
}

/// Every table with its dotted name, the root as an empty one.
pub(super) fn tables() -> Vec<(String, &'static Table)> {
    let mut all = vec![(String::new(), root())];
    let mut next = 0;
    while let Some((path, table)) = all.get(next).cloned() {
        next += 1;
        for key in table.keys {
            if let Some(below) = key.below() {
                all.push((join(&path, key.name), below));
            }
        }
    }
    all
}

/// The name of a key below a table.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Whether a key of this name exists anywhere.
pub(super) fn is_known(name: &str) -> bool {
    tables().iter().any(|(_, table)| table.find(name).is_some())
}

/// Whether keys of this name exist, and none of them is a secret.
pub(super) fn is_known_and_public(name: &str) -> bool {
    let tables = tables();
    let mut found = tables.iter().filter_map(|(_, table)| table.find(name)).peekable();
    found.peek().is_some() && found.all(|key| !key.is_secret())
}
