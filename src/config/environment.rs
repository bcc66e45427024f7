//! The environment: passed in as a map, so that only one function asks the real one.

use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::keys::Presence;
use super::problem::Findings;
use super::problem::Place;
use super::problem::Problem;
use super::suggest;
use super::tree::Node;
use super::tree::Origin;
use super::tree::Section;
use super::tree::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

const PREFIX: &str = "PORTCULLIS_";
/// Names that are not keys: the file itself, read by the command line, and a short form of `PORTCULLIS_LOG_LEVEL`.
const CONFIG: &str = "PORTCULLIS_CONFIG";
const LOG: &str = "PORTCULLIS_LOG";

/// Environment variables by name; `None` for a value that is no UTF-8.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Option<String>>);

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_pairs(std::env::vars_os())
    }

    /// These variables and no others.
    #[must_use]
    pub fn from_pairs<N: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let named = pairs.into_iter().filter_map(|(name, value)| {
            let name = name.into().into_string().ok()?;
            Some((name, value.into().into_string().ok()))
        });
        Self(named.collect())
    }

    /// The file that `PORTCULLIS_CONFIG` names, for the command line.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        self.find(CONFIG).ok().map(Into::into)
    }

    /// The text of a variable, or why there is none.
    pub(super) fn find(&self, name: &str) -> Result<&str, &'static str> {
        match self.0.get(name).map(Option::as_deref) {
            None => Err("is not set"),
            Some(None) => Err("is not UTF-8"),
            Some(Some("")) => Err("is empty"),
            Some(Some(text)) => Ok(text),
        }
    }
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

/// A key that a variable may stand for.
struct Variable {
    name: String,
    table: &'static str,
    key: &'static Key,
}

/// The closed list: `PORTCULLIS_<KEY>` for keys at the top, `PORTCULLIS_<TABLE>_<KEY>` for keys of the single tables.
fn variables() -> Vec<Variable> {
    let takes_text = |key: &Key| {
        !matches!(
            key.kind,
            Kind::Table(_) | Kind::Tables(_) | Kind::Pairs(..) | Kind::Conditions(_)
        )
    };
    let mut all = Vec::new();
    for key in keys::root().keys {
        match key.kind {
            Kind::Table(table) => all.extend(table.keys.iter().filter(|key| takes_text(key)).map(|below| Variable {
                name: format!("{PREFIX}{}_{}", key.name, below.name).to_ascii_uppercase(),
                table: key.name,
                key: below,
            })),
            _ if takes_text(key) && key.name != "source" => all.push(Variable {
                name: format!("{PREFIX}{}", key.name).to_ascii_uppercase(),
                table: "",
                key,
            }),
            _ => {}
        }
    }
    all
}

/// Every name that may be set, for the reference and for suggestions.
pub(super) fn names() -> Vec<String> {
    let mut names = vec![CONFIG.to_owned(), LOG.to_owned()];
    for variable in variables()
        .into_iter()
        .filter(|variable| variable.key.presence != Presence::Later)
    {
        if variable.key.is_secret() {
            names.push(format!("{}_FILE", variable.name));
        }
        names.push(variable.name);
    }
    names.sort();
    names
}

