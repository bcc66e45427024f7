//! The firewall: what a client says about who it is, or about the way it came, is taken away.
//!
//! Names are compared in canonical form, because CGI, WSGI and PHP fold `X_Remote_User` and `X-Remote-User` into one.

use super::gate::Pass;
use super::intake::Arrived;
use super::intake::Client;
use super::names::FORWARDED;
use super::names::IDENTITY;
use super::names::OPERATORS;
use super::names::PREFIXES;
use super::names::SPELLED_FRAMING;
use super::names::is_hop_by_hop;
use super::spelling::TheirCookies;
use super::spelling::is_called;
use crate::web::UpgradeHold;
use crate::web::canonical_name;
use crate::web::names_match;
use crate::web::strike;
use bytes::BytesMut;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::header::CONNECTION;
use http::header::CONTENT_LENGTH;
use http::header::COOKIE;
use http::header::HOST;
use http::header::SET_COOKIE;
use http::header::TRANSFER_ENCODING;
use http::header::UPGRADE;
use hyper::body::Incoming;

/// A request without any claim of identity: only [`super::identity`] may add one.
pub struct Cleaned {
    /// Method, target, headers and body; hop-by-hop headers are gone.
    pub request: Request<Incoming>,
    /// Who sent it.
    pub client: Client,
    /// Who it passes as.
    pub pass: Pass,
    /// On upgrades.
    pub hold: Option<UpgradeHold>,
    /// The client asks for a WebSocket.
    pub websocket: bool,
}

/// Takes the cookies with these names out of all Cookie lines, byte for byte leaving the others.
pub(super) fn withhold_cookies(headers: &mut HeaderMap, names: &[String]) {
    let is_withheld = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        names.iter().any(|known| known.as_bytes() == name)
    };
    let mut kept: Vec<HeaderValue> = Vec::new();
    for line in headers.get_all(COOKIE) {
        let pairs = line.as_bytes().split(|byte| *byte == b';');
        let pairs: Vec<&[u8]> = pairs.filter(|pair| !is_withheld(pair)).collect();
        let rest = pairs.join(&b';');
        if let Ok(value) = HeaderValue::from_bytes(rest.trim_ascii())
            && !value.is_empty()
        {
            kept.push(value);
        }
    }
    strike(headers, COOKIE);
    for line in kept {
        headers.append(COOKIE, line);
    }
}

/// The names that only the gateway may write, over all routes.
#[derive(Debug)]
pub struct Firewall {
    names: Vec<String>,
    prefixes: Vec<String>,
    /// For each first byte, one bit for each length (63: and longer) that a managed name has: most headers are let
    /// through by one look.
    lengths: [u64; 256],
    own_cookies: Vec<String>,
    their_cookies: TheirCookies,
    portal_prefix: String,
}

/// Takes from an application's answer cookies that it must leave as they are. Names are compared as browsers do.
pub fn hold_cookies(headers: &mut HeaderMap, held: &[String]) {
    if held.is_empty() {
        return;
    }
    strike_cookies(headers, |pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        held.iter().any(|held| held.as_bytes() == name)
    });
}

/// Takes the lines that set a cookie for which `is_meant` holds; it sees `name=value`.
fn strike_cookies(headers: &mut HeaderMap, is_meant: impl Fn(&[u8]) -> bool) {
    let is_meant = |line: &HeaderValue| {
        let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        is_meant(pair.trim_ascii())
    };
    let lines = || headers.get_all(SET_COOKIE).iter();
    if lines().any(is_meant) {
        let kept: Vec<HeaderValue> = lines().filter(|line| !is_meant(line)).cloned().collect();
        strike(headers, SET_COOKIE);
        for line in kept {
            headers.append(SET_COOKIE, line);
        }
    }
}

