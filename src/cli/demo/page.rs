//! The demo application's page.

use super::application::lines;
use askama::Template;
use http::HeaderMap;

/// What the gateway says of the user, in the words of the default family.
const IDENTITY: &[&str] = &[
    "x-forwarded-user",
    "x-forwarded-preferred-username",
    "x-forwarded-email",
    "x-forwarded-groups",
];

#[derive(Template)]
#[template(path = "demo.html")]
struct Home {
    name: String,
    identity: Vec<(String, String)>,
    others: Vec<(String, String)>,
}

/// The page that greets the user with what the application was told; every value is escaped.
pub(super) fn home(headers: &HeaderMap) -> String {
    let shown = lines(headers).into_iter().filter(|(name, _)| name != "cookie");
    let (identity, others): (Vec<_>, Vec<_>) = shown.partition(|(name, _)| IDENTITY.contains(&name.as_str()));
    let name = identity
        .iter()
        .find(|(name, _)| name == IDENTITY[0])
        .map(|(_, value)| value.clone());
    let page = Home {
        name: name.unwrap_or_else(|| "stranger".into()),
        identity,
        others,
    };
    page.render()
        .unwrap_or_else(|_| "The page could not be written.".into())
}

#[cfg(test)]
mod tests {
    use super::home;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn the_page_greets_the_user_and_escapes_what_it_shows() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-user", HeaderValue::from_static("ada"));
        headers.insert("user-agent", HeaderValue::from_static("<script>alert('x')</script>"));
        headers.insert("cookie", HeaderValue::from_static("theirs=1"));
        let page = home(&headers);
        assert!(page.contains("Hello, ada"), "{page}");
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(page.contains("&#60;script&#62;alert"), "{page}");
        assert!(!page.contains("theirs=1"), "{page}");
    }
}
