use super::SOON;
use crate::support::fleet::{Fleet, SEEN, status, until_status};
use crate::support::gateway::{PATIENCE, pause};
use crate::support::path::Path;
use crate::support::postgres::{Postgres, USER};
use crate::support::upstream::Reply;
use sqlx::postgres::PgListener;
use std::time::{Duration, Instant};

const NAME: &str = "portcullis feed";

fn listeners(fleet: &Fleet) -> usize {
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{NAME}' AND datname = current_database()"
    );
    fleet.sql(&count).parse().unwrap()
}

fn cut(fleet: &Fleet) -> String {
    fleet.sql(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = '{NAME}' AND datname = current_database()"
    ))
}

#[tokio::test]
async fn a_subscription_that_is_cut_comes_back_and_what_went_by_is_seen() {
    let fleet = Fleet::start(2);
    let mut clients = fleet.clients().await;
    for round in 0..5 {
        let cookie = fleet.sign_in(&format!("u{round}"), &[]).await;
        for client in &mut clients {
            assert_eq!(status(client, "/", &cookie).await, 200);
        }
        assert_eq!(cut(&fleet), "2");
        // Nobody listens at this moment; the change is told to nobody.
        fleet.sql(&format!(
            "DELETE FROM sessions WHERE {}",
            Fleet::of_user(&format!("u{round}"))
        ));
        for client in &mut clients {
            let took = until_status(client, "/", &cookie, 401, "after the cut").await;
            assert!(took < SOON, "{took:?}");
        }
        for index in 0..2 {
            fleet.until_metric(index, "portcullis_feed_healthy ", 1.0).await;
        }
    }
    assert_eq!(listeners(&fleet), 2, "none is left behind");
    let log = fleet.gateways[0].log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    let (seen, unseen) = (lines(SEEN), lines("changes by other instances are not seen"));
    assert!(
        unseen <= 5 && seen == unseen + 1,
        "one line for each change of state: {seen}, {unseen}\n{log}"
    );
}

#[tokio::test]
async fn many_instances_send_no_more_heartbeats_than_one() {
    let fleet = Fleet::start(3);
    let mut ears = PgListener::connect(&fleet.url).await.unwrap();
    ears.listen("portcullis_portcullis").await.unwrap();
    let (begun, mut beats) = (Instant::now(), 0);
    while let Some(left) = Duration::from_secs(4).checked_sub(begun.elapsed()) {
        if let Ok(heard) = tokio::time::timeout(left, ears.recv()).await {
            beats += usize::from(heard.unwrap().payload().starts_with("h:"));
        }
    }
    assert!((3..=12).contains(&beats), "{beats} in four seconds");
    for index in 0..3 {
        assert!(fleet.metric(index, "portcullis_feed_lag_seconds ").await < 1.0);
    }
}

#[tokio::test]
async fn words_that_nobody_understands_make_everything_forgotten_now_and_then() {
    let fleet = Fleet::start(1);
    let mut client = fleet.client(0).await;
    let cookie = fleet.sign_in("ada", &[]).await;
    assert_eq!(status(&mut client, "/", &cookie).await, 200);
    let lookups = "portcullis_session_lookups_total{source=\"native\",result=\"found\"} ";
    let before = fleet.metric(0, lookups).await;
    let begun = Instant::now();
    let mut requests = 0_u32;
    while begun.elapsed() < Duration::from_secs(4) {
        fleet.sql("SELECT pg_notify('portcullis_portcullis', 'x' || n) FROM generate_series(1, 50) n");
        assert_eq!(status(&mut client, "/", &cookie).await, 200);
        requests += 1;
    }
    let asked = fleet.metric(0, lookups).await - before;
    assert!(
        (2.0..=6.0).contains(&asked),
        "{asked} of {requests} requests asked in four seconds"
    );
}

