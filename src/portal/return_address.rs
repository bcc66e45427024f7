use crate::web::Scheme;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::{Host, Origin, Url};

/// Longest return address that is read or written.
pub const MAX_NEXT: usize = 2048;

/// Stays readable in a query value and means the same in every parser.
const IN_QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The address of the log-in page that brings the visitor back to `path_and_query` afterwards, as a path on the same
/// host. A target longer than 2 KiB is left out: the visitor then lands on the host's first page.
#[must_use]
pub fn login_location(prefix: &str, path_and_query: &str) -> String {
    login_and_then(prefix, Some(path_and_query).filter(|target| target.starts_with('/')))
}

/// The address of the log-in page with `next`, unless that is the first page or too long.
pub(super) fn login_and_then(prefix: &str, next: Option<&str>) -> String {
    page_and_then(prefix, "login", next)
}

/// The same for the page where visitors make an account.
pub(super) fn register_and_then(prefix: &str, next: Option<&str>) -> String {
    page_and_then(prefix, "register", next)
}

fn page_and_then(prefix: &str, page: &str, next: Option<&str>) -> String {
    match next {
        Some(next) if next != "/" && next.len() <= MAX_NEXT => {
            format!("{prefix}/{page}?next={}", utf8_percent_encode(next, IN_QUERY_VALUE))
        }
        _ => format!("{prefix}/{page}"),
    }
}

/// Which addresses a visitor may be sent back to.
#[derive(Debug)]
pub(super) struct ReturnRules {
    prefix: String,
    origins: Vec<Origin>,
    /// The same as browsers write them.
    written: Vec<String>,
}

impl ReturnRules {
    /// Rules for the portal under `prefix` and other `origins`; what is no http(s) origin is passed over.
    pub(super) fn new(prefix: &str, origins: &[String]) -> Self {
        let origins: Vec<Origin> = origins
            .iter()
            .filter_map(|text| Url::parse(text).ok())
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .map(|url| url.origin())
            .collect();
        Self {
            prefix: prefix.to_ascii_lowercase(),
            written: origins.iter().map(Origin::ascii_serialization).collect(),
            origins,
        }
    }

    /// The other origins as browsers write them.
    pub(super) fn origins(&self) -> impl Iterator<Item = String> {
        self.written.iter().cloned()
    }

    /// Whether there are other origins at all.
    pub(super) fn has_others(&self) -> bool {
        !self.written.is_empty()
    }

    /// Whether a page of `origin`, as browsers write it, may use this host's own endpoints over `scheme`. A page that came
    /// in the clear may be anybody's on the way, unless it comes from this machine: it may not act over https.
    pub(super) fn lists(&self, origin: &str, scheme: Scheme) -> bool {
        let listed = self.written.iter().position(|other| other == origin);
        listed.is_some_and(|at| scheme == Scheme::Http || !is_clear(&self.origins[at]))
    }

    /// The `Location` that `next` stands for, seen from `origin`: a path for the same origin, a whole address for an
    /// allowed one. `None` for everything else, and for the pages that would only send the visitor round again.
    ///
    /// Read as browsers read it (WHATWG URL), because a browser will; what a browser would have to repair is refused.
    pub(super) fn accept(&self, next: &str, origin: &str) -> Option<String> {
        if next.len() > MAX_NEXT || next.bytes().any(|byte| byte.is_ascii_control()) || !is_plain(next) {
            return None;
        }
        let base = Url::parse(origin).ok()?;
        let target = base.join(next).ok()?;
        if !target.username().is_empty() || target.password().is_some() || hides_something(target.path()) {
            return None;
        }
        if target.origin() == base.origin() {
            return (!self.leads_in_a_circle(target.path())).then(|| relative(&target));
        }
        self.origins.contains(&target.origin()).then(|| target.into())
    }

    fn leads_in_a_circle(&self, path: &str) -> bool {
        let decoded = percent_decode_str(path).decode_utf8_lossy().to_ascii_lowercase();
        let Some(inside) = decoded.strip_prefix(&self.prefix) else {
            return false;
        };
        let mut segments = inside
            .split('/')
            .map(|segment| segment.split(';').next().unwrap_or_default());
        segments.next() == Some("") && matches!(segments.next(), Some("login" | "logout"))
    }
}

/// Whether pages of `origin` travel over a network in the clear.
fn is_clear(origin: &Origin) -> bool {
    let Origin::Tuple(scheme, host, _) = origin else {
        return true;
    };
    let here = match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    scheme != "https" && !here
}

