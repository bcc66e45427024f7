//! The reference: every key with what it does and its default, written from the table of keys.

use super::environment;
use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::keys::Presence;
use super::keys::Table;
use super::shape;
use std::fmt::Write;

const WIDTH: usize = 116;
/// Lists of tables that most gateways do without.
const OPTIONAL: &[&str] = &["source"];

/// The text of `config/portcullis.toml`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    comment(
        &mut out,
        "Every key of Portcullis, with its default. A file needs only what differs; `portcullis config init` writes a \
         short one. Keys behind a # have no default.",
    );
    out.push_str("#\n");
    comment(
        &mut out,
        "Any text may be \"env:NAME\" or \"file:PATH\", elements of lists included. Durations: \"500ms\", \"2s\", \"15m\", \
         \"12h\", \"7d\". Sizes: \"512B\", \"64KiB\", \"10MiB\", \"1GiB\". Options of the command line come before the \
         environment, the environment before the file. A key of a [table] is also read from PORTCULLIS_TABLE_KEY, \
         secrets also from the file that PORTCULLIS_TABLE_KEY_FILE names, lists one element a line; \
         PORTCULLIS_CONFIG names the file itself, PORTCULLIS_LOG is short for PORTCULLIS_LOG_LEVEL.",
    );
    out.push_str("#\n");
    comment(
        &mut out,
        "Texts may also hold variables of the environment, as in \"postgres://app@${DB_HOST}:${DB_PORT:-5432}/app\" or \
         \"${TIMEOUT}ms\": ${NAME:-text} stands for the text where NAME is not set, $${ for ${ itself. Keys below \
         [when.NAME.value] come over the others where the variable NAME has this value, as in \
         [when.NODE_ENV.development.session].",
    );
    write_keys(&mut out, keys::root());
    for key in keys::root().keys {
        match key.kind {
            Kind::Table(table) => write_table(&mut out, table, &format!("[{}]", key.name)),
            Kind::Tables(table) if OPTIONAL.contains(&key.name) => write_commented(&mut out, table, key.name),
            Kind::Tables(table) => write_table(&mut out, table, &format!("[[{}]]", key.name)),
            _ => {}
        }
    }
    out
}

/// Every environment variable that may be set, one a line.
#[must_use]
pub fn environment_names() -> Vec<String> {
    environment::names()
}

fn write_table(out: &mut String, table: &Table, header: &str) {
    out.push('\n');
    comment(out, table.says);
    let _ = writeln!(out, "{header}");
    write_keys(out, table);
}

/// The same with a # before every line.
fn write_commented(out: &mut String, table: &Table, name: &str) {
    let mut text = String::new();
    write_table(&mut text, table, &format!("[[{name}]]"));
    for line in text.lines() {
        let mark = if line.is_empty() || line.starts_with('#') {
            ""
        } else {
            "# "
        };
        let _ = writeln!(out, "{mark}{line}");
    }
}

fn write_keys(out: &mut String, table: &Table) {
    for key in table.keys {
        write_key(out, key);
    }
    let later: Vec<_> = table
        .keys
        .iter()
        .filter(|key| key.presence == Presence::Later)
        .map(|key| key.name)
        .collect();
    if !later.is_empty() {
        out.push('\n');
        comment(out, &format!("Not available yet: {}.", later.join(", ")));
    }
}

fn write_key(out: &mut String, key: &Key) {
    let value = match (&key.kind, key.default, key.example) {
        (Kind::Table(table), ..) if key.says.is_empty() || table.keys.is_empty() => return,
        (Kind::Table(table), ..) => inline(table),
        (_, Some(value), _) | (_, None, Some(value)) => value.to_owned(),
        _ => return,
    };
    out.push('\n');
    comment(out, key.says);
    let commented = key.default.is_none() && !key.shown && !matches!(key.kind, Kind::Table(_));
    let _ = writeln!(out, "{}{} = {value}", if commented { "# " } else { "" }, key.name);
}

fn inline(table: &Table) -> String {
    let pairs = table
        .keys
        .iter()
        .filter_map(|key| Some(format!("{} = {}", key.name, key.default?)));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        let _ = writeln!(out, "{line}");
    }
}

/// What a key takes, as in "must be …".
pub(super) fn noun(kind: &Kind) -> String {
    match kind {
        Kind::One(shape) => format!("{}, such as {}", shape.noun, shape.example),
        Kind::List(shape) => format!("a list, such as [{}]", shape.example),
        Kind::Pairs(..) => "a table of names and texts".to_owned(),
        Kind::Conditions(_) => "a table of places with a text, a number, true or false".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Number { least, most } => format!("a number from {least} to {most}"),
        Kind::Span { least, most } => format!(
            "a duration from \"{}\" to \"{}\"",
            shape::write_duration(*least),
            shape::write_duration(*most)
        ),
        Kind::Size { least, most } => {
            format!(
                "a size from \"{}\" to \"{}\"",
                shape::write_size(*least),
                shape::write_size(*most)
            )
        }
        Kind::Words(words) => words
            .now
            .iter()
            .map(|word| format!("{word:?}"))
            .collect::<Vec<_>>()
            .join(" or "),
        Kind::Either(words, inner) => {
            let words = words
                .now
                .iter()
                .map(|word| format!("{word:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            format!("{} or {words}", noun(inner))
        }
        Kind::Table(_) => "a table".to_owned(),
        Kind::Tables(_) => "a list of tables".to_owned(),
        Kind::Anything { .. } => "absent".to_owned(),
    }
}
