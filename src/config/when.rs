//! `[when.NAME.value]`: keys that come over the others where an environment variable has this value.

use super::environment::Environment;
use super::keys;
use super::problem::Findings;
use super::problem::Place;
use super::problem::Problem;
use super::read::Reader;
use super::tree::Node;
use super::tree::Section;
use super::tree::Value;
use std::path::Path;

/// What the top of the file calls it.
pub(super) const NAME: &str = "when";

/// Lays what the environment chooses over the rest of the file. What it does not choose is checked as well, apart from
/// what it would fetch from elsewhere: a file is whole for every value or for none.
pub(super) fn choose(root: &mut Section, environment: &Environment, folder: &Path, findings: &mut Findings) {
    let Some(when) = root.entries.remove(NAME) else { return };
    for (variable, node) in tables(when, NAME, findings) {
        let path = keys::join(NAME, &variable);
        let place = node.key_span.clone().map_or(Place::from(&node.origin), Place::File);
        let choices = tables(node, &path, findings);
        let wanted = environment.find(&variable).ok();
        let known: Vec<_> = choices.iter().map(|(value, _)| format!("{value:?}")).collect();
        let is_for = |wanted: &str| choices.iter().any(|(value, _)| value == wanted);
        if !choices.is_empty() && wanted.is_some_and(|wanted| !is_for(wanted)) {
            let message = format!("no [{path}.…] is for the value that {variable} has");
            let hint = format!("known: {}; or unset {variable}", known.join(", "));
            findings.push(Problem::error(place, path.clone(), message).hint(hint));
        }
        for (value, mut node) in choices {
            let Value::Table(section) = &mut node.value else {
                continue;
            };
            if wanted == Some(value.as_str()) {
                lay_over(root, std::mem::take(section));
            } else {
                let mut reader = Reader {
                    environment: None,
                    folder,
                    findings,
                };
                reader.complete(section, keys::root(), &keys::join(&path, &value));
            }
        }
    }
}

/// The tables below `node`, by name.
fn tables(node: Node, path: &str, findings: &mut Findings) -> Vec<(String, Node)> {
    let Value::Table(section) = node.value else {
        refuse(&node, path, findings);
        return Vec::new();
    };
    let (tables, others): (Vec<_>, Vec<_>) = section
        .entries
        .into_iter()
        .partition(|(_, node)| matches!(node.value, Value::Table(_)));
    for (name, node) in others {
        refuse(&node, &keys::join(path, &name), findings);
    }
    tables
}

fn refuse(node: &Node, path: &str, findings: &mut Findings) {
    findings.hide(node);
    let message = format!("`{path}` must be a table, not {}", node.noun());
    let hint = "as in [when.NODE_ENV.development.session] and the keys of [session] below it";
    findings.push(Problem::error(&node.origin, path, message).hint(hint));
}

/// Tables key by key, everything else whole.
fn lay_over(root: &mut Section, over: Section) {
    for (name, node) in over.entries {
        match (root.entries.get_mut(&name).map(|below| &mut below.value), node) {
            (
                Some(Value::Table(below)),
                Node {
                    value: Value::Table(over),
                    ..
                },
            ) => below.entries.extend(over.entries),
            (_, node) => {
                root.entries.insert(name, node);
            }
        }
    }
}
