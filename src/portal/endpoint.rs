//! What stands under the prefix, and by which methods it is asked.

use http::Method;

/// Names that `portal.alias` may lead to, besides those of the admin API (`admin/…`).
pub const ENDPOINTS: [&str; 10] = [
    "login",
    "logout",
    "register",
    "me",
    "session",
    "password",
    "sessions",
    "sessions/end-others",
    "sync",
    "events",
];

/// The methods of what stands at `path` below the prefix, as `Allow` lists them; `None` where nothing stands.
pub(super) fn methods_of(path: &str) -> Option<&'static str> {
    match path {
        "/login" | "/logout" | "/password" | "/register" => Some("GET, HEAD, POST"),
        "" | "/" | "/me" | "/session" | "/sessions" => Some("GET, HEAD"),
        "/events" => Some("GET"),
        "/sessions/end-others" | "/sync" => Some("POST"),
        _ => match one_session(path)? {
            (_, Way::Delete) => Some("DELETE"),
            (_, Way::Form) => Some("POST"),
        },
    }
}

/// How one session is ended: by the method that says so, or by the only one that forms have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Delete,
    Form,
}

impl Way {
    /// Whether a request by `method` is one.
    pub(super) fn takes(self, method: &Method) -> bool {
        match self {
            Self::Delete => method == Method::DELETE,
            Self::Form => method == Method::POST,
        }
    }
}

/// The public id in `/sessions/{public_id}` and `/sessions/{public_id}/end`.
pub(super) fn one_session(path: &str) -> Option<(&str, Way)> {
    let rest = path.strip_prefix("/sessions/")?;
    let (id, way) = match rest.strip_suffix("/end") {
        Some(id) => (id, Way::Form),
        None => (rest, Way::Delete),
    };
    (!id.is_empty() && !id.contains('/')).then_some((id, way))
}

#[cfg(test)]
mod tests {
    use super::{ENDPOINTS, Way, methods_of, one_session};

    #[test]
    fn one_session_is_named_by_exactly_one_segment() {
        assert_eq!(one_session("/sessions/a"), Some(("a", Way::Delete)));
        assert_eq!(one_session("/sessions/a/end"), Some(("a", Way::Form)));
        for path in [
            "/sessions",
            "/sessions/",
            "/sessions//end",
            "/sessions/a/b",
            "/sessions/a/b/end",
            "/me",
        ] {
            assert_eq!(one_session(path), None, "{path}");
        }
    }

    #[test]
    fn nothing_stands_at_another_spelling() {
        for path in ["/Login", "/login/", "/log%69n", "login", "/me/x", "/sessions/a/"] {
            assert_eq!(methods_of(path), None, "{path}");
        }
        assert!(!ENDPOINTS.iter().any(|name| name.starts_with('/')));
    }
}
