//! The tables of sessions: their cookie and lifetimes, and how long an answer of the store is believed.

use super::DAY;
use super::Key;
use super::Kind;
use super::Table;
use super::UNLIMITED;
use super::Words;
use super::days;
use crate::config::shape;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

const AUTO: Words = Words {
    now: &["auto"],
    later: &[],
};
const OFF: Words = Words {
    now: &["off"],
    later: &[],
};
const SAME_SITE: Words = Words {
    now: &["lax", "strict", "none"],
    later: &[],
};
const WHEN_FULL: Words = Words {
    now: &["end_oldest", "refuse"],
    later: &[],
};

pub(super) static SESSION: Table = Table {
    says: "Sessions and their cookie.",
    keys: &[
        Key::new(
            "secrets",
            Kind::List(&shape::SIGNING_SECRET),
            "At least 32 bytes each; the first one signs, all verify. Absent with SQLite: one is made and kept in \
             data_dir. Instances on one Postgres must be given the same.",
        )
        .example("[\"file:session.secret\"]"),
        Key::new(
            "cookie",
            Kind::One(&shape::COOKIE),
            "The cookie's name. Browsers hold a __Host- cookie to https, to one host and to the whole site.",
        )
        .default("\"__Host-portcullis\""),
        Key::new(
            "domains",
            Kind::List(&shape::DOMAIN),
            "Share the cookie among the hosts below a domain; needs a name without the __Host- prefix. The domain that \
             covers the host is used.",
        )
        .default("[]"),
        Key::new(
            "secure",
            Kind::Either(&AUTO, &Kind::Flag),
            "\"auto\": http and https side by side, with a name without a __ prefix.",
        )
        .default("true"),
        Key::new(
            "same_site",
            Kind::Words(&SAME_SITE),
            "\"lax\", \"strict\" (links from elsewhere arrive signed out) or \"none\" (embedded in other sites).",
        )
        .default("\"lax\""),
        Key::new(
            "idle_timeout",
            Kind::Span {
                least: SECOND,
                most: days(3650),
            },
            "How long a session lives without activity; with rolling = false, after its log-in. Not for remembered ones.",
        )
        .default("\"12h\""),
        Key::new(
            "lifetime",
            Kind::Span {
                least: SECOND,
                most: days(3650),
            },
            "How long a session lives at most.",
        )
        .default("\"7d\""),
        Key::new(
            "remember_lifetime",
            Kind::Either(
                &OFF,
                &Kind::Span {
                    least: SECOND,
                    most: days(3650),
                },
            ),
            "The same for users who asked to be remembered. \"off\": nobody is asked.",
        )
        .default("\"30d\""),
        Key::new(
            "rolling",
            Kind::Flag,
            "Whether activity (a forwarded request, client bytes in a WebSocket) moves the idle end to idle_timeout from \
             then, never past the lifetime. Users who asked to be remembered stay for remember_lifetime either way.",
        )
        .default("true"),
        Key::new(
            "touch_interval",
            Kind::Span {
                least: SECOND,
                most: HOUR,
            },
            "The least time between two writes of a session's last activity; at most a quarter of idle_timeout is used. \
             A crash, or another instance, may end a session earlier by this much.",
        )
        .default("\"60s\""),
        Key::new(
            "sweep_interval",
            Kind::Span {
                least: SECOND,
                most: DAY,
            },
            "How often expired sessions are removed, by one instance at a time; they are refused from their end on, \
             removed or not.",
        )
        .default("\"15m\""),
        Key::new(
            "sweep_at",
            Kind::One(&shape::TIME_OF_DAY),
            "The time of day, in UTC, of one more sweep that also removes what has just expired.",
        )
        .example("\"03:00\""),
        Key::new(
            "token_prefix",
            Kind::One(&shape::TOKEN_PREFIX),
            "In front of the cookie's value.",
        )
        .example("\"aiq_\""),
        Key::new(
            "max_per_user",
            Kind::Either(
                &UNLIMITED,
                &Kind::Number {
                    least: 1,
                    most: 100_000,
                },
            ),
            "Sessions that one user may have at once, or \"unlimited\". The one that a log-in replaces does not count.",
        )
        .default("10"),
        Key::new(
            "when_full",
            Kind::Words(&WHEN_FULL),
            "A log-in beyond that: \"end_oldest\" ends the session that was not seen for the longest time, \"refuse\" \
             answers 409 until the user signs out elsewhere.",
        )
        .default("\"end_oldest\""),
    ],
};

pub(super) static CACHE: Table = Table {
    says: "How long an answer of the store is believed.",
    keys: &[
        Key::new(
            "capacity",
            Kind::Number {
                least: 100,
                most: 1_000_000_000,
            },
            "Sessions kept in memory, about 700 bytes each.",
        )
        .default("1000000"),
        Key::new(
            "max_age",
            Kind::Span {
                least: SECOND,
                most: HOUR,
            },
            "While changes by others are seen as they happen.",
        )
        .default("\"30s\""),
        Key::new(
            "max_age_without_feed",
            Kind::Span {
                least: Duration::from_millis(100),
                most: HOUR,
            },
            "While they aren't, because the database's feed is lost: a session that was ended elsewhere is refused after this \
             at the latest, or after the two seconds that it takes to notice.",
        )
        .default("\"5s\""),
        Key::new(
            "outage_grace",
            Kind::Span {
                least: Duration::ZERO,
                most: Duration::from_mins(15),
            },
            "How much longer a known session goes on while the store can't be asked; a route can have its own. At \
             most \"15m\".",
        )
        .default("\"0s\""),
    ],
};