/// A path, or an address with its scheme and both slashes, without a backslash that stands for a slash. Browsers also
/// take `https:evil.example` and `\\evil.example`.
fn is_plain(next: &str) -> bool {
    let starts_with = |start: &str| {
        next.get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    let known_start = match next.strip_prefix('/') {
        Some(rest) => !rest.starts_with('/'),
        None => starts_with("https://") || starts_with("http://"),
    };
    let before_query = next.split(['?', '#']).next().unwrap_or_default();
    known_start && !before_query.contains('\\')
}

/// Whether a parsed path could be taken for a host by whoever reads it after us: `/.//evil` has become `//evil` by
/// parsing, and encoded slashes, backslashes and controls are decoded by some before they redirect again.
fn hides_something(path: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    decoded.iter().any(u8::is_ascii_control) || matches!(decoded.get(1), Some(b'/' | b'\\'))
}

fn relative(target: &Url) -> String {
    target[url::Position::BeforePath..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{MAX_NEXT, ReturnRules, login_location};
    use crate::web::Scheme;
    use proptest::prelude::*;
    use url::Url;

    const HERE: &str = "https://good.example";

    fn rules() -> ReturnRules {
        ReturnRules::new(
            "/.portcullis",
            &["https://app.example.com".into(), "http://localhost:3000".into()],
        )
    }

    fn accepted(next: &str) -> Option<String> {
        rules().accept(next, HERE)
    }

    #[test]
    fn a_path_on_the_same_host_is_kept_as_a_path() {
        assert_eq!(accepted("/").as_deref(), Some("/"));
        assert_eq!(accepted("/a/b?c=d&e=%2F#f").as_deref(), Some("/a/b?c=d&e=%2F#f"));
        assert_eq!(
            accepted("https://good.example/a?b").as_deref(),
            Some("/a?b"),
            "a whole address of this host"
        );
        assert_eq!(accepted("HTTPS://GOOD.example:443/a").as_deref(), Some("/a"));
        assert_eq!(accepted("/caf\u{e9}").as_deref(), Some("/caf%C3%A9"));
        assert_eq!(
            accepted("/search?q=a%0Ab").as_deref(),
            Some("/search?q=a%0Ab"),
            "a line break in a query is the application's own"
        );
        assert_eq!(accepted("/files/a%2Fb").as_deref(), Some("/files/a%2Fb"));
    }

    #[test]
    fn an_allowed_origin_is_kept_whole() {
        assert_eq!(
            accepted("https://app.example.com/x?y").as_deref(),
            Some("https://app.example.com/x?y")
        );
        assert_eq!(
            accepted("http://localhost:3000/").as_deref(),
            Some("http://localhost:3000/")
        );
    }

    #[test]
    fn every_other_origin_is_refused() {
        for next in [
            "https://evil.example/",
            "http://good.example/",
            "https://good.example:8443/",
            "https://good.example.evil/",
            "https://good.evil",
            "https://evil.example/good.example",
            "https://good.example@evil.example",
            "https://good.example:x@evil.example/",
            "https://good.example%40evil.example/",
            "https://good.example\\@evil.example",
            "https://user@good.example/",
            "https://user:word@good.example/",
            "https://good\u{3002}evil/",
            "https://good.example\u{ff0e}evil/",
            "https://good.example\u{ff0f}.evil/",
            "http://app.example.com/",
            "https://app.example.com:444/",
            "https://sub.app.example.com/",
            "https://[::1]/",
            "https://2130706433/",
            "ftp://good.example/",
            "ws://good.example/",
        ] {
            assert_eq!(accepted(next), None, "{next}");
        }
    }

    #[test]
    fn what_a_browser_would_repair_is_refused() {
        for next in [
            "",
            " ",
            " /a",
            "a",
            "?a",
            "#a",
            ".",
            "//evil.example",
            "///evil.example",
            "////evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "\\evil",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\n/evil.example",
            "\t//evil.example",
            "/a\u{0}b",
            "/a\u{7f}b",
            "ht\ttps://evil.example",
            "https:evil.example",
            "https:/evil.example",
            "https:good.example",
            "https:\\\\evil.example",
            "javascript:alert(1)",
            "JaVaScRiPt://good.example/%0aalert(1)",
            "data:text/html,x",
            "vbscript:x",
            "blob:https://good.example/x",
            "about:blank",
            "\u{feff}//evil.example",
            "http://",
            "https://",
            "https:///evil.example",
        ] {
            assert_eq!(accepted(next), None, "{next:?}");
        }
    }

    #[test]
    fn a_path_that_could_be_read_as_a_host_later_is_refused() {
        for next in [
            "/.//evil.example",
            "/a/..//evil.example",
            "/./\\evil.example",
            "/%09/evil.example",
            "/%0d%0aSet-Cookie:x",
            "/%00",
            "/%7f",
            "/%2Fevil.example",
            "/%2f%2fevil.example",
            "/%5Cevil.example",
            "/.%2fevil.example/..//x",
            "https://good.example//evil.example",
            "https://good.example/\\evil.example",
        ] {
            assert_eq!(accepted(next), None, "{next:?}");
        }
    }

    #[test]
    fn the_portals_own_log_in_and_log_out_are_no_return_address() {
        for next in [
            "/.portcullis/login",
            "/.portcullis/login?next=/",
            "/.portcullis/logout",
            "/.portcullis/login/",
            "/.Portcullis/LOGIN",
            "/.portcullis/l%6Fgin",
            "/%2Eportcullis/login",
            "/.portcullis/login;x=1",
            "/x/../.portcullis/logout",
            "https://good.example/.portcullis/login",
        ] {
            assert_eq!(accepted(next), None, "{next}");
        }
        assert_eq!(accepted("/.portcullis/me").as_deref(), Some("/.portcullis/me"));
        assert_eq!(accepted("/.portcullisx/login").as_deref(), Some("/.portcullisx/login"));
        assert_eq!(accepted("/login").as_deref(), Some("/login"));
    }

    #[test]
    fn an_overlong_address_is_refused() {
        assert!(accepted(&format!("/{}", "a".repeat(MAX_NEXT - 1))).is_some());
        assert_eq!(accepted(&format!("/{}", "a".repeat(MAX_NEXT))), None);
    }

    #[test]
    fn an_origin_with_a_port_is_the_same_only_with_that_port() {
        let rules = rules();
        assert_eq!(rules.accept("/a", "http://127.0.0.1:8080").as_deref(), Some("/a"));
        assert_eq!(
            rules
                .accept("http://127.0.0.1:8080/a", "http://127.0.0.1:8080")
                .as_deref(),
            Some("/a")
        );
        assert_eq!(rules.accept("http://127.0.0.1/a", "http://127.0.0.1:8080"), None);
        assert_eq!(rules.accept("/a", "http://[::1]:8080").as_deref(), Some("/a"));
    }

    #[test]
    fn only_a_page_of_exactly_a_listed_origin_that_nobody_can_fake_may_act() {
        let rules = ReturnRules::new(
            "/.portcullis",
            &[
                "https://app.example.com".into(),
                "http://localhost:3000".into(),
                "http://old.example.com".into(),
            ],
        );
        assert!(rules.lists("https://app.example.com", Scheme::Https));
        assert!(rules.lists("http://localhost:3000", Scheme::Https));
        assert!(rules.lists("http://old.example.com", Scheme::Http));
        assert!(
            !rules.lists("http://old.example.com", Scheme::Https),
            "anybody on the way"
        );
        for other in [
            "null",
            "",
            "https://APP.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://app.example.com.evil.example",
            "https://evil.example",
            "http://app.example.com",
            "http://localhost:3001",
        ] {
            assert!(!rules.lists(other, Scheme::Https), "{other}");
        }
    }

    #[test]
    fn the_log_in_address_carries_the_target_as_one_value() {
        assert_eq!(
            login_location("/.portcullis", "/a/b?c=d&e=f#g"),
            "/.portcullis/login?next=/a/b%3Fc%3Dd%26e%3Df%23g"
        );
        assert_eq!(login_location("/.portcullis", "/"), "/.portcullis/login");
        assert_eq!(login_location("/.portcullis", "*"), "/.portcullis/login");
        let long = format!("/{}", "a".repeat(MAX_NEXT));
        assert_eq!(login_location("/.portcullis", &long), "/.portcullis/login");
    }

    proptest! {
        #[test]
        fn no_text_leads_a_browser_to_another_origin(
            next in r"(/|\\|https?:|//|@|\.|%2f|%5c|%09|\t|evil\.example|good\.example|app\.example\.com|:|[ -~]){0,12}"
        ) {
            if let Some(location) = accepted(&next) {
                let target = Url::parse("https://good.example/.portcullis/login").unwrap().join(&location).unwrap();
                let origin = target.origin().ascii_serialization();
                prop_assert!(
                    origin == "https://good.example" || origin == "https://app.example.com",
                    "{next:?} leads to {target}"
                );
                prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?} stands in a header");
            }
        }

        #[test]
        fn what_the_gate_sends_along_comes_back(path in "/[a-z0-9._~-]{1,20}(/[a-z]{0,5}){0,3}", query in "[ -~&&[^#\\\\]]{0,40}") {
            let target = format!("{path}?{query}");
            let location = login_location("/.portcullis", &target);
            let next = Url::parse(HERE).unwrap().join(&location).unwrap()
                .query_pairs().find(|(name, _)| name == "next").map(|(_, value)| value.into_owned()).unwrap();
            prop_assert_eq!(next, target);
        }
    }
}
