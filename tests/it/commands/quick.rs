//! `demo` and `run --to`: from nothing to a signed-in page.

use super::Said;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PROGRAM, Stillborn, address_of, portcullis};
use crate::support::upstream::Upstream;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a temporary folder"))
}

fn start(folder: &Arc<TempDir>, args: &[&str]) -> Result<Gateway, Stillborn> {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    Gateway::spawn(command, folder)
}

fn demo(folder: &Arc<TempDir>) -> Gateway {
    start(folder, &["demo", "--listen", "127.0.0.1:0", "--json"]).expect("the demo starts")
}

/// A connection that trusts the authority that the ready line names.
async fn connect(gateway: &Gateway) -> Client {
    let ca = gateway.ready()["ca"].as_str().expect("the authority's file");
    let ca = std::fs::read_to_string(ca).expect("the authority can be read");
    let url = gateway.ready()["url"].as_str().expect("a URL");
    assert!(url.starts_with("https://localhost:") && url.ends_with('/'), "{url}");
    Client::tls(address_of(url), "localhost", &ca).await
}

fn credentials(gateway: &Gateway) -> (String, String) {
    let text = |key: &str| gateway.ready()[key].as_str().expect("the ready line has it").to_owned();
    (text("user"), text("password"))
}

fn header<'a>(echo: &'a serde_json::Value, name: &str) -> Vec<&'a str> {
    let lines = echo["headers"].as_array().expect("a list").iter();
    lines
        .filter(|line| line[0] == name)
        .filter_map(|line| line[1].as_str())
        .collect()
}

#[tokio::test]
async fn the_demo_shows_what_an_application_sees_and_no_forged_identity() {
    let folder = folder();
    let gateway = demo(&folder);
    let (user, password) = credentials(&gateway);
    assert_eq!(user, "demo");
    let mut client = connect(&gateway).await;
    let refused = client.get("localhost", "/echo", &["Accept: application/json"]).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    let cookie = format!("Cookie: {}", client.sign_in("localhost", &user, &password).await);
    let forged = [
        "X-Forwarded-User: root",
        "x_forwarded_user: root",
        "Connection: X-Forwarded-User",
        &cookie,
    ];
    let echo = client.get("localhost", "/echo?a=%2Fb", &forged).await;
    assert_eq!(echo.status, 200, "{}", echo.text());
    assert_eq!(echo.value("cache-control"), Some("no-store"));
    let echo = echo.json();
    assert_eq!(
        (&echo["method"], &echo["target"]),
        (&"GET".into(), &"/echo?a=%2Fb".into())
    );
    assert_eq!(header(&echo, "x-forwarded-user"), ["demo"]);
    assert_eq!(header(&echo, "x_forwarded_user"), [""; 0]);
    assert_eq!(
        header(&echo, "cookie"),
        [""; 0],
        "the gateway's cookie stays with the gateway"
    );
    let page = client.get("localhost", "/", &[&cookie]).await.text();
    assert!(
        page.contains("Hello, demo") && page.contains("/.portcullis/logout"),
        "{page}"
    );
}

#[tokio::test]
async fn the_demo_streams_events_and_echoes_over_a_websocket() {
    let folder = folder();
    let gateway = demo(&folder);
    let (user, password) = credentials(&gateway);
    let mut client = connect(&gateway).await;
    let cookie = format!("Cookie: {}", client.sign_in("localhost", &user, &password).await);
    let mut stream = connect(&gateway).await;
    stream
        .send(format!("GET /events HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n\r\n").as_bytes())
        .await;
    assert_eq!(stream.head().await.value("content-type"), Some("text/event-stream"));
    for count in 1..=2 {
        let event = String::from_utf8(stream.chunk().await).expect("text");
        assert_eq!(event, format!("id: {count}\ndata: event {count}\n\n"));
    }
    let port = address_of(gateway.ready()["url"].as_str().expect("a URL").trim_end_matches('/')).port();
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: https://localhost:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{cookie}\r\n\r\n"
    );
    let mut socket = connect(&gateway).await;
    socket.send(handshake.as_bytes()).await;
    assert_eq!(socket.head().await.status, 101);
    socket.send(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await;
    assert_eq!(socket.exactly(4).await, [0x81, 2, b'h', b'i']);
}

