//! Whom a copy makes somebody, where it counts, and what it says of them.

use super::*;

#[tokio::test]
async fn a_copy_counts_on_the_hosts_of_its_source_and_on_routes_that_name_it_alone() {
    let scene = Move::on(false);
    scene.row("one", ADA, "1 hour");
    scene.sql("CREATE TABLE shop AS TABLE session WITH NO DATA; ALTER TABLE shop ADD PRIMARY KEY (sid)");
    let gateway = scene.before();
    assert_eq!(scene.import(&[])["copied"], 1);
    drop(gateway);
    let shop = source(&scene.database, "").replacen("\"crm\"", "\"shop\"\ntable = \"shop\"\ncookie = \"shop.sid\"", 1);
    let route = "[[route]]\nname = \"shop\"\nhost = \"app.example.test\"\npath = \"/shop\"\nupstream = \"app\"\n\
                 access = \"optional\"\nsessions = [\"native\", \"shop\"]";
    for first in ["", "on_conflict = \"first\""] {
        let gateway = scene.start(&format!("{MAPPED}moved = true\n{first}\n{shop}\n{route}\n"));
        assert_eq!(scene.knows(&gateway, &signed("one")).await.as_deref(), HERE);
        assert_eq!(scene.told(&gateway, "/shop", &signed("one")).await, Ok(None), "{first}");
        scene.app.forget();
        let cookie = format!("Cookie: {}", signed("one"));
        let mut elsewhere = client(&gateway).await;
        let answer = elsewhere.get("other.example.test", "/", &[&cookie]).await;
        assert_eq!(answer.status, 200);
        assert!(scene.app.last().values("x-forwarded-user").is_empty());
        let lines = [cookie.as_str(), "Accept: application/json"];
        let me = elsewhere.get("other.example.test", "/.portcullis/me", &lines).await;
        assert_eq!(me.status, 401);
    }
}

#[tokio::test]
async fn newcomers_get_the_groups_that_an_operator_named_and_none_is_an_administrator() {
    let scene = Move::on(false);
    scene.row(
        "clerk",
        r#"{"cookie":{},"passport":{"user":7},"roles":["staff","owner"]}"#,
        "1 hour",
    );
    scene.row(
        "chief",
        r#"{"cookie":{},"passport":{"user":8},"roles":["staff","chief"]}"#,
        "1 hour",
    );
    let gateway = scene.before();
    drop(gateway);
    let mapped = format!("{MAPPED}group_map = {{ staff = \"users\", chief = \"admins\" }}\n");
    let gateway = scene.start(&mapped);
    let report = scene.import(&["--create-users"]);
    assert_eq!(
        (&report["users_created"], &report["left"]["administrator"]),
        (&1.into(), &1.into()),
        "{report}"
    );
    let shown = gateway.command(&["user", "show", "crm-7", "--json"], "");
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("a user");
    assert_eq!(shown["groups"], serde_json::json!(["users"]), "{shown}");
    assert!(
        !gateway
            .command(&["user", "show", "crm-8", "--json"], "")
            .status
            .success()
    );
}

/// When and how its user proved who they are is not known, so no rule that asks for it is met.
#[tokio::test]
async fn a_copy_says_of_no_moment_at_which_its_user_proved_who_they_are() {
    let scene = Move::on(true);
    scene.row("one", ADA, "1 hour");
    let gateway = scene.before();
    assert_eq!(scene.import(&[])["copied"], 1);
    drop(gateway);
    let store = scene.store.split('"').nth(1).expect("a URL");
    let proven = "SELECT count(*) FILTER (WHERE authenticated_at > '1970-01-01 00:00Z') || ' of ' || count(*) FROM portcullis.sessions";
    assert_eq!(Postgres::shared().sql(store, proven), "0 of 1");
}
