//! The example of docs/examples/offline, from its very files and with its own application.

use super::node;
use super::{PASSWORD, USERNAME};
use crate::support::gateway::Gateway;
use crate::support::gateway::PATIENCE;
use crate::support::gateway::PROGRAM;
use serde_json::json;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// The gateway in front of the application with notes.
pub(super) struct Notes {
    gateway: Gateway,
    server: Child,
}

impl Notes {
    pub(super) fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let server = Command::new("python3")
            .arg(here().join("server.py"))
            .env("NOTES_ADDRESS", format!("127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python 3 runs");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "the application does not listen");
            crate::support::gateway::pause();
        }
        let config = std::fs::read_to_string(here().join("portcullis.toml")).expect("the example has a configuration");
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let url = format!("http://127.0.0.1:{port}");
        let places = [("GATEWAY_ADDRESS", "127.0.0.1:0"), ("NOTES_URL", url.as_str())];
        let gateway = Gateway::try_start_in(&folder, &config, &places).unwrap_or_else(|end| panic!("{}", end.stderr));
        gateway.add_user(USERNAME, PASSWORD, &[]);
        gateway.add_user("eve", PASSWORD, &[]);
        Self { gateway, server }
    }

    /// The browser comes by a wire that can be cut.
    pub(super) fn play(&self, scenario: &str) {
        let facts = json!({
            "address": self.gateway.address(0).to_string(),
            "hosts": [],
            "cookie": "portcullis",
            "program": PROGRAM,
            "config": self.gateway.folder().join("portcullis.toml"),
            "username": USERNAME,
            "password": PASSWORD,
        });
        node::play(scenario, facts, None);
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/offline")
}