impl Firewall {
    /// The managed set: everything known, and `configured` names of any route; `own_cookies` never pass, and `their_cookies`
    /// not in a spelling of which nobody knows what the application makes.
    #[must_use]
    pub fn new<'a>(
        configured: impl Iterator<Item = &'a HeaderName>,
        strip_method_overrides: bool,
        own_cookies: Vec<String>,
        their_cookies: TheirCookies,
        portal_prefix: &str,
    ) -> Self {
        let mut names: Vec<String> = IDENTITY
            .iter()
            .chain(OPERATORS)
            .chain(FORWARDED)
            .chain(SPELLED_FRAMING)
            .map(|name| canonical_name(name))
            .collect();
        names.extend(configured.map(|name| canonical_name(name.as_str())));
        let mut prefixes: Vec<String> = PREFIXES.iter().map(|prefix| canonical_name(prefix)).collect();
        if strip_method_overrides {
            prefixes.push("x-http-method".to_owned());
        }
        names.sort();
        names.dedup();
        let mut lengths = [0_u64; 256];
        for name in &names {
            lengths[usize::from(name.as_bytes()[0])] |= 1 << name.len().min(63);
        }
        for prefix in &prefixes {
            lengths[usize::from(prefix.as_bytes()[0])] |= u64::MAX << prefix.len().min(63);
        }
        Self {
            names,
            prefixes,
            lengths,
            own_cookies,
            their_cookies,
            portal_prefix: portal_prefix.to_owned(),
        }
    }

    /// Whether only the gateway may write `name`, in any spelling.
    #[must_use]
    pub fn manages(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        let Some(first) = bytes.first() else { return false };
        if self.lengths[usize::from(first.to_ascii_lowercase())] & (1 << bytes.len().min(63)) == 0 {
            return false;
        }
        // The right spelling is read and written by hyper.
        if SPELLED_FRAMING.contains(&name) {
            return false;
        }
        self.names.iter().any(|managed| names_match(managed, name))
            || self
                .prefixes
                .iter()
                .any(|prefix| name.get(..prefix.len()).is_some_and(|start| names_match(start, prefix)))
    }

    /// Takes every managed and hop-by-hop header from a request or its trailers, and those that `Connection` names.
    fn strike_all(&self, headers: &mut HeaderMap) {
        let mut doomed: Vec<HeaderName> = Vec::new();
        for line in headers.get_all(CONNECTION) {
            for token in line.as_bytes().split(|byte| *byte == b',') {
                // A head of 64 KiB has room for 30,000 names: one that is not there costs a look and no memory.
                let token = str::from_utf8(token.trim_ascii()).unwrap_or_default();
                if !headers.contains_key(token) {
                    continue;
                }
                if let Ok(name) = HeaderName::from_bytes(token.as_bytes()) {
                    // Framing and host are the gateway's own affair, whatever a client lists.
                    if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) && doomed.last() != Some(&name) {
                        doomed.push(name);
                    }
                }
            }
        }
        doomed.extend(
            headers
                .keys()
                .filter(|name| is_hop_by_hop(name.as_str()) || self.manages(name.as_str()))
                .cloned(),
        );
        for name in doomed {
            strike(headers, name);
        }
    }

    /// Takes from trailers what may not stand in headers, and what no trailer may be (RFC 9110, 6.5.1).
    pub fn clean_trailers(&self, trailers: &mut HeaderMap) {
        self.strike_all(trailers);
        for name in [
            "host",
            "content-length",
            "transfer-encoding",
            "cookie",
            "set-cookie",
            "authorization",
            "trailer",
            "content-type",
        ] {
            strike(trailers, name);
        }
    }

    /// Takes our cookies out of all Cookie lines, and those of theirs of which nobody knows what the application makes, and
    /// joins the rest into one (RFC 9113, 8.2.3).
    fn clean_cookies(&self, host: &str, headers: &mut HeaderMap) {
        let mut lines = headers.get_all(COOKIE).iter();
        let (Some(first), second) = (lines.next(), lines.next()) else {
            return;
        };
        let ambiguous = self.their_cookies.ambiguous(host, headers);
        if second.is_none() && ambiguous.is_empty() && !self.has_own_cookie(first.as_bytes()) {
            return;
        }
        let is_ambiguous = |pair: &[u8]| ambiguous.iter().any(|name| is_called(pair, name.as_bytes()));
        let mut kept = BytesMut::with_capacity(first.len());
        for line in headers.get_all(COOKIE) {
            for pair in line.as_bytes().split(|byte| *byte == b';') {
                let pair = pair.trim_ascii();
                if pair.is_empty() || self.is_own_pair(pair) || is_ambiguous(pair) {
                    continue;
                }
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(pair);
            }
        }
        match HeaderValue::from_maybe_shared(kept.freeze()) {
            Ok(value) if !value.is_empty() => {
                headers.insert(COOKIE, value);
            }
            _ => {
                strike(headers, COOKIE);
            }
        }
    }

    fn has_own_cookie(&self, line: &[u8]) -> bool {
        line.split(|byte| *byte == b';')
            .any(|pair| self.is_own_pair(pair.trim_ascii()))
    }

    /// Whether `name=value` is one of our cookies, in any case, and in the nameless form `=name=value` that some servers
    /// read as `name=value`.
    fn is_own_pair(&self, pair: &[u8]) -> bool {
        let pair = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii_start();
        self.own_cookies.iter().any(|own| {
            let own = own.as_bytes();
            pair.get(..own.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(own))
                && pair[own.len()..]
                    .trim_ascii_start()
                    .first()
                    .is_none_or(|byte| *byte == b'=')
        })
    }

    /// Takes from an application's answer what only the gateway may say: identity names, cookies of our name, a service
    /// worker that would cover our pages; and hop-by-hop headers.
    pub fn clean_response(&self, headers: &mut HeaderMap) {
        self.strike_all(headers);
        strike_cookies(headers, |pair| self.is_own_pair(pair));
        if headers
            .get("service-worker-allowed")
            .is_some_and(|scope| self.covers_portal(scope))
        {
            strike(headers, "service-worker-allowed");
        }
    }

    /// Whether a browser fetches a service worker that would see every request to the gateway's own pages, log-ins among
    /// them: its scope is the folder of its script (Service Workers, 4.6).
    pub fn is_worker_over_portal<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        request.headers().contains_key("service-worker")
            && path
                .rfind('/')
                .is_none_or(|slash| self.portal_prefix.starts_with(&path[..=slash]))
    }

    fn covers_portal(&self, scope: &HeaderValue) -> bool {
        let Ok(scope) = scope.to_str() else { return true };
        // A scope is an address relative to the script; whatever is not plainly a path elsewhere may cover ours.
        let path = scope.trim();
        !path.starts_with('/')
            || path.contains(['%', '\\', '.', '?', '#'])
            || self.portal_prefix.starts_with(path)
            || path.starts_with(&self.portal_prefix)
    }
}

