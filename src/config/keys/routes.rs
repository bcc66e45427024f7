//! Tables of what stands behind the gateway: upstreams, routes, identity.

use super::DAY;
use super::Key;
use super::Kind;
use super::Table;
use super::Words;
use crate::config::shape;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

const BALANCE: Words = Words {
    now: &["round_robin"],
    later: &["least_requests", "hash"],
};
const ACCESS: Words = Words {
    now: &["signed_in", "public", "optional", "deny"],
    later: &[],
};
const PATH_CASE: Words = Words {
    now: &["insensitive", "sensitive"],
    later: &[],
};
const ENCODING: Words = Words {
    now: &["percent", "utf-8"],
    later: &[],
};
const PRESET: Words = Words {
    now: &["oauth2-proxy", "remote-user", "radicale"],
    later: &[
        "grafana",
        "gitea",
        "jenkins",
        "django",
        "jupyterhub",
        "opensearch",
        "cloudbeaver",
        "authentik",
    ],
};

pub(super) static UPSTREAM: Table = Table {
    says: "Applications: named groups of servers.",
    keys: &[
        Key::new(
            "name",
            Kind::One(&shape::NAME),
            "What routes, logs and metrics call it.",
        )
        .required("\"app\""),
        Key::new(
            "servers",
            Kind::List(&shape::SERVER),
            "http://HOST:PORT, taken in turn.",
        )
        .required("[\"http://127.0.0.1:3000\"]"),
        Key::new("balance", Kind::Words(&BALANCE), "How a server is chosen.").default("\"round_robin\""),
        Key::new(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            "connect: to a server that is up, a connection takes milliseconds. response: from the request's last byte \
             to the answer's head. idle: between two pieces of the answer. keep_alive: how long a connection may lie \
             unused; below the application's own limit (Node closes after 5 s).",
        ),
        Key::new(
            "in_flight",
            Kind::Number {
                least: 1,
                most: 10_000_000,
            },
            "Requests at once; more are answered 503, because a queue that no application works off helps nobody.",
        )
        .default("10000"),
        Key::later("hash_by"),
        Key::later("health"),
    ],
};

static TIMEOUTS: Table = Table {
    says: "",
    keys: &[
        Key::new(
            "connect",
            Kind::Span {
                least: MILLI,
                most: DAY,
            },
            "Until a connection stands.",
        )
        .default("\"2s\""),
        Key::new(
            "response",
            Kind::Span {
                least: MILLI,
                most: DAY,
            },
            "From the request's last byte to the answer's head.",
        )
        .default("\"60s\""),
        Key::new(
            "idle",
            Kind::Span {
                least: MILLI,
                most: DAY,
            },
            "Between two pieces of the answer.",
        )
        .default("\"60s\""),
        Key::new(
            "keep_alive",
            Kind::Span {
                least: MILLI,
                most: DAY,
            },
            "How long a connection may lie unused.",
        )
        .default("\"4s\""),
    ],
};

