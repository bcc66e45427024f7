//! What all five claim where the application keeps its own sessions. Each function takes a deployment whose tables are made.

use super::claims::TARGET;
use super::place::{Browser, SECRET};
use super::theirs::{Before, OURS};
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use std::time::Instant;

/// Signs in by the application's own log-in, through the gateway.
pub async fn sign_in(before: &Before, browser: &mut Browser<'_>) -> Response {
    let answer = browser.post(before.column.log_in, &serde_json::json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let known = browser.cookie.as_deref().unwrap_or_default();
    assert!(known.starts_with(before.column.shipped.cookie), "{:?}", answer.headers);
    answer
}

/// A browser that the application has just signed in.
pub async fn signed_in<'a>(before: &'a Before, gateway: &'a Gateway) -> Browser<'a> {
    let mut browser = before.place.browser(gateway).await;
    sign_in(before, &mut browser).await;
    browser
}

/// Asserts that the gateway knows the browser's user, and that the application got its own cookie byte for byte.
pub async fn assert_known(before: &Before, browser: &mut Browser<'_>, why: &str) {
    before.place.app.forget();
    let answer = browser.get(TARGET).await;
    assert_eq!(answer.status, 200, "{why}: {}", answer.text());
    let told = before.place.app.last();
    let names = ["x-forwarded-user", "x-user-name"]
        .map(|name| told.values(name))
        .concat();
    assert_eq!(names, [before.principal()], "{why}: {}", told.text());
    let cookie = browser.cookie.clone().expect("a cookie");
    assert_eq!(told.values("cookie"), [cookie], "{why}: it is the application's");
}

/// Asserts that the browser is refused with these words, and that nothing reached the application.
pub async fn assert_refused(before: &Before, browser: &mut Browser<'_>, error: &str, why: &str) {
    before.place.app.forget();
    let answer = browser.get(TARGET).await;
    assert_eq!(answer.status, 401, "{why}: {}", answer.text());
    assert_eq!(answer.value("content-type"), Some("application/problem+json"), "{why}");
    assert_eq!(answer.json()["error"], error, "{why}");
    assert!(
        answer.values("set-cookie").is_empty(),
        "{why}: the cookie is the application's"
    );
    assert!(
        before.place.app.requests().is_empty(),
        "{why}: it reached the application"
    );
}

/// Nobody signs in again: a session from before the gateway counts, and lives through a process that is killed and through
/// one that is stopped in order.
pub async fn survives_kill_and_restart(before: &Before) {
    let cookie = Some(before.open(3600).cookie);
    let first = before.place.start();
    let mut browser = before.place.browser(&first).await;
    browser.cookie.clone_from(&cookie);
    assert_known(before, &mut browser, "from before the gateway").await;
    first.signal("KILL");
    first.ended();

    let second = before.place.start();
    let mut browser = before.place.browser(&second).await;
    browser.cookie.clone_from(&cookie);
    assert_known(before, &mut browser, "after kill -9").await;
    let stopped = second.terminate();
    assert!(stopped.status.success(), "{}", stopped.stderr);

    let third = before.place.start();
    let mut browser = before.place.browser(&third).await;
    browser.cookie = cookie;
    assert_known(before, &mut browser, "after a restart").await;
}

/// Two instances, asked in turn: whom the application signs in through one, the other knows; whom it signs out through one,
/// that one refuses at once, and the other soon.
pub async fn instances_need_no_affinity(before: &Before) {
    let (one, two) = (before.place.start(), before.place.start());
    let mut first = signed_in(before, &one).await;
    let mut second = before.place.browser(&two).await;
    second.cookie.clone_from(&first.cookie);
    for round in 0..3 {
        assert_known(before, &mut first, &format!("round {round}, here")).await;
        assert_known(before, &mut second, &format!("round {round}, there")).await;
    }
    let answer = second.post(before.column.log_out, &serde_json::json!({})).await;
    assert_eq!((answer.status, before.rows()), (200, 0), "{}", answer.text());
    assert_refused(before, &mut second, "Session expired", "its log-out's path is named").await;
    first.until(TARGET, 401).await;
    assert_refused(before, &mut first, "Session expired", "within the bound").await;
}

/// What was never a session, and what was one: refused, whether the application swept it or not.
pub async fn invalid_and_expired_are_refused(before: &Before) {
    let (one, two) = (before.place.start(), before.place.start());
    let mut browser = before.place.browser(&one).await;
    assert_refused(before, &mut browser, "Not authenticated", "no cookie").await;
    let live = before.open(3600);
    let name = before.column.shipped.cookie;
    let mut invented = vec![
        before.column.cookie("never_issued"),
        format!("{name}={}", "x".repeat(4000)),
    ];
    if before.column.user.is_some() {
        // Signed with what is nearly the secret, and not signed at all.
        let other_end = if live.cookie.ends_with('A') { "B" } else { "A" };
        invented.push(format!("{}{other_end}", &live.cookie[..live.cookie.len() - 1]));
        invented.push(format!("{name}=s%3A{}", live.id));
        invented.push(format!("{name}={}", live.id));
    }
    for wrong in invented {
        browser.cookie = Some(wrong.clone());
        before.place.app.forget();
        let answer = browser.get(TARGET).await;
        assert_eq!(answer.status, 401, "{wrong}: {}", answer.text());
        assert!(
            before.place.app.requests().is_empty(),
            "{wrong}: it reached the application"
        );
    }
    browser.cookie = Some(live.cookie.clone());
    assert_known(before, &mut browser, "the live one").await;

    // An instance that has never seen the session, so that the row alone decides.
    let over = before.open(-60);
    assert_eq!(before.rows(), 2, "it was not swept");
    let mut unswept = before.place.browser(&two).await;
    unswept.cookie = Some(over.cookie.clone());
    assert_refused(before, &mut unswept, "Session expired", "over and not swept").await;
    let (key, _) = before.column.columns();
    before.place.sql(&format!(
        "DELETE FROM {} WHERE {key} = '{}'",
        before.column.table, over.id
    ));
    assert_refused(before, &mut unswept, "Session expired", "over and swept").await;
}

/// The table is as it was, byte for byte, whatever is asked of the gateway that ends nothing; and the role may write nothing
/// in it, but delete rows where the file has sessions ended here.
pub async fn the_table_is_only_read(before: &Before) {
    let cookie = before.open(3600).cookie;
    before.open(-60);
    let (was, rows) = (before.table(), before.rows());
    assert_eq!(rows, 2);
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    browser.cookie = Some(cookie);
    for _ in 0..20 {
        assert_known(before, &mut browser, "a request").await;
    }
    browser.get("/.portcullis/session").await;
    before.place.done(&["source", "check", before.column.source], "");
    gateway.terminate();
    assert_eq!(before.table(), was);
    let role = before.place.sql("SELECT 'reader_' || current_database()");
    for right in ["INSERT", "UPDATE", "DELETE", "TRUNCATE"] {
        let may = format!(
            "SELECT has_table_privilege('{role}', '{}', '{right}')",
            before.column.table
        );
        let granted = if right == "DELETE" && before.column.ends {
            "t"
        } else {
            "f"
        };
        assert_eq!(before.place.sql(&may), granted, "{right}");
    }
}

/// The check of the source finds nothing to mend, and knows whose a cookie is; so does the check of the whole file.
pub fn source_check_passes(before: &Before) {
    let session = before.open(i64::try_from(before.column.life).expect("it is no age of the world"));
    let source = before.column.source;
    let said = before
        .place
        .done(&["source", "check", source, "--cookie-stdin"], &session.cookie);
    let mut says = vec![
        "its columns are there".to_owned(),
        "has a unique index".to_owned(),
        "the role may read what is asked for".to_owned(),
        "1 of 1 live rows name a user".to_owned(),
        format!("the cookie is that of {}", before.principal()),
    ];
    if before.column.user.is_some() {
        says.push(format!("1 rows agree with the zone {} (UTC", before.column.zone));
    }
    for text in says {
        assert!(said.contains(&text), "{text:?} is not in {said}");
    }
    assert!(!said.contains("FAULT") && !said.contains("warning"), "{said}");
    assert!(!said.contains(&session.id), "the cookie is shown: {said}");
    before.place.done(&["check", "--online"], "");
}

/// The first lines of the log say which application's table is read, as whom, on which hosts and by which cookie.
pub fn start_is_told(before: &Before, gateway: &Gateway) {
    gateway.wait_for_log("portcullis is starting");
    let log = gateway.log();
    let line = log
        .lines()
        .find(|line| line.contains("sessions of an application are read"));
    let line = line.unwrap_or_else(|| panic!("it is not told: {log}"));
    let url = url::Url::parse(&before.place.database).expect("a URL");
    let name = url.path().trim_start_matches('/');
    let place = format!(
        "postgres 127.0.0.1:{}/{name} as reader_{name}, table {}",
        url.port().expect("a port"),
        before.column.table
    );
    let cookie = before.column.shipped.cookie;
    for text in [before.column.source, place.as_str(), cookie] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    for secret in [SECRET, OURS] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

/// What a visitor claims to be is taken away, and the gateway's own word put in its place.
pub async fn identity_is_the_gateways_word(before: &Before) {
    let gateway = before.place.start();
    let mut browser = signed_in(before, &gateway).await;
    let forged = [
        "Accept: application/json",
        "X-Forwarded-User: admin",
        "X_Forwarded_User: admin",
        "X-Forwarded-Groups: admins",
        "X-Admin-Token: invented",
    ];
    assert_eq!(browser.send("GET", TARGET, &forged, "").await.status, 200);
    let told = before.place.app.last();
    let principal = before.principal();
    let names = ["x-forwarded-user", "x-user-name"]
        .map(|name| told.values(name))
        .concat();
    assert_eq!(names, [principal]);
    assert!(
        !told.text().contains("admin") && !told.text().contains("invented"),
        "{}",
        told.text()
    );
    let mut stranger = before.place.browser(&gateway).await;
    stranger.send("GET", "/", &forged, "").await;
    let requests = before.place.app.requests();
    if let Some(told) = requests.iter().rfind(|told| told.target() == "/") {
        assert!(!told.text().contains("admin"), "{}", told.text());
    }
}

/// A log-out that the gateway does not see, and one by the hand of an administrator, count within the source's bound.
pub async fn a_row_that_is_deleted_is_a_log_out(before: &Before) {
    let gateway = before.place.start();
    let mut browser = signed_in(before, &gateway).await;
    assert_known(before, &mut browser, "before").await;
    before.place.sql(&format!("DELETE FROM {}", before.column.table));
    browser.until(TARGET, 401).await;
    assert_refused(before, &mut browser, "Session expired", "the row is gone").await;
}

/// The trigger that the file's own source has is taken by the database, trusted, and tells of a log-out at once, however
/// long rows are believed meanwhile.
pub async fn a_trigger_tells_of_a_log_out(before: &mut Before) {
    before.place.set("PORTCULLIS_CACHE_MAX_AGE", "5m");
    let source = before.column.source;
    let printed = before.place.done(&["source", "ddl", source], "");
    before.place.sql(&printed);
    let gateway = before.place.start();
    let mut browser = signed_in(before, &gateway).await;
    let healthy = format!("portcullis_source_feed_healthy{{source=\"{source}\"}} 1\n");
    let started = Instant::now();
    loop {
        let mut client = Client::plain(gateway.admin()).await;
        let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
        if metrics.contains(&healthy) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{}", gateway.log());
        pause();
    }
    assert_known(before, &mut browser, "before").await;
    before.place.sql(&format!("DELETE FROM {}", before.column.table));
    browser.until(TARGET, 401).await;
}

/// Activity in the application moves its end; nobody who is active is ever signed out here, past the end that there was.
pub async fn activity_moves_the_end(before: &Before) {
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    let (key, end) = before.column.columns();
    let session = before.open(10);
    browser.cookie = Some(session.cookie.clone());
    let over = "SELECT extract(epoch FROM now())::bigint";
    let first_end = before.place.count(over) + 12;
    while before.place.count(over) <= first_end {
        let answer = browser.get(super::theirs::ACTIVE).await;
        assert_eq!(answer.status, 200, "ended early: {}", answer.text());
        assert_eq!(browser.cookie.as_ref(), Some(&session.cookie), "it is the same session");
        pause();
    }
    assert_known(before, &mut browser, "past the end that there was").await;
    // An end that was moved to the past counts, too.
    let table = before.column.table;
    before.place.sql(&format!(
        "UPDATE {table} SET {end} = '2001-01-01' WHERE {key} = '{}'",
        session.id
    ));
    browser.until(TARGET, 401).await;
}

/// A database that cannot be asked is 503 with a time to come back, in words that give nothing away, and signs nobody out.
pub async fn an_outage_signs_nobody_out(before: &Before) {
    let gateway = before.place.start();
    let mut browser = signed_in(before, &gateway).await;
    assert_known(before, &mut browser, "before").await;
    let database = before.place.database.rsplit('/').next().expect("a name");
    let outside = |sql: &str| Postgres::shared().sql("postgres", sql);
    outside(&format!(
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    ));
    let answer = browser.until(TARGET, 503).await;
    assert!(answer.value("retry-after").is_some());
    assert!(answer.values("set-cookie").is_empty(), "the cookie stays");
    for word in ["postgres", "sql", database, "connect"] {
        assert!(!answer.text().contains(word), "{}", answer.text());
    }
    outside(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
    browser.until(TARGET, 200).await;
    assert_known(before, &mut browser, "after").await;
}

/// A new version beside the old one, which then stops: every request is answered all along, and nobody signs in again.
pub async fn a_deploy_signs_nobody_out(before: &Before) {
    let old = before.place.start();
    let mut here = signed_in(before, &old).await;
    let new = before.place.start();
    let mut there = before.place.browser(&new).await;
    there.cookie.clone_from(&here.cookie);
    assert_known(before, &mut here, "on the old one").await;
    old.signal("TERM");
    for _ in 0..20 {
        assert_known(before, &mut there, "while the old one stops").await;
    }
    drop(here);
    let stopped = old.ended();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    assert_known(before, &mut there, "after the deploy").await;
}

/// A stream that is open ends with its session, within the source's bound.
pub async fn a_stream_ends_with_the_session(before: &Before) {
    let gateway = before.place.start();
    let mut stranger = before.place.browser(&gateway).await;
    assert_eq!(stranger.get(super::theirs::EVENTS).await.status, 401);
    let mut browser = signed_in(before, &gateway).await;
    let stream = browser.open(super::theirs::EVENTS).await;
    assert_eq!(
        stream.chunk().await,
        b"data: 0\n\n",
        "the first event, an hour before the second"
    );
    before.place.sql(&format!("DELETE FROM {}", before.column.table));
    let deleted = Instant::now();
    assert_eq!(
        browser.stream().chunk().await,
        b"",
        "it ends, an hour before the application would say more"
    );
    assert!(deleted.elapsed() < PATIENCE);
}