#[tokio::test]
async fn each_start_of_the_demo_has_a_password_of_its_own_and_the_same_authority() {
    let folder = folder();
    let first = demo(&folder);
    let (user, old) = credentials(&first);
    let authority = first.ca();
    let data_dir = first.ready()["data_dir"].as_str().expect("a folder").to_owned();
    assert!(first.terminate().status.success());
    Said::from(portcullis(
        folder.path(),
        &["user", "disable", "demo", "--data-dir", &data_dir],
        "",
    ))
    .ok();
    let second = demo(&folder);
    let (_, new) = credentials(&second);
    assert_ne!(old, new);
    assert_eq!(second.ca(), authority);
    let mut client = connect(&second).await;
    client.sign_in("localhost", &user, &new).await;
    let body = serde_json::json!({ "username": user, "password": old }).to_string();
    let lines = ["Content-Type: application/json"];
    let refused = client
        .request("POST", "localhost", "/.portcullis/login", &lines, body.as_bytes())
        .await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn run_to_makes_one_user_once_and_forwards_to_the_application() {
    let upstream = Upstream::hello();
    let folder = folder();
    let args = ["run", "--to", &upstream.url(), "--listen", "127.0.0.1:0", "--json"];
    let first = start(&folder, &args).expect("it starts");
    let (user, password) = credentials(&first);
    assert_eq!(user, "admin");
    let mut client = connect(&first).await;
    let cookie = format!("Cookie: {}", client.sign_in("localhost", &user, &password).await);
    assert_eq!(client.get("localhost", "/x", &[&cookie]).await.text(), "hello");
    assert_eq!(upstream.last().values("x-forwarded-user"), ["admin"]);
    drop(first);
    let second = start(&folder, &args).expect("it starts again");
    assert!(
        second.ready()["user"].is_null() && second.ready()["password"].is_null(),
        "{}",
        second.ready()
    );
    let mut client = connect(&second).await;
    assert_eq!(
        client.get("localhost", "/x", &[&cookie]).await.text(),
        "hello",
        "sessions outlive a restart"
    );
    let data_dir = second.ready()["data_dir"].as_str().expect("a folder");
    let listed = Said::from(portcullis(
        folder.path(),
        &["user", "list", "--json", "--data-dir", data_dir],
        "",
    ))
    .ok();
    assert_eq!(listed.json()["items"][0]["username"], "admin");
}

#[test]
fn a_demo_whose_user_was_deleted_says_how_to_go_on() {
    let folder = folder();
    let first = demo(&folder);
    let data_dir = first.ready()["data_dir"].as_str().expect("a folder").to_owned();
    assert!(first.terminate().status.success());
    Said::from(portcullis(
        folder.path(),
        &["user", "delete", "demo", "--data-dir", &data_dir],
        "",
    ))
    .ok();
    let Err(end) = start(&folder, &["demo", "--listen", "127.0.0.1:0", "--json"]) else {
        panic!("it started")
    };
    assert!(
        end.code == Some(1) && end.stderr.contains("another --data-dir"),
        "{end:?}"
    );
}

#[test]
fn both_listen_on_loopback_unless_told_that_it_is_unsafe() {
    let folder = folder();
    for args in [&["demo"][..], &["run", "--to", "http://127.0.0.1:9"]] {
        let mut args = args.to_vec();
        args.extend(["--listen", "0.0.0.0:0"]);
        let said = Said::from(portcullis(folder.path(), &args, ""));
        said.fails(2, &["0.0.0.0:0", "--unsafe-listen-anywhere"]);
    }
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = folder();
    let said = Said::from(portcullis(folder.path(), &["demo", "--listen", &address], ""));
    said.fails(1, &[&address, "--listen 127.0.0.1:0"]);
}

#[test]
fn a_target_that_is_no_web_address_is_refused() {
    let folder = folder();
    for url in ["ftp://127.0.0.1", "127.0.0.1:3000", "http://127.0.0.1:3000/path?query"] {
        let said = Said::from(portcullis(
            folder.path(),
            &["run", "--to", url, "--listen", "127.0.0.1:0"],
            "",
        ));
        assert_eq!(said.code, 2, "{url}: {said:?}");
    }
}
