//! A hundred requests with one cookie that an instance does not know yet: how many questions does it ask?

use super::connection::Connection;
use super::instances::Instances;

const AT_ONCE: usize = 100;
const ROUNDS: usize = 20;

pub(super) async fn run(cluster: &Instances) {
    let mut asked = Vec::new();
    for _ in 0..ROUNDS {
        let session = cluster.sign_in(0).await;
        let mut waiting = Vec::new();
        for _ in 0..AT_ONCE {
            waiting.push(Connection::plain(cluster.address(1)).await.expect("a connection"));
        }
        let before = cluster.lookups(1, "found").await;
        let cookie = &session.cookie;
        let asking = waiting.into_iter().map(|mut connection| async move {
            let status = connection.get("/", cookie).await.expect("an answer");
            assert_eq!(status, 200);
        });
        futures_util::future::join_all(asking).await;
        asked.push(cluster.lookups(1, "found").await - before);
    }
    let most = asked.iter().copied().fold(0.0, f64::max);
    let all: f64 = asked.iter().sum();
    println!(
        "misses: {AT_ONCE} at once of one cookie: {most:.0} questions at most, {all:.0} in {ROUNDS} rounds (should be {ROUNDS})"
    );
}
