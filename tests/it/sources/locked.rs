//! Users of a Django application who changed their password, or were locked there: their rows stay, and are nobody's.

use super::*;
use crate::support::gateway::pause;
use aws_lc_rs::{digest, hmac};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::Instant;

const KEY: &str = "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz0123456789";
const PASSWORD: &str = "pbkdf2_sha256$1000000$YStdgI8PTUNsOn6bCohVdu$+JWTXjT/94PNKWk+gEhS94cHJzGVLt3plYF+Mm25j5o=";
const TABLES: &str = "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, \
    expire_date timestamptz NOT NULL); \
    CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128) NOT NULL, is_active boolean NOT NULL, \
    username text NOT NULL, email text NOT NULL, first_name text NOT NULL, last_name text NOT NULL)";

/// As Django salts its keys.
fn tag(salt: &str, text: &str) -> hmac::Tag {
    let key = digest::digest(&digest::SHA256, format!("{salt}{KEY}").as_bytes());
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text.as_bytes())
}

/// What its session store writes for a user with this password.
fn written(user: u32, password: &str) -> String {
    let hash = tag(
        "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash",
        password,
    );
    let data = serde_json::json!({
        "_auth_user_id": user.to_string(),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": hex::encode(hash),
    });
    let message = format!("{}:1taN7Y", URL_SAFE_NO_PAD.encode(data.to_string()));
    let sealed = tag("django.contrib.sessions.SessionStoresigner", &message);
    format!("{message}:{}", URL_SAFE_NO_PAD.encode(sealed))
}

#[tokio::test]
async fn a_changed_password_or_a_locked_user_ends_a_session_of_djangos_whose_row_stays() {
    let database = Postgres::shared().database();
    let sql = |sql: &str| Postgres::shared().sql(&database, sql);
    sql(TABLES);
    for user in [1, 2, 3] {
        let (key, data) = (format!("key{user:029}"), written(user, PASSWORD));
        sql(&format!(
            "INSERT INTO auth_user VALUES ({user}, '{PASSWORD}', true, 'u{user}', 'u{user}@example.com', '', ''); \
             INSERT INTO django_session VALUES ('{key}', '{data}', now() + interval '1 hour')"
        ));
    }
    let source = format!(
        "[[source]]\nname = \"crm\"\npreset = \"django\"\nhosts = [\"{HOST}\"]\nstore_url = \"{database}\"\n\
         secrets = [\"{KEY}\"]\nmax_age = \"1s\"\n"
    );
    let routes = format!("{ROUTES}\n{source}");
    let stage = Stage::with("", &routes, |_| Reply::text("hello")).await;
    let scene = Scene { stage, database };
    let cookie = |user: u32| format!("sessionid=key{user:029}");
    for user in [1, 2, 3] {
        assert_eq!(scene.told("/", &cookie(user)).await, Some(format!("crm:{user}")));
    }
    scene.sql("UPDATE auth_user SET password = 'pbkdf2_sha256$1$changed' WHERE id = 1");
    scene.sql("UPDATE auth_user SET is_active = false WHERE id = 2");
    for user in [1, 2] {
        let since = Instant::now();
        while scene.told("/", &cookie(user)).await.is_some() {
            assert!(since.elapsed() < SOON, "{}", scene.stage.gateway.log());
            pause();
        }
    }
    assert_eq!(scene.told("/", &cookie(3)).await.as_deref(), Some("crm:3"));
    assert_eq!(scene.sql("SELECT count(*) FROM django_session"), "3");
}

#[tokio::test]
async fn who_is_one_of_ours_by_user_map_and_disabled_here_is_nobody_with_the_applications_session_too() {
    let scene = Scene::with("max_age = \"1s\"\nuser_map = { \"42\" = \"ada\" }", |_| {
        Reply::text("hello")
    })
    .await;
    for (sid, user) in [("sid0", 42), ("sid1", 7)] {
        scene.row(sid, &format!("{{\"cookie\":{{}},\"passport\":{{\"user\":{user}}}}}"));
    }
    assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("ada"));
    let done = scene.stage.gateway.command(&["user", "disable", "ada"], "");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let since = Instant::now();
    while scene.told("/", &signed("sid0")).await.is_some() {
        assert!(since.elapsed() < SOON, "{}", scene.stage.gateway.log());
        pause();
    }
    assert_eq!(scene.told("/", &signed("sid1")).await.as_deref(), Some("crm:7"));
}
