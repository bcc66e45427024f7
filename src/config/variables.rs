//! `${NAME}` and `${NAME:-text}` inside a text of the file.

use super::environment::Environment;

/// A text with its variables put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub text: String,
    /// What messages call it: the variables' names only, because the text around them may be a secret.
    pub through: String,
}

/// Why they could not be put in, and what to do about it. Never shows the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    pub why: String,
    pub hint: String,
}

/// Whether a text has anything to put in or to unescape.
pub(super) fn are_in(text: &str) -> bool {
    text.contains("${")
}

/// Puts the values of variables in. `${NAME:-text}` stands for `text` where the variable is not set or empty, as in a
/// shell; `$${` stands for `${`.
pub(super) fn fill(text: &str, environment: &Environment) -> Result<Filled, Unfilled> {
    let mut filled = String::with_capacity(text.len());
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let (inner, behind) = after.split_once('}').ok_or_else(misspelt)?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(misspelt());
        }
        match (environment.find(name), default) {
            (Ok(value), _) => filled.push_str(value),
            (Err("is not UTF-8"), _) | (Err(_), None) => return Err(absent(name, environment)),
            (Err(_), Some(default)) => filled.push_str(default),
        }
        names.push(format!("${{{name}}}"));
        rest = behind;
    }
    filled.push_str(rest);
    if names.is_empty() {
        names.push("$${".to_owned());
    }
    Ok(Filled {
        text: filled,
        through: names.join(" "),
    })
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    starts && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn absent(name: &str, environment: &Environment) -> Unfilled {
    let why = environment.find(name).err().unwrap_or("is not set");
    Unfilled {
        why: format!("the environment variable {name:?} {why}"),
        hint: format!("set it, or write ${{{name}:-VALUE}} for a default"),
    }
}

fn misspelt() -> Unfilled {
    Unfilled {
        why: "a `${` without a variable's name and a `}` behind it".to_owned(),
        hint: "write ${NAME} or ${NAME:-default}; `$${` stands for `${` itself".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;
    use super::are_in;
    use super::fill;
    use proptest::prelude::*;

    fn filled(text: &str) -> Result<String, String> {
        let environment =
            Environment::from_pairs([("HOST", "db"), ("PORT", "5434"), ("EMPTY", ""), ("OTHER", "${HOST}")]);
        fill(text, &environment)
            .map(|filled| filled.text)
            .map_err(|not| not.why)
    }

    #[test]
    fn variables_stand_anywhere_in_a_text() {
        assert_eq!(
            filled("postgres://u@${HOST}:${PORT}/d").as_deref(),
            Ok("postgres://u@db:5434/d")
        );
        assert_eq!(filled("${PORT}ms").as_deref(), Ok("5434ms"));
        assert_eq!(filled("$HOST {username} $").as_deref(), Ok("$HOST {username} $"));
    }

    #[test]
    fn a_default_stands_in_for_what_is_not_set_or_empty() {
        assert_eq!(filled("${NOT:-a:-b}/${EMPTY:-}/${HOST:-x}").as_deref(), Ok("a:-b//db"));
    }

    #[test]
    fn what_is_put_in_is_not_read_again() {
        assert_eq!(filled("${OTHER}").as_deref(), Ok("${HOST}"));
    }

    #[test]
    fn a_doubled_dollar_stands_for_itself() {
        assert_eq!(filled("$${HOST} $$${HOST}").as_deref(), Ok("${HOST} $${HOST}"));
    }

    #[test]
    fn missing_and_misspelt_variables_are_refused() {
        for wrong in [
            "${NOT}",
            "${EMPTY}",
            "${HOST",
            "${}",
            "${1A}",
            "${A B}",
            "${A-B}",
            "${:-x}",
            "a${HOST}${",
        ] {
            assert!(filled(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn messages_name_variables_and_nothing_around_them() {
        let filled = fill(
            "hunter2${HOST}hunter2${PORT:-hunter2}",
            &Environment::from_pairs([("HOST", "hunter2")]),
        );
        assert_eq!(filled.map(|filled| filled.through), Ok("${HOST} ${PORT}".to_owned()));
    }

    proptest! {
        #[test]
        fn texts_without_variables_stay_as_they_are(text in "[^{]{0,40}") {
            prop_assume!(!are_in(&text));
            prop_assert_eq!(filled(&text), Ok(text));
        }
    }
}
