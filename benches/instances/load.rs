//! Users who go on asking while something is measured.

use super::connection::Connection;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

const HANDS: u64 = 12;

/// A load of so many requests a second, over these instances in turn.
pub(super) struct Load {
    stop: CancellationToken,
    hands: Vec<tokio::task::JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

/// What it saw.
#[derive(Default)]
pub(super) struct Seen {
    /// How long answers took.
    pub(super) took: Vec<Duration>,
    /// Answers other than 200, and connections that broke.
    pub(super) failed: u64,
}

impl Load {
    pub(super) fn start(addresses: &[SocketAddr], cookies: Vec<String>, rate: u64) -> Self {
        let (stop, seen) = (CancellationToken::new(), Arc::default());
        let cookies = Arc::new(cookies);
        let hands = (0..HANDS).map(|hand| {
            let address = addresses[hand as usize % addresses.len()];
            let work = ask(address, Arc::clone(&cookies), hand, rate, Arc::clone(&seen));
            let stop = stop.clone();
            tokio::spawn(async move {
                stop.run_until_cancelled(work).await;
            })
        });
        Self {
            hands: hands.collect(),
            stop,
            seen,
        }
    }

    pub(super) async fn stop(self) -> Seen {
        self.stop.cancel();
        for hand in self.hands {
            hand.await.expect("a hand of the load");
        }
        std::mem::take(&mut *self.seen.lock().expect("nobody panicked with it"))
    }
}

async fn ask(address: SocketAddr, cookies: Arc<Vec<String>>, hand: u64, rate: u64, seen: Arc<Mutex<Seen>>) {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(HANDS as f64 / rate.max(1) as f64));
    let mut connection = None;
    let mut number = hand as usize;
    loop {
        ticks.tick().await;
        number = (number + HANDS as usize) % cookies.len();
        let begun = Instant::now();
        let outcome = async {
            let open = match connection.take() {
                Some(open) => open,
                None => Connection::plain(address).await?,
            };
            let open = connection.insert(open);
            open.get("/", &cookies[number]).await
        }
        .await;
        let mut seen = seen.lock().expect("nobody panicked with it");
        if outcome.is_ok_and(|status| status == 200) {
            seen.took.push(begun.elapsed());
        } else {
            connection = None;
            seen.failed += 1;
        }
    }
}
