//! Shapes of texts: a name for people, an example, a check. Parsing happens here once and for all; the builders call
//! the same functions and know that they succeed.

mod address;
mod header;
mod measure;
mod name;
mod route;
mod template;

pub(super) use address::StorePlace;
pub(super) use address::host;
pub(super) use address::network;
pub(super) use address::server;
pub(super) use address::store_place;
pub(super) use measure::duration;
pub(super) use measure::rate;
pub(super) use measure::size;
pub(super) use measure::time_of_day;
pub(super) use measure::write_duration;
pub(super) use measure::write_size;

/// A shape of text.
pub(super) struct Shape {
    /// As in "must be a host name".
    pub noun: &'static str,
    /// As in "such as …".
    pub example: &'static str,
    pub check: fn(&str) -> Result<(), Mistake>,
    /// Whether no message may show such a text.
    pub secret: bool,
    /// What the schema says of it.
    pub pattern: Option<&'static str>,
}

/// Why a text has not the shape. Texts of secrets never stand in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The rest of a sentence that starts with the value, and what to do.
    Wrong(String, String),
    /// Known, and not available yet: the subject of that sentence.
    Later(String),
}

impl Mistake {
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Wrong(what.into(), hint.into())
    }
}

const fn shape(noun: &'static str, example: &'static str, check: fn(&str) -> Result<(), Mistake>) -> Shape {
    Shape {
        noun,
        example,
        check,
        secret: false,
        pattern: None,
    }
}

const fn secret(noun: &'static str, example: &'static str, check: fn(&str) -> Result<(), Mistake>) -> Shape {
    Shape {
        secret: true,
        ..shape(noun, example, check)
    }
}

pub(super) static PATH: Shape = shape("a path", "\"data\"", name::path);
pub(super) static LABEL: Shape = shape("a short text", "\"Example Ltd\"", name::label);
pub(super) static NAME: Shape = Shape {
    pattern: Some("^[A-Za-z0-9._-]{1,64}$"),
    ..shape("a name", "\"crm\"", name::name)
};
pub(super) static GROUP: Shape = Shape {
    pattern: Some("^[A-Za-z0-9._:@+-]{1,64}$"),
    ..shape("a group", "\"staff\"", name::group)
};
pub(super) static USER: Shape = Shape {
    pattern: Some("^[a-z0-9._@+-]{1,64}$"),
    ..shape("a user name", "\"ada\"", name::user)
};
pub(super) static SCHEMA: Shape = Shape {
    pattern: Some("^[a-z_][a-z0-9_]{0,62}$"),
    ..shape("a schema name", "\"portcullis\"", name::schema)
};
pub(super) static TIME_OF_DAY: Shape = Shape {
    pattern: Some("^([01][0-9]|2[0-3]):[0-5][0-9]$"),
    ..shape("a time of day", "\"03:00\"", measure::check_time_of_day)
};
pub(super) static COOKIE: Shape = shape("a cookie name", "\"__Host-portcullis\"", name::cookie);
pub(super) static TOKEN_PREFIX: Shape = Shape {
    pattern: Some("^[A-Za-z0-9._~-]{1,32}$"),
    ..shape("a prefix", "\"aiq_\"", name::token_prefix)
};
pub(super) static RATE: Shape = Shape {
    pattern: Some("^[0-9]+/[0-9]*(ms|s|m|h|d)$"),
    ..shape("a rate", "\"10/10m\"", measure::check_rate)
};
pub(super) static SOURCE: Shape = shape("a source of sessions", "\"native\"", name::source);
pub(super) static SOURCE_NAME: Shape = Shape {
    pattern: Some("^[a-z][a-z0-9-]{0,31}$"),
    ..shape("a source's name", "\"crm-express\"", name::source_name)
};
pub(super) static THEIR_SECRET: Shape = secret("a secret", "\"env:SESSION_SECRET\"", name::their_secret);
pub(super) static TABLE: Shape = shape("a table", "\"public.session\"", name::table);
pub(super) static COLUMN: Shape = shape("a column", "\"sid\"", name::column);
pub(super) static ZONE: Shape = shape("a time zone", "\"Europe/Berlin\"", name::zone);
pub(super) static PLACE: Shape = shape("a place", "\"/passport/user\"", name::place);
pub(super) static LOG_LEVEL: Shape = shape("a log level", "\"info\"", name::log_level);
pub(super) static SIGNING_SECRET: Shape = secret("a secret", "\"file:session.secret\"", name::signing_secret);
pub(super) static ADMIN_TOKEN: Shape = secret("a token", "\"file:admin.token\"", name::admin_token);
pub(super) static STORE_URL: Shape = secret(
    "a database URL",
    "\"postgres://portcullis@127.0.0.1:5432/portcullis\"",
    address::check_store_url,
);
pub(super) static POSTGRES_URL: Shape = secret(
    "a Postgres URL",
    "\"postgres://portcullis@127.0.0.1:5433/portcullis\"",
    address::check_postgres_url,
);
pub(super) static ADDRESS: Shape = shape("an address and port", "\"0.0.0.0:8443\"", address::check_socket);
pub(super) static NETWORK: Shape = shape("a network", "\"10.0.0.0/8\"", address::check_network);
pub(super) static SERVER: Shape = shape("a server", "\"http://127.0.0.1:3000\"", address::check_server);
pub(super) static ORIGIN: Shape = shape("an origin", "\"https://app.example.com\"", address::check_origin);
pub(super) static DOMAIN: Shape = shape("a domain", "\"example.com\"", address::check_domain);
pub(super) static HOST: Shape = shape("a host", "\"app.example.com\"", address::check_host);
pub(super) static ROUTE_PATH: Shape = shape("a path", "\"/app\"", route::path);
pub(super) static ALIAS_PATH: Shape = shape("a path", "\"/api/auth/login\"", route::alias_path);
pub(super) static ENDPOINT: Shape = shape("an endpoint", "\"login\"", route::endpoint);
pub(super) static PREFIX: Shape = shape("a path", "\"/.portcullis\"", route::portal_prefix);
pub(super) static ADDED_PREFIX: Shape = shape("a path or nothing", "\"/app\"", route::added_prefix);
pub(super) static METHOD: Shape = shape("a method", "\"GET\"", route::method);
pub(super) static HEADER_NAME: Shape = shape("a header name", "\"X-User\"", header::name);
// Fixed headers are often an application's own key.
pub(super) static HEADER_VALUE: Shape = secret("a header value", "\"yes\"", header::value);
pub(super) static DELIMITER: Shape = shape("one character", "\",\"", header::delimiter);
pub(super) static TEMPLATE: Shape = shape("a template", "\"{username}\"", template::check);
