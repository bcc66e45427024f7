use super::{ROUTE, SECOND, SECRET, Site, TOKEN, Words, errors, eventually, text};
use crate::support::client::Client;
use crate::support::postgres::Postgres;
use crate::support::stage::{HOST, PASSWORD, USER};
use crate::support::upstream::Reply;
use std::time::Duration;

const STAFF_ONLY: &str = r#"
[[route]]
name = "app"
host = "app.example.test"
upstream = "app"
groups = ["staff"]

[[route]]
name = "new"
host = "new.example.test"
upstream = "app"
access = "public"
"#;

#[tokio::test]
async fn the_next_request_on_an_open_connection_meets_the_new_rule_and_nobody_is_signed_out() {
    let (site, cookie) = Site::start().await;
    let mut client = site.client().await;
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    assert_eq!(client.get("new.example.test", "/", &[]).await.status, 421);
    let told = site.applied(&Words {
        routes: STAFF_ONLY,
        ..Words::default()
    });
    assert_eq!(told, "The configuration is in effect.\n");
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 403);
    assert_eq!(client.get("new.example.test", "/", &[]).await.status, 200);
    site.applied(&Words::default());
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    assert!(site.success().await);
}

#[tokio::test]
async fn sighup_and_the_api_do_what_the_command_does() {
    let (site, cookie) = Site::start().await;
    let mut client = site.client().await;
    site.write(&Words {
        routes: STAFF_ONLY,
        ..Words::default()
    });
    site.gateway.signal("HUP");
    eventually("the new rule", async || {
        client.get(HOST, "/", &[&cookie]).await.status == 403
    })
    .await;
    site.write(&Words::default());
    let answer = site.ask(TOKEN).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json(),
        serde_json::json!({ "state": "applied", "pending": [], "warnings": [] })
    );
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
}

#[tokio::test]
async fn what_is_under_way_ends_by_the_rules_it_began_with_and_websockets_go_on() {
    let (site, cookie) = Site::with(&Words::default(), |request| {
        if !request.values("upgrade").is_empty() {
            Reply::WebSocketEcho
        } else if request.target() == "/slow" {
            Reply::After(Duration::from_secs(2), Box::new(Reply::text("at last")))
        } else {
            Reply::text("hello")
        }
    })
    .await;
    let mut socket = site.client().await;
    let pair = cookie.strip_prefix("Cookie: ").unwrap();
    socket.send(crate::streams::handshake("/ws", pair).as_bytes()).await;
    assert_eq!(socket.head().await.status, 101);
    let mut slow = site.client().await;
    slow.send(format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\n\r\n").as_bytes())
        .await;
    site.app.wait_for(2);
    site.applied(&Words {
        routes: STAFF_ONLY,
        ..Words::default()
    });
    let answer = slow.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "at last"));
    let frame = crate::streams::frame(b"still here");
    socket.send(&frame).await;
    let echo = socket.exactly(2 + 10).await;
    assert_eq!(&echo[2..], b"still here");
}

#[tokio::test]
async fn connections_to_servers_that_stay_are_used_on() {
    let (site, cookie) = Site::start().await;
    let mut client = site.client().await;
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    let before = site.app.connections();
    site.applied(&Words {
        top: "[limits]\nbody_bytes = \"1MiB\"\n",
        ..Words::default()
    });
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    assert_eq!(site.app.connections(), before);
}

#[tokio::test]
async fn a_secret_is_replaced_in_two_steps_and_nobody_is_signed_out() {
    let (site, cookie) = Site::start().await;
    let mut client = site.client().await;
    for secrets in [&[SECRET, SECOND][..], &[SECOND, SECRET]] {
        site.applied(&Words {
            secrets,
            ..Words::default()
        });
        assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200, "{secrets:?}");
    }
    let newer = client.sign_in(HOST, USER, PASSWORD).await;
    site.applied(&Words {
        secrets: &[SECOND],
        ..Words::default()
    });
    assert_eq!(
        client.get(HOST, "/", &[&cookie]).await.status,
        302,
        "signed by the secret that went"
    );
    let newer = format!("Cookie: {newer}");
    assert_eq!(
        client.get(HOST, "/", &[&newer]).await.status,
        200,
        "signed by the one that stayed"
    );
}

