use super::Mistake;
use crate::config::suggest;

const PLACEHOLDERS: [&str; 6] = ["username", "id", "name", "email", "groups", "session"];

/// A text with `{username}` and the like in it.
pub fn check(text: &str) -> Result<(), Mistake> {
    let known = "the placeholders are {username} {id} {name} {email} {groups} {session}";
    if text.is_empty() || text.len() > 512 || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(Mistake::new(
            "is not a template",
            "write 1 to 512 visible ASCII characters",
        ));
    }
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        if rest[open..].starts_with('}') {
            return Err(Mistake::new("has a } without its {", known));
        }
        let Some(length) = rest[open..].find('}') else {
            return Err(Mistake::new("has a { without its }", known));
        };
        let word = &rest[open + 1..open + length];
        if !PLACEHOLDERS.contains(&word) {
            let hint = suggest::nearest(word, PLACEHOLDERS)
                .map_or_else(|| known.to_owned(), |near| format!("did you mean {{{near}}}?"));
            return Err(Mistake::new(format!("has an unknown placeholder {{{word}}}"), hint));
        }
        rest = &rest[open + length + 1..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_known_placeholders_are_taken() {
        assert_eq!(check("{username}"), Ok(()));
        assert_eq!(check("u={username};g={groups}"), Ok(()));
        assert_eq!(check("fixed"), Ok(()));
        for bad in [
            "",
            "{user}",
            "{",
            "}",
            "{username",
            "username}",
            "{{username}}",
            "{}",
            "gr\u{fc}n",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
