//! Activity at the gateway that moves the end of an application's rows, where the application itself does not.

use super::express::{app, source};
use super::*;
use crate::support::gateway::PATIENCE;
use serde_json::json;

/// How long sessions live without activity. A request comes well within it, on a slow machine, too.
const LIVES: Duration = Duration::from_secs(40);
const TOUCH: &str = "user = \"/userId\"\nmax_age = \"1s\"\ntouch = true";

/// An application that never moves an end by itself, and its visitor.
fn scene() -> Scene {
    let data = Data::in_zone("Asia/Kolkata");
    let role = data.reader.trim_start_matches("postgres://");
    let role = role.split('@').next().expect("a role");
    // The one column that the gateway is to write.
    data.sql(&format!(
        "CREATE TABLE session (sid varchar NOT NULL COLLATE \"default\" PRIMARY KEY, sess json NOT NULL, \
         expire timestamp(6) NOT NULL); GRANT UPDATE (expire) ON session TO {role}"
    ));
    let mut settings = app(json!({
        "resave": false, "rolling": false, "disable_touch": true, "database": data.url,
        "cookie": { "maxAge": u64::try_from(LIVES.as_millis()).expect("a short time") },
    }));
    settings["secret"] = "keyboard cat".into();
    let app = Program::node("express.mjs", &settings);
    Scene::new(data, app, &source(TOUCH))
}

impl Scene {
    /// What stands in the only row besides its end.
    fn kept(&self) -> String {
        self.data.sql("SELECT sid || sess::text FROM session")
    }

    fn seconds_left(&self) -> f64 {
        let left = "SELECT extract(epoch FROM expire - now() AT TIME ZONE 'Asia/Kolkata') FROM session";
        self.data.sql(left).parse().expect("one row")
    }
}

#[tokio::test]
async fn activity_here_keeps_a_session_of_expresss_alive_and_changes_nothing_else_of_it() {
    let scene = scene();
    let mut visitor = scene.signed_in("user=1").await;
    let kept = scene.kept();
    let (works, said) = scene.check(&source(TOUCH), None);
    assert!(works, "{said}");
    let begun = Instant::now();
    // Past the end that the log-in gave it, and no further than activity reaches.
    while begun.elapsed() < LIVES + ROUNDED {
        assert_eq!(visitor.known().await, "1", "{:?} after the log-in", begun.elapsed());
        assert!(scene.seconds_left() <= LIVES.as_secs_f64() + ROUNDED.as_secs_f64());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(scene.kept(), kept, "byte for byte");
    // It is over in both when activity is.
    scene
        .data
        .sql("UPDATE session SET expire = now() AT TIME ZONE 'Asia/Kolkata' - interval '1 second'");
    let over = Instant::now();
    while visitor.told().await != (None, None) {
        assert!(over.elapsed() < BOUND);
        pause();
    }
    assert!(scene.seconds_left() < 0.0, "what is over stays so");
}

/// While requests of the holder go on, some of them believed here from before the end.
#[tokio::test]
async fn a_session_that_express_destroys_is_not_revived_by_activity_here() {
    let scene = scene();
    for _ in 0..5 {
        let mut visitor = scene.signed_in("user=1").await;
        // Due to be moved: activity is written at the earliest in a quarter of its life.
        scene
            .data
            .sql("UPDATE session SET expire = expire - interval '20 seconds'");
        let since = Instant::now();
        while scene.seconds_left() < LIVES.as_secs_f64() - 15.0 {
            assert!(since.elapsed() < PATIENCE, "{}", scene.gateway.log());
            visitor.known().await;
        }
        scene
            .data
            .sql("UPDATE session SET expire = expire - interval '20 seconds'");
        let mut behind = Client::plain(scene.app.address()).await;
        let cookie = format!("Cookie: {}", visitor.cookie());
        let asking = async {
            let since = Instant::now();
            while visitor.told().await != (None, None) || since.elapsed() < Duration::from_secs(3) {
                assert!(since.elapsed() < PATIENCE, "{}", scene.gateway.log());
            }
        };
        let destroying = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let answer = behind.request("POST", HOST, "/logout", &[&cookie], b"").await;
            assert_eq!(answer.status, 204);
        };
        tokio::join!(asking, destroying);
        assert_eq!(scene.data.sql("SELECT count(*) FROM session"), "0");
    }
}
