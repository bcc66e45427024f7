//! A small TCP load balancer as deployments have one: it asks `readyz` of every instance and gives new connections, in
//! turn, to those that are ready. It reads nothing of what passes, and keeps nobody with an instance.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Between two looks at `readyz`.
pub const LOOKS: Duration = Duration::from_millis(50);
/// How long an instance may take to say whether it is ready.
const ANSWER: Duration = Duration::from_secs(10);

/// An instance behind it.
#[derive(Clone, Copy, Debug)]
struct Instance {
    traffic: SocketAddr,
    admin: SocketAddr,
    ready: bool,
}

#[derive(Default)]
struct Shared {
    instances: Mutex<Vec<Instance>>,
    turn: AtomicUsize,
    refused: AtomicUsize,
    over: AtomicBool,
}

/// Runs until it is dropped.
pub struct Balancer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Balancer {
    /// With no instance yet.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let looking = Arc::clone(&shared);
        std::thread::spawn(move || looking.look_after());
        let passing = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(passing.accept(listener));
        });
        Self { address, shared }
    }

    /// Where clients come.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an instance, which gets connections once it is ready.
    pub fn join(&self, traffic: SocketAddr, admin: SocketAddr) {
        self.shared.all().push(Instance {
            traffic,
            admin,
            ready: false,
        });
    }

    /// Takes an instance out of the list; its connections stay.
    pub fn forget(&self, traffic: SocketAddr) {
        self.shared.all().retain(|one| one.traffic != traffic);
    }

    /// How many instances are ready, as far as it knows.
    pub fn ready(&self) -> usize {
        self.shared.all().iter().filter(|one| one.ready).count()
    }

    /// How often an instance that was thought ready took no connection.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Relaxed)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
    }
}

impl Shared {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_after(&self) {
        while !self.over.load(Relaxed) {
            let known = self.all().clone();
            for one in known {
                let ready = is_ready(one.admin);
                let mut all = self.all();
                if let Some(found) = all.iter_mut().find(|found| found.traffic == one.traffic) {
                    found.ready = ready;
                }
            }
            #[expect(clippy::disallowed_methods, reason = "a balancer looks now and then")]
            std::thread::sleep(LOOKS);
        }
    }

    async fn accept(self: Arc<Self>, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("a runtime");
        while !self.over.load(Relaxed) {
            let Ok(Ok((client, _))) = tokio::time::timeout(LOOKS, listener.accept()).await else {
                continue;
            };
            tokio::spawn(Arc::clone(&self).pass(client));
        }
    }

    async fn pass(self: Arc<Self>, mut client: TcpStream) {
        if let Some(mut server) = self.connect().await {
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    }

    /// To the next one that is ready and takes it.
    async fn connect(&self) -> Option<TcpStream> {
        let ready: Vec<SocketAddr> = self
            .all()
            .iter()
            .filter(|one| one.ready)
            .map(|one| one.traffic)
            .collect();
        let turn = self.turn.fetch_add(1, Relaxed);
        for step in 0..ready.len() {
            match TcpStream::connect(ready[(turn + step) % ready.len()]).await {
                Ok(stream) => return Some(stream),
                Err(_) => self.refused.fetch_add(1, Relaxed),
            };
        }
        None
    }
}

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = Blocking::connect_timeout(&admin, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
