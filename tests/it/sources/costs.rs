//! What a look-up costs the application's database, counted by that database.

use super::*;

const ADA: &str = r#"{"cookie":{},"passport":{"user":42}}"#;
const USERS: &str = "CREATE TABLE people (id integer PRIMARY KEY, mail text, active boolean NOT NULL); \
    INSERT INTO people VALUES (42, 'ada@example.com', true), (43, 'bob@example.com', false)";

/// An application's database on a server that logs every statement, and a gateway that reads it.
struct Counted {
    server: Postgres,
    stage: Stage,
    database: String,
}

impl Counted {
    async fn with(more: &str) -> Self {
        let server = Postgres::private();
        let database = server.database();
        server.sql(&database, TABLE);
        server.sql(&database, USERS);
        let name = database.rsplit('/').next().expect("a name");
        server.sql(&database, &format!("ALTER DATABASE {name} SET log_statement = 'all'"));
        let more = format!("max_age = \"5m\"\n{more}");
        let routes = format!("{ROUTES}\n{}", source(&database, &more));
        let stage = Stage::with("", &routes, |_| Reply::text("hello")).await;
        let counted = Self {
            server,
            stage,
            database,
        };
        // Its columns are asked for once, with the first look-up.
        counted.row("first", ADA);
        assert_eq!(counted.asks("first", 200).await.0, 200);
        counted
    }

    fn row(&self, sid: &str, sess: &str) {
        let end = "now() AT TIME ZONE 'UTC' + interval '1 hour'";
        let insert = format!("INSERT INTO session VALUES ('{sid}', '{sess}', {end})");
        self.server.sql(&self.database, &insert);
    }

    /// The status of a request with the cookie of `sid`, and the statements that the gateway made for it.
    async fn asks(&self, sid: &str, expected: u16) -> (u16, Vec<String>) {
        let before = self.server.log().len();
        let mut client = self.stage.client().await;
        let cookie = format!("Cookie: {}", signed(sid));
        let answer = client
            .get(HOST, "/members", &[&cookie, "Accept: application/json"])
            .await;
        assert_eq!(answer.status, expected, "{sid}: {}", answer.text());
        // A statement is logged before it is carried out. The test's own psql does not prepare any.
        let log = self.server.log();
        let made = log[before..]
            .lines()
            .filter(|line| line.contains(" LOG:  "))
            .map(str::to_owned);
        (answer.status, made.collect())
    }
}

#[tokio::test]
async fn a_look_up_is_one_statement_at_the_database_and_what_is_known_is_none() {
    let counted = Counted::with("").await;
    counted.row("sid0", ADA);
    let (_, made) = counted.asks("sid0", 200).await;
    assert!(made.len() == 1 && made[0].contains("SELECT"), "{made:?}");
    for _ in 0..20 {
        let (_, made) = counted.asks("sid0", 200).await;
        assert!(made.is_empty(), "{made:?}");
    }
    // Whoever has no row costs the same; a cookie that nobody signed costs nothing.
    let (_, made) = counted.asks("absent", 401).await;
    assert_eq!(made.len(), 1, "{made:?}");
    let before = counted.server.log().len();
    let forged = "Cookie: connect.sid=s%3Asid0.AAAA";
    let mut client = counted.stage.client().await;
    let answer = client
        .get(HOST, "/members", &[forged, "Accept: application/json"])
        .await;
    assert_eq!((answer.status, counted.server.log().len()), (401, before));
}

#[tokio::test]
async fn the_users_table_is_a_second_statement_only_where_it_is_configured_and_somebody_is_named() {
    let users = "users_table = \"people\"\nusers_active = \"active\"\n";
    let counted = Counted::with(users).await;
    counted.row("sid0", ADA);
    counted.row("gone", r#"{"cookie":{},"passport":{"user":43}}"#);
    counted.row("nobody", r#"{"cookie":{}}"#);
    for (sid, status, statements) in [("sid0", 200, 2), ("gone", 401, 2), ("nobody", 401, 1), ("sid0", 200, 0)] {
        let (_, made) = counted.asks(sid, status).await;
        assert_eq!(made.len(), statements, "{sid}: {made:?}");
    }
}
