//! How messages name keys and values.

use super::keys;
use super::keys::Presence;
use super::keys::Table;
use super::problem::Place;
use super::problem::Problem;
use super::shape::Mistake;

/// The problem of a mistake; `subject` names the value.
pub(super) fn sentence(place: Place, full: &str, subject: &str, mistake: Mistake) -> Problem {
    match mistake {
        Mistake::Wrong(what, hint) => Problem::error(place, full, format!("{subject} {what}")).hint(hint),
        Mistake::Later(what) => {
            Problem::error(place, full, format!("{what} is not available yet")).hint("a later version will have it")
        }
    }
}

/// A value as it may stand in a message: on one line, not too long.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() > 60 {
        let start: String = text.chars().take(57).collect();
        return format!("{:?}", start + "…");
    }
    format!("{text:?}")
}

/// The key's own name in a dotted one, without positions.
pub(super) fn last(full: &str) -> &str {
    let key = full.rsplit('.').next().unwrap_or(full);
    key.split('[').next().unwrap_or(key)
}

/// Where a key of this name belongs, if anywhere.
pub(super) fn elsewhere(name: &str, here: &str) -> String {
    let tables = keys::tables();
    let here = without_positions(here);
    let home = tables
        .iter()
        .find(|(path, table)| table.find(name).is_some() && *path != here);
    match home {
        Some((path, _)) if path.is_empty() => {
            format!("`{name}` belongs at the top of the file, before the first [table]")
        }
        Some((path, _)) => format!("`{name}` belongs in [{path}]"),
        None => match tables.iter().find(|(path, _)| *path == here) {
            Some((_, table)) => format!("known here: {}", list_of(table)),
            None => "leave it out".to_owned(),
        },
    }
}

/// `route.identity` of `route[0].identity`.
fn without_positions(full: &str) -> String {
    let parts = full.split('.').map(|part| part.split('[').next().unwrap_or(part));
    parts.collect::<Vec<_>>().join(".")
}

fn list_of(table: &Table) -> String {
    let available = table.keys.iter().filter(|key| key.presence != Presence::Later);
    available.map(|key| key.name).collect::<Vec<_>>().join(", ")
}
