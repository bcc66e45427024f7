use super::{Office, PASSWORD};
use serde_json::json;

#[tokio::test]
async fn sessions_and_log_ins_are_told_in_numbers() {
    for office in Office::on_both_engines() {
        office.add("ada", &[]).await;
        office.add("bob", &[]).await;
        for user in ["ada", "ada", "bob"] {
            let cookie = office.sign_in(user).await;
            assert!(office.opens(&cookie).await);
        }
        let body = json!({ "username": "ada", "password": format!("{PASSWORD}!") }).to_string();
        let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
        let mut client = office.client().await;
        client
            .request("POST", super::HOST, "/.portcullis/login", &lines, body.as_bytes())
            .await;
        let stats = office.json("/api/stats").await;
        let sessions = &stats["sessions"];
        assert_eq!(
            (&sessions["total"], &sessions["active"], &sessions["expired"]),
            (&json!(3), &json!(3), &json!(0))
        );
        assert_eq!((&sessions["created_today"], &sessions["users"]), (&json!(3), &json!(2)));
        assert!(
            sessions["bytes_each"].as_u64().is_some_and(|bytes| bytes > 200),
            "{sessions}"
        );
        assert_eq!(
            stats["users"],
            json!([{ "user": "ada", "sessions": 2 }, { "user": "bob", "sessions": 1 }])
        );
        let log_ins = &stats["log_ins"];
        let days = log_ins["by_day"].as_array().expect("days");
        assert_eq!(
            (days.len(), &days[29]["succeeded"], &days[29]["failed"]),
            (30, &json!(3), &json!(1))
        );
        let hours = log_ins["by_hour"].as_array().expect("hours").iter();
        assert_eq!(hours.filter_map(serde_json::Value::as_u64).sum::<u64>(), 3);
        assert_eq!(
            log_ins["by_network"],
            json!([{ "network": "127.0.0.0/24", "log_ins": 3 }])
        );
        assert_eq!(log_ins["failures"], json!([{ "reason": "wrong_password", "count": 1 }]));
        let process = &stats["process"];
        assert!(
            process["cache"]["hits"].is_u64() && process["lookups"]["found"].as_u64() >= Some(1),
            "{process}"
        );
        assert!(
            process["lookups"]["p99_seconds"]
                .as_f64()
                .is_some_and(|seconds| seconds < 60.0),
            "{process}"
        );
        let store = stats["store"].to_string();
        assert!(
            stats["store"]["engine"].is_string() && !store.contains("127.0.0.1") && !store.contains("portcullis.db"),
            "{store}"
        );
    }
}
