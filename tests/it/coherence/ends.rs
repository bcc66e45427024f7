use super::SOON;
use crate::support::client::Client;
use crate::support::fleet::{Fleet, status, until_status};
use crate::support::gateway::Gateway;
use crate::support::stage::{HOST, PASSWORD};
use crate::support::upstream::Reply;
use std::time::{Duration, Instant};

const SAME: &str = "Sec-Fetch-Site: same-origin";

fn ran(gateway: &Gateway, args: &[&str]) {
    let output = gateway.command(args, "another battery staple horse");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
}

/// Every instance believes the session.
async fn believed(clients: &mut [Client], target: &str, cookie: &str) {
    for client in clients {
        for _ in 0..2 {
            assert_eq!(status(client, target, cookie).await, 200);
        }
    }
}

async fn refused(clients: &mut [Client], target: &str, cookie: &str, expected: u16, why: &str) {
    for (index, client) in clients.iter_mut().enumerate() {
        let took = until_status(client, target, cookie, expected, why).await;
        assert!(took < SOON, "{why}: instance {index} saw it after {took:?}");
        // And never believes it again.
        assert_eq!(status(client, target, cookie).await, expected, "{why}");
    }
}

/// Ends the session of the user that is called like the way, somewhere else than where it is used.
async fn end(fleet: &Fleet, way: &str, cookie: &str) {
    let row = Fleet::of_user;
    match way {
        "logout" => {
            let mut client = fleet.client(1).await;
            let answer = client
                .request("POST", HOST, "/.portcullis/logout", &[cookie, SAME], b"")
                .await;
            assert_eq!(answer.status, 204);
        }
        "api" => {
            let id = fleet.sql(&format!("SELECT public_id FROM sessions WHERE {}", row(way)));
            let answer = fleet.admin(2, "DELETE", &format!("/api/sessions/{id}")).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        "api_user" => {
            let answer = fleet.admin(1, "DELETE", &format!("/api/sessions?user={way}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        "by_command" => ran(&fleet.gateways[0], &["session", "end", "--user", way]),
        "disable" => ran(&fleet.gateways[0], &["user", "disable", way]),
        "delete" => ran(&fleet.gateways[0], &["user", "delete", way]),
        "password" => ran(&fleet.gateways[0], &["user", "password", way, "--password-stdin"]),
        "row" => drop(fleet.sql(&format!("DELETE FROM sessions WHERE {}", row(way)))),
        "cut" => drop(fleet.sql(&format!("UPDATE sessions SET expires_at = now() WHERE {}", row(way)))),
        "ended" => drop(fleet.sql(&format!(
            "UPDATE sessions SET expires_at = now(), ends_at = now() WHERE {}",
            row(way)
        ))),
        "moved" => drop(fleet.sql(&format!(
            "UPDATE users SET state = 'disabled' WHERE username = 'logout';
             UPDATE sessions SET user_id = (SELECT id FROM users WHERE username = 'logout') WHERE {}",
            row(way)
        ))),
        "state" => drop(fleet.sql(&format!("UPDATE users SET state = 'disabled' WHERE username = '{way}'"))),
        "user_row" => drop(fleet.sql(&format!("DELETE FROM users WHERE username = '{way}'"))),
        "renamed_digest" => drop(fleet.sql(&format!(
            "UPDATE sessions SET digest = sha256(digest) WHERE {}",
            row(way)
        ))),
        other => panic!("{other} is not done"),
    }
}

#[tokio::test]
async fn an_end_anywhere_is_seen_by_every_instance() {
    let fleet = Fleet::start(3);
    let mut clients = fleet.clients().await;
    let ways = [
        "logout",
        "api",
        "api_user",
        "by_command",
        "disable",
        "delete",
        "password",
        "row",
        "cut",
        "ended",
        "moved",
        "state",
        "user_row",
        "renamed_digest",
    ];
    for way in ways {
        let cookie = fleet.sign_in(way, &[]).await;
        let bystander = fleet.sign_in(&format!("by-{way}"), &[]).await;
        believed(&mut clients, "/", &cookie).await;
        believed(&mut clients, "/", &bystander).await;
        end(&fleet, way, &cookie).await;
        refused(&mut clients, "/", &cookie, 401, way).await;
        // Who shares nothing with it was not even asked for anew by a flush: it is still believed.
        believed(&mut clients, "/", &bystander).await;
    }
    let all = fleet.sign_in("truncated", &[]).await;
    believed(&mut clients, "/", &all).await;
    fleet.sql("TRUNCATE sessions");
    refused(&mut clients, "/", &all, 401, "TRUNCATE").await;
    let all = fleet.sign_in_again("truncated").await;
    believed(&mut clients, "/", &all).await;
    fleet.sql("TRUNCATE users CASCADE");
    refused(&mut clients, "/", &all, 401, "TRUNCATE users").await;
}

#[tokio::test]
async fn a_group_that_a_user_loses_or_gains_counts_at_every_instance() {
    let fleet = Fleet::start(2);
    let mut clients = fleet.clients().await;
    let cookie = fleet.sign_in("ada", &["staff"]).await;
    believed(&mut clients, "/staff", &cookie).await;
    ran(&fleet.gateways[1], &["user", "group", "remove", "ada", "staff"]);
    refused(&mut clients, "/staff", &cookie, 403, "the group is lost").await;
    believed(&mut clients, "/", &cookie).await;
    fleet.sql("UPDATE users SET groups = ARRAY['staff'] WHERE username = 'ada'");
    for client in &mut clients {
        assert!(until_status(client, "/staff", &cookie, 200, "the group is back").await < SOON);
    }
    // What applications are told follows, too.
    fleet.sql("UPDATE users SET name = 'Countess' , email = 'ada@example.test', email_verified = true");
    let started = Instant::now();
    for client in &mut clients {
        loop {
            fleet.app.forget();
            assert_eq!(status(client, "/", &cookie).await, 200);
            if fleet.app.last().values("x-forwarded-email") == ["ada@example.test"] {
                break;
            }
            assert!(started.elapsed() < SOON);
        }
    }
}

#[tokio::test]
async fn a_change_of_password_on_one_instance_ends_the_other_sessions_on_all() {
    let fleet = Fleet::start(2);
    let mut clients = fleet.clients().await;
    let here = fleet.sign_in("ada", &[]).await;
    let there = fleet.sign_in_again("ada").await;
    believed(&mut clients, "/", &here).await;
    believed(&mut clients, "/", &there).await;
    let body = serde_json::json!({ "current": PASSWORD, "new": "a wholly different long one" }).to_string();
    let lines = [
        here.as_str(),
        SAME,
        "Content-Type: application/json",
        "Accept: application/json",
    ];
    let mut client = fleet.client(0).await;
    let answer = client
        .request("POST", HOST, "/.portcullis/password", &lines, body.as_bytes())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    refused(&mut clients, "/", &there, 401, "another browser").await;
    refused(&mut clients, "/", &here, 401, "the old cookie").await;
    let fresh = format!("Cookie: {}", answer.cookie("__Host-portcullis").unwrap());
    believed(&mut clients, "/", &fresh).await;
}

fn streams(request: &crate::support::upstream::Recorded) -> Reply {
    match request.target().as_str() {
        "/events" => Reply::Events {
            every: Duration::from_millis(20),
        },
        "/ws" => Reply::WebSocketEcho,
        _ => Reply::text("hello"),
    }
}

async fn open_streams(fleet: &Fleet, cookie: &str) -> Vec<(Client, Client)> {
    let mut open = Vec::new();
    for index in 0..fleet.gateways.len() {
        let mut socket = fleet.client(index).await;
        let handshake = format!(
            "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{cookie}\r\n\r\n"
        );
        socket.send(handshake.as_bytes()).await;
        assert_eq!(socket.head().await.status, 101);
        let mut events = fleet.client(index).await;
        let get = format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\n\r\n");
        events.send(get.as_bytes()).await;
        assert_eq!(events.head().await.status, 200);
        assert!(!events.chunk().await.is_empty());
        open.push((socket, events));
    }
    open
}

#[tokio::test]
async fn open_streams_of_every_instance_end_with_their_session() {
    const POLICY: [u8; 4] = [0x88, 2, 0x03, 0xf0];
    let fleet = Fleet::with(3, streams);
    for name in ["logout", "row", "user"] {
        let cookie = fleet.sign_in(name, &[]).await;
        let stays = fleet.sign_in(&format!("not-{name}"), &[]).await;
        let open = open_streams(&fleet, &cookie).await;
        let others = open_streams(&fleet, &stays).await;
        match name {
            "logout" => {
                let mut client = fleet.client(0).await;
                client
                    .request("POST", HOST, "/.portcullis/logout", &[&cookie, SAME], b"")
                    .await;
            }
            "row" => drop(fleet.sql(&format!("DELETE FROM sessions WHERE {}", Fleet::of_user(name)))),
            _ => drop(fleet.sql(&format!("DELETE FROM users WHERE username = '{name}'"))),
        }
        let ended = Instant::now();
        for (mut socket, mut events) in open {
            assert_eq!(socket.exactly(4).await, POLICY);
            assert!(socket.is_closed().await);
            assert!(events.last_chunk().await.is_some(), "it ends as a whole answer does");
        }
        assert!(ended.elapsed() < SOON, "{name}: {:?}", ended.elapsed());
        for (mut socket, mut events) in others {
            socket.send(&[0x82, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
            assert_eq!(socket.exactly(4).await, [0x82, 2, b'h', b'i']);
            assert!(!events.chunk().await.is_empty());
        }
    }
}

/// Activity at one instance while another ends the session, in every order that chance brings.
#[tokio::test]
async fn activity_and_ends_in_any_order_bring_nothing_back() {
    let fleet = Fleet::start(2);
    let mut clients = fleet.clients().await;
    fleet.gateways[0].add_user("ada", PASSWORD, &[]);
    for round in 0..12_u32 {
        let cookie = fleet.sign_in_again("ada").await;
        believed(&mut clients, "/", &cookie).await;
        // The next request is activity that is worth a touch.
        fleet.sql("UPDATE sessions SET last_seen_at = last_seen_at - interval '1 hour'");
        fleet.sql("UPDATE users SET name = now()::text");
        let (first, rest) = clients.split_at_mut(1);
        let use_it = async {
            for _ in 0..(round % 4) * 5 {
                status(&mut first[0], "/", &cookie).await;
            }
        };
        let end_it = async {
            let lines = [cookie.as_str(), SAME];
            let answer = rest[0].request("POST", HOST, "/.portcullis/logout", &lines, b"").await;
            assert_eq!(answer.status, 204);
        };
        tokio::join!(use_it, end_it);
        refused(&mut clients, "/", &cookie, 401, "log-out").await;
        assert_eq!(fleet.sql("SELECT count(*) FROM sessions"), "0");
    }
    // Touches are written every second: none of those that waited made a row.
    fleet.until_metric(0, "portcullis_feed_healthy ", 1.0).await;
    let written = Instant::now();
    while written.elapsed() < Duration::from_millis(1_500) {
        assert_eq!(fleet.sql("SELECT count(*) FROM sessions"), "0");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
