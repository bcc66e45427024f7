//! The configuration in effect, as TOML, with the origin of each value.

use super::Loaded;
use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::keys::Table;
use super::tree::Node;
use super::tree::Origin;
use super::tree::Section;
use super::tree::Value;
use std::fmt::Write;

const SECRET: &str = "\"(secret)\"";

/// Every value in effect in the shape of the file; secrets as `(secret)`. With `with_origin`, a comment says where each
/// came from: the default, a line of the file, a variable, an option.
#[must_use]
pub fn show(loaded: &Loaded, with_origin: bool) -> String {
    let mut writer = Writer {
        out: String::new(),
        loaded,
        with_origin,
    };
    writer.table(&loaded.root, keys::root());
    for key in keys::root().keys {
        let Some(node) = loaded.root.node(key.name) else {
            continue;
        };
        match (&key.kind, &node.value) {
            (Kind::Table(table), Value::Table(section)) => {
                let _ = write!(writer.out, "\n[{}]\n", key.name);
                writer.table(section, table);
            }
            (Kind::Tables(table), Value::List(items)) => {
                for section in items.iter().filter_map(Node::table) {
                    let _ = write!(writer.out, "\n[[{}]]\n", key.name);
                    writer.table(section, table);
                }
            }
            _ => {}
        }
    }
    writer.out
}

struct Writer<'a> {
    out: String,
    loaded: &'a Loaded,
    with_origin: bool,
}

impl Writer<'_> {
    /// The lines of a table; tables at the top have headers of their own.
    fn table(&mut self, section: &Section, table: &Table) {
        let top = std::ptr::eq(table, keys::root());
        for key in table.keys {
            let Some(node) = section.node(key.name) else { continue };
            if top && matches!(key.kind, Kind::Table(_) | Kind::Tables(_)) {
                continue;
            }
            let mut line = format!("{} = {}", key.name, value_text(node, key));
            if self.with_origin {
                line = format!("{line:<48} # {}", self.origin(node));
            }
            self.out.push_str(line.trim_end());
            self.out.push('\n');
        }
    }

    fn origin(&self, node: &Node) -> String {
        let given = match &node.origin {
            Origin::Default => "default".to_owned(),
            Origin::File(span) => {
                format!(
                    "{}:{}",
                    self.loaded.name,
                    super::render::position(&self.loaded.text, span.start).0
                )
            }
            Origin::Environment(name) => format!("environment {name}"),
            Origin::Flag(name) => name.clone(),
        };
        match &node.through {
            Some(through) => format!("{given} through {through}"),
            None => given,
        }
    }
}

fn value_text(node: &Node, key: &Key) -> String {
    match &node.value {
        Value::Text(_) if key.is_secret() => SECRET.to_owned(),
        Value::Text(text) => toml::Value::String(text.clone()).to_string(),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| value_text(item, key)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(section) => {
            let pairs: Vec<_> = section
                .entries
                .iter()
                .map(|(name, node)| format!("{} = {}", key_text(name), value_text(node, key)))
                .collect();
            if pairs.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", pairs.join(", "))
            }
        }
        Value::Other(_) | Value::Broken => "\"?\"".to_owned(),
    }
}

fn key_text(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}

/// Forgets every secret's text: nothing after this point needs it.
pub(super) fn forget_secrets(section: &mut Section, table: &Table) {
    for key in table.keys {
        let Some(node) = section.entries.get_mut(key.name) else {
            continue;
        };
        if key.is_secret() {
            forget(node);
            continue;
        }
        let Some(below) = key.below() else { continue };
        match &mut node.value {
            Value::Table(section) => forget_secrets(section, below),
            Value::List(items) => items.iter_mut().for_each(|item| {
                if let Value::Table(section) = &mut item.value {
                    forget_secrets(section, below);
                }
            }),
            _ => {}
        }
    }
}

fn forget(node: &mut Node) {
    match &mut node.value {
        Value::Text(text) => text.clear(),
        Value::List(items) => items.iter_mut().for_each(forget),
        Value::Table(section) => section.entries.values_mut().for_each(forget),
        _ => {}
    }
}
