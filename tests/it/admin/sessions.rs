use super::{Office, refused};
use serde_json::{Value, json};

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list").iter();
    items
        .map(|one| one["public_id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn sessions_are_listed_shown_and_ended_here_at_once() {
    for office in Office::on_both_engines() {
        for name in ["ada", "bob"] {
            office.add(name, &[]).await;
        }
        let (first, second, other) = (
            office.sign_in("ada").await,
            office.sign_in("ada").await,
            office.sign_in("bob").await,
        );
        let all = office.json("/api/sessions").await;
        assert_eq!(all["items"].as_array().map(Vec::len), Some(3));
        assert_eq!(all["next"], json!(null));
        let of_ada = office.json("/api/sessions?user=ada").await;
        let [newest, oldest] = &ids(&of_ada)[..] else {
            panic!("{of_ada}")
        };
        let one = office.json(&format!("/api/sessions/{newest}")).await;
        assert_eq!(one, of_ada["items"][0]);
        assert_eq!(
            (&one["user"], &one["state"], &one["methods"]),
            (&json!("ada"), &json!("active"), &json!(["pwd"]))
        );
        assert!(one["first_address"].is_string() && one["expires_at"].is_string());
        let user = one["user_id"].as_str().expect("a key");
        assert_eq!(
            ids(&office.json(&format!("/api/users/{user}/sessions")).await),
            ids(&of_ada)
        );
        assert_eq!(office.json("/api/sessions?user=nobody").await["items"], json!([]));
        // Neither the token nor its digest.
        let shown = all.to_string();
        for cookie in [&first, &second, &other] {
            let (_, value) = cookie.split_once('=').expect("a pair");
            assert!(!shown.contains(&value[..16]) && !shown.contains("digest"), "{shown}");
        }
        assert_ended(&office, [&first, &second, &other], newest, oldest).await;
    }
}

async fn assert_ended(office: &Office, [first, second, other]: [&String; 3], newest: &str, oldest: &str) {
    let ended = office.ask("DELETE", &format!("/api/sessions/{newest}"), None).await;
    assert_eq!(ended.status, 204);
    assert!(!office.opens(second).await && office.opens(first).await && office.opens(other).await);
    refused(
        &office.ask("DELETE", &format!("/api/sessions/{newest}"), None).await,
        404,
        "no such session",
    );
    let event = &office.json("/api/audit?kind=session_ended").await["items"][0];
    assert_eq!(
        (&event["actor"], &event["session"], &event["username"]),
        (&json!("admin-token"), &json!(newest), &json!("ada"))
    );
    assert_eq!(
        office.ask("DELETE", "/api/sessions?user=ada", None).await.json(),
        json!({ "ended": 1 })
    );
    assert!(!office.opens(first).await && office.opens(other).await);
    refused(
        &office.get(&format!("/api/sessions/{oldest}")).await,
        404,
        "no such session",
    );
    assert_eq!(
        office.ask("DELETE", "/api/sessions?all=true", None).await.json(),
        json!({ "ended": 1 })
    );
    assert!(!office.opens(other).await);
}

#[tokio::test]
async fn ending_many_says_whose() {
    let office = Office::start("");
    office.add("ada", &[]).await;
    let cookie = office.sign_in("ada").await;
    for query in [
        "",
        "?",
        "?all=false",
        "?all=1",
        "?all",
        "?all=true&user=ada",
        "?user=",
        "?user=Ada",
        "?use=ada",
        "?all=true&all=true",
    ] {
        let answer = office.ask("DELETE", &format!("/api/sessions{query}"), None).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    refused(
        &office.ask("DELETE", "/api/sessions?user=nobody", None).await,
        404,
        "no such user",
    );
    assert!(office.opens(&cookie).await);
}

#[tokio::test]
async fn applications_keep_a_small_object_with_a_session() {
    for office in Office::on_both_engines() {
        office.add("ada", &[]).await;
        let cookie = office.sign_in("ada").await;
        let path = format!("/api/sessions/{}", ids(&office.json("/api/sessions").await)[0]);
        let data = json!({ "theme": "dark", "n": [1, 2.5, null, true], "ü": { "a": "ä" }, "big": 1e300 });
        let changed = office.ask("PATCH", &path, Some(json!({ "data": data }))).await;
        assert_eq!((changed.status, &changed.json()["data"]), (200, &data));
        assert_eq!(office.json(&path).await["data"], data);
        assert!(office.opens(&cookie).await);
        for (data, why) in [
            (json!([1]), "object"),
            (json!("x"), "object"),
            (json!({ "a": "b".repeat(4096) }), "4096"),
            (json!({ "a": "\u{0}" }), "U+0000"),
            (json!({ "a\u{0}": 1 }), "U+0000"),
            (json!({ "a": vec![1e300; 60] }), "4096"),
        ] {
            refused(
                &office.ask("PATCH", &path, Some(json!({ "data": data }))).await,
                400,
                why,
            );
        }
        for body in [
            json!({}),
            json!({ "data": {}, "user": "x" }),
            json!({ "expires_at": "2030-01-01T00:00:00Z" }),
        ] {
            assert_eq!(office.ask("PATCH", &path, Some(body)).await.status, 400);
        }
        assert_eq!(office.json(&path).await["data"], data);
        let gone = office.ask("PATCH", &path, Some(json!({ "data": null }))).await;
        assert_eq!(gone.json()["data"], json!(null));
        assert_eq!(
            office.kinds().await[..2],
            ["session_data_changed", "session_data_changed"]
        );
        let nobody = "/api/sessions/00000000-0000-7000-8000-000000000000";
        refused(
            &office.ask("PATCH", nobody, Some(json!({ "data": {} }))).await,
            404,
            "no such session",
        );
        for odd in [
            "x",
            "00000000000070008000000000000000",
            "{00000000-0000-7000-8000-000000000000}",
            "%00",
        ] {
            assert_eq!(office.get(&format!("/api/sessions/{odd}")).await.status, 404, "{odd}");
        }
    }
}
