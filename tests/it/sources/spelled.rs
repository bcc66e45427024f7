//! Cookies in spellings that an application's library takes for the cookie of a session: what was ended here is not opened
//! there by another way of writing it.

use super::*;
use crate::support::gateway::{PATIENCE, pause};
use std::time::Instant;

const ADA: &str = r#"{"cookie":{"originalMaxAge":3600000},"passport":{"user":42}}"#;

#[tokio::test]
async fn an_ended_session_reaches_its_application_in_no_spelling_of_its_cookie() {
    let scene = Scene::with("end = true\nmax_age = \"5m\"", |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    let cookie = signed("sid0");
    assert_eq!(scene.told("/", &cookie).await.as_deref(), Some("crm:42"));
    let ended = scene.stage.gateway.command(&["session", "end", "--user", "crm:42"], "");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let started = Instant::now();
    while scene.told("/", &cookie).await.is_some() {
        assert!(started.elapsed() < PATIENCE, "it is not ended");
        pause();
    }
    let value = cookie.strip_prefix("connect.sid=").expect("its name");
    let spellings: [Vec<u8>; 9] = [
        cookie.clone().into(),
        // As cookie-parser reads it, which is in most applications of Express.
        format!("connect.sid=j%3A%22{value}%22").into(),
        format!("connect.sid=j:\"{value}\"").into(),
        // As `cookie` before 0.7 does.
        format!("connect.sid=\"{value}x").into(),
        [b"connect.sid=\xa0", value.as_bytes()].concat(),
        [b"\xa0connect.sid=", value.as_bytes()].concat(),
        format!("connect.sid=\"\"\"; {cookie}").into(),
        // As other libraries do.
        format!("connect%2Esid={value}").into(),
        format!("={cookie}").into(),
    ];
    for spelling in spellings {
        // A request that was under way brings it back.
        scene.sql(&format!(
            "INSERT INTO session VALUES ('sid0', '{ADA}', now() AT TIME ZONE 'UTC' + interval '1 hour') \
             ON CONFLICT (sid) DO NOTHING"
        ));
        scene.stage.app.forget();
        let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: theme=dark; ");
        let request = [head.as_bytes(), &spelling, b"; a=1\r\n\r\n"].concat();
        let mut client = scene.stage.client().await;
        client.send(&request).await;
        let answer = client.response().await;
        let shown = spelling.escape_ascii();
        assert_eq!(answer.status, 200, "{shown}");
        let told = scene.stage.app.last();
        assert!(told.values("x-forwarded-user").is_empty(), "{shown}");
        let cookies: Vec<String> = told.values("cookie");
        assert!(
            cookies
                .iter()
                .all(|line| !line.contains("sid0") && line.contains("theme=dark")),
            "{shown}: {cookies:?}"
        );
    }
}

/// Where nothing is ended here, a cookie of an application's is none of our business, however it is spelled.
#[tokio::test]
async fn a_source_that_is_only_read_has_its_cookies_passed_on_in_every_spelling() {
    let scene = Scene::new().await;
    scene.row("sid0", ADA);
    for cookie in ["connect.sid=j%3A%22x%22; a=1", "connect%2Esid=x", "connect.sid=\"x"] {
        assert_eq!(scene.told("/", cookie).await, None);
        assert_eq!(scene.stage.app.last().values("cookie"), [cookie]);
    }
}
