//! A TCP relay that counts turns of the conversation: how often the client speaks after the server did.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// A relay to one address, for as long as the runtime runs.
pub(super) struct Relay {
    pub(super) port: u16,
    turns: Arc<AtomicU64>,
}

impl Relay {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let turns = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&turns);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
                tokio::spawn(relay(client, server, Arc::clone(&counted)));
            }
        });
        Self { port: own, turns }
    }

    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }
}

async fn relay(client: TcpStream, server: TcpStream, turns: Arc<AtomicU64>) {
    client.set_nodelay(true).expect("no delay");
    server.set_nodelay(true).expect("no delay");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let server_spoke = Arc::new(AtomicBool::new(true));
    let spoke = Arc::clone(&server_spoke);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            spoke.store(true, Relaxed);
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        if server_spoke.swap(false, Relaxed) {
            turns.fetch_add(1, Relaxed);
        }
        if to_server.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
