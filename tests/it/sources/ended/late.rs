//! Ends at the wrong moment: while a store cannot be asked, while nothing is told, of more rows than one answer holds, and
//! of browsers that are signed in at two applications.

use super::*;

/// Starts a request that the application holds; its answer sets the cookie of another session.
async fn hold(pair: &Pair, index: usize, sid: &str) -> Client {
    pair.app.forget();
    let mut client = pair.client(index).await;
    let line = format!("GET /save HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n", signed(sid));
    client.send(line.as_bytes()).await;
    pair.app.wait_for(1);
    client
}

async fn end_all_of_ada(pair: &Pair, index: usize) {
    let answer = pair.admin(index, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.json()["ended"], 1, "{}", answer.text());
}

#[tokio::test]
async fn an_end_is_written_down_for_as_long_as_its_row_could_come_back() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    // It had an hour left; whoever saves it again gives it what the application says then.
    pair.save("sid0", ADA);
    end_all_of_ada(&pair, 0).await;
    let days = "SELECT floor(extract(epoch FROM until - now()) / 86400) FROM legacy_ended";
    assert_eq!(pair.store_sql(days), "29");
    pair.store_sql("DELETE FROM legacy_ended");
    let far = format!("INSERT INTO session VALUES ('sid1', '{ADA}', now() AT TIME ZONE 'UTC' + interval '90 days')");
    pair.sql(&far);
    end_all_of_ada(&pair, 0).await;
    assert_eq!(pair.store_sql(days), "89");
}