/// Any role of the database may send notifications.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_forged_words_signs_nobody_out_and_keeps_no_heartbeat_back() {
    let fleet = Fleet::start(1);
    let mut client = fleet.client(0).await;
    let cookie = fleet.sign_in("ada", &[]).await;
    let mut ears = PgListener::connect(&fleet.url).await.unwrap();
    ears.listen("portcullis_portcullis").await.unwrap();
    let url = fleet.url.clone();
    let flood = std::thread::spawn(move || {
        let words = "DO $$ BEGIN FOR n IN 1..20000 LOOP
            PERFORM pg_notify('portcullis_portcullis', 'f');
            PERFORM pg_notify('portcullis_portcullis', 'h:' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
            PERFORM pg_notify('portcullis_portcullis', 'h:' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
                || ':' || repeat('0', 32));
            COMMIT; END LOOP; END $$";
        crate::support::postgres::Postgres::shared().sql(&url, words);
    });
    let (mut answered, mut slowest) = (0_u32, Duration::ZERO);
    while !flood.is_finished() {
        let asked = Instant::now();
        assert_eq!(status(&mut client, "/", &cookie).await, 200, "after {answered}");
        slowest = slowest.max(asked.elapsed());
        answered += 1;
    }
    flood.join().unwrap();
    assert!(answered > 10, "{answered}");
    let mut beats = 0_u32;
    while beats < 2 {
        let heard = tokio::time::timeout(SOON, ears.recv())
            .await
            .expect("heartbeats go on")
            .unwrap();
        let payload = heard.payload();
        beats += u32::from(payload.starts_with("h:") && payload.len() > 40 && !payload.ends_with("00000000"));
    }
    fleet.until_metric(0, "portcullis_feed_healthy ", 1.0).await;
    // Heartbeats are for machines that run: on one that stands still they are late without any flood.
    let log = fleet.gateways[0].log();
    let is_lost = log.contains("changes by other instances are not seen");
    assert!(!is_lost || slowest > Duration::from_millis(500), "{slowest:?}: {log}");
}

#[tokio::test]
async fn streams_live_on_when_the_feed_is_lost() {
    let fleet = Fleet::with(1, |request| match request.target().as_str() {
        "/ws" => Reply::WebSocketEcho,
        _ => Reply::text("hello"),
    });
    let cookie = fleet.sign_in("ada", &[]).await;
    let mut socket = fleet.client(0).await;
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{cookie}\r\n\r\n",
        crate::support::stage::HOST
    );
    socket.send(handshake.as_bytes()).await;
    assert_eq!(socket.head().await.status, 101);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        cut(&fleet);
        socket.send(&[0x82, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
        assert_eq!(socket.exactly(4).await, [0x82, 2, b'h', b'i']);
        pause();
    }
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_replaced_and_its_server_process_ended() {
    let server = Postgres::shared();
    let url = server.database();
    let path = Path::to(server.port());
    let name = url.rsplit('/').next().unwrap();
    let listen = format!("postgres://{USER}@127.0.0.1:{}/{name}", path.port());
    let cache = "max_age = \"60s\"\nmax_age_without_feed = \"1s\"\n";
    let store = format!("url = \"{url}\"\nlisten_url = \"{listen}\"\n");
    let fleet = Fleet::over(url, &[store], cache, |_| Reply::text("hello"));
    fleet.until_seen();
    assert_eq!(listeners(&fleet), 1);
    let first = fleet.sql(&format!(
        "SELECT min(pid) FROM pg_stat_activity WHERE application_name = '{NAME}' AND datname = current_database()"
    ));
    path.forget();
    fleet.until_metric(0, "portcullis_feed_healthy ", 0.0).await;
    fleet.until_metric(0, "portcullis_feed_healthy ", 1.0).await;
    let begun = Instant::now();
    while fleet.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {first}")) != "0" {
        assert!(begun.elapsed() < PATIENCE, "it listens for ever");
        pause();
    }
    assert_eq!(listeners(&fleet), 1);
}

#[tokio::test]
async fn triggers_that_are_switched_off_are_noticed_and_named() {
    let fleet = Fleet::start(1);
    for (off, on) in [
        (
            "ALTER TABLE sessions DISABLE TRIGGER ALL",
            "ALTER TABLE sessions ENABLE TRIGGER ALL",
        ),
        (
            "ALTER TABLE users DISABLE TRIGGER feed_updated",
            "ALTER TABLE users ENABLE TRIGGER feed_updated",
        ),
    ] {
        let told = || fleet.gateways[0].log().matches("are gone or switched off").count();
        let before = told();
        fleet.sql(off);
        // Not by the metric: a busy machine may lose the feed for a moment for another reason.
        let begun = Instant::now();
        while told() == before {
            assert!(begun.elapsed() < PATIENCE, "{}", fleet.gateways[0].log());
            pause();
        }
        fleet.until_metric(0, "portcullis_feed_healthy ", 0.0).await;
        fleet.sql(on);
        fleet.until_metric(0, "portcullis_feed_healthy ", 1.0).await;
    }
}
