//! Touches against ends, and writers against writers.

use crate::sessions::{login, settings};
use crate::support::store::{Opened, event, on_postgres, on_sqlite};
use portcullis::clock::Clock;
use portcullis::model::{Digest, EventKind};
use portcullis::session::{Identified, Sessions, Settings, Which};
use portcullis::store::Store;
use portcullis::telemetry::Metrics;
use secrecy::ExposeSecret;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENT: Duration = Duration::from_secs(30);

/// Every request is a touch, and cached copies are believed for long.
fn eager(store: Arc<dyn Store>) -> Arc<Sessions> {
    let settings = Settings {
        touch_interval: Duration::ZERO,
        ..settings(Duration::from_hours(1), Duration::from_hours(1))
    };
    let control = tokio::runtime::Handle::current();
    Sessions::new(store, settings, Clock::system(), control, Arc::new(Metrics::new()))
}

/// The cookie value and the digest of a new session of a new user.
async fn sign_in(sessions: &Sessions, opened: &Opened, number: u64) -> (String, Digest) {
    let login = login(opened, &format!("u{number}")).await;
    let session = sessions.open(login).await.expect("a session is opened");
    let value = session.cookie_value.expose_secret().to_owned();
    (value, session.entry.session.digest)
}

/// One round: the session that sixteen clients have, and whether its end was reported.
struct Round {
    sessions: Arc<Sessions>,
    value: String,
    ended: AtomicBool,
    answers: AtomicU64,
}

impl Round {
    /// Is active all the time, until it is refused after the end was reported.
    async fn client(self: Arc<Self>) {
        loop {
            let over = self.ended.load(SeqCst);
            match self.sessions.identify(&[self.value.as_bytes()], Duration::ZERO).await {
                Identified::Live(live) => {
                    assert!(!over, "let in after the end was reported");
                    self.sessions.touch(&live.entry, HOME);
                    self.answers.fetch_add(1, SeqCst);
                }
                _ if over => return,
                _ => {}
            }
            tokio::task::yield_now().await;
        }
    }

    /// Writes touches all the time.
    async fn writer(self: Arc<Self>) {
        while !self.ended.load(SeqCst) {
            self.sessions.flush(PATIENT).await;
        }
    }
}

/// Sixteen clients of one session that are active all the time, while it is ended at a random moment: whoever asks after
/// the end was reported is refused, and no touch brings the row back.
async fn touch_against_end(opened: Opened, rounds: u64) {
    let sessions = eager(Arc::clone(&opened.store));
    for number in 0..rounds {
        let (value, digest) = sign_in(&sessions, &opened, number).await;
        let round = Arc::new(Round {
            sessions: Arc::clone(&sessions),
            value,
            ended: AtomicBool::new(false),
            answers: AtomicU64::new(0),
        });
        let mut tasks: Vec<_> = (0..16).map(|_| tokio::spawn(Arc::clone(&round).client())).collect();
        tasks.push(tokio::spawn(Arc::clone(&round).writer()));
        // From no answer at all to many: how far the writer has come then is left to chance.
        while round.answers.load(SeqCst) < number % 40 * 8 {
            tokio::task::yield_now().await;
        }
        let gone = sessions
            .end(Which::Digest(digest), event(EventKind::SessionEnded))
            .await;
        assert_eq!(gone.expect("it is ended").len(), 1);
        round.ended.store(true, SeqCst);
        for task in tasks {
            let done = tokio::time::timeout(PATIENT, task).await.expect("in time");
            done.unwrap_or_else(|error| panic!("round {number}: {error}"));
        }
        sessions.flush(PATIENT).await;
        let row = opened.store.find_session(&digest).await.expect("it can be asked");
        assert!(row.is_none(), "round {number}: the row is back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_ended_session_never_comes_back_on_postgres() {
    touch_against_end(on_postgres().await, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_ended_session_never_comes_back_on_sqlite() {
    touch_against_end(on_sqlite().await, 40).await;
}

/// Two instances touch the same sessions all the time, while somebody ends some of them: nobody deadlocks, times only
/// grow, and no activity is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_of_the_same_rows_neither_deadlock_nor_move_times_back() {
    let opened = on_postgres().await;
    let (one, two) = (eager(Arc::clone(&opened.store)), eager(opened.beside().await));
    let mut values = Vec::new();
    for number in 0..60 {
        values.push(sign_in(&one, &opened, number).await);
    }
    let values = Arc::new(values);
    let writers = [&one, &two].map(|sessions| {
        let (sessions, values) = (Arc::clone(sessions), Arc::clone(&values));
        tokio::spawn(async move {
            for _ in 0..60 {
                for (value, _) in values.iter() {
                    if let Identified::Live(live) = sessions.identify(&[value.as_bytes()], Duration::ZERO).await {
                        sessions.touch(&live.entry, HOME);
                    }
                }
                sessions.flush(PATIENT).await;
            }
        })
    });
    let watching = {
        let (store, values) = (Arc::clone(&opened.store), Arc::clone(&values));
        tokio::spawn(async move {
            let mut seen = vec![None; values.len()];
            for _ in 0..20 {
                for ((_, digest), seen) in values.iter().zip(&mut seen) {
                    let Some(found) = store.find_session(digest).await.expect("it can be asked") else {
                        continue;
                    };
                    let times = (found.session.last_seen_at, found.session.expires_at);
                    assert!(
                        seen.is_none_or(|(at, end)| at <= times.0 && end <= times.1),
                        "times went back"
                    );
                    *seen = Some(times);
                }
            }
        })
    };
    for (_, digest) in values.iter().step_by(10) {
        one.end(Which::Digest(*digest), event(EventKind::SessionEnded))
            .await
            .expect("it is ended");
    }
    for writer in writers {
        tokio::time::timeout(PATIENT, writer)
            .await
            .expect("nobody waits for ever")
            .expect("no panic");
    }
    tokio::time::timeout(PATIENT, watching)
        .await
        .expect("in time")
        .expect("times only grow");
    assert_eq!(
        opened.store.list_sessions(None, None, 100).await.expect("a list").len(),
        54
    );
}
