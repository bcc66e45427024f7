//! What a message may show of a file that holds secrets.

use super::keys;
use std::ops::Range;

/// The text with every hidden span as asterisks. Lengths in bytes and lines stay, so that spans still fit; control
/// characters become question marks, so that no file can write to the terminal.
pub(super) fn blot(text: &str, hidden: &[Range<usize>]) -> String {
    let mut spans = hidden.to_vec();
    spans.sort_by_key(|span| span.start);
    let mut spans = spans.into_iter().peekable();
    let mut hidden_until = 0;
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        while let Some(span) = spans.next_if(|span| span.start <= at) {
            hidden_until = hidden_until.max(span.end);
        }
        let mark = match character {
            '\n' | '\t' => character,
            _ if at < hidden_until => '*',
            _ if character.is_control() => '?',
            _ => character,
        };
        let times = if mark == character { 1 } else { character.len_utf8() };
        shown.extend(std::iter::repeat_n(mark, times));
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

#[cfg(test)]
mod tests {
    use super::blot;
    use super::suspicious;
    use proptest::prelude::*;

    #[test]
    fn hidden_parts_are_blotted_out_in_place() {
        assert_eq!(blot("a = \"b\u{fc}*\"\u{7}\n", &[7..8, 5..8]), "a = \"****\"?\n");
    }

    #[test]
    fn broken_texts_show_keys_and_public_values_only() {
        let shown = |text: &str| blot(text, &suspicious(text));
        assert_eq!(
            shown("[store]\nurl = \"x\n"),
            "[store]\nurl =*****\n".replace("*****", "***")
        );
        assert_eq!(shown("idle_timeout = 12h\n"), "idle_timeout = 12h\n");
        assert_eq!(shown("  hunter2,\n"), "**********\n");
        assert_eq!(shown("a = 1"), "a =**");
    }

    proptest! {
        #[test]
        fn bytes_and_lines_stay_where_they_are(text in "(.|\n){0,80}", from in 0..80_usize, to in 0..90_usize) {
            let shown = blot(&text, std::slice::from_ref(&(from..to)));
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
        }
    }
}
