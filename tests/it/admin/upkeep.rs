use super::{Office, PASSWORD, SECRETS, refused};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::stage::HOST;
use crate::support::upstream::Upstream;
use serde_json::json;

async fn wrong_password(office: &Office, user: &str) -> u16 {
    let body = json!({ "username": user, "password": format!("{PASSWORD}!") }).to_string();
    let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
    let mut client = office.client().await;
    client
        .request("POST", HOST, "/.portcullis/login", &lines, body.as_bytes())
        .await
        .status
}

#[tokio::test]
async fn bans_are_listed_and_lifted() {
    let url = Postgres::shared().database();
    for top in [String::new(), format!("[store]\nurl = \"{url}\"\n{SECRETS}")] {
        let app = Upstream::hello();
        let config = super::config(&format!("{top}[throttle]\naccount = \"2/30m\"\n"), &app);
        let office = Office {
            gateway: Gateway::start(&config),
            app,
        };
        for user in ["ada", "bob", "eve"] {
            office.add(user, &[]).await;
            for _ in 0..2 {
                assert_eq!(wrong_password(&office, user).await, 401);
            }
            assert_eq!(wrong_password(&office, user).await, 429);
        }
        let first = office.json("/api/bans?limit=2").await;
        let token = first["next"].as_str().expect("more");
        let second = office.json(&format!("/api/bans?limit=2&after={token}")).await;
        let items = [first["items"].as_array(), second["items"].as_array()].map(|items| items.expect("a list").clone());
        let bans = items.concat();
        let mut users: Vec<_> = bans.iter().map(|ban| ban["user"].as_str().expect("a user")).collect();
        users.sort_unstable();
        assert_eq!(
            (users, second["next"].clone()),
            (vec!["ada", "bob", "eve"], json!(null))
        );
        assert_eq!(office.ask("DELETE", "/api/bans/ada", None).await.status, 204);
        assert_eq!(wrong_password(&office, "ada").await, 401);
        let id = bans
            .iter()
            .find(|ban| ban["user"] == "bob")
            .and_then(|ban| ban["id"].as_str())
            .expect("an id");
        let path = format!("/api/bans/{}", id.replace(':', "%3A"));
        assert_eq!(office.ask("DELETE", &path, None).await.status, 204);
        refused(&office.ask("DELETE", &path, None).await, 404, "no such ban");
        for nobody in ["nobody", "%00", "%ff", "192.0.2.1", "a%2Fb"] {
            refused(
                &office.ask("DELETE", &format!("/api/bans/{nobody}"), None).await,
                404,
                "no such ban",
            );
        }
        let events = office.json("/api/audit?kind=ban_lifted").await;
        assert_eq!(events["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(events["items"][0]["actor"], "admin-token");
    }
}

#[tokio::test]
async fn expired_sessions_are_removed_when_somebody_asks() {
    for office in Office::on_both_engines() {
        office.add("ada", &[]).await;
        let swept = office.ask("POST", "/api/sweep", None).await;
        assert_eq!(
            (swept.status, swept.json()),
            (200, json!({ "state": "done", "removed": 0 }))
        );
        refused(&office.ask("POST", "/api/sweep", Some(json!({}))).await, 400, "no body");
        let stats = office.json("/api/stats").await;
        let run = &stats["sweeps"][0];
        assert_eq!(
            (&run["by_hand"], &run["removed"], &run["error"]),
            (&json!(true), &json!(0), &json!(null))
        );
    }
    let url = Postgres::shared().database();
    let office = Office::start(&format!("[store]\nurl = \"{url}\"\n{SECRETS}"));
    office.add("ada", &[]).await;
    for _ in 0..2 {
        office.sign_in("ada").await;
    }
    let over = "UPDATE portcullis.sessions SET expires_at = now() - interval '1 minute', sweep_at = now() WHERE public_id = \
                (SELECT public_id FROM portcullis.sessions ORDER BY public_id LIMIT 1)";
    Postgres::shared().sql(&url, over);
    let sessions = office.json("/api/stats").await["sessions"].clone();
    assert_eq!(
        (&sessions["total"], &sessions["active"], &sessions["expired"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let listed = office.json("/api/sessions").await;
    assert_eq!(
        (&listed["items"][0]["state"], &listed["items"][1]["state"]),
        (&json!("active"), &json!("expired"))
    );
    let swept = office.ask("POST", "/api/sweep", None).await;
    assert_eq!(swept.json(), json!({ "state": "done", "removed": 1 }));
}