#[tokio::test]
async fn the_admin_token_is_replaced() {
    const NEXT: &str = "fedcba9876543210-admin-token-fedcba9876543210";
    let (site, _) = Site::start().await;
    let next = text(&Words::default(), &site.app).replace(TOKEN, NEXT);
    site.write_text(&next);
    let output = site.reload();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("SIGHUP"), "{}", errors(&output));
    assert_eq!(site.ask(TOKEN).await.status, 200);
    assert_eq!(site.ask(TOKEN).await.status, 401, "the old token is nobody's now");
    assert!(site.reload().status.success());
}

#[tokio::test]
async fn limits_of_connections_and_names_of_the_portal_are_those_of_the_new_file() {
    let (site, _) = Site::start().await;
    let mut old = site.client().await;
    let long = format!("/{}", "x".repeat(1000));
    let anonymous = ["Accept: application/json"];
    assert_eq!(old.get(HOST, &long, &anonymous).await.status, 401);
    site.applied(&Words {
        top: "[limits]\ntarget_bytes = \"500B\"\n[portal]\nname = \"Harbour Office\"\n",
        ..Words::default()
    });
    let mut new = Client::tls(site.gateway.address(0), HOST, &site.gateway.ca()).await;
    assert_eq!(new.get(HOST, &long, &anonymous).await.status, 414);
    let page = site.client().await.get(HOST, "/.portcullis/login", &[]).await.text();
    assert!(page.contains("Harbour Office"), "{page}");
}

#[tokio::test]
async fn the_level_of_the_log_changes_at_once() {
    let (site, _) = Site::start().await;
    let quiet = ROUTE;
    site.applied(&Words {
        top: "[log]\nlevel = \"error\"\n",
        routes: quiet,
        ..Words::default()
    });
    let lines = site.gateway.log().matches("is in effect").count();
    site.applied(&Words {
        top: "[log]\nlevel = \"error\"\n",
        ..Words::default()
    });
    assert_eq!(site.gateway.log().matches("is in effect").count(), lines);
    site.applied(&Words::default());
    site.gateway.wait_for_log("is in effect");
    assert_eq!(site.gateway.log().matches("is in effect").count(), lines + 1);
}

/// Which is when somebody thinks of it.
#[tokio::test]
async fn a_grace_that_is_given_in_the_middle_of_an_outage_helps_those_who_are_known() {
    let postgres = Postgres::private();
    let top = format!(
        "[store]\nurl = \"{}\"\ncall_timeout = \"500ms\"\n[cache]\nmax_age = \"60s\"\nmax_age_without_feed = \"1s\"\n",
        postgres.database()
    );
    let words = Words {
        top: &top,
        ..Words::default()
    };
    let (site, cookie) = Site::with(&words, |_| Reply::text("hello")).await;
    let mut client = site.client().await;
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    postgres.kill();
    eventually("an outage", async || {
        client.get(HOST, "/", &[&cookie]).await.status == 503
    })
    .await;
    let graced = format!("{top}outage_grace = \"10m\"\n");
    site.write(&Words {
        top: &graced,
        ..Words::default()
    });
    let output = site.reload();
    assert_eq!(
        output.status.code(),
        Some(1),
        "whether the token is banned is asked of the store"
    );
    assert!(errors(&output).contains("SIGHUP"), "{}", errors(&output));
    site.gateway.signal("HUP");
    eventually("the grace", async || {
        client.get(HOST, "/", &[&cookie]).await.status == 200
    })
    .await;
    let stranger = site
        .client()
        .await
        .get(HOST, "/", &["Cookie: __Host-portcullis=x"])
        .await;
    assert_eq!(stranger.status, 302, "an invented cookie is nobody's");
    site.write(&words);
    site.gateway.signal("HUP");
    eventually("no grace", async || {
        client.get(HOST, "/", &[&cookie]).await.status == 503
    })
    .await;
}

#[tokio::test]
async fn no_request_id_is_given_twice() {
    let one_core = Words {
        top: "workers = 1\n",
        ..Words::default()
    };
    let (site, cookie) = Site::with(&one_core, |_| Reply::text("hello")).await;
    let mut client = site.client().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        for _ in 0..10 {
            let answer = client.get(HOST, "/.portcullis/me", &[&cookie]).await;
            assert!(seen.insert(answer.value("x-request-id").unwrap().to_owned()));
        }
        site.applied(&one_core);
    }
}