/// Takes away what the client said of itself and writes the forwarded family anew. What the firewall takes is gone for
/// good: the order *clean, then stamp* is a rule, because a client's `Connection: x-remote-user` would else strip ours.
#[must_use]
pub fn clean(arrived: Arrived, pass: Pass, firewall: &Firewall) -> Cleaned {
    let Arrived {
        mut request,
        client,
        hold,
        websocket,
    } = arrived;
    let headers = request.headers_mut();
    if matches!(pass, Pass::Preflight) {
        keep_only(headers, |name| {
            name == HOST
                || name == "origin"
                || name == CONTENT_LENGTH
                || name.as_str().starts_with("access-control-request-")
        });
    }
    firewall.strike_all(headers);
    firewall.clean_cookies(&client.host, headers);
    rebuild_forwarded(headers, &client);
    if websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    Cleaned {
        request,
        client,
        pass,
        hold,
        websocket,
    }
}

fn keep_only(headers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| !keep(name)).cloned().collect();
    for name in doomed {
        strike(headers, name);
    }
}

fn rebuild_forwarded(headers: &mut HeaderMap, client: &Client) {
    let put =
        |headers: &mut HeaderMap, name: &'static str, value: Result<HeaderValue, http::header::InvalidHeaderValue>| {
            if let Ok(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
    let authority = HeaderValue::try_from(client.authority());
    put(
        headers,
        "x-forwarded-for",
        HeaderValue::try_from(client.address.to_string()),
    );
    headers.insert(
        HeaderName::from_static("x-forwarded-proto"),
        HeaderValue::from_static(client.scheme.as_str()),
    );
    put(headers, "x-forwarded-host", authority);
    let port = client.port.unwrap_or(client.scheme.default_port());
    headers.insert(HeaderName::from_static("x-forwarded-port"), HeaderValue::from(port));
    headers.insert(HeaderName::from_static("x-request-id"), client.request_id.header());
}

#[cfg(test)]
mod tests {
    use super::Firewall;
    use super::TheirCookies;
    use crate::session::TheirCookie;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn firewall() -> Firewall {
        let configured = [HeaderName::from_static("x-crm-login")];
        Firewall::new(
            configured.iter(),
            true,
            vec!["__Host-portcullis".into(), "__Host-portcullis-form".into()],
            TheirCookies::new(std::iter::once(TheirCookie {
                name: "connect.sid".to_owned(),
                hosts: vec!["app.example".to_owned()],
                single: false,
            })),
            "/.portcullis",
        )
    }

    fn cookies(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("cookie", HeaderValue::from_str(line).unwrap());
        }
        firewall().clean_cookies("app.example", &mut headers);
        assert!(headers.get_all("cookie").iter().count() <= 1);
        headers.get("cookie").map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_spelling_of_a_managed_name_is_managed() {
        let firewall = firewall();
        for name in [
            "x-remote-user",
            "X-Remote-User",
            "x_remote_user",
            "x.remote.user",
            "X_REMOTE-USER",
            "remote_user",
            "x-forwarded-user",
            "x~forwarded~for",
            "x-portcullis-anything",
            "x_portcullis_stale",
            "x-forwarded-new-thing",
            "x-crm-login",
            "x_crm_login",
            "forwarded",
            "x-http-method-override",
            "ssl-client-cert",
            "ssl_client_s_dn",
            "x-original-url",
            "x-admin-token",
            "proxy",
        ] {
            assert!(firewall.manages(name), "{name}");
        }
        for name in [
            "x-remote-users",
            "accept",
            "cookie",
            "host",
            "user-agent",
            "x-requested-with",
            "xremoteuser",
            "proxy-status",
            "x-csrf-token",
        ] {
            assert!(!firewall.manages(name), "{name}");
        }
    }

    #[test]
    fn our_cookies_go_and_all_others_stay_in_one_line() {
        assert_eq!(cookies(&["a=1; b=2"]), Some("a=1; b=2".into()));
        assert_eq!(cookies(&["__Host-portcullis=x"]), None);
        assert_eq!(cookies(&["a=1; __Host-portcullis=x; b=2"]), Some("a=1; b=2".into()));
        assert_eq!(cookies(&["a=1", "__HOST-PORTCULLIS=x", "b=2"]), Some("a=1; b=2".into()));
        assert_eq!(cookies(&["=__Host-portcullis=x; a=1"]), Some("a=1".into()));
        assert_eq!(
            cookies(&["__Host-portcullis; a=1; __Host-portcullis =y"]),
            Some("a=1".into())
        );
        assert_eq!(
            cookies(&["__Host-portcullis-form=x; __Host-portcullis2=y"]),
            Some("__Host-portcullis2=y".into())
        );
    }

    #[test]
    fn a_cookie_of_theirs_in_a_spelling_of_its_own_takes_all_of_its_name_along() {
        assert_eq!(
            cookies(&["a=1; connect.sid=x; b=j:1"]),
            Some("a=1; connect.sid=x; b=j:1".into())
        );
        assert_eq!(
            cookies(&["a=1; connect.sid=\"x; connect.sid=s:ended", "connect%2Esid=y; b=2"]),
            Some("a=1; b=2".into())
        );
        assert_eq!(cookies(&["connect.sid=j%3A%22s%3Aended%22"]), None);
    }

    #[test]
    fn an_application_cannot_set_our_cookie_or_a_worker_over_our_pages() {
        let mut headers = HeaderMap::new();
        for line in [
            "a=1; Path=/",
            "__host-PORTCULLIS=evil; Path=/",
            "=__Host-portcullis=evil",
            "__Host-portcullis",
            " __Host-portcullis = x",
        ] {
            headers.append("set-cookie", HeaderValue::from_str(line).unwrap());
        }
        headers.insert("service-worker-allowed", HeaderValue::from_static("/"));
        headers.insert("x-forwarded-user", HeaderValue::from_static("root"));
        firewall().clean_response(&mut headers);
        let left: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(left, ["a=1; Path=/"]);
        assert!(!headers.contains_key("service-worker-allowed") && !headers.contains_key("x-forwarded-user"));
        headers.insert("service-worker-allowed", HeaderValue::from_static("/app"));
        firewall().clean_response(&mut headers);
        assert!(headers.contains_key("service-worker-allowed"));
    }

    #[test]
    fn what_connection_names_goes_but_never_the_framing() {
        let mut headers = HeaderMap::new();
        headers.append("connection", HeaderValue::from_static("close, X-Secret"));
        headers.append("connection", HeaderValue::from_static("x-other ,host,content-length"));
        for name in ["x-secret", "x-other", "host", "content-length", "accept"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        firewall().strike_all(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "content-length", "host"]);
    }

    proptest! {
        #[test]
        fn no_sequence_of_headers_leaves_a_managed_name(
            names in proptest::collection::vec("(?i)(x|remote|forwarded|ssl|connection|y)[-_.~]?(remote|forwarded|client|crm|portcullis)?[-_.!]?(user|groups|for|login|cert)?", 0..20),
            connection in "(x-remote-user|remote-user|,| |close|x_crm_login){0,6}",
        ) {
            let firewall = firewall();
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&connection) {
                headers.append("connection", value);
            }
            for name in names {
                if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                    headers.append(name, HeaderValue::from_static("root"));
                }
            }
            firewall.strike_all(&mut headers);
            for name in headers.keys() {
                let folded = name.as_str().replace(['_', '.', '~', '!'], "-");
                prop_assert!(!super::IDENTITY.contains(&folded.as_str()) && !super::FORWARDED.contains(&folded.as_str()), "{name}");
                prop_assert!(!super::PREFIXES.iter().any(|prefix| folded.starts_with(prefix)), "{name}");
                prop_assert!(folded != "x-crm-login" && folded != "connection");
            }
        }
    }
}
