use super::{Office, TOKEN, refused};
use crate::support::stage::PASSWORD;
use serde_json::json;

#[tokio::test]
async fn a_user_is_added_seen_changed_and_deleted() {
    for office in Office::on_both_engines() {
        let new = json!({ "username": "ada", "email": "Ada@Example.com", "name": "Ada L", "groups": ["b", "a"], "password": PASSWORD });
        let added = office.ask("POST", "/api/users", Some(new)).await;
        assert_eq!(added.status, 201, "{}", added.text());
        let user = added.json();
        let id = user["id"].as_str().expect("a key");
        assert_eq!(added.value("location"), Some(format!("/api/users/{id}").as_str()));
        assert_eq!(
            (&user["email"], &user["groups"]),
            (&json!("ada@example.com"), &json!(["a", "b"]))
        );
        assert_eq!(user["email_verified"], true);
        assert!(!added.text().contains("password") && !added.text().contains("argon2"));
        let path = format!("/api/users/{id}");
        assert_eq!(office.json(&path).await, user);
        assert_changed_and_deleted(&office, &path).await;
        let kinds = office.kinds().await;
        assert_eq!(
            kinds,
            [
                "user_deleted",
                "groups_changed",
                "user_changed",
                "login_succeeded",
                "user_added"
            ]
        );
        let events = office.json("/api/audit?kind=user_changed").await;
        let event = &events["items"][0];
        assert_eq!(
            (&event["actor"], &event["username"]),
            (&json!("admin-token"), &json!("ada"))
        );
    }
}

#[tokio::test]
async fn who_a_user_is_in_an_application_is_said_by_administrators_and_audited() {
    for office in Office::on_both_engines() {
        let id = office.add("ada", &[]).await;
        let path = format!("/api/users/{id}");
        assert_eq!(office.json(&path).await["app_users"], json!({}));
        let change = json!({ "app_users": { "crm": 42, "shop": { "id": 7 }, "wiki": "ada" } });
        let changed = office.ask("PATCH", &path, Some(change.clone())).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert_eq!(changed.json()["app_users"], change["app_users"]);
        let less = office
            .ask(
                "PATCH",
                &path,
                Some(json!({ "app_users": { "crm": null, "wiki": "bob" } })),
            )
            .await;
        assert_eq!(less.json()["app_users"], json!({ "shop": { "id": 7 }, "wiki": "bob" }));
        assert_eq!(office.json(&path).await, less.json());
        for wrong in [
            json!({ "app_users": { "Crm": 42 } }),
            json!({ "app_users": { "crm": true } }),
            json!({ "app_users": { "crm": 4.2 } }),
            json!({ "app_users": { "crm": "" } }),
            json!({ "app_users": { "crm": "x".repeat(257) } }),
            json!({ "app_users": { "crm": { "a": "x".repeat(1024) } } }),
            json!({ "app_users": [] }),
        ] {
            let refused = office.ask("PATCH", &path, Some(wrong.clone())).await;
            assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
        }
        let many: serde_json::Map<_, _> = (0..33).map(|one| (format!("s{one}"), json!(one))).collect();
        let refused = office.ask("PATCH", &path, Some(json!({ "app_users": many }))).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert_eq!(office.json(&path).await, less.json(), "nothing was changed");
        // One for each application that was named, by its source.
        let events = office.json("/api/audit").await;
        let named = events["items"].as_array().expect("a list").iter().map(|event| {
            let source = event["source"].as_str().unwrap_or("-");
            format!("{} {source}", event["kind"].as_str().expect("a kind"))
        });
        let mut named: Vec<String> = named.collect();
        named.sort();
        let changed = ["crm", "crm", "shop", "wiki", "wiki"].map(|source| format!("app_user_changed {source}"));
        assert_eq!(named, [&changed[..], &["user_added -".to_owned()]].concat());
    }
}

