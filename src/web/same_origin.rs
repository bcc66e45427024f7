use http::HeaderMap;
use http::header::ORIGIN;

/// What a request says about the page that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A page of our own origin, or the visitor's own hand.
    Ours,
    /// Nothing was said: no browser of the last years, or no browser.
    Unsaid,
    /// A page of another origin, or one that hides where it is from.
    Foreign,
}

/// Reads `Sec-Fetch-Site` (Fetch Metadata) and `Origin` (RFC 6454, section 7); every value of both must agree with
/// `origin`, the one that this request came to. `Origin: null` is somebody who hides.
#[must_use]
pub fn sender(headers: &HeaderMap, origin: &str) -> Sender {
    let sites = headers
        .get_all("sec-fetch-site")
        .iter()
        .map(|value| matches!(value.as_bytes(), b"same-origin" | b"none"));
    let origins = headers
        .get_all(ORIGIN)
        .iter()
        .map(|value| value.as_bytes() == origin.as_bytes());
    sites.chain(origins).fold(Sender::Unsaid, |known, ours| match known {
        Sender::Foreign => Sender::Foreign,
        _ if ours => Sender::Ours,
        _ => Sender::Foreign,
    })
}

#[cfg(test)]
mod tests {
    use super::{Sender, sender};
    use http::HeaderMap;

    fn of(pairs: &[(&'static str, &str)]) -> Sender {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        sender(&headers, "https://crm.example.com")
    }

    #[test]
    fn our_own_pages_and_the_visitors_own_hand_are_ours() {
        assert_eq!(of(&[("sec-fetch-site", "same-origin")]), Sender::Ours);
        assert_eq!(of(&[("sec-fetch-site", "none")]), Sender::Ours);
        assert_eq!(of(&[("origin", "https://crm.example.com")]), Sender::Ours);
        assert_eq!(
            of(&[("origin", "https://crm.example.com"), ("sec-fetch-site", "same-origin")]),
            Sender::Ours
        );
    }

    #[test]
    fn a_request_that_says_nothing_is_told_apart() {
        assert_eq!(of(&[("referer", "https://crm.example.com/")]), Sender::Unsaid);
    }

    #[test]
    fn one_foreign_word_is_enough() {
        for pairs in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "Same-Origin")],
            &[("sec-fetch-site", "")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://crm.example.com")],
            &[("origin", "https://crm.example.com:8443")],
            &[("origin", "https://crm.example.com.evil.example")],
            &[("origin", "null"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://crm.example.com"), ("sec-fetch-site", "same-site")],
            &[
                ("origin", "https://crm.example.com"),
                ("origin", "https://evil.example"),
            ],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-origin")],
        ] {
            assert_eq!(of(pairs), Sender::Foreign, "{pairs:?}");
        }
    }
}
