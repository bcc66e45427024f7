//! Three instances behind `HAProxy`, started by the very script of deploy/: one session, answered by all of them, goes on
//! without the one that was killed, and is refused by all once it was ended on one.

use crate::support::client::{Client, Response};
use crate::support::gateway::PROGRAM;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(2);
const HOST: &str = "localhost";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/local-cluster");

/// A cluster that runs; stopped in order when dropped.
struct Cluster {
    script: Child,
    folder: PathBuf,
    ports: BTreeMap<String, u16>,
    _held: tempfile::TempDir,
}

impl Cluster {
    fn up() -> Self {
        let held = tempfile::Builder::new()
            .prefix("cluster")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        let folder = held.path().join("cluster");
        let mut script = Command::new(SCRIPT);
        script
            .arg("up")
            .arg(&folder)
            .env("PORTCULLIS", PROGRAM)
            .env("PORTS", "free")
            .stdin(Stdio::null());
        // The database's own user must be able to go through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(held.path(), open).expect("the folder is ours");
        let output = std::fs::File::create(held.path().join("output")).expect("a file");
        script.stdout(output.try_clone().expect("a file")).stderr(output);
        let mut script = script.spawn().expect("bash");
        let begun = Instant::now();
        let ready = folder.join("ready");
        while !ready.exists() {
            let ended = script.try_wait().expect("it can be asked");
            let said = std::fs::read_to_string(held.path().join("output")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?}: {said}");
            pause();
        }
        let ports = std::fs::read_to_string(folder.join("ports")).expect("the ports");
        let ports = ports.lines().filter_map(|line| line.split_once('='));
        let ports = ports
            .map(|(name, port)| (name.to_owned(), port.parse().expect("a port")))
            .collect();
        Self {
            script,
            folder,
            ports,
            _held: held,
        }
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file))
            .expect("the file is there")
            .trim()
            .to_owned()
    }

    fn address(&self, port: &str) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[port]).into()
    }

    /// A connection through the balancer, which takes the next instance for it.
    async fn client(&self) -> Client {
        Client::tls(self.address("port_public"), HOST, &self.text("secrets/ca.pem")).await
    }

    async fn get(&self, target: &str, cookie: &str) -> Response {
        let line = format!("Cookie: {cookie}");
        self.client()
            .await
            .get(HOST, target, &[&line, "Sec-Fetch-Mode: cors"])
            .await
    }

    /// How many requests of the applications each instance has let through; `None` where it does not run.
    async fn served(&self) -> [Option<u64>; 3] {
        let mut served = [None; 3];
        for (index, served) in served.iter_mut().enumerate() {
            let admin = self.address(&format!("port_admin_{}", index + 1));
            if tokio::net::TcpStream::connect(admin).await.is_ok() {
                let text = Client::plain(admin).await.get(HOST, "/metrics", &[]).await.text();
                let line = r#"portcullis_requests_total{route="one",class="2xx"} "#;
                *served = text.lines().find_map(|found| found.strip_prefix(line)?.parse().ok());
            }
        }
        served
    }

    /// Ends every session through the API of one instance.
    async fn end_all_on(&self, instance: u8) {
        let token = format!("Authorization: Bearer {}", self.text("secrets/admin_token"));
        let mut client = Client::plain(self.address(&format!("port_admin_{instance}"))).await;
        let answer = client
            .request("DELETE", "127.0.0.1", "/api/sessions?all=true", &[&token], b"")
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(
            Command::new("kill")
                .args(["-TERM", &self.script.id().to_string()])
                .status(),
        );
        drop(self.script.wait());
        if std::thread::panicking() {
            for number in 1..=3 {
                let log = std::fs::read_to_string(self.folder.join(format!("gateway-{number}.log")));
                eprintln!("--- gateway {number} ---\n{}", log.unwrap_or_default());
            }
        }
    }
}

fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "polls another process; every loop around it has a deadline"
    )]
    std::thread::sleep(Duration::from_millis(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_instances_behind_a_balancer_are_one() {
    let cluster = Cluster::up();
    let password = cluster.text("password");
    let cookie = cluster.client().await.sign_in(HOST, "ada", &password).await;
    each_takes_its_part(&cluster, &cookie).await;
    assert_eq!(
        cluster.get("/two/echo", &cookie).await.json()["application"],
        "application two"
    );
    let user = cluster.get("/echo", &cookie).await.json()["headers"]
        .to_string()
        .to_lowercase();
    assert!(user.contains(r#"["x-forwarded-user","ada"]"#), "{user}");
    one_is_killed(&cluster, &cookie).await;
    it_is_started_again(&cluster, &cookie).await;
    the_session_is_ended_on_one(&cluster, &cookie).await;
    let folder = cluster.folder.clone();
    drop(cluster);
    let left = std::fs::read_to_string(folder.join("running"));
    assert!(left.is_err(), "the script has stopped everything");
    assert!(!Path::new(&folder).join("postgres/data/postmaster.pid").exists());
}

/// The same session, whichever instance is asked; each of them is.
async fn each_takes_its_part(cluster: &Cluster, cookie: &str) {
    let before = cluster.served().await.map(|count| count.expect("all three run"));
    let begun = Instant::now();
    loop {
        for _ in 0..12 {
            let answer = cluster.get("/echo", cookie).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["application"], "application one");
        }
        let after = cluster.served().await.map(|count| count.expect("all three run"));
        // An instance whose health was asked for in vain is left out until it answers again.
        if before.iter().zip(after).all(|(before, after)| after - before >= 2) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{before:?} and then {after:?}");
    }
}

/// Whoever was connected to it connects anew, and nobody is signed out.
async fn one_is_killed(cluster: &Cluster, cookie: &str) {
    let pid = cluster.text("gateway-2.pid");
    assert!(
        Command::new("kill")
            .args(["-KILL", &pid])
            .status()
            .expect("kill")
            .success()
    );
    let begun = Instant::now();
    // Its main thread may be gone before its last one lets the sockets go: what they still accept is cut.
    let sockets = cluster.address("port_gateway_2");
    while tokio::net::TcpStream::connect(sockets).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE);
        pause();
    }
    for _ in 0..12 {
        assert_eq!(cluster.get("/echo", cookie).await.status, 200);
    }
    assert_eq!(cluster.served().await[1], None);
}

/// By the script; it takes its part.
async fn it_is_started_again(cluster: &Cluster, cookie: &str) {
    let script = Command::new(SCRIPT)
        .args(["start", "2"])
        .arg(&cluster.folder)
        .output()
        .expect("bash");
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let begun = Instant::now();
    while cluster.served().await[1].is_none_or(|count| count == 0) {
        assert_eq!(cluster.get("/echo", cookie).await.status, 200);
        assert!(begun.elapsed() < PATIENCE, "the balancer never came back to it");
    }
}

/// Refused by all, within the bound of an instance that sees no changes.
async fn the_session_is_ended_on_one(cluster: &Cluster, cookie: &str) {
    cluster.end_all_on(1).await;
    let begun = Instant::now();
    let mut refused = 0;
    while refused < 6 {
        refused = if cluster.get("/echo", cookie).await.status == 401 {
            refused + 1
        } else {
            0
        };
        assert!(begun.elapsed() < PATIENCE, "an instance believes in the session still");
    }
}
