//! What all five claim. Each function takes a place whose tables are made and whose user is added.

use super::place::{Browser, PASSWORD, Place, SECRET, USER, attributes};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use std::time::Instant;

/// A page behind the log-in, for scripts.
pub const TARGET: &str = "/api/whoami";

/// Asserts that the browser is signed in, and that the application was told so by the gateway.
pub async fn assert_signed_in(place: &Place, browser: &mut Browser<'_>, why: &str) {
    place.app.forget();
    let answer = browser.get(TARGET).await;
    assert_eq!(answer.status, 200, "{why}: {}", answer.text());
    let told = place.app.last();
    let names = ["x-forwarded-user", "x-user-name"]
        .map(|name| told.values(name))
        .concat();
    assert_eq!(names, [USER], "{why}: {}", told.text());
    assert!(
        !told.text().contains(place.shipped.cookie),
        "{why}: the cookie went to the application"
    );
}

/// Asserts that the browser is refused, and that nothing reached the application.
pub async fn assert_refused(place: &Place, browser: &mut Browser<'_>, why: &str) {
    place.app.forget();
    let answer = browser.get(TARGET).await;
    assert_eq!(answer.status, 401, "{why}: {}", answer.text());
    assert_eq!(answer.value("content-type"), Some("application/problem+json"), "{why}");
    assert!(place.app.requests().is_empty(), "{why}: it reached the application");
}

/// The cookie lives through a process that is killed and through one that is stopped in order.
pub async fn survives_kill_and_restart(place: &Place) {
    let first = place.start();
    let mut browser = place.signed_in(&first).await;
    assert_signed_in(place, &mut browser, "before").await;
    let cookie = browser.cookie.clone();
    first.signal("KILL");
    first.ended();

    let second = place.start();
    let mut browser = place.browser(&second).await;
    browser.cookie.clone_from(&cookie);
    assert_signed_in(place, &mut browser, "after kill -9").await;
    let stopped = second.terminate();
    assert!(stopped.status.success(), "{}", stopped.stderr);

    let third = place.start();
    let mut browser = place.browser(&third).await;
    browser.cookie = cookie;
    assert_signed_in(place, &mut browser, "after a restart").await;
}

/// Two instances on one database, asked in turn: what one opens the other knows, what one ends the other refuses.
pub async fn instances_need_no_affinity(place: &Place) {
    let (one, two) = (place.start(), place.start());
    let mut first = place.signed_in(&one).await;
    let mut second = place.browser(&two).await;
    second.cookie.clone_from(&first.cookie);
    for round in 0..3 {
        assert_signed_in(place, &mut first, &format!("round {round}, here")).await;
        assert_signed_in(place, &mut second, &format!("round {round}, there")).await;
    }
    second.sign_out().await;
    assert_eq!(place.rows(), 0, "signing out deletes the row");
    first.until(TARGET, 401).await;
}

/// What was never a session, and what was one: refused, whether the row is still there or not.
pub async fn invalid_and_expired_are_refused(place: &Place) {
    let (one, two) = (place.start(), place.start());
    let mut browser = place.browser(&one).await;
    assert_refused(place, &mut browser, "no cookie").await;
    let live = place.signed_in(&one).await.cookie.expect("a cookie");
    let (name, value) = live.split_once('=').expect("a pair");
    let other_end = if value.ends_with('A') { "B" } else { "A" };
    let forged = format!("{name}={}{other_end}", &value[..value.len() - 1]);
    let old_library =
        format!("{name}=s%3AAbCdEfGhIjKlMnOpQrStUvWxYz012345.Rep3%2FFvg0qav4rmx0KMMPMPLPqwiVeA7cAX7m1k6618");
    for wrong in [
        &forged,
        &old_library,
        &format!("{name}="),
        &format!("{name}={}", "x".repeat(4000)),
    ] {
        browser.cookie = Some(wrong.clone());
        assert_refused(place, &mut browser, "an invented cookie").await;
    }

    // An instance that has never seen the session, so that the database alone decides.
    let mut unswept = place.browser(&two).await;
    unswept.cookie = Some(live.clone());
    place.expire_all();
    assert_eq!(place.rows(), 1, "the row is still there");
    assert_refused(place, &mut unswept, "expired and not swept").await;
    place.sql(&format!("DELETE FROM {}.sessions", place.shipped.schema));
    let three = place.start();
    let mut swept = place.browser(&three).await;
    swept.cookie = Some(live);
    assert_refused(place, &mut swept, "expired and swept").await;
}

/// A configuration with a secret of 31 bytes, or without one, does not start, and the message says how to make one.
pub fn short_secrets_are_refused(place: &mut Place) {
    for (secret, says) in [
        (Some(&SECRET[..31]), "31 bytes; a session secret needs 32"),
        (Some(""), "\"SESSION_SECRET\" is empty"),
        (None, "\"SESSION_SECRET\" is not set"),
    ] {
        match secret {
            Some(secret) => place.set("SESSION_SECRET", secret),
            None => place.unset("SESSION_SECRET"),
        }
        let end = place.try_start().err().expect("it must not start");
        assert_eq!(end.code, Some(2), "{}", end.stderr);
        assert!(end.stderr.contains(says), "{says:?} is not in {}", end.stderr);
        assert!(secret.is_none_or(|secret| secret.is_empty() || !end.stderr.contains(secret)));
        let check = place.command(&["check"], "");
        assert_eq!(check.status.code(), Some(2), "check says the same");
    }
    place.set("SESSION_SECRET", SECRET);
}

