//! The table of sources: applications that keep their own sessions.

use super::Key;
use super::Kind;
use super::Table;
use super::Words;
use crate::config::shape;
use std::time::Duration;

const PRESET: Words = Words {
    now: &[
        "express",
        "plain-table",
        "authjs",
        "better-auth",
        "django",
        "flask-session",
        "laravel",
        "rails",
        "rails8",
        "spring-session",
        "lucia",
        "lucia-hashed",
        "lucia-secret",
        "tower-sessions",
    ],
    later: &[],
};
const ZONE: Words = Words {
    now: &["utc", "session"],
    later: &[],
};
const CONFLICT: Words = Words {
    now: &["refuse", "first"],
    later: &[],
};
const PAYLOAD: Words = Words {
    now: &["json", "msgpack", "django-signed", "rails-json"],
    later: &[],
};

const BROWSER: Words = Words {
    now: &["browser"],
    later: &[],
};
const AUTO: Words = Words {
    now: &["auto"],
    later: &[],
};
const SAME_SITE: Words = Words {
    now: &["lax", "strict", "none", "unset"],
    later: &[],
};

static OPEN_COOKIE: Table = Table {
    says: "",
    keys: &[
        Key::new("path", Kind::One(&shape::ROUTE_PATH), "Where the browser sends it.").default("\"/\""),
        Key::new("domain", Kind::One(&shape::DOMAIN), "Absent: of its host alone.").example("\"example.com\""),
        Key::new("http_only", Kind::Flag, "Out of reach of scripts.").default("true"),
        Key::new("secure", Kind::Either(&AUTO, &Kind::Flag), "\"auto\": on https.").default("\"auto\""),
        Key::new(
            "same_site",
            Kind::Words(&SAME_SITE),
            "\"unset\": the attribute is left out.",
        )
        .default("\"lax\""),
        Key::new(
            "max_age",
            Kind::Either(
                &BROWSER,
                &Kind::Span {
                    least: Duration::from_secs(1),
                    most: super::days(400),
                },
            ),
            "How long the session lives. \"browser\": its cookie until the browser is closed, its row a day at first.",
        )
        .default("\"browser\""),
    ],
};

