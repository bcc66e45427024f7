//! Starts on a bad day: ready when it can serve, gone with clear words where it never could.

use super::{SCRIPT, config, get, hello, until};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE, Stillborn, pause};
use crate::support::postgres::{Postgres, USER};
use crate::support::usher::Usher;
use std::sync::Arc;
use std::time::Instant;

fn refused(config: &str) -> Stillborn {
    let end = Gateway::try_start(config).err().expect("it does not start");
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    end
}

async fn ready(gateway: &Gateway) -> u16 {
    let mut client = Client::plain(gateway.admin()).await;
    client.get("localhost", "/readyz", &[]).await.status
}

/// Makes the schema one that only later programs know.
fn newer(server: &Postgres, url: &str) {
    let insert = "INSERT INTO portcullis.schema_versions (version, name, oldest_compatible, applied_at)
                  VALUES (1000, 'later', 1000, now())";
    server.sql(url, insert);
}

#[tokio::test]
async fn a_schema_that_does_not_fit_ends_the_start_with_what_to_do() {
    let server = Postgres::shared();
    let url = server.database();
    let plain = config(&url, "2s", "5s", "http://127.0.0.1:1");
    let waiting = plain.replace("[store]\n", "[store]\nmigrate = false\n");
    let end = refused(&waiting);
    assert!(
        end.stderr.contains("migrations are pending; run `portcullis migrate`"),
        "{}",
        end.stderr
    );
    assert_eq!(
        server.sql(&url, "SELECT to_regclass('portcullis.sessions') IS NULL"),
        "t",
        "nothing was made"
    );
    drop(Usher::on(&url).await);
    drop(Gateway::start(&waiting));
    newer(server, &url);
    let end = refused(&plain);
    assert!(
        end.stderr.contains("a newer version of portcullis (1000)"),
        "{}",
        end.stderr
    );
}

#[tokio::test]
async fn a_schema_that_does_not_fit_and_comes_late_ends_the_process() {
    let server = Postgres::private();
    let url = server.database();
    drop(Usher::on(&url).await);
    newer(&server, &url);
    server.stop();
    let gateway = Gateway::start(&config(&url, "1s", "5s", "http://127.0.0.1:1"));
    assert_eq!(ready(&gateway).await, 503);
    server.start();
    gateway.wait_for_log("the database was reached but cannot be used");
    let end = gateway.ended();
    assert_eq!(end.status.code(), Some(1), "{}", end.stderr);
    assert!(
        end.stderr.contains("a newer version of portcullis (1000)"),
        "{}",
        end.stderr
    );
}

#[tokio::test]
async fn a_wrong_password_at_start_is_told_and_waited_for_or_ends_it() {
    let server = Postgres::private();
    let url = server.database();
    let cookie = Usher::on(&url).await.sign_in().await;
    server.sql("postgres", "CREATE ROLE gateway LOGIN SUPERUSER PASSWORD 'right'");
    server.add_rule("host all gateway 127.0.0.1/32 password");
    let app = hello();
    let ours = config(&url.replacen(USER, "gateway:wrong", 1), "1s", "5s", &app.url());
    let end = refused(&ours.replace("[store]\n", "[store]\nrequired_at_start = true\n"));
    assert!(end.stderr.contains("password authentication failed"), "{}", end.stderr);
    server.stop();
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let gateway = Gateway::try_start_in(&folder, &ours, &[]).expect("it waits");
    gateway.wait_for_log("Connection refused");
    server.start();
    // It says anew what keeps it from being ready.
    gateway.wait_for_log("password authentication failed");
    assert_eq!(ready(&gateway).await, 503);
    let answer = get(&gateway, "/", &[&cookie, SCRIPT]).await;
    assert_eq!(answer.status, 503);
    server.sql("postgres", "ALTER ROLE gateway PASSWORD 'wrong'");
    until(&gateway, &cookie, 200, "the password fits").await;
    let started = Instant::now();
    while ready(&gateway).await != 200 {
        assert!(started.elapsed() < PATIENCE, "never ready");
        pause();
    }
}

#[tokio::test]
async fn an_instance_that_starts_on_a_standby_serves_who_is_signed_in() {
    let server = Postgres::private();
    let url = server.database();
    let cookie = Usher::on(&url).await.sign_in().await;
    server.stop();
    server.stand_by();
    server.start();
    let app = hello();
    let gateway = Gateway::start(&config(&url, "2s", "5s", &app.url()));
    assert_eq!(ready(&gateway).await, 200);
    assert_eq!(get(&gateway, "/", &[&cookie]).await.status, 200);
}
