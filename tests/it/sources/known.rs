use super::*;
use crate::support::gateway::pause;
use std::time::Instant;

const ADA: &str =
    r#"{"cookie":{"originalMaxAge":3600000},"passport":{"user":42},"email":"Ada@Example.com","roles":["staff","a,b"]}"#;

#[tokio::test]
async fn a_user_of_the_application_is_known_by_the_applications_own_cookie() {
    let scene = Scene::new().await;
    scene.row("sid0", ADA);
    let cookie = signed("sid0");
    let line = format!("Cookie: a=1; {cookie}; b=\"2\"");
    let (status, told) = scene
        .get(
            "/members/x",
            &[&line, "X-Forwarded-User: evil", "X-Forwarded-Groups: admins"],
        )
        .await;
    let told = told.expect("it was forwarded");
    assert_eq!(status, 200);
    assert_eq!(told.values("x-forwarded-user"), ["crm:42"]);
    assert_eq!(told.values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!(told.values("x-forwarded-groups"), ["crm:staff"]);
    // The application needs its cookie, byte for byte.
    assert_eq!(told.values("cookie"), [format!("a=1; {cookie}; b=\"2\"")]);
    assert_eq!(scene.get("/staff", &[&line]).await.0, 200);
}

#[tokio::test]
async fn an_application_that_logs_somebody_out_logs_them_out_here_within_the_bound() {
    let scene = Scene::with("max_age = \"1s\"", |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    let cookie = signed("sid0");
    assert_eq!(scene.told("/", &cookie).await.as_deref(), Some("crm:42"));
    scene.sql("DELETE FROM session");
    let deleted = Instant::now();
    while scene.told("/", &cookie).await.is_some() {
        assert!(deleted.elapsed() < SOON);
        pause();
    }
    // The same id, signed in anew: known again, and soon.
    scene.row("sid0", ADA);
    let back = Instant::now();
    while scene.told("/", &cookie).await.is_none() {
        assert!(back.elapsed() < SOON);
        pause();
    }
}

#[tokio::test]
async fn after_the_applications_own_log_out_its_row_is_asked_for_anew() {
    let more = "max_age = \"5m\"\nlogout_paths = [\"/logout\"]";
    let scene = Scene::with(more, |_| Reply::text("bye")).await;
    scene.row("sid0", ADA);
    let cookie = signed("sid0");
    assert_eq!(scene.told("/", &cookie).await.as_deref(), Some("crm:42"));
    scene.sql("DELETE FROM session");
    assert_eq!(
        scene.told("/", &cookie).await.as_deref(),
        Some("crm:42"),
        "still believed"
    );
    assert!(scene.told("/logout", &cookie).await.is_some());
    assert_eq!(scene.told("/", &cookie).await, None);
}

#[tokio::test]
async fn a_new_cookie_from_the_application_makes_the_old_ones_row_asked_for_anew() {
    let scene = Scene::with("max_age = \"5m\"", |request| {
        let reply = Reply::text("hello");
        if request.target() == "/login" {
            reply.with("Set-Cookie", "connect.sid=s%3Anew.x; Path=/; HttpOnly")
        } else {
            reply
        }
    })
    .await;
    scene.row("sid0", ADA);
    let cookie = signed("sid0");
    assert_eq!(scene.told("/", &cookie).await.as_deref(), Some("crm:42"));
    scene.sql("DELETE FROM session");
    assert!(scene.told("/login", &cookie).await.is_some());
    assert_eq!(scene.told("/", &cookie).await, None);
}

#[tokio::test]
async fn the_same_cookie_with_a_later_end_says_nothing_of_its_session() {
    let rolling = format!("{}; Path=/; HttpOnly", signed("sid0"));
    let scene = Scene::with("max_age = \"5m\"", move |_| {
        Reply::text("hello").with("Set-Cookie", &rolling)
    })
    .await;
    scene.row("sid0", ADA);
    for _ in 0..3 {
        assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("crm:42"));
    }
    let mut client = crate::support::client::Client::plain(scene.stage.gateway.admin()).await;
    let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
    assert!(
        metrics.contains("lookups_total{source=\"crm\",result=\"found\"} 1\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_end_is_read_in_the_zone_of_the_applications_own_connections() {
    for zone in ["Etc/UTC", "America/New_York", "Asia/Kolkata"] {
        let scene = Scene::with("max_age = \"0s\"", |_| Reply::text("hello")).await;
        let name = scene.database.rsplit('/').next().unwrap();
        scene.sql(&format!("ALTER DATABASE {name} SET timezone = '{zone}'"));
        // As the application writes it: to_timestamp() in a session of that zone.
        let write = |sid: &str, minutes: i32| {
            let end = format!("to_timestamp(extract(epoch from now()) + {minutes} * 60)");
            scene.sql(&format!("INSERT INTO session VALUES ('{sid}', '{ADA}', {end})"));
        };
        write("live", 10);
        write("over", -10);
        assert_eq!(
            scene.told("/", &signed("live")).await.as_deref(),
            Some("crm:42"),
            "{zone}"
        );
        assert_eq!(scene.told("/", &signed("over")).await, None, "{zone}");
    }
}

#[tokio::test]
async fn subjects_and_groups_can_be_users_and_groups_of_ours() {
    let more = "user_map = { \"42\" = \"ada\" }\ngroup_map = { \"staff\" = \"members\" }";
    let scene = Scene::with(more, |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    let (_, told) = scene.get("/", &[&format!("Cookie: {}", signed("sid0"))]).await;
    let told = told.expect("it was forwarded");
    assert_eq!(told.values("x-forwarded-user"), ["ada"]);
    // Those that the application says come on top of those that she has here.
    assert_eq!(told.values("x-forwarded-groups"), ["members,users"]);
    // Both sessions of one person are no contradiction.
    let both = format!("{}; {}", scene.stage.cookie, signed("sid0"));
    assert_eq!(scene.told("/", &both).await.as_deref(), Some("ada"));
    // She is the same person in everything, and nobody once she is disabled here.
    let shown = scene.stage.gateway.command(&["user", "disable", "ada"], "");
    assert!(shown.status.success());
    let started = std::time::Instant::now();
    while scene.told("/", &signed("sid0")).await.is_some() {
        assert!(started.elapsed() < SOON, "a disabled user is known");
        crate::support::gateway::pause();
    }
}

#[tokio::test]
async fn a_look_up_is_one_question_and_what_is_known_none() {
    let scene = Scene::with("max_age = \"5m\"", |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    for _ in 0..20 {
        assert!(scene.told("/", &signed("sid0")).await.is_some());
    }
    let mut client = crate::support::client::Client::plain(scene.stage.gateway.admin()).await;
    let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
    let found = "portcullis_session_lookups_total{source=\"crm\",result=\"found\"} 1\n";
    assert!(metrics.contains(found), "{metrics}");
}
