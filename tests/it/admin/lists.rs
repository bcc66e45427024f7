use super::{Office, refused};
use serde_json::Value;
use std::collections::BTreeSet;

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list").iter();
    items
        .map(|one| one["username"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_goes_on_where_it_stopped_while_others_are_added() {
    for office in Office::on_both_engines() {
        for number in 0..7 {
            office.add(&format!("user{number}"), &[]).await;
        }
        let first = office.json("/api/users?limit=3&search=user").await;
        assert_eq!(names(&first), ["user0", "user1", "user2"]);
        office.add("user00", &[]).await;
        office.add("user35", &[]).await;
        let mut seen = names(&first);
        let mut next = first["next"].as_str().map(str::to_owned);
        while let Some(token) = next {
            // The size of a page may change on the way.
            let page = office
                .json(&format!("/api/users?after={token}&search=user&limit=2"))
                .await;
            assert!(names(&page).len() <= 2);
            seen.extend(names(&page));
            next = page["next"].as_str().map(str::to_owned);
        }
        assert_eq!(
            seen,
            ["user0", "user1", "user2", "user3", "user35", "user4", "user5", "user6"]
        );
    }
}

#[tokio::test]
async fn every_session_is_listed_once_while_people_sign_in() {
    for office in Office::on_both_engines() {
        office.add("ada", &[]).await;
        for _ in 0..5 {
            office.sign_in("ada").await;
        }
        let before = office.json("/api/sessions").await;
        let mut seen = Vec::new();
        let mut target = "/api/sessions?limit=2".to_owned();
        loop {
            let page = office.json(&target).await;
            let items = page["items"].as_array().expect("a list").iter();
            seen.extend(items.map(|one| one["public_id"].as_str().expect("an id").to_owned()));
            office.sign_in("ada").await;
            match page["next"].as_str() {
                Some(next) => target = format!("/api/sessions?limit=2&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len(), "none twice");
        for one in before["items"].as_array().expect("a list") {
            assert!(seen.iter().any(|id| one["public_id"] == id.as_str()));
        }
    }
}

#[tokio::test]
async fn a_forged_page_token_is_400() {
    let office = Office::start("");
    for number in 0..3 {
        office.add(&format!("user{number}"), &[]).await;
    }
    let token = office.json("/api/users?limit=1&search=user").await["next"]
        .as_str()
        .expect("a token")
        .to_owned();
    let mut altered = token.clone().into_bytes();
    altered[3] = if altered[3] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).expect("text");
    for target in [
        format!("/api/users?after={token}"),
        format!("/api/users?after={token}&search=use"),
        format!("/api/users?after={altered}&search=user"),
        format!("/api/users?after={token}A&search=user"),
        format!("/api/users?after={token}%3D&search=user"),
        "/api/users?after=user1&search=user".to_owned(),
        "/api/users?after=&search=user".to_owned(),
        format!("/api/sessions?after={token}"),
        format!("/api/sessions?user=nobody&after={token}"),
        format!("/api/audit?after={token}"),
        format!("/api/sessions?after={}", "A".repeat(4000)),
    ] {
        let answer = office.get(&target).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    refused(&office.get(&format!("/api/audit?after={token}")).await, 400, "`after`");
    let good = office.json(&format!("/api/users?search=user&after={token}")).await;
    assert_eq!(names(&good), ["user1", "user2"]);
}

#[tokio::test]
async fn query_parameters_are_known_given_once_and_within_bounds() {
    let office = Office::start("");
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=%2B5",
        "limit=1e2",
        "limit=",
        "limit=5&limit=5",
        "limt=5",
        "search=%ff",
        "search=%00",
        "search=a%0ab",
        "se%61rch=a&search=b",
        "page=2",
    ] {
        let answer = office.get(&format!("/api/users?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    let long = "a".repeat(61);
    refused(&office.get(&format!("/api/users?search={long}")).await, 400, "60");
    refused(
        &office.get("/api/users?page=2").await,
        400,
        "`search`, `after`, `limit`",
    );
    refused(&office.get("/api/stats?x=1").await, 400, "no query parameters");
    for query in [
        "",
        "limit=1",
        "limit=1000",
        "search=",
        "search=a+b",
        "se%61rch=a",
        "&",
        "search=%C3%BC",
    ] {
        office.json(&format!("/api/users?{query}")).await;
    }
}

#[tokio::test]
async fn a_search_takes_wildcards_for_letters() {
    for office in Office::on_both_engines() {
        for name in ["a_c", "abc", "a.c"] {
            office.add(name, &[]).await;
        }
        for (search, found) in [
            ("_", vec!["a_c"]),
            ("%25", vec![]),
            ("a_c", vec!["a_c"]),
            ("*", vec![]),
            ("'", vec![]),
            ("%5c", vec![]),
            ("A", vec!["a.c", "a_c", "abc"]),
        ] {
            assert_eq!(
                names(&office.json(&format!("/api/users?search={search}")).await),
                found,
                "{search}"
            );
        }
    }
}
