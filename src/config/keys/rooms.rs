//! The top of the file, and the tables of the process itself: store, sessions, cache, portal, stop, log.

use super::DAY;
use super::Key;
use super::Kind;
use super::Table;
use super::UNLIMITED;
use super::Words;
use super::days;
use super::edge;
use super::routes;
use super::session;
use super::sources;
use super::throttle;
use crate::config::shape;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const MILLI: Duration = Duration::from_millis(1);
const ZERO: Duration = Duration::ZERO;

const AUTO: Words = Words {
    now: &["auto"],
    later: &[],
};
const FORMAT: Words = Words {
    now: &["auto", "pretty", "json"],
    later: &[],
};

pub(super) static ROOT: Table = Table {
    says: "",
    keys: &[
        Key::new(
            "data_dir",
            Kind::One(&shape::PATH),
            "Where the local CA, the SQLite file and generated secrets live; made with mode 0700. Relative paths start \
             at this file's folder.",
        )
        .default("\"data\""),
        Key::new(
            "workers",
            Kind::Either(&AUTO, &Kind::Number { least: 1, most: 1024 }),
            "Cores that carry requests, one thread each. \"auto\": as many as the process may use.",
        )
        .default("\"auto\""),
        Key::new("store", Kind::Table(&STORE), ""),
        Key::new("session", Kind::Table(&session::SESSION), ""),
        Key::new("cache", Kind::Table(&session::CACHE), ""),
        Key::new("throttle", Kind::Table(&throttle::THROTTLE), ""),
        Key::new("listener", Kind::Tables(&edge::LISTENER), ""),
        Key::new("admin", Kind::Table(&edge::ADMIN), ""),
        Key::new("audit", Kind::Table(&AUDIT), ""),
        Key::new("trust", Kind::Table(&edge::TRUST), ""),
        Key::new("portal", Kind::Table(&PORTAL), ""),
        Key::new("limits", Kind::Table(&edge::LIMITS), ""),
        Key::new("life", Kind::Table(&LIFE), ""),
        Key::new("log", Kind::Table(&LOG), ""),
        Key::new("upstream", Kind::Tables(&routes::UPSTREAM), ""),
        Key::new("route", Kind::Tables(&routes::ROUTE), ""),
        Key::new("source", Kind::Tables(&sources::SOURCE), ""),
    ],
};

static STORE: Table = Table {
    says: "Where sessions and users are kept.",
    keys: &[
        Key::new(
            "url",
            Kind::One(&shape::STORE_URL),
            "A Postgres server with the user to log in as, or \"sqlite://PATH\". Several servers with commas between \
             (\"postgres://USER@ONE:5432,TWO:5432/DATABASE\"): the one that takes changes is used. Absent: the SQLite \
             file portcullis.db in data_dir, for one instance.",
        )
        .example("\"postgres://portcullis@127.0.0.1:5432/portcullis\""),
        Key::new(
            "listen_url",
            Kind::One(&shape::POSTGRES_URL),
            "A direct connection to the same database, where url goes through a pooler: for the feed of changes, which a \
             pooler in transaction mode loses, and for migrations.",
        )
        .example("\"postgres://portcullis@127.0.0.1:5433/portcullis\""),
        Key::new(
            "schema",
            Kind::One(&shape::SCHEMA),
            "The Postgres schema of our tables.",
        )
        .default("\"portcullis\""),
        Key::new(
            "max_connections",
            Kind::Number { least: 2, most: 1000 },
            "Connections at once; a quarter of them is kept for session look-ups, and the feed of changes takes two more. \
             A look-up takes a connection for well under a millisecond, so few are enough.",
        )
        .default("8"),
        Key::new(
            "call_timeout",
            Kind::Span {
                least: Duration::from_millis(50),
                most: Duration::from_mins(1),
            },
            "The most that one call may take, waiting for a connection included; a browser that gets 503 after two \
             seconds tries again, one that hangs is given up.",
        )
        .default("\"2s\""),
        Key::new(
            "migrate",
            Kind::Flag,
            "false: refuse to start while migrations are pending.",
        )
        .default("true"),
        Key::new(
            "required_at_start",
            Kind::Flag,
            "true: exit when the database can't be reached at start. false: start, answer 503, and go on trying.",
        )
        .default("false"),
        Key::new(
            "prepared_statements",
            Kind::Flag,
            "false behind poolers that can't keep prepared statements.",
        )
        .default("true"),
    ],
};