pub(super) static SOURCE: Table = Table {
    says: "An application that keeps its own sessions in Postgres: its users are known here without a second log-in. A \
           role that may only read the named columns is enough. `portcullis source check NAME --config FILE` tries it.",
    keys: &[
        Key::new(
            "name",
            Kind::One(&shape::SOURCE_NAME),
            "Part of its users' names: NAME:SUBJECT.",
        )
        .required("\"crm-express\""),
        Key::new(
            "preset",
            Kind::Words(&PRESET),
            "What the library does: cookie, table, columns, end. Every key below takes the place of what it says.",
        )
        .required("\"express\""),
        Key::new(
            "hosts",
            Kind::List(&shape::HOST),
            "Where its sessions count; its users are told to applications of these hosts only.",
        )
        .required("[\"crm.example.com\"]"),
        Key::new(
            "store_url",
            Kind::One(&shape::POSTGRES_URL),
            "The application's own database, with a role that may read. Needed unless the source has moved.",
        )
        .shown("\"postgres://reader@127.0.0.1:5432/crm\""),
        Key::new(
            "secrets",
            Kind::List(&shape::THEIR_SECRET),
            "What the application signs its cookies with: all verify. As long as the application has them.",
        )
        .example("[\"env:SESSION_SECRET\"]"),
        Key::new("cookie", Kind::One(&shape::COOKIE), "The cookie's name, where it is another than the library's.")
            .example("\"connect.sid\""),
        Key::new("table", Kind::One(&shape::TABLE), "With its schema, where that is not the role's own.")
            .example("\"public.session\""),
        Key::new("key", Kind::One(&shape::COLUMN), "The column of the key.").example("\"sid\""),
        Key::new(
            "verify",
            Kind::One(&shape::COLUMN),
            "The column with the SHA-256 of the cookie's second half, where the cookie is ID.SECRET.",
        )
        .example("\"secret_hash\""),
        Key::new("payload", Kind::One(&shape::COLUMN), "The column of what the application wrote.").example("\"sess\""),
        Key::new("payload_format", Kind::Words(&PAYLOAD), "How it is written.").example("\"json\""),
        Key::new("expiry", Kind::One(&shape::COLUMN), "The column of the end, or of the last activity where the library \
             counts from there.")
            .example("\"expire\""),
        Key::new(
            "lifetime",
            Kind::Span {
                least: Duration::from_secs(1),
                most: super::days(3650),
            },
            "How long after the last activity a row is live, where the row does not say its end.",
        )
        .example("\"2h\""),
        Key::new(
            "zone",
            Kind::Either(&ZONE, &Kind::One(&shape::ZONE)),
            "Whose wall clock a timestamp without zone shows: \"utc\", an IANA name, or \"session\": what ALTER ROLE or \
             ALTER DATABASE says for the role of store_url.",
        )
        .example("\"Europe/Berlin\""),
        Key::new(
            "user",
            Kind::One(&shape::PLACE),
            "Where the user's key stands: \"/a/b\" in the payload, \"name\" a column, \"user.name\" a column of the \
             users' table. Presets with a payload bring none, because only you know.",
        )
        .example("\"/passport/user\""),
        Key::new("email", Kind::One(&shape::PLACE), "Likewise.").example("\"/user/email\""),
        Key::new("display_name", Kind::One(&shape::PLACE), "Likewise.").example("\"/user/name\""),
        Key::new("groups", Kind::One(&shape::PLACE), "Likewise: a list of texts. They are groups called NAME:GROUP.")
            .example("\"/user/roles\""),
        Key::new(
            "users_table",
            Kind::One(&shape::TABLE),
            "Asked by a second query for what stands in \"user.…\".",
        )
        .example("\"users\""),
        Key::new("users_key", Kind::One(&shape::COLUMN), "Its column that equals the user's key.").default("\"id\""),
        Key::new(
            "users_active",
            Kind::One(&shape::COLUMN),
            "Its column that must be true for anybody to count as signed in.",
        )
        .example("\"is_active\""),
        Key::new(
            "require",
            Kind::Conditions(&shape::PLACE),
            "What must stand in a row for somebody to count as signed in, as for a second factor.",
        )
        .example("{ \"/mfa\" = true }"),
        Key::new("refuse", Kind::Conditions(&shape::PLACE), "What must not.").example("{ \"/locked\" = true }"),
        Key::new(
            "user_map",
            Kind::Pairs(&shape::LABEL, &shape::USER),
            "Users of the application who are users of this gateway, by its key.",
        )
        .example("{ \"42\" = \"ada\" }"),
        Key::new(
            "group_map",
            Kind::Pairs(&shape::LABEL, &shape::GROUP),
            "Groups of the application that are groups here.",
        )
        .example("{ \"admin\" = \"staff\" }"),
        Key::new(
            "on_conflict",
            Kind::Words(&CONFLICT),
            "What becomes of a browser that is signed in twice, as two users: \"refuse\", or the \"first\" in the order \
             of a route's `sessions` counts.",
        )
        .default("\"refuse\""),
        Key::new(
            "max_age",
            Kind::Span {
                least: Duration::ZERO,
                most: Duration::from_mins(5),
            },
            "How long a row is believed: after it at the latest, a log-out in the application is one here.",
        )
        .default("\"5s\""),
        Key::new(
            "max_connections",
            Kind::Number { least: 1, most: 100 },
            "Connections to the application's database.",
        )
        .default("4"),
        Key::new(
            "call_timeout",
            Kind::Span {
                least: Duration::from_millis(50),
                most: Duration::from_mins(1),
            },
            "The most that one look-up may take.",
        )
        .default("\"2s\""),
        Key::new("prepared_statements", Kind::Flag, "false behind poolers that can't keep prepared statements.")
            .default("true"),
        Key::new(
            "touch",
            Kind::Flag,
            "Whether activity that the application does not see moves the end of its rows forward, at most once a minute \
             each: \"express\" only, and only the column of the end. The role needs UPDATE on it.",
        )
        .default("false"),
        Key::new(
            "end",
            Kind::Flag,
            "true: its sessions can be ended here, by operators and by their users. Their rows are deleted, so the role \
             needs GRANT DELETE; what was ended stays so, even where the application brings a row back.",
        )
        .default("false"),
        Key::new(
            "open",
            Kind::Flag,
            "Sign people into the application, too, when they sign in on the gateway's page on one of `hosts`: as whom \
             `portcullis user app-user` says, and nobody else. Needs preset = \"express\" and a role that may insert and \
             delete rows.",
        )
        .default("false"),
        Key::new(
            "open_cookie",
            Kind::Table(&OPEN_COOKIE),
            "The attributes that the application gives its own session cookie.",
        ),
        Key::new(
            "create_table",
            Kind::Flag,
            "Make connect-pg-simple's table where it is missing, as its createTableIfMissing does. Never alters one.",
        )
        .default("false"),
        Key::new(
            "moved",
            Kind::Flag,
            "true once `portcullis session import --source NAME` has copied its sessions: its cookie then names the copies, \
             and its tables are not asked any more. docs/moving-over.md has the steps.",
        )
        .default("false"),
        Key::new(
            "logout_paths",
            Kind::List(&shape::ROUTE_PATH),
            "Paths of the application's own log-out: after an answer from one of them its row is asked for anew.",
        )
        .default("[]"),
    ],
};