/// Puts the variables' values over the file's.
pub(super) fn overlay(root: &mut Section, environment: &Environment, findings: &mut Findings) {
    let variables = variables();
    for (name, value) in &environment.0 {
        if !name.starts_with(PREFIX) || name == CONFIG || is_set_by_orchestrators(name, value.as_deref()) {
            continue;
        }
        let plain = if name == LOG {
            "PORTCULLIS_LOG_LEVEL"
        } else {
            name.as_str()
        };
        let stem = plain.strip_suffix("_FILE");
        let direct = variables.iter().find(|variable| variable.name == plain);
        let by_file = || {
            variables
                .iter()
                .find(|variable| variable.key.is_secret() && Some(variable.name.as_str()) == stem)
        };
        let place = Place::Environment(name.clone());
        let Some(variable) = direct.or_else(by_file) else {
            findings.push(unknown(place, name));
            continue;
        };
        let key = keys::join(variable.table, variable.key.name);
        let Some(text) = value.as_deref().filter(|text| !text.is_empty()) else {
            let what = if value.is_none() {
                "is not UTF-8"
            } else {
                "is set but empty"
            };
            findings.push(Problem::error(place, key, format!("{name} {what}")).hint("give it a value or unset it"));
            continue;
        };
        if direct.is_none() && environment.0.contains_key(&variable.name) {
            let message = format!("{} and {name} are both set", variable.name);
            findings.push(Problem::error(place, key, message).hint("unset one of them"));
            continue;
        }
        put(root, variable.table, variable.key.name, |key| match direct {
            Some(_) => node_of(key, Origin::Environment(name.clone()), text),
            None => from_file(name, text),
        });
    }
}

fn unknown(place: Place, name: &str) -> Problem {
    let names = names();
    let near = suggest::nearest(name, names.iter().map(String::as_str));
    Problem::error(place, "", format!("{name} is not a variable of ours")).hint(near.map_or_else(
        || "unset it; PORTCULLIS_… names stand for keys, as in PORTCULLIS_STORE_URL".to_owned(),
        |near| format!("did you mean {near}?"),
    ))
}

/// What Kubernetes and Docker links set for a service whose name starts with `portcullis`; nobody chose these.
fn is_set_by_orchestrators(name: &str, value: Option<&str>) -> bool {
    let is_url = value.is_some_and(|value| {
        ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme))
    });
    let is_port_part = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
            && parts
                .next()
                .is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url)
        || is_port_part
}

/// Puts a value into `root` where its key belongs; `table` is empty for a key at the top.
pub(super) fn put(root: &mut Section, table: &str, name: &str, make: impl FnOnce(&'static Key) -> Node) {
    let top = keys::root();
    let Some(home) = (if table.is_empty() {
        Some(top)
    } else {
        top.find(table).and_then(Key::below)
    }) else {
        return;
    };
    let Some(key) = home.find(name) else { return };
    if table.is_empty() {
        root.entries.insert(name.to_owned(), make(key));
        return;
    }
    let section = root
        .entries
        .entry(table.to_owned())
        .or_insert_with(|| Node::new(Value::Table(Section::default()), Origin::Default));
    // A table that is no table is refused when it is read; until then the value has nowhere to go.
    if let Value::Table(section) = &mut section.value {
        section.entries.insert(name.to_owned(), make(key));
    }
}

/// The value of an option or a variable, as its key takes it.
pub(super) fn node_of(key: &Key, origin: Origin, text: &str) -> Node {
    Node::new(value_of(&key.kind, &origin, text), origin)
}

/// `file:` does the reading, later, where every other value is read.
fn from_file(name: &str, path: &str) -> Node {
    Node::new(
        Value::Text(format!("file:{path}")),
        Origin::Environment(name.to_owned()),
    )
}

/// A text as a key of this kind takes it.
pub(super) fn value_of(kind: &Kind, origin: &Origin, text: &str) -> Value {
    match kind {
        Kind::Flag if text == "true" => Value::Flag(true),
        Kind::Flag if text == "false" => Value::Flag(false),
        Kind::Number { .. } => text
            .parse()
            .map_or_else(|_| Value::Text(text.to_owned()), Value::Number),
        Kind::Either(words, _) if words.now.contains(&text) => Value::Text(text.to_owned()),
        Kind::Either(_, inner) => value_of(inner, origin, text),
        Kind::List(shape) => {
            let ends_item = |c: char| c == '\n' || (c == ',' && !shape.secret);
            let items = text.split(ends_item).map(str::trim).filter(|item| !item.is_empty());
            Value::List(
                items
                    .map(|item| Node::new(Value::Text(item.to_owned()), origin.clone()))
                    .collect(),
            )
        }
        _ => Value::Text(text.to_owned()),
    }
}
