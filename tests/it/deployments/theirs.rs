//! The applications of the five deployments as they were before: each with a log-in and a table of sessions of its own,
//! which it goes on keeping behind the gateway. They write cookies and rows as their libraries do, the ends in the time
//! zone of their own connections; the libraries themselves are asked in tests/full.

use super::place::{Place, SECRET, Shipped};
use crate::support::postgres::Postgres;
use crate::support::upstream::{Recorded, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What the application calls its user.
pub const SUBJECT: &str = "42";
/// A secret of the gateway's own, another than the application's.
pub const OURS: &str = "c3RpbGwgZm9yIHRlc3RzIG9ubHksIGFuZCBsb25nIGVub3VnaCE0";

/// How an application keeps its sessions.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The file, and the application's cookie.
    pub shipped: Shipped,
    /// What the file calls the source.
    pub source: &'static str,
    /// Its table, as SQL names it.
    pub table: &'static str,
    /// Time zone of the application's connections.
    pub zone: &'static str,
    /// From a log-in, or from the last activity, in seconds.
    pub life: u64,
    /// What its `Set-Cookie` says behind the value.
    pub attributes: &'static str,
    /// What its ids start with.
    pub ids: &'static str,
    /// Where its library puts the user; `None` for a table of its own whose user is a column.
    pub user: Option<&'static str>,
    /// Where people sign in.
    pub log_in: &'static str,
    /// Where they sign out.
    pub log_out: &'static str,
    /// Whether the file has sessions ended here.
    pub ends: bool,
}

/// A request to here moves an end, as each one does where sessions are rolling.
pub const ACTIVE: &str = "/api/active";
/// The application's own stream of events.
pub const EVENTS: &str = "/api/events";

/// An application's session: the cookie of it, and the key of its row.
#[derive(Clone, Debug)]
pub struct Theirs {
    /// `name=value`.
    pub cookie: String,
    /// The key.
    pub id: String,
}

impl Column {
    /// The column of the key, and that of the end.
    pub const fn columns(&self) -> (&'static str, &'static str) {
        match self.user {
            Some(_) => ("sid", "expire"),
            None => ("id", "expires_at"),
        }
    }

    /// As its library or its migration makes it.
    fn tables(&self) -> String {
        let table = self.table;
        if self.user.is_none() {
            return format!(
                "CREATE TABLE public.users (id varchar PRIMARY KEY, email text NOT NULL, password text NOT NULL); \
                 INSERT INTO public.users VALUES ('{SUBJECT}', 'Ada@Example.com', '$2b$10$'); \
                 CREATE TABLE {table} (id text PRIMARY KEY, user_id varchar NOT NULL REFERENCES public.users (id) ON DELETE CASCADE, \
                 expires_at timestamp NOT NULL, created_at timestamp NOT NULL DEFAULT now()); \
                 CREATE INDEX ON {table} (user_id); CREATE INDEX ON {table} (expires_at)"
            );
        }
        let schema = table.split_once('.').map_or(String::new(), |(schema, _)| {
            format!("CREATE SCHEMA IF NOT EXISTS {schema}; ")
        });
        format!(
            "{schema}CREATE TABLE {table} (sid varchar NOT NULL COLLATE \"default\", sess json NOT NULL, \
             expire timestamp(6) NOT NULL, CONSTRAINT session_pkey PRIMARY KEY (sid)); \
             CREATE INDEX \"IDX_session_expire\" ON {table} (expire)"
        )
    }

    /// What the head of the file grants.
    fn grants(&self, role: &str) -> String {
        let table = self.table;
        if self.user.is_none() {
            return format!(
                "GRANT SELECT (id, user_id, expires_at), DELETE ON {table} TO {role}; \
                 GRANT SELECT (id, email) ON public.users TO {role}"
            );
        }
        let schema = table.split_once('.').map_or(String::new(), |(schema, _)| {
            format!("GRANT USAGE ON SCHEMA {schema} TO {role}; ")
        });
        format!("{schema}GRANT SELECT (sid, sess, expire) ON {table} TO {role}")
    }

