//! What is wrong with a configuration, where, and what to do about it.

use super::tree::Node;
use super::tree::Origin;
use super::tree::Section;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration cannot take effect.
    Error,
    /// It can, but is likely not what was meant.
    Warning,
}

/// One thing that is wrong. Never holds a secret's text.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Which key, dotted, with positions from 0, as in `route[0].path`; empty for the whole.
    pub key: String,
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    pub(super) place: Place,
    /// A second place in the file that has to do with it, and what is there.
    pub(super) also: Option<(Range<usize>, &'static str)>,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Bytes of the file.
    File(Range<usize>),
    /// An environment variable.
    Environment(String),
    /// An option of the command line.
    Flag(String),
    /// Something that is missing is nowhere.
    Nowhere,
}

impl From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Default => Self::Nowhere,
            Origin::File(span) => Self::File(span.clone()),
            Origin::Environment(name) => Self::Environment(name.clone()),
            Origin::Flag(name) => Self::Flag(name.clone()),
        }
    }
}

impl Problem {
    pub(super) fn error(place: impl Into<Place>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            key: key.into(),
            message: message.into(),
            hint: None,
            place: place.into(),
            also: None,
        }
    }

    pub(super) fn warning(place: impl Into<Place>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, key, message)
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Points at a second value too, where it stands in the file.
    pub(super) fn also(mut self, origin: &Origin, what: &'static str) -> Self {
        if let Origin::File(span) = origin {
            self.also = Some((span.clone(), what));
        }
        self
    }
}

/// Problems as they are found, and the parts of the file that no message may show.
#[derive(Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    pub hidden: Vec<Range<usize>>,
    /// Every file that a value was read from, or should have been.
    pub files: Vec<PathBuf>,
}

impl Findings {
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A problem of one value; nothing where the value was refused before.
    pub fn at(&mut self, node: Option<&Node>, key: &str, message: impl Into<String>, hint: &str) {
        let Some(node) = node else {
            self.push(Problem::error(Place::Nowhere, key, message).hint(hint));
            return;
        };
        if !node.is_broken() {
            self.push(Problem::error(&node.origin, key, message).hint(hint));
        }
    }

    /// A problem of a whole table.
    pub fn in_section(&mut self, section: &Section, key: &str, message: impl Into<String>, hint: &str) {
        self.push(Problem::error(&section.origin, key, message).hint(hint));
    }

    /// Keeps the texts of a secret out of all messages; `env:NAME` and `file:PATH` say where it is, not what it is.
    pub fn hide_direct(&mut self, node: &Node) {
        match node.text() {
            Some(text) if text.starts_with("env:") || text.starts_with("file:") => {}
            _ if !node.items().is_empty() => node.items().iter().for_each(|item| self.hide_direct(item)),
            _ => self.hide(node),
        }
    }

    /// Keeps every text at and below `node` out of all messages.
    pub fn hide(&mut self, node: &Node) {
        node.text_spans(&mut self.hidden);
    }
}

/// Everything that is wrong, in the order of the file.
pub struct Problems {
    pub(super) list: Vec<Problem>,
    /// The file as it is named in messages.
    pub(super) name: String,
    /// The file's text with everything secret blotted out.
    pub(super) text: String,
    pub(super) unreadable: bool,
    pub(super) files: Vec<PathBuf>,
}

impl Problems {
    /// Every file that was read, or should have been: what is wrong may be mended in any of them.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Sorts findings by place and keeps what may be shown of the text.
    pub(super) fn new(name: &str, text: &str, mut list: Vec<Problem>, hidden: &[Range<usize>]) -> Self {
        list.sort_by_key(|problem| match &problem.place {
            Place::File(span) => (0, span.start),
            Place::Environment(_) => (1, 0),
            Place::Flag(_) => (2, 0),
            Place::Nowhere => (3, 0),
        });
        Self {
            list,
            name: name.to_owned(),
            text: super::mask::blot(text, hidden),
            unreadable: false,
            files: Vec::new(),
        }
    }

    pub(super) fn read_from(mut self, files: &[PathBuf]) -> Self {
        self.files = files.to_vec();
        self
    }

    /// The file could not be read at all.
    pub(super) fn unreadable(name: &str, why: &str) -> Self {
        let message = format!("cannot read {name}: {why}");
        Self {
            list: vec![Problem::error(Place::Nowhere, "", message)],
            name: name.to_owned(),
            text: String::new(),
            unreadable: true,
            files: vec![Path::new(name).to_owned()],
        }
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the file could not even be read: nothing is known of what it says.
    #[must_use]
    pub fn could_not_read(&self) -> bool {
        self.unreadable
    }
}

/// As [`Problems::to_text`] without colours.
impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_text(false))
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_text(false))
    }
}

impl std::error::Error for Problems {}
