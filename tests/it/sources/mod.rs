//! Users of an application that keeps its own sessions, by rows that are as its library writes them. The library itself is
//! asked in tests/full.

mod altered;
mod apart;
mod checked;
mod costs;
mod ended;
mod formats;
mod known;
mod locked;
mod moved;
mod odd;
mod opened;
mod refused;
mod spelled;
mod told;
mod touched;

use crate::support::postgres::Postgres;
use crate::support::stage::{HOST, Stage};
use crate::support::upstream::{Recorded, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::time::Duration;

/// What the application signs its cookies with.
const SECRET: &str = "keyboard cat";
/// How long a change in the application may stay unseen here: the source's bound, and room for a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// As connect-pg-simple makes it.
const TABLE: &str = "CREATE TABLE session (sid varchar NOT NULL COLLATE \"default\" PRIMARY KEY, sess json NOT NULL, \
    expire timestamp(6) NOT NULL); CREATE INDEX \"IDX_session_expire\" ON session (expire)";
const ROUTES: &str = r#"
[[route]]
name = "crm"
host = "app.example.test"
upstream = "app"
access = "optional"
sessions = ["native", "crm"]

[[route]]
name = "members"
host = "app.example.test"
path = "/members"
upstream = "app"
sessions = ["native", "crm"]

[[route]]
name = "staff"
host = "app.example.test"
path = "/staff"
upstream = "app"
groups = ["crm:staff"]
sessions = ["native", "crm"]

[[route]]
name = "ours"
host = "app.example.test"
path = "/ours"
upstream = "app"
access = "optional"

[[route]]
name = "elsewhere"
host = "other.example.test"
upstream = "app"
access = "optional"
sessions = ["native", "crm"]
"#;

/// An application's database, and a gateway that reads it.
struct Scene {
    stage: Stage,
    database: String,
}

/// A source called `crm` on `database`, with more keys.
fn source(database: &str, more: &str) -> String {
    format!(
        "[[source]]\nname = \"crm\"\npreset = \"express\"\nhosts = [\"app.example.test\"]\nstore_url = \"{database}\"\n\
         secrets = [\"new secret\", \"{SECRET}\"]\nuser = \"/passport/user\"\nemail = \"/email\"\ngroups = \"/roles\"\n{more}\n"
    )
}

impl Scene {
    async fn new() -> Self {
        Self::with("", |_| Reply::text("hello")).await
    }

    async fn with(more: &str, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let database = Postgres::shared().database();
        Postgres::shared().sql(&database, TABLE);
        let routes = format!("{ROUTES}\n{}", source(&database, more));
        let stage = Stage::with("", &routes, script).await;
        Self { stage, database }
    }

    fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.database, sql)
    }

    /// Writes a row that is live for an hour.
    fn row(&self, sid: &str, sess: &str) {
        self.sql(&format!(
            "INSERT INTO session VALUES ('{sid}', '{sess}', now() AT TIME ZONE 'UTC' + interval '1 hour')"
        ));
    }

    /// A GET with these header lines; its status, and what the application was told.
    async fn get(&self, target: &str, headers: &[&str]) -> (u16, Option<Recorded>) {
        self.get_at(HOST, target, headers).await
    }

    async fn get_at(&self, host: &str, target: &str, headers: &[&str]) -> (u16, Option<Recorded>) {
        self.stage.app.forget();
        let mut client = self.stage.client().await;
        let answer = client.get(host, target, headers).await;
        (answer.status, self.stage.app.requests().pop())
    }

    /// Whom the application was told of with these cookies; `None` for nobody.
    async fn told(&self, target: &str, cookies: &str) -> Option<String> {
        let (status, told) = self.get(target, &[&format!("Cookie: {cookies}")]).await;
        assert_eq!(status, 200, "{target}");
        told.and_then(|told| told.values("x-forwarded-user").pop())
    }
}

/// A cookie as cookie-signature makes it.
pub fn signed(sid: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = STANDARD_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, sid.as_bytes()));
    let tag = tag.replace('+', "%2B").replace('/', "%2F");
    format!("connect.sid=s%3A{sid}.{tag}")
}