static PORTAL: Table = Table {
    says: "The gateway's own pages.",
    keys: &[
        Key::new(
            "prefix",
            Kind::One(&shape::PREFIX),
            "Where they live on every host; never forwarded.",
        )
        .default("\"/.portcullis\""),
        Key::new("name", Kind::One(&shape::LABEL), "Shown on the pages.").example("\"Example Ltd\""),
        Key::new(
            "return_origins",
            Kind::List(&shape::ORIGIN),
            "Other origins that a browser may be sent back to after log-in, and whose pages may use the JSON endpoints with \
             the visitor's cookie (CORS; the browser sends it from another site only with session.same_site = \"none\").",
        )
        .default("[]"),
        Key::new(
            "clear_cache",
            Kind::List(&shape::HOST),
            "Hosts whose log-out also empties the browser's cache of that host. Cookies and storage of the application stay.",
        )
        .default("[]"),
        Key::new(
            "registration",
            Kind::Flag,
            "Whether visitors may make an account for themselves. They are in the group \"registered\" only, so every route \
             that is for others needs groups or users.",
        )
        .default("false"),
        Key::new(
            "unsafe_plain_login",
            Kind::Flag,
            "true: log-in over plain http from other addresses than loopback; passwords can be read on the way.",
        )
        .default("false"),
        Key::new(
            "admin_token",
            Kind::One(&shape::ADMIN_TOKEN),
            "What an older administration page sends as X-Admin-Token, on aliases of admin/ only and over https only; at \
             least 32 bytes, another than `token` under [admin].",
        )
        .example("\"file:front-end-admin.token\""),
        Key::later("public_url"),
        Key::later("host"),
        Key::new(
            "alias",
            Kind::Tables(&ALIAS),
            "Paths of an existing front end that the gateway answers itself, each a [[portal.alias]]. Exactly this path: \
             other spellings of it are refused, and what stands below it goes on to the application. endpoint: login, \
             logout, register, me, session, password, sessions, sessions/end-others, sync, events, or admin/ and a path \
             of the admin API.",
        )
        .example("[{ host = \"app.example.com\", path = \"/api/auth/login\", endpoint = \"login\" }]"),
    ],
};

static ALIAS: Table = Table {
    says: "",
    keys: &[
        Key::new("host", Kind::One(&shape::HOST), "One host that a route is for.").required("\"app.example.com\""),
        Key::new("path", Kind::One(&shape::ALIAS_PATH), "The front end's path.").required("\"/api/auth/login\""),
        Key::new("endpoint", Kind::One(&shape::ENDPOINT), "What answers.").required("\"login\""),
    ],
};

static AUDIT: Table = Table {
    says: "What happened to users and sessions, and who did it.",
    keys: &[Key::new(
        "retention",
        Kind::Either(
            &UNLIMITED,
            &Kind::Span {
                least: HOUR,
                most: days(36_500),
            },
        ),
        "How long an entry is kept; \"unlimited\": for ever. Statistics look back 30 days.",
    )
    .default("\"365d\"")],
};

static LIFE: Table = Table {
    says: "How the process stops.",
    keys: &[
        Key::new(
            "drain_delay",
            Kind::Span {
                least: ZERO,
                most: HOUR,
            },
            "How long it goes on accepting after readyz turned 503, so that balancers notice first.",
        )
        .default("\"5s\""),
        Key::new(
            "drain_timeout",
            Kind::Span {
                least: MILLI,
                most: DAY,
            },
            "How long answers under way may take after that.",
        )
        .default("\"30s\""),
        Key::new(
            "stream_grace",
            Kind::Span { least: ZERO, most: DAY },
            "How long WebSockets and event streams may go on.",
        )
        .default("\"5s\""),
        Key::new(
            "watch_files",
            Kind::Flag,
            "Read this file anew when it, a certificate or a file that a value stands in has changed.",
        )
        .default("true"),
    ],
};

static LOG: Table = Table {
    says: "Logs, on standard error.",
    keys: &[
        Key::new(
            "format",
            Kind::Words(&FORMAT),
            "\"pretty\" for people, \"json\" for programs, \"auto\": pretty on a terminal.",
        )
        .default("\"auto\""),
        Key::new(
            "level",
            Kind::One(&shape::LOG_LEVEL),
            "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"; also by part, as in \"info,portcullis::net=debug\".",
        )
        .default("\"info\""),
        Key::new("access", Kind::Flag, "One line a request.").default("true"),
        Key::new("access_file", Kind::One(&shape::PATH), "Write those lines here instead.").example("\"access.log\""),
    ],
};
