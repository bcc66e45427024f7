//! An application as a process of its own, with what `./test` installs for it under tests/.cache.

use crate::python;
use crate::support::gateway::PATIENCE;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use tempfile::TempDir;

/// Killed when dropped; what it complained about is shown when the test fails.
pub(super) struct Program {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Program {
    /// Runs a file of `tests/applications` in Node, with its settings; it must say its port when it listens.
    pub(super) fn node(file: &str, settings: &Value) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let modules = tests.join(".cache/applications/node_modules");
        assert!(
            modules.exists(),
            "the applications' libraries are not under tests/.cache: run ./test --full, which installs them"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Modules are looked for from where a file is.
        let copy = folder.path().join(file);
        std::fs::copy(tests.join("applications").join(file), &copy).expect("the application's file");
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).expect("a link");
        let mut command = Command::new("node");
        // Its own zone must not matter.
        command
            .env("TZ", "Pacific/Auckland")
            .arg(copy)
            .arg(settings.to_string());
        Self::run(command, folder)
    }

    /// The same in the Python environment of `tests/requirements.txt`.
    pub(super) fn python(file: &str, settings: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/applications")
            .join(file);
        let mut command = Command::new(python::program("python"));
        command
            .env("TZ", "Pacific/Auckland")
            .arg(file)
            .arg(settings.to_string());
        Self::run(command, folder)
    }

    fn run(mut command: Command, folder: TempDir) -> Self {
        let errors = File::create(folder.path().join("errors")).expect("a file for what it complains about");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the application starts: ./test --full installs what it runs in");
        let output = child.stdout.take().expect("stdout is piped");
        let (sender, port) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut program = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            folder,
        };
        let line = port.recv_timeout(PATIENCE).expect("the application says its port");
        program.address.set_port(line.trim().parse().expect("a port"));
        program
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let errors = std::fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default();
            eprintln!("--- the application ---\n{errors}--- end ---");
        }
    }
}
