//! A fresh session cookie on an answer that can carry one.

use super::intake::Client;
use crate::session::Renewal;
use crate::session::Sessions;
use crate::web::Scheme;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header::CACHE_CONTROL;
use http::header::SET_COOKIE;

/// A cookie that is owed, and where its browser is.
pub struct Owed {
    renewal: Renewal,
    host: String,
    https: bool,
}

impl Owed {
    pub fn new(renewal: Renewal, client: &Client) -> Self {
        Self {
            renewal,
            host: client.host.clone(),
            https: client.scheme == Scheme::Https,
        }
    }

    /// Adds the cookie to an answer whose headers are otherwise complete; does nothing where it must not stand.
    pub fn add_to(&self, status: StatusCode, headers: &mut HeaderMap, sessions: &Sessions) {
        if !may_carry(status, headers) {
            return;
        }
        let line = sessions.renew(&self.renewal, &self.host, self.https);
        if let Some(mut value) = line.and_then(|line| HeaderValue::try_from(line).ok()) {
            value.set_sensitive(true);
            headers.append(SET_COOKIE, value);
        }
    }
}

/// Whether an answer may carry somebody's cookie: only one that no shared cache may keep (RFC 9111, 3). `private="x"`
/// keeps only that header from it, and a cache that understands the status passes over `no-store` beside
/// `must-understand` (RFC 9111, 5.2.2.3). Headers for one kind of cache override `Cache-Control` there (RFC 9213, Surrogate,
/// nginx). A 304 would write its headers over those of a kept answer.
fn may_carry(status: StatusCode, headers: &HeaderMap) -> bool {
    if status.is_informational() || status == StatusCode::NOT_MODIFIED {
        return false;
    }
    let overridden = headers.keys().any(|name| {
        let name = name.as_str();
        name.ends_with("-cache-control") || matches!(name, "surrogate-control" | "x-accel-expires" | "edge-control")
    });
    let (mut is_private, mut is_kept_nowhere, mut is_understood) = (false, false, false);
    for line in headers.get_all(CACHE_CONTROL) {
        // What stands within quotation marks is somebody's value and no directive; commas may stand there as well.
        if line.as_bytes().contains(&b'"') {
            return false;
        }
        for directive in line.as_bytes().split(|byte| *byte == b',') {
            let directive = directive.trim_ascii();
            let is = |word: &[u8]| directive.eq_ignore_ascii_case(word);
            let starts = |word: &[u8]| {
                directive
                    .get(..word.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(word))
            };
            if starts(b"public") || starts(b"s-maxage") {
                return false;
            }
            is_private |= is(b"private");
            is_kept_nowhere |= is(b"no-store");
            is_understood |= starts(b"must-understand");
        }
    }
    (is_private || is_kept_nowhere && !is_understood) && !overridden
}

#[cfg(test)]
mod tests {
    use super::may_carry;
    use http::HeaderMap;
    use http::HeaderName;
    use http::StatusCode;

    fn may(status: u16, lines: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        may_carry(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn only_answers_that_no_shared_cache_keeps_carry_a_cookie() {
        let control = |value| may(200, &[("cache-control", value)]);
        for value in [
            "private",
            "no-store",
            "Private, max-age=60",
            "max-age=0,no-store",
            "max-age=5 , PRIVATE",
            "no-store, must-understand, private",
        ] {
            assert!(control(value), "{value}");
        }
        for value in [
            "",
            "public",
            "max-age=60",
            "no-cache",
            "private, public",
            "public, no-store",
            "private, s-maxage=60",
            "private=\"set-cookie\"",
            "privatex",
            "no-store=1",
            "max-age=600, must-understand, no-store",
            "no-store, Must-Understand",
            "max-age=60, x=\"a, private, b\"",
        ] {
            assert!(!control(value), "{value}");
        }
        assert!(!may(200, &[]));
        assert!(may(
            200,
            &[("cache-control", "max-age=9"), ("cache-control", "private")]
        ));
        assert!(!may(200, &[("cache-control", "private"), ("cache-control", "public")]));
    }

    #[test]
    fn what_overrides_cache_control_for_some_cache_keeps_the_cookie_away() {
        for name in [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "surrogate-control",
            "x-accel-expires",
        ] {
            assert!(
                !may(200, &[("cache-control", "private"), (name, "max-age=60")]),
                "{name}"
            );
        }
    }

    #[test]
    fn no_interim_answer_and_none_that_refreshes_a_kept_one_carries_a_cookie() {
        for status in [100, 101, 103, 304] {
            assert!(!may(status, &[("cache-control", "private")]), "{status}");
        }
        for status in [200, 204, 302, 404, 500] {
            assert!(may(status, &[("cache-control", "private")]), "{status}");
        }
    }
}
