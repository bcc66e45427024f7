//! A session is revoked on one instance: when do the others refuse it?

use super::Bench;
use super::connection::Connection;
use super::instances::Instances;
use super::instances::Session;
use super::load::Load;
use super::spread;
use std::time::Duration;
use std::time::Instant;

/// Log-ins before each turn of revocations, so that hashing of passwords does not take the processor from what is measured.
const TURN: u64 = 50;

pub(super) async fn run(bench: &Bench, cluster: &Instances) {
    let addresses = [0, 1, 2].map(|instance| cluster.address(instance));
    let users = cluster.sign_in_many(30).await;
    let cookies: Vec<String> = users.into_iter().map(|session| session.cookie).collect();
    let mut office = cluster.office(0).await;
    let (mut took, mut load_took, mut failed, mut done) = (Vec::new(), Vec::new(), 0, 0);
    while done < bench.revocations {
        let count = TURN.min(bench.revocations - done);
        let sessions = cluster.sign_in_many(count as usize).await;
        let load = Load::start(&addresses, cookies.clone(), bench.rate);
        for session in &sessions {
            took.extend(one(cluster, &mut office, session).await);
        }
        let seen = load.stop().await;
        load_took.extend(seen.took);
        failed += seen.failed;
        done += count;
    }
    println!(
        "revoke: from the answer to the refusal on another instance {} (two a revocation; should be at most 100 ms at p99)",
        spread(took)
    );
    println!(
        "revoke: meanwhile {} requests a second, {}; {failed} failed",
        bench.rate,
        spread(load_took)
    );
}

/// Revokes on the first; how long each of the others went on believing.
async fn one(cluster: &Instances, office: &mut Connection, session: &Session) -> [Duration; 2] {
    let mut others = Vec::new();
    for instance in [1, 2] {
        let mut other = Connection::plain(cluster.address(instance))
            .await
            .expect("a connection");
        assert_eq!(other.get("/", &session.cookie).await.expect("an answer"), 200);
        others.push(other);
    }
    Instances::revoke(office, session).await;
    let revoked = Instant::now();
    let (second, third) = (others.pop().expect("two"), others.pop().expect("two"));
    let (one, other) = tokio::join!(refused(second, session, revoked), refused(third, session, revoked));
    [one, other]
}

/// Asks again and again until it is refused. What was asked and answered with 200 was believed until it was asked.
async fn refused(mut connection: Connection, session: &Session, revoked: Instant) -> Duration {
    loop {
        match connection.get("/", &session.cookie).await.expect("an answer") {
            200 => assert!(revoked.elapsed() < Duration::from_mins(1), "it is never refused"),
            401 => return revoked.elapsed(),
            status => panic!("{status}"),
        }
    }
}
