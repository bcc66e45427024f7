//! What a service manager hears, and what it passes on.

use super::refused::OPEN;
use super::{Words, text};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE, PROGRAM};
use crate::support::stage::HOST;
use crate::support::upstream::Upstream;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Stands in for the service manager.
struct Manager {
    socket: UnixDatagram,
    folder: Arc<TempDir>,
    app: Upstream,
}

impl Manager {
    fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            folder,
            app: Upstream::hello(),
        }
    }

    fn start(&self, config: &str, env: &[(&str, &str)]) -> Gateway {
        let notify = self.folder.path().join("notify");
        let mut env = env.to_vec();
        env.push(("NOTIFY_SOCKET", notify.to_str().unwrap()));
        Gateway::try_start_in(&self.folder, config, &env).unwrap()
    }

    fn hears(&self) -> String {
        let mut message = vec![0; 4096];
        let length = loop {
            match self.socket.recv(&mut message) {
                // The machine stood still for a moment.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                heard => break heard.expect("a message in time"),
            }
        };
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The next message that is none of the watchdog's.
    fn hears_news(&self) -> String {
        loop {
            let message = self.hears();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn the_service_manager_hears_of_start_reload_and_stop() {
    let manager = Manager::new();
    let words = Words {
        routes: OPEN,
        ..Words::default()
    };
    let config = text(&words, &manager.app);
    let gateway = manager.start(&config, &[]);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=Serving\n");
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    assert_eq!(client.get(HOST, "/", &[]).await.status, 200);
    gateway.signal("HUP");
    let reloading = manager.hears();
    let lines: Vec<&str> = reloading.lines().collect();
    assert_eq!(lines[0], "RELOADING=1");
    let since: u64 = lines[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(since > 0);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=Serving\n");
    std::fs::write(manager.folder.path().join("portcullis.toml"), "nothing = 1").unwrap();
    gateway.signal("HUP");
    assert!(manager.hears().starts_with("RELOADING=1\n"));
    let refused = manager.hears();
    assert!(
        refused.starts_with("READY=1\n") && refused.contains("refused"),
        "{refused}"
    );
    gateway.signal("TERM");
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=Finishing what is under way\n");
    assert_eq!(gateway.ended().status.code(), Some(0));
}

#[tokio::test]
async fn a_service_manager_that_does_not_listen_holds_nothing_up() {
    let manager = Manager::new();
    let words = Words {
        routes: OPEN,
        ..Words::default()
    };
    let flood = UnixDatagram::unbound().unwrap();
    flood.connect(manager.folder.path().join("notify")).unwrap();
    flood.set_nonblocking(true).unwrap();
    while flood.send(b"STATUS=not read").is_ok() {}
    let gateway = manager.start(&text(&words, &manager.app), &[("WATCHDOG_USEC", "200000")]);
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    assert_eq!(client.get(HOST, "/", &[]).await.status, 200);
    for _ in 0..2 {
        gateway.signal("HUP");
        gateway.wait_for_log("the configuration was read anew and is in effect");
    }
    assert_eq!(gateway.terminate().status.code(), Some(0));
}

#[tokio::test]
async fn the_watchdog_hears_twice_a_period_also_while_the_gateway_drains() {
    let manager = Manager::new();
    let config = text(&Words::default(), &manager.app).replace("drain_delay = \"0s\"", "drain_delay = \"1s\"");
    let gateway = manager.start(&config, &[("WATCHDOG_USEC", "400000")]);
    assert!(manager.hears_news().starts_with("READY=1\n"));
    for _ in 0..5 {
        assert_eq!(manager.hears(), "WATCHDOG=1\n");
    }
    gateway.signal("TERM");
    assert!(manager.hears_news().starts_with("STOPPING=1\n"));
    assert_eq!(manager.hears(), "WATCHDOG=1\n");
    gateway.ended();
    let other = manager.start(&config, &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    while !manager.hears().starts_with("READY=1\n") {}
    // Hundreds of periods.
    tokio::time::sleep(Duration::from_millis(300)).await;
    manager.socket.set_nonblocking(true).unwrap();
    let mut message = [0; 64];
    assert!(
        manager.socket.recv(&mut message).is_err(),
        "the watchdog is another process's"
    );
    drop(other);
}

/// Starts the program with `sockets` as socket activation passes them.
fn activated(folder: &Arc<TempDir>, config: &str, sockets: &[&TcpListener]) -> Result<Gateway, String> {
    let file = folder.path().join("portcullis.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("bash");
    let count = sockets.len();
    // The pid is that of the program, because the shell becomes it.
    let run = format!("LISTEN_FDS={count} LISTEN_PID=$$ exec {PROGRAM} run --json --config portcullis.toml");
    command.args(["-c", &run]);
    let fds = sockets
        .iter()
        .zip(3..)
        .map(|(socket, child_fd)| command_fds::FdMapping {
            parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
            child_fd,
        });
    command_fds::CommandFdExt::fd_mappings(&mut command, fds.collect()).unwrap();
    Gateway::spawn(command, folder).map_err(|end| end.stderr)
}

#[tokio::test]
async fn sockets_of_the_service_manager_are_taken_and_one_that_nobody_asks_for_is_refused() {
    let manager = Manager::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let words = Words {
        routes: OPEN,
        ..Words::default()
    };
    let config = text(&words, &manager.app).replacen("127.0.0.1:0", &address.to_string(), 1);
    // Somebody who came before the gateway ran waits and is served.
    let early = std::net::TcpStream::connect(address).unwrap();
    let gateway = activated(&manager.folder, &config, &[&socket]).unwrap();
    assert_eq!(gateway.address(0), address);
    let ca = gateway.ca();
    early.set_nonblocking(true).unwrap();
    let early = tokio::net::TcpStream::from_std(early).unwrap();
    let connector = tokio_rustls::TlsConnector::from(crate::support::client::tls_config(&ca, &[b"http/1.1"]));
    let name = rustls_pki_types::ServerName::try_from(HOST).unwrap();
    connector
        .connect(name, early)
        .await
        .expect("the handshake of the early one");
    assert_eq!(gateway.terminate().status.code(), Some(0));

    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = activated(&manager.folder, &config, &[&socket, &stray])
        .map(|_| ())
        .unwrap_err();
    let stray = stray.local_addr().unwrap().to_string();
    assert!(refused.contains(&stray) && refused.contains("socket unit"), "{refused}");
}

#[tokio::test]
async fn a_datagram_socket_of_the_service_manager_is_no_gateway_to_take_over_from() {
    let manager = Manager::new();
    let config = text(&Words::default(), &manager.app);
    let stray = OwnedFd::from(manager.socket.try_clone().unwrap());
    // Only the descriptor counts; the helper passes it on as it is.
    let refused = activated(&manager.folder, &config, &[&TcpListener::from(stray)])
        .map(|_| ())
        .unwrap_err();
    assert!(refused.contains("number 0 is no listening TCP socket"), "{refused}");
}
