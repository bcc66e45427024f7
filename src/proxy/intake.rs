//! What must not be forwarded is refused here; what is left has one host, one path and one client address.

use super::refusal::Refusal;
use super::settings::Settings;
use crate::portal;
use crate::web::Arrival;
use crate::web::Audience;
use crate::web::Peer;
use crate::web::RequestId;
use crate::web::Scheme;
use crate::web::UpgradeHold;
use crate::web::audience_of;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Version;
use http::header::CONNECTION;
use http::header::CONTENT_LENGTH;
use http::header::EXPECT;
use http::header::HOST;
use http::header::UPGRADE;
use http_body::Body;
use hyper::body::Incoming;
use std::net::IpAddr;
use std::rc::Rc;

/// A request that is one thing only, not yet cleaned.
pub struct Arrived {
    /// The request as the client sent it.
    pub request: Request<Incoming>,
    /// Who sent it and where to.
    pub client: Client,
    /// On upgrades: what the next bytes are is decided through it.
    pub hold: Option<UpgradeHold>,
    /// The client asks for a WebSocket.
    pub websocket: bool,
}

/// Who sent a request, as far as it can be believed, and where to.
#[derive(Clone, Debug)]
pub struct Client {
    /// The connection.
    pub peer: Rc<Peer>,
    /// The client's address after `trust.proxies`.
    pub address: IpAddr,
    /// The browser's scheme after `trust.proxies`.
    pub scheme: Scheme,
    /// Canonical host: lower case, no port, no trailing dot; IPv6 in brackets.
    pub host: String,
    /// The port in the browser's address bar, where it is not the scheme's own.
    pub port: Option<u16>,
    /// This request's name.
    pub request_id: RequestId,
}

impl Client {
    /// The origin that the browser sees.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.port {
            Some(port) => format!("{}://{}:{port}", self.scheme.as_str(), self.host),
            None => format!("{}://{}", self.scheme.as_str(), self.host),
        }
    }

    /// `Host` as the browser would write it.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// What a refusal must know of the request that it answers.
pub struct Context<'a> {
    /// Page or problem.
    pub audience: Audience,
    /// GET or HEAD: nothing is lost by a redirect.
    pub safe_method: bool,
    /// HTTP/1: the connection can be closed behind the answer.
    pub http1: bool,
    /// Canonical host; empty where it was the host that was wrong.
    pub host: &'a str,
    /// Whether the browser came over https.
    pub https: bool,
    /// Path and query, to come back to.
    pub target: &'a str,
    /// Whose page asked, as the browser says.
    pub origin: Option<&'a HeaderValue>,
    /// This request's name.
    pub request_id: RequestId,
    /// What somebody who is signed in twice can click: text and path.
    pub log_outs: &'a [(String, String)],
}

impl Context<'_> {
    /// Where to sign in, with the way back where there is something to come back to.
    #[must_use]
    pub fn login_location(&self, portal: &portal::Settings) -> String {
        portal::login_location(&portal.prefix, if self.safe_method { self.target } else { "/" })
    }
}

/// Tells who reads the answer, and takes what a refusal needs before the request is taken apart.
#[must_use]
pub fn audience(request: &Request<Incoming>) -> Audience {
    audience_of(request.headers())
}

/// Checks a request and finds out who sent it.
///
/// # Errors
/// What must not be forwarded, each with its own status.
pub fn take_in(
    request: Request<Incoming>,
    arrival: Arrival,
    settings: &Settings,
    request_id: RequestId,
) -> Result<Arrived, Refusal> {
    if let Some(fault) = arrival.fault {
        return Err(Refusal::Head(fault));
    }
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    check_size(&request, settings)?;
    check_expectation(request.headers())?;
    let client = client_of(&request, arrival.peer, settings, request_id)?;
    let websocket = is_websocket(&request);
    // A hold that is let go here means: no tunnel, HTTP goes on.
    let hold = arrival.hold.filter(|_| websocket);
    Ok(Arrived {
        request,
        client,
        hold,
        websocket,
    })
}

/// Who sent a request and where to.
///
/// # Errors
/// `Malformed` where host or forwarded values are not one clear thing.
pub fn client_of(
    request: &Request<Incoming>,
    peer: Rc<Peer>,
    settings: &Settings,
    request_id: RequestId,
) -> Result<Client, Refusal> {
    let (host, port) = authority_of(request)?;
    let (address, scheme) = believed(request.headers(), &peer, settings)?;
    let port = port.filter(|port| *port != scheme.default_port());
    Ok(Client {
        peer,
        address,
        scheme,
        host,
        port,
        request_id,
    })
}

fn check_size(request: &Request<Incoming>, settings: &Settings) -> Result<(), Refusal> {
    if request
        .uri()
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > settings.target_bytes)
    {
        return Err(Refusal::TargetTooLong);
    }
    if request.headers().len() > settings.headers {
        return Err(Refusal::HeadTooLarge);
    }
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    let (first, second) = (lengths.next(), lengths.next());
    if second.is_some() {
        return Err(Refusal::Malformed("content_length"));
    }
    if let Some(length) = first {
        let text = length.to_str().map_err(|_| Refusal::Malformed("content_length"))?;
        // `parse` would take a sign.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::Malformed("content_length"));
        }
        let length: u64 = text.parse().map_err(|_| Refusal::Malformed("content_length"))?;
        if settings.body_bytes.is_some_and(|limit| length > limit) {
            return Err(Refusal::BodyTooLarge);
        }
    }
    Ok(())
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let known = |value: &http::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(known) {
        Ok(())
    } else {
        Err(Refusal::Expectation)
    }
}

