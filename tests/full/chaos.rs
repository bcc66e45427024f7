//! Fifty rounds each of a feed that dies around the end of a session: nobody is accepted later than the bound says.

use crate::support::client::Client;
use crate::support::fleet::{Fleet, status};
use crate::support::path::{Mode, Path};
use crate::support::postgres::{Postgres, USER};
use crate::support::upstream::Reply;
use std::time::{Duration, Instant};

/// Rounds of each test.
pub const ROUNDS: u32 = 50;
/// What the instances believe while the feed is healthy: far longer than any round.
const CACHE: &str = "max_age = \"5m\"\nmax_age_without_feed = \"1s\"\n";
/// The stated bound: `max_age_without_feed`, or the two seconds that it takes to notice.
const BOUND: Duration = Duration::from_secs(2);
/// What the instances may be wrong about the database's clock on a busy machine.
const SLACK: Duration = Duration::from_millis(500);
/// How long an ended session must stay ended.
const AFTER: Duration = Duration::from_millis(300);
/// Fleets that play rounds at once.
const LANES: u32 = 5;
const HEALTHY: &str = "portcullis_feed_healthy ";

/// One gateway and its application over a database of their own.
pub fn lane(url: String, store: &str) -> Fleet {
    Fleet::over(url, &[store.to_owned()], CACHE, |_| Reply::text("hello"))
}

/// A moment of the next `most`, by a number.
fn moment(most: Duration, random: u8) -> Duration {
    most * u32::from(random) / 256
}

fn random() -> [u8; 4] {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}

/// Ends the session of `name` in the database after `wait` and uses it on and on. How long after its end the last request
/// began that was accepted; no time at all when none was.
pub async fn end_and_use(fleet: &Fleet, client: &mut Client, name: &str, cookie: &str, wait: Duration) -> Duration {
    let delete = format!(
        "DELETE FROM portcullis.sessions WHERE {}",
        Fleet::of_user(name).replace("users", "portcullis.users")
    );
    let url = fleet.url.clone();
    let end = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        while begun.elapsed() < wait {
            crate::support::gateway::pause();
        }
        Postgres::shared().sql(&url, &delete);
        Instant::now()
    });
    let (mut accepted, mut refused) = (Instant::now(), None::<Instant>);
    loop {
        let asked = Instant::now();
        match status(client, "/", cookie).await {
            200 => {
                assert!(refused.is_none(), "{name} was refused and is believed again");
                accepted = asked;
            }
            401 => {
                let first = *refused.get_or_insert(asked);
                if first.elapsed() > AFTER {
                    break;
                }
            }
            other => panic!("{name}: {other}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = end.await.expect("the row is deleted");
    accepted.saturating_duration_since(ended)
}

/// A round for each of the numbers; the longest time that an ended session was accepted.
async fn rounds(
    fleet: &Fleet,
    each: u32,
    round: impl AsyncFn(&Fleet, &mut Client, &str, &str) -> Duration,
) -> Vec<Duration> {
    let mut client = fleet.client(0).await;
    let mut took = Vec::new();
    for number in 0..each {
        let name = format!("u{number}");
        let cookie = fleet.sign_in(&name, &[]).await;
        for _ in 0..2 {
            assert_eq!(status(&mut client, "/", &cookie).await, 200);
        }
        let late = round(fleet, &mut client, &name, &cookie).await;
        assert!(late <= BOUND + SLACK, "round {number}: accepted {late:?} after its end");
        took.push(late);
    }
    took
}

/// Figures for people.
pub fn tell(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    println!(
        "{what}: {} rounds, accepted after the end: median {:?}, 90 % {:?}, most {:?}",
        took.len(),
        at(50),
        at(90),
        at(100)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_killed_around_an_end_lets_nobody_in_later_than_the_bound() {
    let lane = async || {
        let url = Postgres::shared().database();
        let fleet = lane(url.clone(), &format!("url = \"{url}\"\n"));
        rounds(&fleet, ROUNDS / LANES, async |fleet, client, name, cookie| {
            fleet.until_metric(0, HEALTHY, 1.0).await;
            let [kill, end, ..] = random();
            let (url, kill_after) = (fleet.url.clone(), moment(Duration::from_millis(200), kill));
            let killed = tokio::task::spawn_blocking(move || {
                let begun = Instant::now();
                while begun.elapsed() < kill_after {
                    crate::support::gateway::pause();
                }
                let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name = 'portcullis feed' AND datname = current_database()";
                Postgres::shared().sql(&url, kill)
            });
            let late = end_and_use(fleet, client, name, cookie, moment(Duration::from_millis(200), end)).await;
            assert_eq!(killed.await.expect("psql"), "1");
            late
        })
        .await
    };
    let took = futures_util::future::join_all((0..LANES).map(|_| lane())).await;
    tell("feed killed", took.concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_whose_path_goes_dark_around_an_end_lets_nobody_in_later_than_the_bound() {
    let lane = async || {
        let url = Postgres::shared().database();
        let path = Path::to(Postgres::shared().port());
        let name = url.rsplit('/').next().expect("a name");
        let listen = format!("postgres://{USER}@127.0.0.1:{}/{name}", path.port());
        let fleet = lane(url.clone(), &format!("url = \"{url}\"\nlisten_url = \"{listen}\"\n"));
        rounds(&fleet, ROUNDS / LANES, async |fleet, client, name, cookie| {
            fleet.until_metric(0, HEALTHY, 1.0).await;
            let [dark, end, back, way] = random();
            let go_dark = async {
                tokio::time::sleep(moment(Duration::from_millis(200), dark)).await;
                path.set(Mode::Dark);
                // Sometimes it comes back before anybody noticed, and what it kept arrives late.
                tokio::time::sleep(moment(Duration::from_millis(2_500), back)).await;
                if way % 2 == 0 {
                    path.cut();
                }
                path.set(Mode::Open);
            };
            let wait = moment(Duration::from_millis(200), end);
            let (late, ()) = tokio::join!(end_and_use(fleet, client, name, cookie, wait), go_dark);
            late
        })
        .await
    };
    let took = futures_util::future::join_all((0..LANES).map(|_| lane())).await;
    tell("feed in the dark", took.concat());
}

/// A process that stood still has heard nothing, and knows it before its first answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stood_still_accepts_nobody_who_was_ended_meanwhile() {
    let url = Postgres::shared().database();
    let fleet = lane(url.clone(), &format!("url = \"{url}\"\n"));
    fleet.until_metric(0, HEALTHY, 1.0).await;
    for round in 0..10 {
        let name = format!("u{round}");
        let cookie = fleet.sign_in(&name, &[]).await;
        let mut client = fleet.client(0).await;
        assert_eq!(status(&mut client, "/", &cookie).await, 200);
        fleet.gateways[0].signal("STOP");
        fleet.sql(&format!("DELETE FROM sessions WHERE {}", Fleet::of_user(&name)));
        tokio::time::sleep(BOUND + SLACK).await;
        let asked = async { status(&mut client, "/", &cookie).await };
        let go_on = async { fleet.gateways[0].signal("CONT") };
        let (answer, ()) = tokio::join!(asked, go_on);
        assert_eq!(answer, 401, "round {round}");
    }
}
