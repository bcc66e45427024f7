//! The real program in a folder of its own, on free ports, ended with the test.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start, a stop or a command may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The program's path.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// A gateway that runs. Killed when dropped; its log is shown when the test fails.
pub struct Gateway {
    child: Child,
    folder: Arc<TempDir>,
    log: Log,
    ready: Value,
}

/// A gateway that ended before it was ready.
#[derive(Debug)]
pub struct Stillborn {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it said on stderr.
    pub stderr: String,
}

/// What a stopped gateway left.
#[derive(Debug)]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// Its whole log.
    pub stderr: String,
    /// From the signal to the end.
    pub took: Duration,
}

impl Gateway {
    /// Writes `config` as `portcullis.toml` in a new folder and runs `portcullis run --config … --json` until it is ready.
    /// Listeners should name port 0; the admin listener too.
    pub fn start(config: &str) -> Self {
        Self::try_start(config).unwrap_or_else(|end| panic!("the gateway ended with {:?}:\n{}", end.code, end.stderr))
    }

    /// As [`Gateway::start`], for configurations that must be refused.
    pub fn try_start(config: &str) -> Result<Self, Stillborn> {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self::try_start_in(&folder, config, &[])
    }

    /// As [`Gateway::start`] in a folder that outlives the gateway, with environment variables.
    pub fn try_start_in(folder: &Arc<TempDir>, config: &str, env: &[(&str, &str)]) -> Result<Self, Stillborn> {
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, config).expect("the configuration is written");
        let mut command = Command::new(PROGRAM);
        command
            .args(["run", "--json", "--config"])
            .arg(&file)
            .envs(env.iter().copied());
        Self::spawn(command, folder)
    }

    /// Runs any command that prints a ready line (`demo --json`, `run --to … --json`) and waits for it.
    pub fn spawn(mut command: Command, folder: &Arc<TempDir>) -> Result<Self, Stillborn> {
        let mut child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Log::collect(child.stderr.take().expect("stderr is piped"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the ready line is no JSON: {line}"));
                Ok(Self {
                    child,
                    folder: Arc::clone(folder),
                    log,
                    ready,
                })
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let code = wait(&mut child).code();
                Err(Stillborn {
                    code,
                    stderr: log.whole(),
                })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the gateway was not ready in {PATIENCE:?}:\n{}", log.whole());
            }
        }
    }

    /// The ready line.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The URL of listener `index` in the order of the configuration, the admin listener not counted.
    pub fn url(&self, index: usize) -> &str {
        self.ready["listeners"][index]
            .as_str()
            .expect("the ready line names the listener")
    }

    /// The address of listener `index`.
    pub fn address(&self, index: usize) -> SocketAddr {
        address_of(self.url(index))
    }

    /// The address of the admin listener.
    pub fn admin(&self) -> SocketAddr {
        address_of(
            self.ready["admin_url"]
                .as_str()
                .expect("the ready line names the admin listener"),
        )
    }

    /// The folder with `portcullis.toml` and, by default, `data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate of the local authority that was made at first run, as PEM.
    pub fn ca(&self) -> String {
        let path = find_file(self.folder(), "ca.pem").expect("a local authority was made");
        std::fs::read_to_string(path).expect("ca.pem can be read")
    }

    /// What the gateway has logged so far.
    pub fn log(&self) -> String {
        self.log.so_far()
    }

    /// Waits until the log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        let started = Instant::now();
        while !self.log.so_far().contains(text) {
            assert!(
                started.elapsed() < PATIENCE,
                "the log never said {text:?}:\n{}",
                self.log()
            );
            pause();
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs another command on the same configuration: `args`, then `--config FILE`, with `stdin` as standard input.
    pub fn command(&self, args: &[&str], stdin: &str) -> Output {
        let file = self.folder().join("portcullis.toml");
        let mut all: Vec<&str> = args.to_vec();
        all.extend(["--config", file.to_str().expect("the path is text")]);
        portcullis(self.folder(), &all, stdin)
    }

    /// Adds a user by command; `groups` may be empty.
    pub fn add_user(&self, name: &str, password: &str, groups: &[&str]) {
        let mut args = vec!["user", "add", name, "--password-stdin"];
        for group in groups {
            args.extend(["--group", group]);
        }
        let output = self.command(&args, password);
        assert!(
            output.status.success(),
            "user add: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Sends a signal: `TERM`, `HUP`, `KILL`, `STOP`, ...
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .expect("a shell");
        assert!(status.success(), "kill -{name} failed");
    }

    /// How it ended; `None` while it runs.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process can be asked")
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> Stopped {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for the end.
    pub fn ended(mut self) -> Stopped {
        let started = Instant::now();
        let status = wait(&mut self.child);
        Stopped {
            status,
            stderr: self.log.whole(),
            took: started.elapsed(),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}--- end of log ---", self.log.whole());
        }
    }
}

/// Runs a command of the program in `folder` to its end.
pub fn portcullis(folder: &Path, args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A command that does not read its input may have closed it.
    let _ = child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes());
    let log = Log::collect(child.stderr.take().expect("stderr is piped"));
    let out = Log::collect(child.stdout.take().expect("stdout is piped"));
    let status = wait(&mut child);
    Output {
        status,
        stdout: out.whole().into_bytes(),
        stderr: log.whole().into_bytes(),
    }
}

/// Host and port of `https://127.0.0.1:8443/` and the like; `localhost` is 127.0.0.1.
pub fn address_of(url: &str) -> SocketAddr {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest).replace("localhost", "127.0.0.1");
    authority
        .parse()
        .unwrap_or_else(|_| panic!("{url} names no address and port"))
}

/// A short wait between two looks at something that another process does.
pub fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "polls another process; every loop around it has a deadline"
    )]
    std::thread::sleep(Duration::from_millis(10));
}

fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the process can be asked") {
            return status;
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the program did not end in {PATIENCE:?}");
        }
        pause();
    }
}

fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.file_name() == name {
                return Some(path);
            }
        }
    }
    None
}

/// Collects a pipe on a thread, so that the program never waits for its reader.
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    fn collect(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0; 8192];
            while let Ok(length) = pipe.read(&mut piece) {
                if length == 0 {
                    break;
                }
                shared
                    .lock()
                    .expect("no reader panicked")
                    .extend_from_slice(&piece[..length]);
            }
        });
        Self {
            text,
            reader: Mutex::new(Some(reader)),
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no reader panicked")).into_owned()
    }

    /// Everything; the process must have ended.
    fn whole(&self) -> String {
        if let Some(reader) = self.reader.lock().expect("no reader panicked").take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}