/// The first lines of the log say where sessions are, whom it trusts, what the cookie is like and where it listens, and no
/// secret.
pub fn start_is_told(place: &Place, gateway: &Gateway, says: &[&str]) {
    gateway.wait_for_log("portcullis is starting");
    let log = gateway.log();
    let start = log.lines().find(|line| line.contains("portcullis is starting"));
    let start = start.unwrap_or_else(|| panic!("the start is not told: {log}"));
    let url = url::Url::parse(&place.database).expect("a URL");
    let database = format!(
        "postgres 127.0.0.1:{}{} as portcullis, schema {}",
        url.port().expect("a port"),
        url.path(),
        place.shipped.schema
    );
    for text in says.iter().copied().chain([database.as_str(), gateway.url(0)]) {
        assert!(start.contains(text), "{text:?} is not in {start}");
    }
    for secret in [SECRET, PASSWORD, place.database.as_str()] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

/// What happened to a user's sessions is in the audit trail: who, when, from where, and no secret.
pub async fn log_ins_and_ends_are_audited(place: &Place) {
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    let wrong = serde_json::json!({ "username": USER, "password": "wrong horse battery staple" });
    let mut stranger = place.browser(&gateway).await;
    assert_eq!(stranger.post("/.portcullis/login", &wrong).await.status, 401);
    browser.sign_out().await;
    browser.sign_in(USER).await;
    place.done(&["session", "end", "--user", USER], "");
    for (kind, actor) in [
        ("login_succeeded", USER),
        ("login_failed", "system"),
        ("logged_out", USER),
        ("session_ended", "command"),
    ] {
        let schema = place.shipped.schema;
        let facts = place.sql(&format!(
            "SELECT DISTINCT coalesce(e.username, u.username), e.at > now() - interval '10 minutes', e.actor \
             FROM {schema}.audit_events e LEFT JOIN {schema}.users u ON u.id = e.user_id WHERE e.kind = '{kind}'"
        ));
        assert_eq!(facts, format!("{USER}|t|{actor}"), "{kind}");
    }
    let all = place.sql(&format!("SELECT * FROM {}.audit_events", place.shipped.schema));
    let told = place.done(&["audit", "--user", USER, "--json"], "");
    let lines: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for kind in ["login_succeeded", "login_failed", "logged_out"] {
        assert!(
            lines.iter().any(|line| line["kind"] == kind),
            "{kind} is not told: {told}"
        );
    }
    let token = browser.cookie.as_deref().and_then(|pair| pair.split_once('='));
    for secret in [PASSWORD, "wrong horse", token.expect("a cookie").1] {
        assert!(!all.contains(secret), "a secret is in the trail");
    }
}

/// A database that cannot be asked is 503 with a time to come back, in words that give nothing away, and signs nobody out.
pub async fn an_outage_signs_nobody_out(place: &Place) {
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    let database = place.database.rsplit('/').next().expect("a name");
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
}

/// A new version beside the old one, which then stops: every request is answered all along, and nobody signs in again.
pub async fn a_deploy_signs_nobody_out(place: &Place) {
    let old = place.start();
    let mut before = place.signed_in(&old).await;
    let new = place.start();
    let mut after = place.browser(&new).await;
    after.cookie.clone_from(&before.cookie);
    assert_signed_in(place, &mut before, "on the old one").await;
    assert_signed_in(place, &mut after, "on the new one").await;
    old.signal("TERM");
    for _ in 0..20 {
        assert_signed_in(place, &mut after, "while the old one stops").await;
    }
    drop(before);
    let stopped = old.ended();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    assert_signed_in(place, &mut after, "after the deploy").await;
}

/// What expired is removed without anybody asking, and the log says how many. The file's own interval is first shown,
/// then made short.
pub async fn sweeps_by_itself(place: &mut Place, interval: &str) {
    let shown = place.done(&["config", "show"], "");
    assert!(shown.contains(&format!("sweep_interval = \"{interval}\"")), "{shown}");
    place.set("PORTCULLIS_SESSION_SWEEP_INTERVAL", "1s");
    let gateway = place.start();
    place.signed_in(&gateway).await;
    place.expire_all();
    let started = Instant::now();
    while place.rows() > 0 {
        assert!(started.elapsed() < PATIENCE, "it is never removed: {}", gateway.log());
        pause();
    }
    gateway.wait_for_log("\"sweep.removed\":1");
    place.unset("PORTCULLIS_SESSION_SWEEP_INTERVAL");
}

/// Activity moves the idle end to `idle` from then, for ever: again and again after `quiet`, and never ended early.
pub async fn activity_moves_the_end(place: &Place, idle: i64, quiet: &str) {
    let mut cookie = None;
    for round in 0..4 {
        let gateway = place.start();
        let mut browser = place.browser(&gateway).await;
        browser.cookie.clone_from(&cookie);
        if round == 0 {
            let line = browser.sign_in(USER).await;
            assert!(
                attributes(&line).contains(&format!("Max-Age={idle}").as_str()),
                "{line}"
            );
        }
        let before = browser.cookie.clone();
        let answer = browser.get(TARGET).await;
        assert_eq!(answer.status, 200, "round {round}: it was ended early");
        let lines = answer.values("set-cookie");
        if round == 0 {
            assert!(lines.is_empty(), "nothing has changed since the log-in");
        } else {
            let found = attributes(lines.first().expect("the cookie is given anew")).join(" ");
            assert!(found.contains(&format!("Max-Age={idle}")), "{found}");
            assert_eq!(browser.cookie, before, "it is the same session");
        }
        cookie = before;
        let stopped = gateway.terminate();
        assert!(stopped.status.success(), "{}", stopped.stderr);
        let left = place.seconds_left();
        assert!(
            (idle - 60..=idle).contains(&left),
            "round {round}: {left} seconds are left"
        );
        place.pass(quiet);
    }
}
