use crate::session::Accepted;
use http::{HeaderName, Method};
use ipnet::IpNet;
use std::time::Duration;

/// Everything that decides about requests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Routes in the order of the file, which never matters.
    pub routes: Vec<RouteSettings>,
    /// Named groups of servers.
    pub upstreams: Vec<UpstreamSettings>,
    /// Networks whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The portal's prefix, as in `/.portcullis`.
    pub portal_prefix: String,
    /// Paths of older front ends that lead to the gateway's own endpoints.
    pub aliases: Vec<AliasSettings>,
    /// Most bytes of a request's body; `None`: unlimited.
    pub body_bytes: Option<u64>,
    /// Header lines of one head.
    pub headers: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Between two pieces of a body.
    pub body_idle: Duration,
    /// How long tunnels and streams may go on when the process stops.
    pub stream_grace: Duration,
}

impl Settings {
    /// The longest outage grace of any route.
    #[must_use]
    pub fn longest_grace(&self) -> Duration {
        let graces = self.routes.iter().map(|route| route.outage_grace);
        graces.max().unwrap_or_default()
    }
}

/// One path of an older front end's own on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasSettings {
    /// Canonical host.
    pub host: String,
    /// Exactly this path, in visible ASCII, and no other reading of it.
    pub path: String,
    /// What it stands for, below the portal's prefix, without a slash in front.
    pub endpoint: String,
}

/// A named group of servers.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Name; a label in metrics.
    pub name: String,
    /// Servers, taken in turn.
    pub servers: Vec<ServerAddress>,
    /// How a server is chosen.
    pub balance: Balance,
    /// Deadline of a connect.
    pub connect: Duration,
    /// Deadline from the request's last byte to the answer's head.
    pub response: Duration,
    /// Deadline between two pieces of the answer's body.
    pub idle: Duration,
    /// How long a connection may lie unused; below the application's own (Node closes after 5 s).
    pub keep_alive: Duration,
    /// Most requests at once, over all cores; more are answered 503.
    pub most_in_flight: usize,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
}

/// One route: host and path, the rule, the upstream.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own that an operator sets by name"
)]
pub struct RouteSettings {
    /// Name; a label in metrics, unique.
    pub name: String,
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; empty for all. A host with such a route loses `X-HTTP-Method*` overrides.
    pub methods: Vec<Method>,
    /// Index into [`Settings::upstreams`]; `None`: only the portal answers here.
    pub upstream: Option<usize>,
    /// Who may pass.
    pub access: Access,
    /// Narrowed to members of one of these; empty for no narrowing.
    pub groups: Vec<String>,
    /// Narrowed to these user names; with `groups`: either.
    pub users: Vec<String>,
    /// Narrowed to clients in these networks.
    pub networks: Vec<IpNet>,
    /// Scripts only: 401 instead of a redirect.
    pub api: bool,
    /// WebSocket origins besides the host's own.
    pub origins: Vec<String>,
    /// Whether CORS pre-flights pass without a session.
    pub allow_preflight: bool,
    /// Whether `%2F` and `%5C` and `\` pass.
    pub allow_encoded_slash: bool,
    /// Whether `//` passes.
    pub allow_double_slash: bool,
    /// Whether `;parameters` in segments pass though another reading selects another rule.
    pub allow_path_parameters: bool,
    /// Whether the application tells `/Admin` from `/admin`.
    pub path_case: PathCase,
    /// Whether the application gets the browser's `Host`; else the server's own.
    pub preserve_host: bool,
    /// Whether the route's prefix is cut before forwarding.
    pub strip_prefix: bool,
    /// Put in front of the path when forwarding.
    pub add_prefix: String,
    /// Static headers for the application.
    pub set_headers: Vec<(HeaderName, String)>,
    /// How much longer a cached session is believed while the store cannot be asked.
    pub outage_grace: Duration,
    /// Whether an authenticated answer that says nothing of its privacy gets `Cache-Control: private`.
    pub cache_private: bool,
    /// Which identity headers.
    pub identity: IdentitySettings,
    /// Whose sessions count.
    pub sessions: Accepted,
}

/// Who may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, and nobody is identified.
    Public,
    /// Everybody; who is signed in is identified.
    Optional,
    /// Who is signed in.
    SignedIn,
    /// Nobody.
    Deny,
}

/// Which hosts a route is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Canonical host: lower case, no port, no trailing dot.
    Exact(String),
    /// `*.example.com` as `example.com`: exactly one label more.
    Wildcard(String),
    /// Any host.
    Any,
}

/// Which paths a route is for; always starts with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    /// By whole segments: `/a` covers `/a` and `/a/b`, not `/ab`. No trailing slash except `/` itself.
    Prefix(String),
    /// This path only.
    Exact(String),
}

/// Whether letter case tells paths apart in the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathCase {
    /// The application may fold case: another case that selects another rule is refused.
    Insensitive,
    /// It does not.
    Sensitive,
}

/// What an application is told of the user.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// The family.
    pub preset: Preset,
    /// Free headers: name and template of `{username} {id} {name} {email} {groups} {session}`.
    pub headers: Vec<(HeaderName, String)>,
    /// Between groups; the preset's own when absent.
    pub delimiter: Option<char>,
    /// How values outside visible ASCII are written.
    pub encoding: Encoding,
}

/// A known family of identity headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// `X-Forwarded-User`, `-Email`, `-Groups`, `-Preferred-Username`.
    OAuth2Proxy,
    /// `Remote-User`, `-Groups`, `-Name`, `-Email`.
    RemoteUser,
    /// `X-Remote-User`.
    Radicale,
    /// No family; only `headers`.
    Free,
}

/// How values outside visible ASCII are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Percent-encoded UTF-8; `%` too.
    Percent,
    /// As UTF-8 bytes.
    Utf8,
}
