//! A Postgres server of the tests' own: made in a temporary folder, on a free port of 127.0.0.1, gone with the process.
//!
//! Everybody on loopback may sign in. Commits are not forced to the disk, so it is fast; they survive a killed server but
//! not a power cut. A small shell, the guardian, waits at the end of a pipe: when this process ends, however it ends, the
//! guardian stops the server and deletes the folder.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The role that owns every test's database; a superuser of this server.
pub const USER: &str = "portcullis";

const ADVICE: &str = "no Postgres server programs were found (initdb, pg_ctl and postgres, in /usr/lib/postgresql/*/bin or on PATH); install them: `apt-get install postgresql`";

/// Deletes everything once nobody holds the other end of the pipe. Signals of a terminal are for the tests, not for it.
const GUARDIAN: &str = r#"
trap '' INT HUP TERM
cat >/dev/null
cd /
"$@" -D "$DATA" -m immediate -w -t 30 stop >/dev/null 2>&1
rm -rf "$FOLDER"
"#;

/// A running server. The shared one lives as long as the process, a private one until it is dropped.
pub struct Postgres {
    programs: PathBuf,
    account: Account,
    folder: PathBuf,
    port: u16,
    guardian: Child,
    databases: AtomicU32,
    options: &'static str,
}

/// For tests: nothing is forced to the disk.
const FAST: &str = "-c fsync=off -c full_page_writes=off -c shared_buffers=32MB -c jit=off -c log_statement=none";
/// The same with few connections.
const SMALL: &str = "-c fsync=off -c full_page_writes=off -c shared_buffers=32MB -c jit=off -c log_statement=none -c max_connections=20";
/// For figures: durable, as it is shipped.
const SHIPPED: &str = "";

impl Postgres {
    /// The server that all tests of this process share, started on first use.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::private)
    }

    /// A server for one test, which may stop, kill or freeze it.
    pub fn private() -> Self {
        Self::with(FAST)
    }

    /// A server for one test that takes 20 connections.
    pub fn small() -> Self {
        Self::with(SMALL)
    }

    /// A standby of this server that streams from it, on a port of its own, once it has caught up.
    pub fn standby(&self) -> Self {
        let standby = Self::unmade(self.options);
        let data = standby.data();
        // As initdb would leave it.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&data, private).expect("our own folder");
        let mut copy = standby.command("pg_basebackup");
        copy.args([
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
            "-h",
            "127.0.0.1",
            "-U",
            USER,
            "-p",
        ]);
        run(copy.arg(self.port.to_string()).arg("-D").arg(&data));
        standby.start();
        standby
    }

    /// Makes a stopped server one that only follows: it starts in recovery and takes no changes.
    pub fn stand_by(&self) {
        fs::write(self.data().join("standby.signal"), "").expect("our own folder");
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        let mut pg_ctl = self.command("pg_ctl");
        run(pg_ctl.args(["-w", "-t", "60", "-D"]).arg(self.data()).arg("promote"));
    }

    /// Puts a line in front of the rules who may sign in, and has them read.
    pub fn add_rule(&self, line: &str) {
        let file = self.data().join("pg_hba.conf");
        let rules = fs::read_to_string(&file).expect("the rules");
        fs::write(&file, format!("{line}\n{rules}")).expect("the rules");
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// A server as it is shipped, for figures.
    pub fn durable() -> Self {
        Self::with(SHIPPED)
    }

    fn with(options: &'static str) -> Self {
        let server = Self::unmade(options);
        let mut initdb = server.command("initdb");
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username",
        ]);
        run(initdb.arg(USER).arg("-D").arg(server.data()));
        server.start();
        server
    }

    /// A folder and a port, and nothing in them.
    fn unmade(options: &'static str) -> Self {
        let programs = programs().unwrap_or_else(|| panic!("{ADVICE}"));
        let account = Account::choose();
        let folder = account.make_folder();
        let guardian = guardian(&programs, &account, &folder);
        Self {
            programs,
            account,
            folder,
            port: free_port(),
            guardian,
            databases: AtomicU32::new(0),
            options,
        }
    }

    /// A fresh, empty database; its URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder of its programs, psql and `pg_dump` among them.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL in a database (a name or a URL) as psql does; what it printed, without decoration.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let name = database.rsplit('/').next().unwrap_or(database);
        let mut psql = self.command("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            USER,
            "-p",
        ]);
        run(psql.arg(self.port.to_string()).args(["-d", name, "-c", sql]))
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("the server's log")
    }

    /// Starts the server again, on the same port with the same data.
    pub fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 {}",
            self.port, self.options
        );
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl
            .args(["-w", "-t", "60", "-o", &options, "-l"])
            .arg(self.folder.join("log"));
        run(pg_ctl.arg("-D").arg(self.data()).arg("start"));
    }

    /// Stops it in order: connections are told that the administrator ends them.
    pub fn stop(&self) {
        let mut pg_ctl = self.command("pg_ctl");
        run(pg_ctl
            .args(["-w", "-t", "60", "-m", "fast", "-D"])
            .arg(self.data())
            .arg("stop"));
    }

    /// Kills it with all its processes, as a crash of the machine would.
    pub fn kill(&self) {
        self.signal("KILL");
        // A start while an old process holds the shared memory would be refused.
        let processes = self.data().join("postmaster.pid");
        drop(fs::remove_file(processes));
    }

    /// Stops all its processes where they are: connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets frozen processes go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.account.command(&self.programs.join(program));
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// The postmaster first, so that it makes no new child while its children are sought.
    fn signal(&self, name: &str) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).expect("the server runs");
        let postmaster = file.lines().next().expect("a process id").trim().to_owned();
        let send = |process: &str| drop(Command::new("kill").args(["-s", name, process]).output());
        // Children must be listed before their parent dies and they become somebody else's.
        let before = children(&postmaster);
        send(&postmaster);
        let after = children(&postmaster);
        before.iter().chain(&after).for_each(|child| send(child));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(data) = fs::exists(self.data().join("postmaster.pid"))
            && data
        {
            self.thaw();
        }
        drop(self.guardian.stdin.take());
        drop(self.guardian.wait());
    }
}

