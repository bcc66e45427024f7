//! `offline-app.toml`: signed in for three days after the last sign of life, over https only, for front ends that go
//! offline and come back.

use super::claims;
use super::figures;
use super::place::{HOST, PASSWORD, Place, Reach, Shipped, USER, attributes};

const SHIPPED: Shipped = Shipped {
    name: "offline-app",
    reach: Reach::Https(HOST),
    cookie: "__Host-portcullis",
    schema: "portcullis",
};

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    claims::survives_kill_and_restart(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn several_instances_need_no_affinity() {
    claims::instances_need_no_affinity(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn invalid_and_expired_sessions_are_refused_swept_or_not() {
    claims::invalid_and_expired_are_refused(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn the_cookie_is_http_only_secure_and_strict_and_its_value_starts_with_the_prefix() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let line = browser.sign_in(USER).await;
    assert!(line.starts_with("__Host-portcullis=aiq_"), "{line}");
    let kept: Vec<_> = attributes(&line)
        .into_iter()
        .filter(|one| !one.starts_with("Max-Age"))
        .collect();
    assert_eq!(kept, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]);
    // The prefix is part of what is checked.
    browser.cookie = browser.cookie.map(|pair| pair.replace("aiq_", ""));
    claims::assert_refused(&place, &mut browser, "without the prefix").await;
}

#[tokio::test]
async fn https_is_enforced() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut plain = place.browser_by(&gateway, Reach::Http(HOST)).await;
    let answer = plain.get("/report").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.value("location"), Some("https://app.example.com/report"));
    let login = serde_json::json!({ "username": "ada", "password": PASSWORD });
    let answer = plain.post("/.portcullis/login", &login).await;
    assert_eq!(answer.status, 403, "a password is not taken over plain http");
    assert_eq!(plain.cookie, None);
    let answer = place.browser(&gateway).await.get("/").await;
    let hsts = answer.value("strict-transport-security");
    assert!(
        hsts.is_some_and(|value| value.starts_with("max-age=31536000")),
        "{:?}",
        answer.headers
    );
    assert_eq!(place.rows(), 0);
}

#[test]
fn a_secret_under_32_bytes_is_a_fault_at_start() {
    claims::short_secrets_are_refused(&mut Place::new(SHIPPED));
}

#[tokio::test]
async fn the_start_is_told_without_a_secret() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    claims::start_is_told(&place, &gateway, &["__Host-portcullis", "\"always\"", "\"strict\""]);
}

#[tokio::test]
async fn the_application_is_given_the_public_id_of_the_session_and_not_its_token() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    browser.get(claims::TARGET).await;
    let told = place.app.last();
    let [id] = &told.values("x-session-id")[..] else {
        panic!("no public id: {}", told.text())
    };
    assert_eq!(*id, place.sql("SELECT public_id FROM portcullis.sessions"));
    let mut thief = place.browser(&gateway).await;
    thief.cookie = Some(format!("__Host-portcullis=aiq_{id}"));
    claims::assert_refused(&place, &mut thief, "the public id is no key").await;
}

#[tokio::test]
async fn log_ins_and_ends_are_audited() {
    claims::log_ins_and_ends_are_audited(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn many_at_once_are_answered_by_a_small_pool() {
    figures::many_at_once(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn memory_stays_where_it_was() {
    figures::memory_stays(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn a_log_in_by_json_has_a_new_id_each_time_and_keeps_the_users_own_data() {
    let place = Place::new(SHIPPED).prepared();
    place.add_user("bob", &[]);
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let facts = "SELECT u.username || ' ' || coalesce(s.data->>'draft', 'nothing') \
                 FROM portcullis.sessions s JOIN portcullis.users u ON u.id = s.user_id";
    let mut seen = Vec::new();
    for round in 0..3 {
        let login = serde_json::json!({ "username": USER, "password": PASSWORD });
        let answer = browser.post("/api/establish-session", &login).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = answer.json()["session"]["public_id"].clone();
        seen.push((browser.cookie.clone(), told));
        if round == 0 {
            place.sql("UPDATE portcullis.sessions SET data = '{\"draft\": \"seven\"}'");
        }
        assert_eq!(
            place.sql(facts),
            "ada seven",
            "the session before is gone, what it held is not"
        );
    }
    let login = serde_json::json!({ "username": "bob", "password": PASSWORD });
    assert_eq!(browser.post("/api/establish-session", &login).await.status, 200);
    assert_eq!(place.sql(facts), "bob nothing", "nothing of hers is his");
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    let audited = "SELECT count(DISTINCT session_id) FROM portcullis.audit_events WHERE kind = 'login_succeeded'";
    assert_eq!(place.count(audited), 4, "each of them is in the trail");
    assert!(place.app.requests().is_empty(), "the application saw none of it");
}
