//! What a message may show of a file that holds secrets.

use super::keys;
use std::ops::Range;

/// The text with every hidden span as asterisks. Lengths in bytes and lines stay, so that spans still fit; control
/// characters become question marks, so that no file can write to the terminal.
pub(super) fn blot(text: &str, hidden: &[Range<usize>]) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let secret = hidden.iter().any(|span| span.contains(&at));
        if character == '\n' || character == '\t' {
            shown.push(character);
        } else if secret {
            (0..character.len_utf8()).for_each(|_| shown.push('*'));
        } else if character.is_control() {
            (0..character.len_utf8()).for_each(|_| shown.push('?'));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The spans to hide in a text that is no TOML, so that nothing says which values are secret: everything but table
/// headers, keys, and what stands behind a known key that is no secret.
pub(super) fn suspicious(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let from = if line.trim_start().starts_with('[') && !line.contains(['=', '"', '\'']) {
            end
        } else {
            start + shown_part(line)
        };
        if from < end {
            hidden.push(from..end);
        }
        start = end;
    }
    hidden
}

/// How much of a line may be shown, in bytes.
fn shown_part(line: &str) -> usize {
    let Some(equals) = line.find('=') else {
        return line_start_word(line);
    };
    let keys_before_values = line.rsplit('=').skip(1).map(last_word);
    if keys_before_values.into_iter().all(keys::is_known_and_public) {
        line.len()
    } else {
        equals + 1
    }
}

/// The end of the word that a line starts with, where that is a key of ours: `idle_timeout "12h"` lacks its `=`.
fn line_start_word(line: &str) -> usize {
    let indent = line.len() - line.trim_start().len();
    let word = line[indent..]
        .find(|c: char| !is_word(c))
        .map_or(&line[indent..], |end| &line[indent..indent + end]);
    if keys::is_known(word) { indent + word.len() } else { 0 }
}

fn last_word(text: &str) -> &str {
    let bare = text.trim_end();
    let start = bare
        .rfind(|c: char| !is_word(c))
        .map_or(0, |at| at + bare[at..].chars().next().map_or(1, char::len_utf8));
    &bare[start..]
}

const fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}