pub(super) static ROUTE: Table = Table {
    says: "Which requests go where, and who may pass. The most specific route wins; their order never matters.",
    keys: &[
        Key::new(
            "name",
            Kind::One(&shape::NAME),
            "What logs and metrics call it. Absent: made of host and path.",
        )
        .shown("\"app\""),
        Key::new("host", Kind::One(&shape::HOST), "One host, \"*.example.com\" for one label more; absent: any.")
            .example("\"app.example.com\""),
        Key::new("path", Kind::One(&shape::ROUTE_PATH), "A prefix of whole segments.").default("\"/\""),
        Key::new("path_exact", Kind::One(&shape::ROUTE_PATH), "Instead of path: this one only.").example("\"/health\""),
        Key::new("methods", Kind::List(&shape::METHOD), "Only these; empty: all.").default("[]"),
        Key::new("upstream", Kind::One(&shape::NAME), "Absent: only the portal answers here.").shown("\"app\""),
        Key::new(
            "access",
            Kind::Words(&ACCESS),
            "\"signed_in\", \"optional\" (everybody, and who is signed in is identified), \"public\" (nobody is) or \
             \"deny\".",
        )
        .default("\"signed_in\""),
        Key::new("groups", Kind::List(&shape::GROUP), "Only members of one of these.").default("[]"),
        Key::new("users", Kind::List(&shape::USER), "Only these; with groups: either.").default("[]"),
        Key::new("networks", Kind::List(&shape::NETWORK), "Only clients in these networks.").default("[]"),
        Key::new("api", Kind::Flag, "true: only scripts come here; 401 instead of the log-in page.").default("false"),
        Key::new(
            "origins",
            Kind::List(&shape::ORIGIN),
            "Origins that may open WebSockets, besides the host's own.",
        )
        .default("[]"),
        Key::new("allow_preflight", Kind::Flag, "true: CORS pre-flights pass without a session.").default("false"),
        Key::new("allow_encoded_slash", Kind::Flag, "true: %2F, %5C and \\ pass in paths.").default("false"),
        Key::new("allow_double_slash", Kind::Flag, "true: // passes in paths.").default("false"),
        Key::new(
            "allow_path_parameters",
            Kind::Flag,
            "true: the application doesn't read ;parameters in paths as Java does.",
        )
        .default("false"),
        Key::new(
            "path_case",
            Kind::Words(&PATH_CASE),
            "\"sensitive\": the application tells /Admin from /admin.",
        )
        .default("\"insensitive\""),
        Key::new("preserve_host", Kind::Flag, "false: the application gets its server's name as Host.")
            .default("true"),
        Key::new("strip_prefix", Kind::Flag, "true: path is cut off before forwarding.").default("false"),
        Key::new("add_prefix", Kind::One(&shape::ADDED_PREFIX), "Put in front of the path when forwarding.")
            .default("\"\""),
        Key::new(
            "set_headers",
            Kind::Pairs(&shape::HEADER_NAME, &shape::HEADER_VALUE),
            "Fixed headers for the application.",
        )
        .default("{}"),
        Key::new(
            "outage_grace",
            Kind::Span { least: Duration::ZERO, most: Duration::from_mins(15) },
            "This route's own, instead of cache.outage_grace.",
        )
        .example("\"0s\""),
        Key::new(
            "cache_private",
            Kind::Flag,
            "Whether an answer to somebody signed in that says nothing of caching gets Cache-Control: private.",
        )
        .default("true"),
        Key::new(
            "identity",
            Kind::Either(&PRESET, &Kind::Table(&IDENTITY)),
            "Which headers tell the application who it is: \"oauth2-proxy\" (X-Forwarded-User, -Email, -Groups, \
             -Preferred-Username), \"remote-user\" (Remote-User, -Groups, -Name, -Email), \"radicale\" \
             (X-Remote-User), or a table: { preset = \"…\", headers = { \"X-User\" = \"{username}\" }, delimiter = \",\", \
             encoding = \"percent\" }. Templates know {username} {id} {name} {email} {groups} {session}.",
        )
        .default("\"oauth2-proxy\""),
        Key::new("sessions", Kind::List(&shape::SOURCE), "Where its sessions are kept.").default("[\"native\"]"),
        Key::later("max_auth_age"),
        Key::later("rate_limit"),
    ],
};

static IDENTITY: Table = Table {
    says: "",
    keys: &[
        Key::new("preset", Kind::Words(&PRESET), "A known family; absent: only headers."),
        Key::new(
            "headers",
            Kind::Pairs(&shape::HEADER_NAME, &shape::TEMPLATE),
            "Header names and templates of {username} {id} {name} {email} {groups} {session}.",
        )
        .default("{}"),
        Key::new(
            "delimiter",
            Kind::One(&shape::DELIMITER),
            "Between groups; absent: the preset's own.",
        ),
        Key::new(
            "encoding",
            Kind::Words(&ENCODING),
            "How values outside visible ASCII are written: \"percent\" or \"utf-8\".",
        )
        .default("\"percent\""),
    ],
};
