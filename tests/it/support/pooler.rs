//! A pooler in transaction mode in front of a Postgres server: pgbouncer, as Debian has it. Gone with the test.

use super::gateway::pause;
use super::postgres::{USER, free_port};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A pooler that runs.
pub struct Pooler {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Pooler {
    /// In front of the server on `port` of 127.0.0.1, with so many connections to it.
    pub fn to(port: u16, connections: u32) -> Self {
        let own = free_port();
        let folder = tempfile::Builder::new()
            .prefix("pooler")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        // It gives root's rights away before it reads anything.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("the folder is ours");
        let (users, file) = (folder.path().join("users.txt"), folder.path().join("pgbouncer.ini"));
        std::fs::write(&users, format!("\"{USER}\" \"\"\n")).expect("a file");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             ignore_startup_parameters = extra_float_digits\ndefault_pool_size = {connections}\nmax_client_conn = 500\n",
            users.display()
        );
        std::fs::write(&file, text).expect("a file");
        let mut pooler = Self {
            child: Self::command(&file).spawn().expect("pgbouncer"),
            port: own,
            folder,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", own)).is_err() {
            let ended = pooler.child.try_wait().expect("it can be asked");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "{ended:?}: {}",
                pooler.said()
            );
            pause();
        }
        pooler
    }

    /// The URL of a database of the server, by way of the pooler.
    pub fn url(&self, database: &str) -> String {
        let name = database.rsplit('/').next().unwrap_or(database);
        format!("postgres://{USER}@127.0.0.1:{}/{name}", self.port)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(file: &Path) -> Command {
        let is_root = Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|id| id.stdout == b"0\n");
        let mut command = Command::new("pgbouncer");
        if is_root {
            command.args(["-u", "nobody"]);
        }
        let log = std::fs::File::create(file.with_file_name("log")).expect("a file");
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the pooler ---\n{}--- end of log ---", self.said());
        }
    }
}