async fn assert_changed_and_deleted(office: &Office, path: &str) {
    let cookie = office.sign_in("ada").await;
    let change = json!({ "email": null, "name": "Countess", "groups": ["c"] });
    let changed = office.ask("PATCH", path, Some(change)).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!(
        (&changed["email"], &changed["email_verified"]),
        (&json!(null), &json!(false))
    );
    assert_eq!(
        (&changed["name"], &changed["groups"]),
        (&json!("Countess"), &json!(["c"]))
    );
    assert_eq!(
        (&changed["state"], &changed["username"]),
        (&json!("active"), &json!("ada"))
    );
    assert!(office.opens(&cookie).await, "who is only renamed stays signed in");
    assert_eq!(
        office.app.last().values("x-forwarded-groups"),
        ["c"],
        "and is known as changed at once"
    );
    assert_eq!(office.ask("DELETE", path, None).await.status, 204);
    assert!(!office.opens(&cookie).await);
    for method in ["GET", "DELETE"] {
        refused(&office.ask(method, path, None).await, 404, "no such user");
    }
    refused(
        &office.ask("PATCH", path, Some(json!({ "name": "x" }))).await,
        404,
        "no such user",
    );
    refused(
        &office
            .ask("POST", "/api/users", Some(json!({ "username": "ada" })))
            .await,
        409,
        "already taken",
    );
}

#[tokio::test]
async fn who_is_disabled_or_gets_a_new_password_is_signed_out_before_the_answer() {
    for office in Office::on_both_engines() {
        let path = format!("/api/users/{}", office.add("ada", &[]).await);
        let cookie = office.sign_in("ada").await;
        assert!(office.opens(&cookie).await);
        let disabled = office.ask("PATCH", &path, Some(json!({ "state": "disabled" }))).await;
        assert_eq!((disabled.status, &disabled.json()["state"]), (200, &json!("disabled")));
        assert!(!office.opens(&cookie).await);
        assert_eq!(
            office
                .ask("PATCH", &path, Some(json!({ "state": "active" })))
                .await
                .status,
            200
        );
        let cookie = office.sign_in("ada").await;
        let change = json!({ "password": PASSWORD });
        assert_eq!(office.ask("PATCH", &path, Some(change)).await.status, 200);
        assert!(!office.opens(&cookie).await);
        assert_eq!(office.kinds().await[..2], ["password_set", "login_succeeded"]);
        assert_eq!(office.json(&format!("{path}/sessions")).await["items"], json!([]));
    }
}

#[tokio::test]
async fn names_and_addresses_stay_unique_when_they_are_changed() {
    for office in Office::on_both_engines() {
        let ada = format!("/api/users/{}", office.add("ada", &[]).await);
        office.add("bob@example.com", &[]).await;
        let eve = format!("/api/users/{}", office.add("eve", &[]).await);
        let set = |email: &str| Some(json!({ "email": email, "name": "N" }));
        assert_eq!(office.ask("PATCH", &eve, set("eve@example.com")).await.status, 200);
        assert_eq!(
            office.ask("PATCH", &eve, set("EVE@example.com")).await.status,
            200,
            "her own"
        );
        for taken in ["eve@example.com", "bob@example.com", "Bob@Example.com"] {
            refused(&office.ask("PATCH", &ada, set(taken)).await, 409, "already taken");
        }
        let user = office.json(&ada).await;
        assert_eq!(
            (&user["email"], &user["name"]),
            (&json!(null), &json!(null)),
            "all or nothing"
        );
    }
}

