//! What commands print: tables for people, JSON for programs.

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;

/// Standard output did not take what a command had to say; a reader that closed it early, as `head` does, is no error.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct OutputError(#[source] pub std::io::Error);

/// Prints one line.
pub(super) fn line(text: impl Display) -> Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(OutputError)?;
    Ok(())
}

/// Prints `value` as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value)?)
}

/// A list as programs get it; `next` goes into `--after`.
#[derive(Serialize)]
pub(super) struct List<'a, T> {
    pub items: &'a [T],
    pub next: Option<String>,
}

/// The narrowest terminal that tables are fitted to.
const NARROW: u16 = 80;

/// Prints rows under a heading, as wide as the terminal.
pub(super) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    // Cells that are folded to a few letters help nobody; a narrow terminal folds whole lines.
    if table.width().is_some_and(|width| width >= NARROW) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(heading);
    table.add_rows(
        rows.into_iter()
            .map(|row| row.iter().map(|cell| plain(cell)).collect::<Vec<_>>()),
    );
    line(table)
}

/// Prints facts of one thing, one a line.
pub(super) fn facts(facts: &[(&str, String)]) -> Result<()> {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in facts {
        line(format_args!("{name:width$}  {}", plain(value)))?;
    }
    Ok(())
}

/// Text that browsers sent may hold what terminals obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        })
        .collect()
}

/// `1 session`, `2 sessions`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::{count, plain};

    #[test]
    fn what_terminals_obey_is_not_printed() {
        assert_eq!(
            plain("Mozilla\u{1b}[2J \u{9b}31m\nx"),
            "Mozilla\u{fffd}[2J \u{fffd}31m\u{fffd}x"
        );
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(
            [count(0, "session"), count(1, "session"), count(2, "session")],
            ["0 sessions", "1 session", "2 sessions"]
        );
    }
}