/// Whether a write that failed was carried out is not known.
#[tokio::test]
async fn what_may_have_been_ended_is_asked_for_anew() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    assert_eq!(pair.ask(0, "/members", "sid0").await.status, 200);
    pair.store_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON legacy_ended FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let answer = pair.admin(0, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(pair.ask(0, "/members", "sid0").await.status, 200);
    let answer = pair.admin(0, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    pair.sql("DELETE FROM session");
    // It would have been believed for five minutes.
    assert_eq!(pair.ask(0, "/members", "sid0").await.status, 401);
}

#[tokio::test]
async fn an_answer_that_comes_while_nobody_can_say_what_was_ended_gives_no_session_to_one_that_may_have_been() {
    let gate = Arc::new(Notify::new());
    let pair = Pair::start(ENDS, held(&gate));
    pair.save("sid0", ADA);
    let mut client = hold(&pair, 0, "sid0").await;
    end_all_of_ada(&pair, 0).await;
    pair.store_sql("ALTER TABLE legacy_ended RENAME TO away");
    gate.notify_one();
    let answer = client.response().await;
    assert_eq!(answer.text(), "saved");
    assert_eq!(answer.values("set-cookie"), ["theme=light; Path=/"]);
}

/// Instances that do not hear of ends by others.
async fn deaf(source: &str, database: String, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Pair {
    let pair = Pair::over(2, source, database, script);
    for table in ["sessions", "users", "legacy_ended"] {
        pair.store_sql(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL"));
    }
    let since = Instant::now();
    for gateway in &pair.gateways {
        loop {
            let mut client = Client::plain(gateway.admin()).await;
            let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
            if metrics.contains("portcullis_feed_healthy 0\n") {
                break;
            }
            assert!(since.elapsed() < PATIENCE, "{}", gateway.log());
            pause();
        }
    }
    pair
}

#[tokio::test]
async fn where_changes_are_not_told_an_answer_that_opens_a_session_is_asked_for_first() {
    let gate = Arc::new(Notify::new());
    let database = Postgres::shared().database();
    Postgres::shared().sql(&database, TABLE);
    let source = source(&database, ENDS);
    let pair = deaf(&source, database, held(&gate)).await;
    pair.save("sid0", ADA);
    let mut client = hold(&pair, 1, "sid0").await;
    end_all_of_ada(&pair, 0).await;
    pair.save("sid0", ADA);
    pair.save("sid9", ADA);
    gate.notify_one();
    let answer = client.response().await;
    assert_eq!(answer.values("set-cookie"), ["theme=light; Path=/"]);
    pair.until_no_row("sid9");
}

/// Its row stands, as far as the application's database says; the stream is judged anew by the bound of its source.
#[tokio::test]
async fn where_changes_are_not_told_a_stream_of_an_ended_session_ends_though_its_row_stands() {
    let events = |request: &Recorded| match request.target().as_str() {
        "/events" => Reply::Events {
            every: Duration::from_millis(20),
        },
        _ => Reply::text("hello"),
    };
    let database = Postgres::shared().database();
    Postgres::shared().sql(&database, TABLE);
    let source = source(&reader(&database), "end = true\nmax_age = \"1s\"");
    let pair = deaf(&source, database, events).await;
    pair.save("sid0", ADA);
    let mut stream = pair.client(1).await;
    let head = format!(
        "GET /events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n",
        signed("sid0")
    );
    stream.send(head.as_bytes()).await;
    assert_eq!(stream.head().await.status, 200);
    stream.chunk().await;
    let answer = pair.admin(0, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let ended = tokio::time::timeout(PATIENCE, stream.last_chunk()).await;
    assert!(ended.expect("it ends in time").is_some());
    assert_eq!(pair.rows("sid0"), "1");
}

/// Signed out is what nobody may be called whose application cannot be asked.
#[tokio::test]
async fn while_an_application_cannot_be_asked_our_pages_say_so_and_sign_nobody_out() {
    let scene = Scene::with(ENDS, |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    scene.sql("ALTER TABLE session RENAME TO away");
    let line = format!("Cookie: {}", signed("sid0"));
    let lines = [line.as_str(), "Sec-Fetch-Site: same-origin", "Accept: application/json"];
    let mut client = scene.stage.client().await;
    for (method, path) in [("GET", "me"), ("GET", "sessions"), ("POST", "logout")] {
        let target = format!("/.portcullis/{path}");
        let answer = client.request(method, HOST, &target, &lines, b"").await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.values("set-cookie").is_empty(), "{path}: the cookie stays");
    }
    scene.sql("ALTER TABLE away RENAME TO session");
    assert_eq!(client.get(HOST, "/.portcullis/me", &lines).await.status, 200);
}

/// By a command, which is gone when the row comes back; and nobody comes by with its cookie.
#[tokio::test]
async fn the_row_of_an_ended_session_that_a_request_brings_back_is_looked_after_by_whoever_served_the_request() {
    let gate = Arc::new(Notify::new());
    let pair = Pair::start(ENDS, held(&gate));
    pair.save("sid0", ADA);
    let mut client = hold(&pair, 0, "sid0").await;
    let ended = pair.gateways[0].command(&["session", "end", "--user", "crm:42"], "");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    pair.until_status(0, "sid0", 401).await;
    gate.notify_one();
    assert_eq!(client.response().await.values("set-cookie"), ["theme=light; Path=/"]);
    // Another request that was under way, past any gateway.
    pair.save("sid0", ADA);
    pair.until_no_row("sid0");
}

/// The rows of a library that brings none back are not looked after; one that comes back by whatever way is not believed,
/// and deleted as soon as somebody comes by with its cookie.
#[tokio::test]
async fn a_row_that_is_seen_again_is_deleted_again_whatever_library_it_is_of() {
    let database = Postgres::shared().database();
    let sql = |sql: &str| Postgres::shared().sql(&database, sql);
    sql("CREATE TABLE session (id text PRIMARY KEY, user_id text NOT NULL, expires_at timestamptz NOT NULL)");
    let source = format!(
        "[[source]]\nname = \"crm\"\npreset = \"plain-table\"\ntable = \"session\"\nhosts = [\"{HOST}\"]\n\
         store_url = \"{database}\"\n{ENDS}"
    );
    let pair = Pair::over(2, &source, database.clone(), |_| Reply::text("hello"));
    let save = || sql("INSERT INTO session VALUES ('key0', '42', now() + interval '1 hour')");
    let ask = async |index: usize| {
        let mut client = pair.client(index).await;
        let lines = ["Cookie: session=key0", "Accept: application/json"];
        client.get(HOST, "/members", &lines).await.status
    };
    save();
    assert_eq!(ask(0).await, 200);
    end_all_of_ada(&pair, 0).await;
    for index in [0, 1] {
        save();
        assert_eq!(ask(index).await, 401);
        let since = Instant::now();
        while sql("SELECT count(*) FROM session") != "0" {
            assert!(since.elapsed() < PATIENCE);
            pause();
        }
    }
}

#[tokio::test]
async fn a_session_that_an_application_which_cannot_be_asked_may_have_is_not_said_to_be_absent() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    let id = pair.id_of("crm:42").await;
    pair.sql("ALTER TABLE session RENAME TO away");
    for method in ["GET", "DELETE"] {
        let answer = pair.admin(0, method, &format!("/api/sessions/{id}")).await;
        assert_eq!(answer.status, 503, "{method}: {}", answer.text());
    }
    pair.sql("ALTER TABLE away RENAME TO session");
    let ended = pair.admin(0, "DELETE", &format!("/api/sessions/{id}")).await;
    assert_eq!(ended.status, 204, "{}", ended.text());
}

/// Some would be left, and nobody could say which.
#[tokio::test]
async fn more_sessions_than_can_be_looked_through_are_not_ended_in_part() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    pair.sql(&format!(
        "INSERT INTO session SELECT 'sid' || n, '{ADA}', now() AT TIME ZONE 'UTC' + interval '1 hour' \
         FROM generate_series(1, 20001) AS n"
    ));
    let answer = pair.admin(0, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(pair.sql("SELECT count(*) FROM session"), "20001");
    assert_eq!(pair.store_sql("SELECT count(*) FROM legacy_ended"), "0");
}

#[tokio::test]
async fn a_user_of_ours_by_user_map_finds_and_ends_the_rows_that_have_the_applications_name() {
    let scene = Scene::with(&format!("{ENDS}\nuser_map = {{ \"42\" = \"ada\" }}"), |_| {
        Reply::text("hello")
    })
    .await;
    for sid in ["sid0", "sid1"] {
        scene.row(sid, ADA);
    }
    scene.row("sid2", BOB);
    let line = format!("Cookie: {}", signed("sid0"));
    let lines = [line.as_str(), "Sec-Fetch-Site: same-origin", "Accept: application/json"];
    let mut client = scene.stage.client().await;
    let own = client.get(HOST, "/.portcullis/sessions", &lines).await.json();
    assert_eq!(own["sessions"].as_array().map(Vec::len), Some(2), "{own}");
    let others = client.request("POST", HOST, "/.portcullis/sessions/end-others", &lines, b"");
    assert_eq!(others.await.status, 204);
    assert_eq!(
        scene.sql("SELECT string_agg(sid, ' ' ORDER BY sid) FROM session"),
        "sid0 sid2"
    );
}

/// Two applications on one host.
async fn two() -> Scene {
    let database = Postgres::shared().database();
    let sql = |sql: &str| Postgres::shared().sql(&database, sql);
    sql(TABLE);
    sql("CREATE TABLE shop AS TABLE session; ALTER TABLE shop ADD PRIMARY KEY (sid)");
    let shop = source(&database, ENDS).replacen("\"crm\"", "\"shop\"\ntable = \"shop\"\ncookie = \"shop.sid\"", 1);
    let routes = format!("{ROUTES}\n{}\n{shop}", source(&database, ENDS));
    let stage = crate::support::stage::Stage::with("", &routes, |_| Reply::text("hello")).await;
    Scene { stage, database }
}

/// Whose page it were, and whose session would end, nobody could say.
#[tokio::test]
async fn who_is_signed_in_at_two_applications_as_two_users_is_nobody_on_our_pages_and_nothing_is_ended() {
    let scene = two().await;
    scene.row("sid0", ADA);
    scene.sql(&format!(
        "INSERT INTO shop VALUES ('sid1', '{BOB}', now() AT TIME ZONE 'UTC' + interval '1 hour')"
    ));
    let theirs = signed("sid1").replacen("connect.sid", "shop.sid", 1);
    let cookies = format!("Cookie: {}; {theirs}", signed("sid0"));
    let lines = [
        cookies.as_str(),
        "Sec-Fetch-Site: same-origin",
        "Accept: application/json",
    ];
    let mut client = scene.stage.client().await;
    for target in ["/.portcullis/me", "/.portcullis/sessions"] {
        let answer = client.get(HOST, target, &lines).await;
        assert_eq!(answer.status, 401, "{target}: {}", answer.text());
    }
    let state = client.get(HOST, "/.portcullis/session", &lines).await.json();
    assert_eq!(state["state"], "none", "{state}");
    for target in ["/.portcullis/logout", "/.portcullis/sessions/end-others"] {
        let answer = client.request("POST", HOST, target, &lines, b"").await;
        assert!(matches!(answer.status, 401 | 409), "{target}: {}", answer.text());
    }
    assert_eq!(scene.sql("SELECT count(*) FROM session"), "1");
    assert_eq!(scene.sql("SELECT count(*) FROM shop"), "1");
    // Each alone is somebody.
    for cookie in [signed("sid0"), theirs] {
        let line = format!("Cookie: {cookie}");
        let answer = client
            .get(HOST, "/.portcullis/me", &[&line, "Accept: application/json"])
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Postgres takes a UUID in capitals for the same; an end is known by the key as its row has it.
#[tokio::test]
async fn a_key_in_another_spelling_than_its_rows_is_nobodys_and_so_no_way_around_an_end() {
    let database = Postgres::shared().database();
    let sql = |sql: &str| Postgres::shared().sql(&database, sql);
    sql("CREATE TABLE session (id uuid PRIMARY KEY, user_id text NOT NULL, expires_at timestamptz NOT NULL)");
    let key = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
    let source = format!(
        "[[source]]\nname = \"crm\"\npreset = \"plain-table\"\ntable = \"session\"\nhosts = [\"{HOST}\"]\n\
         store_url = \"{database}\"\n{ENDS}"
    );
    let routes = format!("{ROUTES}\n{source}");
    let stage = crate::support::stage::Stage::with("", &routes, |_| Reply::text("hello")).await;
    let scene = Scene { stage, database };
    scene.sql(&format!(
        "INSERT INTO session VALUES ('{key}', '42', now() + interval '1 hour')"
    ));
    assert_eq!(
        scene.told("/", &format!("session={key}")).await.as_deref(),
        Some("crm:42")
    );
    for other in [
        key.to_uppercase(),
        key.replace('-', ""),
        format!("{{{key}}}"),
        format!("{key}%20"),
    ] {
        assert_eq!(scene.told("/", &format!("session={other}")).await, None, "{other}");
    }
}
