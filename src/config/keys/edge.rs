//! Tables of the network side: listeners, admin, trust, limits.

use super::DAY;
use super::Key;
use super::Kind;
use super::Table;
use super::UNLIMITED;
use super::Words;
use super::days;
use crate::config::shape;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;
const LOCAL: Words = Words {
    now: &["local"],
    later: &[],
};
const HTTPS: Words = Words {
    now: &["https"],
    later: &[],
};
const COUNT: Kind = Kind::Number {
    least: 1,
    most: 10_000_000,
};

pub(super) static LISTENER: Table = Table {
    says: "Addresses to accept on; any number.",
    keys: &[
        Key::new(
            "address",
            Kind::One(&shape::ADDRESS),
            "Address and port; port 0 takes a free one.",
        )
        .required("\"127.0.0.1:8443\""),
        Key::new(
            "certificates",
            Kind::Either(&LOCAL, &Kind::Tables(&CERTIFICATE)),
            "PEM files, several are chosen by the name that the browser asks for: [{ chain = \"certs/a.pem\", key = \
             \"certs/a.key\" }]. Or \"local\": a CA of our own, made at first run. Absent: plain HTTP.",
        )
        .shown("\"local\""),
        Key::new(
            "hsts",
            Kind::Span {
                least: SECOND,
                most: days(730),
            },
            "Strict-Transport-Security: browsers refuse plain http for this long. Not with a local certificate.",
        )
        .example("\"365d\""),
        Key::new(
            "public_port",
            Kind::Number { least: 1, most: 65_535 },
            "The port that browsers see, where a balancer or firewall maps it.",
        )
        .example("443"),
        Key::new(
            "redirect",
            Kind::Words(&HTTPS),
            "\"https\": this plain listener only sends browsers there.",
        )
        .example("\"https\""),
    ],
};

static CERTIFICATE: Table = Table {
    says: "",
    keys: &[
        Key::new("chain", Kind::One(&shape::PATH), "PEM, the leaf first.").required("\"certs/a.pem\""),
        Key::new("key", Kind::One(&shape::PATH), "PEM.").required("\"certs/a.key\""),
    ],
};

pub(super) static ADMIN: Table = Table {
    says: "Health, readiness, metrics and the API for operators.",
    keys: &[
        Key::new(
            "address",
            Kind::One(&shape::ADDRESS),
            "Its own listener, plain HTTP, on loopback.",
        )
        .default("\"127.0.0.1:9090\""),
        Key::new(
            "unsafe_listen_anywhere",
            Kind::Flag,
            "true: another address than loopback; then a firewall must keep strangers out.",
        )
        .default("false"),
        Key::new(
            "token",
            Kind::One(&shape::ADMIN_TOKEN),
            "What programs send as `Authorization: Bearer TOKEN` to use the API there, at least 32 bytes: \
             `portcullis admin token > admin.token`. Absent: nobody may.",
        )
        .example("\"file:admin.token\""),
        Key::new(
            "group",
            Kind::One(&shape::GROUP),
            "Members may use the API under the portal's prefix, after a recent log-in. Absent: nobody may.",
        )
        .example("\"admins\""),
    ],
};

pub(super) static TRUST: Table = Table {
    says: "Whose word about a client is taken.",
    keys: &[
        Key::new(
            "proxies",
            Kind::List(&shape::NETWORK),
            "Networks of balancers whose X-Forwarded-* are believed. Everybody else's are removed.",
        )
        .default("[]"),
        Key::new(
            "unsafe_trust_any_proxy",
            Kind::Flag,
            "true: proxies may hold 0.0.0.0/0 or ::/0; then every client can claim any address.",
        )
        .default("false"),
        Key::new(
            "proxy_protocol",
            Kind::List(&shape::NETWORK),
            "Networks that must speak the PROXY protocol; nobody else may.",
        )
        .default("[]"),
    ],
};

pub(super) static LIMITS: Table = Table {
    says: "What a connection or a request may cost.",
    keys: &[
        Key::new(
            "connections",
            COUNT,
            "At once, over all listeners; an idle TLS connection costs about 32 KiB.",
        )
        .default("10000"),
        Key::new(
            "connections_per_address",
            Kind::Either(&UNLIMITED, &COUNT),
            "At once from one address. \"unlimited\", because offices and balancers share one.",
        )
        .default("\"unlimited\""),
        Key::new(
            "headers",
            Kind::Number { least: 10, most: 1000 },
            "Header lines of one request; browsers send about 20.",
        )
        .default("100"),
        Key::new(
            "header_bytes",
            Kind::Size {
                least: 4 * KIB,
                most: MIB,
            },
            "Bytes of one head. Room for several large cookies of the application's.",
        )
        .default("\"64KiB\""),
        Key::new(
            "target_bytes",
            Kind::Size { least: 256, most: MIB },
            "Bytes of path and query: what most servers take.",
        )
        .default("\"8KiB\""),
        Key::new(
            "body_bytes",
            Kind::Either(
                &UNLIMITED,
                &Kind::Size {
                    least: 1,
                    most: 1024 * TIB,
                },
            ),
            "Bytes of one request's body. Bodies stream and are never collected, so \"unlimited\" costs no memory.",
        )
        .default("\"unlimited\""),
        Key::new(
            "streams",
            Kind::Number { least: 1, most: 10_000 },
            "HTTP/2 requests at once on one connection; RFC 9113 recommends no fewer than 100.",
        )
        .default("100"),
        Key::new(
            "resets",
            Kind::Number { least: 1, most: 10_000 },
            "HTTP/2 requests that a client took back before anybody saw them; browsers have few, an attack has thousands.",
        )
        .default("20"),
        Key::new(
            "handshake",
            Kind::Span {
                least: Duration::from_millis(100),
                most: Duration::from_mins(5),
            },
            "PROXY header and TLS handshake together; slow phones need a few seconds.",
        )
        .default("\"10s\""),
        Key::new(
            "head",
            Kind::Span {
                least: Duration::from_millis(100),
                most: Duration::from_mins(5),
            },
            "From a head's first byte to its last: what stops clients that send one byte a second.",
        )
        .default("\"10s\""),
        Key::new(
            "idle",
            Kind::Span {
                least: Duration::from_millis(100),
                most: DAY,
            },
            "Between requests. Above the 60 s that balancers keep connections for, so that they close first.",
        )
        .default("\"75s\""),
        Key::new(
            "body_idle",
            Kind::Span {
                least: Duration::from_millis(100),
                most: DAY,
            },
            "Between two pieces of a request's body.",
        )
        .default("\"60s\""),
    ],
};