    /// `name=value` as the library signs it, or the id itself.
    pub fn cookie(&self, id: &str) -> String {
        let name = self.shipped.cookie;
        if self.user.is_none() {
            return format!("{name}={id}");
        }
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = STANDARD_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, id.as_bytes()));
        let tag = tag.replace('+', "%2B").replace('/', "%2F");
        format!("{name}=s%3A{id}.{tag}")
    }

    /// Writes a row that ends in so many seconds, by a connection in the application's own zone.
    pub fn open(&self, database: &str, seconds: i64) -> Theirs {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{number}_k3j9x0q2zAbCdEfGhIjKlMnOp", self.ids);
        let table = self.table;
        let sql = match self.user {
            None => format!(
                "INSERT INTO {table} (id, user_id, expires_at) \
                 VALUES ('{id}', '{SUBJECT}', now() AT TIME ZONE 'UTC' + interval '{seconds} seconds')"
            ),
            Some(place) => {
                let names: Vec<&str> = place.trim_start_matches('/').split('/').collect();
                let user = names
                    .iter()
                    .rev()
                    .fold(SUBJECT.to_owned(), |inner, name| format!("{{\"{name}\":{inner}}}"));
                // The document says its end in UTC, the column by the clock of the connection, rounded up.
                format!(
                    "INSERT INTO {table} SELECT '{id}', ('{user}'::jsonb || jsonb_build_object('cookie', jsonb_build_object( \
                     'originalMaxAge', {millis}, 'expires', to_char(e AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), \
                     'httpOnly', true, 'path', '/')))::json, to_timestamp(ceil(extract(epoch FROM e))) \
                     FROM (SELECT now() + interval '{seconds} seconds' AS e) AS ends",
                    millis = self.life * 1000
                )
            }
        };
        Postgres::shared().sql(database, &sql);
        Theirs {
            cookie: self.cookie(&id),
            id,
        }
    }

    /// The id in a request's cookie, as far as there is one.
    fn id_of(&self, request: &Recorded) -> Option<String> {
        let cookies = request.values("cookie").join("; ");
        let start = format!("{}=", self.shipped.cookie);
        let value = cookies.split("; ").find_map(|pair| pair.strip_prefix(&start))?;
        Some(match self.user {
            None => value.to_owned(),
            Some(_) => value.strip_prefix("s%3A")?.split_once('.')?.0.to_owned(),
        })
    }

    /// The whole line that sets a cookie; a library sends one for https only to whoever came by it.
    fn set_cookie(&self, reply: Reply, request: &Recorded, id: &str) -> Reply {
        let by_https = request.values("x-forwarded-proto") == ["https"];
        if self.attributes.contains("Secure") && !by_https {
            return reply;
        }
        reply.with("Set-Cookie", &format!("{}; {}", self.cookie(id), self.attributes))
    }

    /// What it answers, on a database that is known once it was made.
    fn answer(&self, database: &str, request: &Recorded) -> Reply {
        let (key, end) = self.columns();
        let (table, known) = (self.table, self.id_of(request));
        let known = known.as_deref().unwrap_or_default();
        let delete = || Postgres::shared().sql(database, &format!("DELETE FROM {table} WHERE {key} = '{known}'"));
        match request.target().as_str() {
            target if target == self.log_in => {
                // A new id at every log-in.
                delete();
                let life = i64::try_from(self.life).expect("it is no age of the world");
                let new = self.open(database, life);
                self.set_cookie(Reply::text("{\"user\":42}"), request, &new.id)
            }
            target if target == self.log_out => {
                delete();
                Reply::text("bye")
            }
            ACTIVE => {
                let touch = format!(
                    "UPDATE {table} SET {end} = to_timestamp(ceil(extract(epoch FROM now()) + {})) WHERE {key} = '{known}'",
                    self.life
                );
                Postgres::shared().sql(database, &touch);
                self.set_cookie(Reply::text("active"), request, known)
            }
            EVENTS => Reply::Events {
                every: Duration::from_hours(1),
            },
            _ => Reply::text("hello"),
        }
    }
}

/// A deployment with its application as it was.
pub struct Before {
    /// Where it is started.
    pub place: Place,
    /// How its application keeps sessions.
    pub column: Column,
}

impl Before {
    /// With the application's tables and the role that reads them; and ours, by migration.
    pub fn new(column: Column) -> Self {
        let before = Self::unmigrated(column);
        before.place.done(&["migrate"], "");
        before
    }

    /// The same without our tables.
    pub fn unmigrated(column: Column) -> Self {
        let database: Arc<OnceLock<String>> = Arc::default();
        let known = Arc::clone(&database);
        let mut place = Place::with_app(column.shipped, move |request| {
            column.answer(known.get().expect("it was made before anybody asks"), request)
        });
        let name = place.database.rsplit('/').next().expect("a name").to_owned();
        let role = format!("reader_{name}");
        place.sql(&format!("ALTER DATABASE {name} SET timezone = '{}'", column.zone));
        place.sql(&column.tables());
        place.sql(&format!("CREATE ROLE {role} LOGIN; {}", column.grants(&role)));
        let port = Postgres::shared().port();
        place.set("READER_URL", &format!("postgres://{role}@127.0.0.1:{port}/{name}"));
        place.set("READER", &role);
        place.set("GATEWAY_SECRET", OURS);
        place.set("TOOLS_ADDRESS", "127.0.0.1");
        database.set(place.database.clone()).expect("it is set once");
        Self { place, column }
    }

    /// A session that ends in so many seconds, opened while the gateway did not look.
    pub fn open(&self, seconds: i64) -> Theirs {
        self.column.open(&self.place.database, seconds)
    }

    /// How many rows the application has.
    pub fn rows(&self) -> i64 {
        self.place.count(&format!("SELECT count(*) FROM {}", self.column.table))
    }

    /// Every byte of the application's table, and which writes made its rows.
    pub fn table(&self) -> String {
        self.place.sql(&format!(
            "SELECT t.xmin, t.ctid, t::text FROM {} AS t ORDER BY 3",
            self.column.table
        ))
    }

    /// What the user is called to the application.
    pub fn principal(&self) -> String {
        format!("{}:{SUBJECT}", self.column.source)
    }
}
