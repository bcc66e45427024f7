//! One instance after the other is replaced behind `HAProxy` while users go on asking: how many requests fail?

use super::Bench;
use super::connection::Connection;
use super::spread;
use crate::support::gateway::PROGRAM;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/local-cluster");
const PATIENCE: Duration = Duration::from_mins(2);
const HANDS: u64 = 20;
/// Requests on one connection; then the next is opened, as browsers come and go.
const ON_ONE: usize = 50;

/// What users saw.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    /// A connection in use was closed before it answered anything; the request was sent once more on a new one, as
    /// browsers do.
    again: u64,
    failed: BTreeMap<String, u64>,
}

/// Where the cluster is, and who asks.
struct User {
    address: SocketAddr,
    ca: String,
    cookie: String,
}

pub(super) async fn run(bench: &Bench) {
    if Command::new("haproxy").arg("-v").output().is_err() {
        println!("restart: not measured, because HAProxy is not installed");
        return;
    }
    let held = tempfile::Builder::new()
        .prefix("cluster")
        .tempdir_in("/tmp")
        .expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(held.path(), open).expect("the folder is ours");
    let folder = held.path().join("cluster");
    let mut script = Command::new(SCRIPT);
    script
        .arg("up")
        .arg(&folder)
        .env("PORTCULLIS", PROGRAM)
        .env("PORTS", "free")
        .stdin(Stdio::null());
    let mut script = script.stdout(Stdio::null()).spawn().expect("bash");
    let begun = Instant::now();
    while !folder.join("ready").exists() {
        assert!(begun.elapsed() < PATIENCE, "the cluster did not start");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    measure(bench, &folder).await;
    drop(Command::new("kill").args(["-TERM", &script.id().to_string()]).status());
    drop(script.wait());
}

async fn measure(bench: &Bench, folder: &Path) {
    let text = |file: &str| {
        std::fs::read_to_string(folder.join(file))
            .expect("a file")
            .trim()
            .to_owned()
    };
    let ports = text("ports");
    let port = ports
        .lines()
        .find_map(|line| line.strip_prefix("port_public=")?.parse().ok());
    let address = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
    let ca = text("secrets/ca.pem");
    let mut client = crate::support::client::Client::tls(address, "localhost", &ca).await;
    let cookie = client.sign_in("localhost", "ada", &text("password")).await;
    let user = Arc::new(User { address, ca, cookie });
    let (stop, seen) = (CancellationToken::new(), Arc::new(Mutex::new(Seen::default())));
    let hands: Vec<_> = (0..HANDS)
        .map(|_| tokio::spawn(ask(Arc::clone(&user), bench.rate, stop.clone(), Arc::clone(&seen))))
        .collect();
    let begun = Instant::now();
    for instance in ["1", "2", "3"] {
        let mut restart = Command::new(SCRIPT);
        restart
            .args(["restart", instance])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let restarted = tokio::task::spawn_blocking(move || restart.status()).await;
        assert!(
            restarted.expect("a task").is_ok_and(|status| status.success()),
            "instance {instance}"
        );
        // The balancer takes it back before the next one goes.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let took = begun.elapsed();
    stop.cancel();
    futures_util::future::join_all(hands).await;
    let seen = std::mem::take(&mut *seen.lock().expect("nobody panicked with it"));
    println!(
        "restart: three instances one after the other in {took:.1?}, {:.0} requests a second: {} failed {:?}, {} were sent \
         again on a new connection; {}",
        seen.took.len() as f64 / took.as_secs_f64(),
        seen.failed.values().sum::<u64>(),
        seen.failed,
        seen.again,
        spread(seen.took)
    );
}

async fn ask(user: Arc<User>, rate: u64, stop: CancellationToken, seen: Arc<Mutex<Seen>>) {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(HANDS as f64 / rate.max(1) as f64));
    let mut kept: Option<(Connection, usize)> = None;
    while !stop.is_cancelled() {
        ticks.tick().await;
        let begun = Instant::now();
        let asked = kept.as_ref().map_or(0, |(_, asked)| *asked);
        let mut outcome = once(&user, &mut kept).await;
        let closed = asked > 0
            && outcome
                .as_ref()
                .is_err_and(|error| error.kind() != std::io::ErrorKind::InvalidData);
        if closed {
            outcome = once(&user, &mut kept).await;
        }
        let mut seen = seen.lock().expect("nobody panicked with it");
        seen.again += u64::from(closed);
        match outcome {
            Ok(200) => seen.took.push(begun.elapsed()),
            Ok(status) => *seen.failed.entry(status.to_string()).or_default() += 1,
            Err(error) => *seen.failed.entry(error.kind().to_string()).or_default() += 1,
        }
    }
}

/// One request, on the connection that is open or on a new one; it is kept while the server does.
async fn once(user: &User, kept: &mut Option<(Connection, usize)>) -> std::io::Result<u16> {
    let (mut connection, asked) = match kept.take() {
        Some(kept) => kept,
        None => (Connection::tls(user.address, "localhost", &user.ca).await?, 0),
    };
    let lines = format!("Cookie: {}\r\nSec-Fetch-Mode: cors\r\n", user.cookie);
    let answer = connection.ask("GET", "/echo", &lines, b"").await?;
    if !answer.last && asked + 1 < ON_ONE {
        *kept = Some((connection, asked + 1));
    }
    Ok(answer.status)
}
