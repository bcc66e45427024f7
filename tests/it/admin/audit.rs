use super::{Office, kinds, refused};
use crate::support::client::Response;
use serde_json::{Value, json};

async fn wrong_password(office: &Office, user: &str) {
    let body = json!({ "username": user, "password": "not theirs at all" }).to_string();
    let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
    let mut client = office.client().await;
    let answer = client
        .request("POST", super::HOST, "/.portcullis/login", &lines, body.as_bytes())
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn the_log_is_filtered_by_user_kind_session_and_time() {
    for office in Office::on_both_engines() {
        let ada = office.add("ada", &[]).await;
        office.add("bob", &[]).await;
        office.sign_in("ada").await;
        wrong_password(&office, "bob").await;
        let all = office.json("/api/audit").await;
        assert_eq!(
            kinds(&all),
            ["login_failed", "login_succeeded", "user_added", "user_added"]
        );
        assert_eq!(
            (&all["items"][0]["reason"], &all["items"][0]["username"]),
            (&json!("wrong_password"), &json!("bob"))
        );
        assert_eq!(
            kinds(&office.json("/api/audit?user=ada").await),
            ["login_succeeded", "user_added"]
        );
        assert_eq!(
            kinds(&office.json("/api/audit?user=bob&kind=login_failed").await),
            ["login_failed"]
        );
        assert_eq!(kinds(&office.json("/api/audit?kind=logged_out").await), [""; 0]);
        let session = office.json("/api/audit?kind=login_succeeded").await["items"][0]["session"]
            .as_str()
            .expect("a session")
            .to_owned();
        let of_session = office.json(&format!("/api/audit?session={session}")).await;
        assert_eq!(kinds(&of_session), ["login_succeeded"]);
        assert_eq!(
            kinds(&office.json(&format!("/api/audit?session={session}&user=bob")).await),
            [""; 0]
        );
        assert_times_and_mistakes(&office).await;
        // The log outlives the user.
        let path = format!("/api/users/{ada}");
        assert_eq!(office.ask("DELETE", &path, None).await.status, 204);
        assert_eq!(
            kinds(&office.json("/api/audit?user=ada").await),
            ["user_deleted", "login_succeeded", "user_added"]
        );
        assert_eq!(kinds(&office.json("/api/audit?user=nobody").await), [""; 0]);
    }
}

async fn assert_times_and_mistakes(office: &Office) {
    for (query, count) in [
        ("since=2020-01-01T00:00:00Z", 4),
        ("since=2100-01-01T00:00:00Z", 0),
        ("until=2020-01-01T00:00:00Z", 0),
        ("until=2100-01-01T00:00:00%2B02:00", 4),
        ("since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&user=ada", 2),
    ] {
        assert_eq!(
            kinds(&office.json(&format!("/api/audit?{query}")).await).len(),
            count,
            "{query}"
        );
    }
    for query in [
        "since=yesterday",
        "since=2020-01-01",
        "until=",
        "kind=Login",
        "kind=",
        "session=x",
        "user=A",
        "format=xml",
        "since=1960-01-01T00:00:00Z",
    ] {
        assert_eq!(office.get(&format!("/api/audit?{query}")).await.status, 400, "{query}");
    }
}

fn lines(answer: &Response) -> Vec<Value> {
    assert_eq!(answer.value("content-type"), Some("application/x-ndjson"));
    answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[tokio::test]
async fn the_log_comes_in_lines_and_pages_of_them() {
    for office in Office::on_both_engines() {
        for number in 0..5 {
            office.add(&format!("user{number}"), &[]).await;
        }
        let all = office.json("/api/audit").await;
        let mut seen = Vec::new();
        let mut target = "/api/audit?format=jsonl&limit=2&kind=user_added".to_owned();
        loop {
            let page = office.get(&target).await;
            seen.extend(lines(&page));
            let Some(link) = page.value("link") else { break };
            target = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .expect("a link")
                .to_owned();
        }
        assert_eq!(json!(seen), all["items"]);
        let bearer = format!("Authorization: Bearer {}", super::TOKEN);
        let answer = office
            .plain("GET", "/api/audit", &[&bearer, "Accept: application/x-ndjson"], b"")
            .await;
        assert_eq!(lines(&answer).len(), 5);
        refused(&office.get("/api/users?format=jsonl").await, 400, "`search`");
    }
}