/// The one host and port of a request: `:authority`, the absolute target or `Host`, and no two of them that differ
/// (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
fn authority_of(request: &Request<Incoming>) -> Result<(String, Option<u16>), Refusal> {
    let mut lines = request.headers().get_all(HOST).iter();
    let (line, another) = (lines.next(), lines.next());
    if another.is_some() {
        return Err(Refusal::Malformed("host"));
    }
    let line = line
        .map(|value| value.to_str().map_err(|_| Refusal::Malformed("host")))
        .transpose()?;
    let uri = request.uri();
    if uri
        .scheme()
        .is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https"))
    {
        return Err(Refusal::Malformed("scheme"));
    }
    let target = uri.authority().map(http::uri::Authority::as_str);
    match (target, line) {
        (Some(target), Some(line)) => {
            let (target, line) = (parse_authority(target)?, parse_authority(line)?);
            if target == line {
                Ok(target)
            } else {
                Err(Refusal::Malformed("host"))
            }
        }
        (Some(one), None) | (None, Some(one)) => parse_authority(one),
        (None, None) => Err(Refusal::Malformed("host")),
    }
}

/// Splits and canonicalises `host[:port]`.
fn parse_authority(text: &str) -> Result<(String, Option<u16>), Refusal> {
    const WRONG: Refusal = Refusal::Malformed("host");
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(WRONG)?;
        let address: std::net::Ipv6Addr = address.parse().map_err(|_| WRONG)?;
        (
            format!("[{address}]"),
            after
                .strip_prefix(':')
                .or_else(|| after.is_empty().then_some(""))
                .ok_or(WRONG)?,
        )
    } else {
        let (host, port) = text.split_once(':').map_or((text, ""), |(host, port)| (host, port));
        let host = host.strip_suffix('.').unwrap_or(host);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let labels = host.split('.').all(|label| !label.is_empty() && label.len() <= 63);
        if host.len() > 253 || !host.bytes().all(fits) || !labels {
            return Err(WRONG);
        }
        (host.to_ascii_lowercase(), port)
    };
    if text.ends_with(':') {
        return Err(WRONG);
    }
    let port = if port.is_empty() {
        None
    } else if port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) {
        Some(port.parse::<u16>().ok().filter(|port| *port != 0).ok_or(WRONG)?)
    } else {
        return Err(WRONG);
    };
    Ok((host, port))
}

/// Address and scheme of the client: the socket's, or what a trusted proxy says. Of a list of addresses the rightmost
/// one that is no trusted proxy counts: everything left of it may be the client's own invention.
fn believed(headers: &HeaderMap, peer: &Peer, settings: &Settings) -> Result<(IpAddr, Scheme), Refusal> {
    let socket = peer.address.ip().to_canonical();
    let trusted = |address: IpAddr| {
        settings
            .trusted_proxies
            .iter()
            .any(|network| network.contains(&address))
    };
    if settings.trusted_proxies.is_empty() || !trusted(socket) {
        return Ok((socket, peer.listener.scheme));
    }
    let mut address = socket;
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    'chain: for line in lines.iter().rev() {
        let text = line.to_str().map_err(|_| Refusal::Malformed("forwarded"))?;
        for part in text.rsplit(',') {
            address = parse_hop(part.trim()).ok_or(Refusal::Malformed("forwarded"))?;
            if !trusted(address) {
                break 'chain;
            }
        }
    }
    let mut schemes = headers.get_all("x-forwarded-proto").iter();
    let scheme = match (schemes.next(), schemes.next()) {
        (None, _) => peer.listener.scheme,
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"https") => Scheme::Https,
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"http") => Scheme::Http,
        _ => return Err(Refusal::Malformed("forwarded")),
    };
    Ok((address, scheme))
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    text.strip_prefix('[')?
        .strip_suffix(']')?
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

/// Whether it is the handshake of RFC 6455, 4.1, and nothing beside it: a body, or an `Upgrade` that `Connection` does not
/// name (RFC 9110, 7.8), would be read differently by a proxy in front of us or by the application.
pub fn is_websocket(request: &Request<Incoming>) -> bool {
    let mut upgrades = request.headers().get_all(UPGRADE).iter();
    let asked = match (upgrades.next(), upgrades.next()) {
        (Some(one), None) => one.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"),
        _ => false,
    };
    asked
        && request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && names_upgrade(request.headers())
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::parse_authority;
    use super::parse_hop;

    #[test]
    fn a_host_has_one_form() {
        for (text, host, port) in [
            ("App.Example.COM", "app.example.com", None),
            ("app.example.com.", "app.example.com", None),
            ("app.example.com:8443", "app.example.com", Some(8443)),
            ("app.example.com.:8443", "app.example.com", Some(8443)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:443", "[::1]", Some(443)),
            ("under_score.example", "under_score.example", None),
        ] {
            assert_eq!(parse_authority(text), Ok((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "user@host",
            "a:b",
            "a:",
            "a:0",
            "a:99999",
            "a:+80",
            "a:80:80",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%eth0]",
            "a..",
            "%61",
            "a,b",
            "[::1]:",
            "ä",
            "a\u{0}b",
        ] {
            assert!(parse_authority(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hop_may_carry_a_port() {
        for text in [
            "192.0.2.1",
            "192.0.2.1:1234",
            "[2001:db8::1]:1234",
            "[2001:db8::1]",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(parse_hop(text).is_some(), "{text}");
        }
        for text in ["", "unknown", "_hidden", "192.0.2.1, 192.0.2.2", "192.0.2.256"] {
            assert!(parse_hop(text).is_none(), "{text}");
        }
    }
}
