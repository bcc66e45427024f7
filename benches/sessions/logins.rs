//! Log-ins and log-outs one after another, eight at a time: does anything grow? Passwords are left out; a hash costs the
//! same each time and would only make this last for hours.

use super::Bench;
use super::memory::resident;
use super::touches::log_bytes;
use portcullis::clock::Clock;
use portcullis::model::Event;
use portcullis::model::EventKind;
use portcullis::model::User;
use portcullis::session::Login;
use portcullis::session::Sessions;
use portcullis::session::Which;
use portcullis::telemetry::Metrics;
use sqlx::Row;
use std::sync::Arc;
use std::time::Instant;

const AT_ONCE: u64 = 8;
const STEPS: u64 = 10;

pub(super) async fn run(bench: &Bench) {
    let store = Bench::store(&bench.url).await;
    let users = store.list_users(None, None, 1_000).await.expect("users");
    let control = tokio::runtime::Handle::current();
    let settings = super::touches::settings();
    let sessions = Sessions::new(store, settings, Clock::system(), control, Arc::new(Metrics::new()));
    let mut psql = bench.psql().await;
    let log_before = log_bytes(&mut psql).await;
    let started = Instant::now();
    println!(
        "logins: {} log-ins and log-outs; memory at first {} MiB",
        bench.log_ins,
        resident(std::process::id())
    );
    for step in 1..=STEPS {
        let each = bench.log_ins / STEPS / AT_ONCE;
        let hands = (0..AT_ONCE).map(|hand| {
            let sessions = Arc::clone(&sessions);
            let user = users[usize::try_from(hand).expect("small") * 7 % users.len()].clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    in_and_out(&sessions, user.clone()).await;
                }
            })
        });
        for hand in hands.collect::<Vec<_>>() {
            hand.await.expect("a round of log-ins");
        }
        println!(
            "    after {:8} {:4} MiB",
            step * each * AT_ONCE,
            resident(std::process::id())
        );
    }
    println!(
        "logins: {:.0} a second",
        bench.log_ins as f64 / started.elapsed().as_secs_f64()
    );
    let logged = log_bytes(&mut psql).await - log_before;
    let row = sqlx::query(
        "SELECT (pg_total_relation_size('portcullis.audit_events')::float8 / greatest(count(*), 1)) AS bytes
         FROM portcullis.audit_events",
    );
    let audited: f64 = row.fetch_one(&mut psql).await.expect("a size").get("bytes");
    println!(
        "logins: {:.0} bytes of write-ahead log for a log-in and its log-out; {audited:.0} bytes an audit event with indexes",
        logged / bench.log_ins.max(1) as f64
    );
}

async fn in_and_out(sessions: &Arc<Sessions>, user: User) {
    let login = Login {
        user,
        methods: vec!["pwd".to_owned()],
        remember: false,
        known_browser: true,
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0".to_owned()),
        address: [127, 0, 0, 1].into(),
        replaces: None,
        proven: None,
    };
    let opened = sessions.open(login).await.expect("a session");
    let event = Event::new(sessions.now(), EventKind::LoggedOut, "bench");
    let which = Which::Digest(opened.entry.session.digest);
    let ended = sessions.end(which, event).await.expect("an end");
    assert_eq!(ended.len(), 1, "the session that was opened ends");
}
