//! A TCP path to a server, with the faults of real ones: cut, dark, refused, led to another server. On a thread of its own,
//! so that tests may block.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the path does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Carries them.
    Open,
    /// Keeps them: connections are made and stay, and nothing arrives. Afterwards it goes on where it stopped, as TCP does.
    Dark,
    /// Ends new connections at once.
    Closed,
}

/// A listening address in front of a server.
pub struct Path {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    mode: watch::Sender<Mode>,
    /// Moves when everything that is open is cut.
    cuts: watch::Sender<u64>,
    made: AtomicUsize,
    /// Connections made before this one are forgotten: nothing passes on them any more, not even their end.
    forgotten: AtomicUsize,
    questions: AtomicUsize,
    sent: Mutex<Vec<u8>>,
}

/// Most bytes of clients that are kept.
const KEPT: usize = 1 << 22;

impl Path {
    /// To `port` of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            target: Mutex::new(local(port)),
            mode: watch::Sender::new(Mode::Open),
            cuts: watch::Sender::new(0),
            made: AtomicUsize::new(0),
            forgotten: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            sent: Mutex::default(),
        });
        let there = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let listen = async move {
                let listener = TcpListener::from_std(listener).expect("a socket");
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, Arc::clone(&there)));
                }
            };
            runtime.expect("a runtime").block_on(listen);
        });
        Self { address, shared }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Leads new connections to another port; those that are open stay where they are.
    pub fn lead_to(&self, port: u16) {
        *lock(&self.shared.target) = local(port);
    }

    /// Changes what it does, for what is open too.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Cuts everything that is open.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Forgets everything that is open, as a firewall does: both sides believe that they are connected.
    pub fn forget(&self) {
        self.shared.forgotten.store(self.made(), Ordering::SeqCst);
    }

    /// Connections made so far.
    pub fn made(&self) -> usize {
        self.shared.made.load(Ordering::SeqCst)
    }

    /// How often a client has sent something after the server's last word: round trips.
    pub fn questions(&self) -> usize {
        self.shared.questions.load(Ordering::SeqCst)
    }

    /// Whether clients have sent these bytes.
    pub fn has_sent(&self, bytes: &[u8]) -> bool {
        memchr::memmem::find(&lock(&self.shared.sent), bytes).is_some()
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panicked")
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let number = shared.made.fetch_add(1, Ordering::SeqCst);
    if *shared.mode.borrow() == Mode::Closed {
        return;
    }
    let target = *lock(&shared.target);
    let both = async {
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let asked = Mutex::new(false);
        let up = pump(from_client, to_server, (&shared, number), |bytes| {
            let mut asked = lock(&asked);
            if !std::mem::replace(&mut *asked, true) {
                shared.questions.fetch_add(1, Ordering::SeqCst);
            }
            let mut sent = lock(&shared.sent);
            if sent.len() < KEPT {
                sent.extend_from_slice(bytes);
            }
        });
        let down = pump(from_server, to_client, (&shared, number), |_| *lock(&asked) = false);
        // A peer that is gone is gone on both sides.
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    };
    tokio::select! {
        () = both => {}
        _ = cuts.changed() => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (shared, number): (&Shared, usize),
    mut saw: impl FnMut(&[u8]),
) {
    let mut mode = shared.mode.subscribe();
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        drop(mode.wait_for(|mode| *mode != Mode::Dark).await.map(|_| ()));
        if number < shared.forgotten.load(Ordering::SeqCst) {
            break;
        }
        saw(&piece[..length]);
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    // Nothing of an end either while it is dark.
    drop(mode.wait_for(|mode| *mode != Mode::Dark).await.map(|_| ()));
    if number < shared.forgotten.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
}
