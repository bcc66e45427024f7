//! Radicale, a calendar server that nobody here wrote, behind the gateway and unchanged: `auth type = http_x_remote_user`.

use crate::python;
use crate::support::client::{Client, Response};
use crate::support::gateway::Gateway;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HOST: &str = "calendar.example.test";
const PASSWORD: &str = "a long enough password";
const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:one\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260102T100000Z\r\nSUMMARY:secret meeting of ada\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

struct Radicale {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Radicale {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = crate::support::postgres::free_port();
        let config = folder.path().join("config");
        let storage = folder.path().join("collections");
        let text = format!(
            "[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = http_x_remote_user\n[rights]\ntype = owner_only\n[storage]\nfilesystem_folder = {}\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(python::program("python"))
            .args(["-m", "radicale", "--config", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Radicale starts");
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < Duration::from_mins(1), "Radicale does not listen");
            crate::support::gateway::pause();
        }
        Self {
            child,
            address,
            _folder: folder,
        }
    }
}

impl Drop for Radicale {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gateway(radicale: &Radicale) -> Gateway {
    let gateway = Gateway::start(&format!(
        r#"
[[listener]]
address = "127.0.0.1:0"
certificates = "local"

[admin]
address = "127.0.0.1:0"

[[upstream]]
name = "radicale"
servers = ["http://{}"]

[[route]]
name = "calendar"
host = "{HOST}"
upstream = "radicale"
identity = "radicale"
"#,
        radicale.address
    ));
    gateway.add_user("ada", PASSWORD, &[]);
    gateway.add_user("eve", PASSWORD, &[]);
    gateway
}

struct Person {
    client: Client,
    cookie: String,
}

impl Person {
    async fn sign_in(gateway: &Gateway, name: &str) -> Self {
        let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
        let cookie = format!("Cookie: {}", client.sign_in(HOST, name, PASSWORD).await);
        Self { client, cookie }
    }

    async fn ask(&mut self, method: &str, target: &str, lines: &[&str], body: &str) -> Response {
        let mut all = vec![self.cookie.as_str(), "Accept: */*"];
        all.extend(lines);
        self.client.request(method, HOST, target, &all, body.as_bytes()).await
    }
}

const WHO_AM_I: &str = "<propfind xmlns='DAV:'><prop><current-user-principal/></prop></propfind>";

/// What somebody may say of themselves.
const LIES: &[&[&str]] = &[
    &[],
    &["X-Remote-User: ada"],
    &["X_Remote_User: ada"],
    &["x-remote-user: ada", "X-REMOTE-USER: ada"],
    &["X.Remote.User: ada"],
    &["Connection: X-Remote-User"],
    &["Connection: keep-alive, X-Remote-User", "X-Remote-User: ada"],
    &["Remote-User: ada"],
    &["X-Forwarded-User: ada"],
    &["Authorization: Basic YWRhOng="],
];

async fn keep_a_secret(ada: &mut Person) {
    assert_eq!(ada.ask("MKCALENDAR", "/ada/work/", &[], "").await.status, 201);
    let calendar = ["Content-Type: text/calendar"];
    assert_eq!(ada.ask("PUT", "/ada/work/one.ics", &calendar, EVENT).await.status, 201);
    assert_still_there(ada).await;
    let found = ada.ask("PROPFIND", "/", &["Depth: 0"], WHO_AM_I).await.text();
    assert!(found.contains("/ada/"), "Radicale knows who she is: {found}");
}

async fn assert_still_there(ada: &mut Person) {
    let event = ada.ask("GET", "/ada/work/one.ics", &[], "").await.text();
    assert!(event.contains("secret meeting"), "{event}");
}

async fn assert_is_eve_only(eve: &mut Person, lie: &[&str]) {
    for (method, target) in [
        ("GET", "/ada/work/one.ics"),
        ("DELETE", "/ada/work/one.ics"),
        ("PROPFIND", "/ada/"),
    ] {
        let answer = eve.ask(method, target, lie, "").await;
        let text = answer.text();
        assert!(
            matches!(answer.status, 401 | 403 | 404),
            "{lie:?} {method}: {} {text}",
            answer.status
        );
        assert!(!text.contains("secret meeting"), "{lie:?}");
    }
    let own = eve.ask("PROPFIND", "/", lie, WHO_AM_I).await.text();
    assert!(own.contains("/eve/") && !own.contains("/ada/"), "{lie:?}: {own}");
}

#[tokio::test]
async fn everybody_sees_only_their_own_calendar_whatever_they_say_they_are() {
    let radicale = Radicale::start();
    let gateway = gateway(&radicale);
    let mut ada = Person::sign_in(&gateway, "ada").await;
    keep_a_secret(&mut ada).await;
    let mut eve = Person::sign_in(&gateway, "eve").await;
    let mut nobody = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    for lie in LIES {
        assert_is_eve_only(&mut eve, lie).await;
        let mut headers = vec!["Accept: application/json"];
        headers.extend(*lie);
        assert_eq!(
            nobody.get(HOST, "/ada/work/one.ics", &headers).await.status,
            401,
            "{lie:?}"
        );
    }
    assert_still_there(&mut ada).await;
}
