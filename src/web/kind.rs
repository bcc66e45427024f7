use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

/// Who reads an answer: a person in front of a browser, or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A navigation: pages and redirects make sense.
    Person,
    /// A script: JSON and plain status codes.
    Script,
}

/// Tells a navigation from a script: `X-Requested-With: XMLHttpRequest`; `Sec-Fetch-Mode` present and not `navigate`;
/// `Sec-Fetch-Dest` present and neither `document` nor `iframe`; an `Accept` without `text/html`,
/// `application/xhtml+xml` and `*/*`. No `Accept` at all counts as `*/*` (RFC 9110, 12.5.1).
///
/// A navigation that a service worker sends on arrives as `navigate` with the destination `empty`, and is one: scripts
/// cannot make requests of that mode themselves (Fetch, 5.4, the `Request` constructor).
#[must_use]
pub fn audience_of(headers: &HeaderMap) -> Audience {
    let is = |name: &str, word: &str| headers.get(name).is_some_and(|value| eq(value, word));
    let navigates = is("sec-fetch-mode", "navigate");
    let fetched = headers.contains_key("sec-fetch-mode") && !navigates;
    let shown = is("sec-fetch-dest", "document") || is("sec-fetch-dest", "iframe");
    let sent_on = navigates && is("sec-fetch-dest", "empty");
    let embedded = headers.contains_key("sec-fetch-dest") && !shown && !sent_on;
    if is("x-requested-with", "xmlhttprequest") || fetched || embedded || !accepts_pages(headers) {
        Audience::Script
    } else {
        Audience::Person
    }
}

fn eq(value: &HeaderValue, word: &str) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

fn accepts_pages(headers: &HeaderMap) -> bool {
    if !headers.contains_key(ACCEPT) {
        return true;
    }
    headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|range| {
            let kind = range
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            [&b"text/html"[..], b"application/xhtml+xml", b"*/*"]
                .iter()
                .any(|page| kind.eq_ignore_ascii_case(page))
        })
}

#[cfg(test)]
mod tests {
    use super::{Audience, audience_of};
    use http::HeaderMap;

    fn of(pairs: &[(&'static str, &str)]) -> Audience {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        audience_of(&headers)
    }

    #[test]
    fn scripts_are_told_from_navigations() {
        assert_eq!(of(&[]), Audience::Person);
        assert_eq!(
            of(&[("accept", "text/html,application/xhtml+xml;q=0.9")]),
            Audience::Person
        );
        assert_eq!(of(&[("accept", "*/*")]), Audience::Person);
        assert_eq!(of(&[("accept", "application/json")]), Audience::Script);
        assert_eq!(of(&[("accept", "*/*"), ("sec-fetch-mode", "cors")]), Audience::Script);
        assert_eq!(
            of(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]),
            Audience::Person
        );
        assert_eq!(
            of(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]),
            Audience::Person
        );
        assert_eq!(of(&[("sec-fetch-dest", "image")]), Audience::Script);
        assert_eq!(of(&[("sec-fetch-dest", "empty")]), Audience::Script);
        assert_eq!(of(&[("x-requested-with", "XMLHttpRequest")]), Audience::Script);
    }
    #[test]
    fn a_navigation_that_a_service_worker_sends_on_is_one() {
        let page = ("accept", "text/html,*/*;q=0.8");
        let navigates = ("sec-fetch-mode", "navigate");
        assert_eq!(of(&[page, navigates, ("sec-fetch-dest", "empty")]), Audience::Person);
        assert_eq!(of(&[page, navigates, ("sec-fetch-dest", "embed")]), Audience::Script);
        let fetched = [page, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
        assert_eq!(of(&fetched), Audience::Script);
    }
}
