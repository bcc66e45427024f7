use super::Mistake;
use crate::config::suggest;
use crate::portal::ENDPOINTS;

/// A path as routes name it: as the browser sends it after decoding, nothing that could be read in two ways.
pub fn path(text: &str) -> Result<(), Mistake> {
    let wrong = |what: &str, hint: String| Err(Mistake::new(what, hint));
    if !text.starts_with('/') {
        return wrong(
            "is not a path",
            format!("paths start with /: \"/{}\"", text.escape_debug()),
        );
    }
    if text.len() > 1024 {
        return wrong("is too long", "write at most 1024 bytes".to_owned());
    }
    if let Some(odd) = text.chars().find(|c| matches!(c, '?' | '#' | '%' | '\\' | ';')) {
        return wrong(
            "is not a plain path",
            format!("leave out the {odd}; write letters as they are, decoded"),
        );
    }
    let is_odd = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if text.contains(is_odd) || text.split('/').any(|segment| segment.ends_with(' ')) {
        let hint = "leave out control characters, and spaces at the end of a part";
        return wrong("is not a plain path", hint.to_owned());
    }
    if text.contains('*') {
        return wrong(
            "has a wildcard",
            "a path covers everything below it: \"/assets\" covers /assets/a.js".to_owned(),
        );
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return wrong("has a dot segment", "write where it leads to".to_owned());
    }
    if text.contains("//") {
        return wrong("has an empty segment", "write one /".to_owned());
    }
    Ok(())
}

/// A path that a browser sends as it is written here.
pub fn alias_path(text: &str) -> Result<(), Mistake> {
    path(text)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,=:@".contains(&byte);
    if !text.bytes().all(fits) {
        return Err(Mistake::new(
            "has letters that browsers encode",
            "write letters, digits, -, . and _ only",
        ));
    }
    if text.trim_end_matches('/').is_empty() {
        return Err(Mistake::new(
            "is the application's first page",
            "name the path of one of its endpoints: \"/api/auth/login\"",
        ));
    }
    Ok(())
}

/// What stands under the portal's prefix.
pub fn endpoint(text: &str) -> Result<(), Mistake> {
    let of_admin = text
        .strip_prefix("admin/")
        .is_some_and(|rest| path(&format!("/{rest}")).is_ok() && !rest.is_empty() && !rest.ends_with('/'));
    if of_admin || ENDPOINTS.contains(&text) {
        return Ok(());
    }
    let hint = match suggest::nearest(text, ENDPOINTS) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!(
            "one of {}, or \"admin/\" and a path of the admin API",
            ENDPOINTS.join(", ")
        ),
    };
    Err(Mistake::new("is no endpoint", hint))
}

pub fn portal_prefix(text: &str) -> Result<(), Mistake> {
    path(text)?;
    if text.trim_end_matches('/').is_empty() {
        return Err(Mistake::new(
            "would cover the whole application",
            "choose a path of its own, as in \"/.portcullis\"",
        ));
    }
    Ok(())
}

pub fn added_prefix(text: &str) -> Result<(), Mistake> {
    if text.is_empty() {
        return Ok(());
    }
    path(text)?;
    if text.ends_with('/') {
        return Err(Mistake::new(
            "ends with /",
            "leave the last / out: the path brings its own",
        ));
    }
    Ok(())
}

/// RFC 9110, 9.1; names are case-sensitive.
pub fn method(text: &str) -> Result<(), Mistake> {
    if http::Method::from_bytes(text.as_bytes()).is_err() || text.len() > 32 {
        return Err(Mistake::new("is not a method", "as in \"GET\" or \"POST\""));
    }
    let upper = text.to_ascii_uppercase();
    if upper == "CONNECT" || upper == "TRACE" {
        return Err(Mistake::new("is never forwarded", "leave it out"));
    }
    if upper != text {
        return Err(Mistake::new(
            "is not a method",
            format!("methods are upper case: \"{upper}\""),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{method, path};

    #[test]
    fn only_paths_with_one_reading_are_taken() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/a.b/c",
            "/grüße",
            "/.well-known/x",
            "/..a",
            "/my files",
        ] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        for bad in [
            "", "a", "/a//b", "/a/../b", "/a/.", "/a?b", "/a#b", "/a%2fb", "/a /b", "/a\\b", "/a;b", "/*", "/\u{7}",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn methods_are_upper_case_and_never_connect_or_trace() {
        assert_eq!(method("PROPFIND"), Ok(()));
        for bad in ["get", "CONNECT", "TRACE", "trace", "G T", ""] {
            assert!(method(bad).is_err(), "{bad}");
        }
    }
}
