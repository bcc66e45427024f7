use http::HeaderMap;
use http::header::AsHeaderName;

/// Removes every value of `name`; tells whether there was one.
pub fn strike(headers: &mut HeaderMap, name: impl AsHeaderName) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "only whether there was a value is told, and all values go"
    )]
    headers.remove(name).is_some()
}

/// The canonical form of a header name: lower case, every byte that is no letter or digit as `-`. Applications fold
/// `X_Forwarded_User` and `x.forwarded.user` into one name (CGI, WSGI, PHP); so do we before comparing.
#[must_use]
pub fn canonical_name(name: &str) -> String {
    name.bytes().map(|byte| char::from(canonical_byte(byte))).collect()
}

/// Whether two header names are one in canonical form.
#[must_use]
pub fn names_match(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.bytes().map(canonical_byte).eq(right.bytes().map(canonical_byte))
}

const fn canonical_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical_name, names_match};

    #[test]
    fn spellings_of_one_name_are_one() {
        assert_eq!(canonical_name("X_Forwarded.User"), "x-forwarded-user");
        assert!(names_match("x-forwarded-user", "X_FORWARDED~USER"));
        assert!(!names_match("x-forwarded-user", "x-forwarded-users"));
    }
}