/// As whom the server runs: Postgres refuses root.
struct Account {
    switch: Vec<String>,
    owner: Option<(u32, u32)>,
}

impl Account {
    fn choose() -> Self {
        if id(&["-u"]) != Some(0) {
            return Self {
                switch: Vec::new(),
                owner: None,
            };
        }
        let known = |name: &str| Some((name.to_owned(), id(&["-u", name])?, id(&["-g", name])?));
        let (name, user, group) = known("postgres")
            .or_else(|| known("nobody"))
            .expect("root needs a user `postgres` or `nobody` to run Postgres as");
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        let switch: Vec<String> = if on_path("setpriv").is_some() {
            words(&format!("setpriv --reuid={user} --regid={group} --clear-groups --"))
        } else if on_path("runuser").is_some() {
            words(&format!("runuser -u {name} --"))
        } else {
            panic!(
                "root needs `setpriv` or `runuser` to run Postgres as {name}; install them: `apt-get install util-linux`"
            )
        };
        Self {
            switch,
            owner: Some((user, group)),
        }
    }

    fn command(&self, program: &Path) -> Command {
        match self.switch.split_first() {
            None => Command::new(program),
            Some((switch, arguments)) => {
                let mut command = Command::new(switch);
                command.args(arguments).arg(program);
                command
            }
        }
    }

    /// A folder that this account owns and can reach: a private `TMPDIR` of root's would not do.
    fn make_folder(&self) -> PathBuf {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "portcullis-postgres-{}-{}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::SeqCst)
        );
        for place in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
            let folder = place.join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let (user, group) = self.owner.unzip();
            let data = folder.join("data");
            let owned = std::os::unix::fs::chown(&folder, user, group).is_ok();
            if owned
                && self
                    .command(Path::new("mkdir"))
                    .arg(&data)
                    .output()
                    .is_ok_and(|done| done.status.success())
            {
                return folder;
            }
            drop(fs::remove_dir_all(&folder));
        }
        panic!("no temporary folder that the database's user can enter; make /tmp writable for everybody")
    }
}

fn guardian(programs: &Path, account: &Account, folder: &Path) -> Child {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", GUARDIAN, "guardian"])
        .args(&account.switch)
        .arg(programs.join("pg_ctl"));
    shell.env("FOLDER", folder).env("DATA", folder.join("data"));
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    shell.spawn().expect("a shell")
}

/// Where Debian keeps the newest server, or the folder of PATH that has one.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
        .collect();
    versions.sort();
    let newest = versions.pop().map(|(_, folder)| folder);
    newest.or_else(|| on_path("initdb").and_then(|program| Some(program.parent()?.to_owned())))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .output()
        .ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    found.status.success().then(|| PathBuf::from(path.trim()))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let found = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(found.stdout).ok()?.trim().parse().ok()
}

/// Free now, and nobody's by chance: it lies below those that the kernel gives to connections and to whoever asks for any,
/// so it stays free until the server takes it, and while the server is down between two starts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const MANY: u32 = 20_000;
    let start = std::process::id().wrapping_mul(977);
    let of_number = |number: u32| u16::try_from(FIRST + start.wrapping_add(number) % MANY).expect("below 32,768");
    let ports = std::iter::repeat_with(|| of_number(NEXT.fetch_add(1, Ordering::SeqCst))).take(1_000);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.into_iter().find(is_free).expect("a free port")
}

fn children(parent: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|process| process.file_name().into_string().ok());
    let is_child = |process: &String| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // pid (name) state parent …; the name may hold spaces.
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').nth(1) == Some(parent)
    };
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(is_child)
        .collect()
}

fn run(command: &mut Command) -> String {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?} failed: {said}");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::Postgres;

    #[test]
    fn every_test_gets_an_empty_database_of_its_own() {
        let server = Postgres::shared();
        let (first, second) = (server.database(), server.database());
        server.sql(&first, "CREATE TABLE mine (n int)");
        assert_eq!(server.sql(&second, "SELECT to_regclass('mine') IS NULL"), "t");
    }

    #[test]
    fn a_private_server_is_gone_with_its_folder() {
        let server = Postgres::private();
        let folder = server.folder.clone();
        let url = server.database();
        server.stop();
        server.start();
        assert_eq!(server.sql(&url, "SELECT 1"), "1");
        server.kill();
        server.start();
        assert_eq!(server.sql(&url, "SELECT 2"), "2");
        drop(server);
        assert!(!folder.exists());
    }
}