#[tokio::test]
async fn what_does_not_fit_is_400_and_changes_nothing() {
    let office = Office::start("");
    let path = format!("/api/users/{}", office.add("ada", &["a"]).await);
    let before = office.json(&path).await;
    for body in [
        json!({ "email": "a@b@c" }),
        json!({ "email": "ada" }),
        json!({ "name": "a\u{7}b" }),
        json!({ "name": "a\u{202e}b" }),
        json!({ "groups": ["a,b"] }),
        json!({ "groups": null }),
        json!({ "state": "gone" }),
        json!({ "state": null }),
        json!({ "password": "short" }),
        json!({ "password": null }),
        json!({ "username": "eve" }),
        json!({ "nam": "Ada" }),
        json!({ "name": "Ada", "email": "nothing" }),
        json!([]),
        json!("name"),
        json!(null),
    ] {
        let answer = office.ask("PATCH", &path, Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    for body in [
        json!({}),
        json!({ "username": "Ada" }),
        json!({ "username": " eve" }),
        json!({ "username": "еve" }),
        json!({ "username": "a,b" }),
        json!({ "username": "" }),
        json!({ "username": "eve", "id": "1" }),
        json!({ "username": "eve", "groups": "a" }),
        json!({ "username": "eve", "password": "hunter2" }),
    ] {
        let answer = office.ask("POST", "/api/users", Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(!answer.text().contains("hunter2"));
    }
    for (method, body) in [
        ("PATCH", &b"{\"name\":\"A\",\"name\":\"B\"}"[..]),
        ("PATCH", b"{"),
        ("PATCH", b"\xff"),
        ("PATCH", b""),
    ] {
        let lines = [
            &format!("Authorization: Bearer {TOKEN}") as &str,
            "Content-Type: application/json",
        ];
        refused(&office.plain(method, &path, &lines, body).await, 400, "body");
    }
    assert_eq!(office.json(&path).await, before);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_in_json_whoever_sends_it() {
    let office = Office::start("");
    let path = "/api/users";
    let huge = json!({ "name": "a".repeat(70_000) });
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let plain = [bearer.as_str(), "Content-Type: text/plain", "Accept: text/html"];
    for answer in [
        office.ask("POST", path, Some(huge.clone())).await,
        office.plain("POST", path, &plain, huge.to_string().as_bytes()).await,
    ] {
        refused(&answer, 413, "body");
    }
}

#[tokio::test]
async fn a_body_is_json_and_nothing_else() {
    let office = Office::start("");
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for lines in [
        &[][..],
        &["Content-Type: text/plain"],
        &["Content-Type: application/x-www-form-urlencoded"],
        &["Content-Type: application/json", "Content-Encoding: gzip"],
        &["Content-Type: application/json", "Content-Type: application/json"],
        &["Content-Type: application/jsonx"],
    ] {
        let mut lines = lines.to_vec();
        lines.push(&bearer);
        let answer = office
            .plain("POST", "/api/users", &lines, br#"{"username":"eve"}"#)
            .await;
        refused(&answer, 415, "application/json");
    }
    let lines = [&bearer as &str, "Content-Type: application/json; charset=utf-8"];
    let answer = office
        .plain("POST", "/api/users", &lines, br#"{"username":"eve"}"#)
        .await;
    assert_eq!(answer.status, 201);
    refused(&office.ask("GET", "/api/users", Some(json!({}))).await, 400, "no body");
}

#[tokio::test]
async fn methods_that_are_not_there_are_405_and_say_which_are() {
    let office = Office::start("");
    for (method, target, allow) in [
        ("PUT", "/api/users", "GET, POST, HEAD, OPTIONS"),
        ("DELETE", "/api/users", "GET, POST, HEAD, OPTIONS"),
        ("POST", "/api/sessions", "GET, DELETE, HEAD, OPTIONS"),
        ("GET", "/api/reload", "POST, OPTIONS"),
        ("PROPFIND", "/api/stats", "GET, HEAD, OPTIONS"),
    ] {
        let answer = office.ask(method, target, None).await;
        refused(&answer, 405, "method");
        assert_eq!(answer.value("allow"), Some(allow), "{method} {target}");
    }
    let options = office.ask("OPTIONS", "/api/users", None).await;
    assert_eq!(
        (options.status, options.value("allow")),
        (204, Some("GET, POST, HEAD, OPTIONS"))
    );
    let (get, head) = (
        office.get("/api/users").await,
        office.ask("HEAD", "/api/users", None).await,
    );
    assert_eq!(
        (head.status, head.value("content-length")),
        (200, get.value("content-length"))
    );
    for target in ["/api", "/api/", "/api/users/", "/api/x", "/apix"] {
        refused(&office.get(target).await, 404, "nothing here");
    }
}
