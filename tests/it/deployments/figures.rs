//! Figures that are claimed: printed, and held within bounds so wide that only a mistake breaks them.

use super::claims::TARGET;
use super::place::{Browser, Place};
use crate::support::gateway::Gateway;
use futures_util::future::join_all;

/// Copies the only session until there are `count` of them, each with a key of its own.
pub fn fill(place: &Place, count: usize) {
    let table = format!("{}.sessions", place.shipped.schema);
    place.sql(&format!(
        "INSERT INTO {table} SELECT (jsonb_populate_record(one, jsonb_build_object('public_id', gen_random_uuid(), \
         'digest', '\\x' || encode(sha256(number::text::bytea), 'hex')))).* \
         FROM {table} one, generate_series(2, {count}) number"
    ));
    place.sql(&format!("VACUUM ANALYZE {table}"));
}

/// What a session takes with its indexes, and how long the server needs to find one among them.
pub async fn size_and_look_up(place: &Place) {
    let gateway = place.start();
    place.signed_in(&gateway).await;
    fill(place, 5000);
    let table = format!("{}.sessions", place.shipped.schema);
    let bytes = place.count(&format!(
        "SELECT pg_total_relation_size('{table}') / count(*) FROM {table}"
    ));
    println!("{}: {bytes} bytes a session with its indexes", place.shipped.name);
    assert!((100..1000).contains(&bytes), "{bytes} bytes a session");
    let plan = place.sql(&format!(
        "EXPLAIN (ANALYZE) SELECT * FROM {table} WHERE digest = sha256('2500')"
    ));
    assert!(plan.contains("sessions_pkey"), "{plan}");
    let time = plan
        .lines()
        .find_map(|line| line.trim().strip_prefix("Execution Time: "));
    println!("{}: found among 5,000 in {}", place.shipped.name, time.expect("a time"));
}

/// A thousand expired sessions are removed by hand; who is signed in stays.
pub async fn sweep_of_a_thousand(place: &Place) {
    let gateway = place.start();
    place.signed_in(&gateway).await;
    fill(place, 1000);
    place.expire_all();
    let mut live = place.signed_in(&gateway).await;
    assert_eq!(place.rows(), 1001);
    let told: serde_json::Value = serde_json::from_str(&place.done(&["session", "sweep", "--json"], "")).expect("JSON");
    assert_eq!(told["removed"], 1000, "{told}");
    let seconds = told["seconds"].as_f64().expect("a time");
    println!(
        "{}: 1,000 expired sessions removed in {:.1} ms",
        place.shipped.name,
        seconds * 1000.0
    );
    assert!(seconds < 10.0, "{told}");
    assert_eq!(place.rows(), 1, "the live one stays");
    assert_eq!(live.get(TARGET).await.status, 200);
    let again: serde_json::Value =
        serde_json::from_str(&place.done(&["session", "sweep", "--json"], "")).expect("JSON");
    assert_eq!(again["removed"], 0);
}

/// A browser signed in for each of `count`.
pub async fn crowd<'a>(place: &'a Place, gateway: &'a Gateway, count: usize) -> Vec<Browser<'a>> {
    let mut browsers = Vec::new();
    for _ in 0..count {
        browsers.push(place.signed_in(gateway).await);
    }
    browsers
}

/// Many at once on an instance that has seen none of them: everybody is answered, by no more connections to the database
/// than the configuration has.
pub async fn many_at_once(place: &Place) {
    let (one, two) = (place.start(), place.start());
    let known = crowd(place, &one, 10).await; // as many as one user may have, and more than the pool
    let mut browsers = Vec::new();
    for browser in &known {
        let mut other = place.browser(&two).await;
        other.cookie.clone_from(&browser.cookie);
        browsers.push(other);
    }
    drop(one);
    for round in 0..10 {
        let answers = join_all(browsers.iter_mut().map(|browser| browser.get(TARGET))).await;
        for answer in answers {
            assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        }
        let connections = place.count(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'portcullis'",
        );
        assert!(connections <= 8, "{connections} connections");
    }
}

/// Thousands of requests leave the process about as large as it was.
pub async fn memory_stays(place: &Place) {
    let gateway = place.start();
    let mut browsers = crowd(place, &gateway, 8).await;
    let mut ask = async |times: usize| {
        for _ in 0..times {
            for answer in join_all(browsers.iter_mut().map(|browser| browser.get(TARGET))).await {
                assert_eq!(answer.status, 200);
            }
        }
        resident(&gateway)
    };
    let before = ask(250).await;
    let after = ask(1000).await;
    println!("{}: {before} KiB, {after} KiB after 8,000 requests", place.shipped.name);
    assert!(after < before + 16 * 1024, "{before} KiB became {after} KiB");
}

fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("a number of KiB")
}
